"""torch.cpu: the CPU under the names that torch.cuda has, for code that serves any device."""

from __future__ import annotations

import contextlib as _contextlib

from torchlike._tensor.queues import wait_for as _wait_for
from torchlike.cpu import amp as amp

__all__ = [
    "Event", "Stream", "StreamContext", "current_device", "current_stream", "device_count",
    "is_available", "is_initialized", "set_device", "stream", "synchronize",
]  # fmt: skip


class Stream:
    """A queue of work; the CPU has one."""

    def __init__(self, priority: int = -1):
        pass

    def wait_stream(self, stream) -> None:
        """Nothing: there is one queue."""

    def record_event(self) -> None:
        """Nothing: there is one queue."""

    def wait_event(self, event) -> None:
        """Nothing: there is one queue."""


class Event:
    """A point in a queue of work, always passed already."""

    def query(self) -> bool:
        """True."""
        return True

    def record(self, stream=None) -> None:
        """Nothing: there is one queue."""

    def synchronize(self) -> None:
        """Nothing: there is one queue."""

    def wait(self, stream=None) -> None:
        """Nothing: there is one queue."""


_stream = Stream()


class StreamContext(_contextlib.AbstractContextManager):
    """A block whose work goes to a stream: here always the one."""

    def __init__(self, stream):
        self.stream = stream

    def __exit__(self, *exc) -> None:
        pass


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """ "cpu"."""
    return "cpu"


def set_device(device) -> None:
    """Nothing: there is one."""


def current_stream(device=None) -> Stream:
    """The one queue of work."""
    return _stream


def stream(stream) -> _contextlib.AbstractContextManager:
    """A block whose work goes to a stream: here always the one."""
    return StreamContext(stream)


def synchronize(device=None) -> None:
    """Run what is recorded on this thread, and wait until the CPU has done it."""
    _wait_for("cpu")
