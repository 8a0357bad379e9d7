"""torch.cuda.Stream and Event: one queue for each GPU, as XLA keeps it."""

from __future__ import annotations

from torchlike._core import devices as _devices
from torchlike._tensor.queues import Event as _Event
from torchlike._tensor.queues import Stream as _Stream
from torchlike.cuda._gpu import gpu

__all__ = ["Event", "Stream", "StreamContext", "current_stream", "default_stream", "set_stream",
           "stream"]  # fmt: skip


class Stream(_Stream):
    """A queue of work on a GPU (https://pytorch.org/docs/stable/generated/torch.cuda.Stream.html);
    raises ``RuntimeError`` where there is none."""

    def __init__(self, device=None, priority=0, **kwargs):
        if not _devices.device_count("cuda"):
            raise RuntimeError("torch.cuda.Stream requires CUDA support")
        super().__init__(gpu(device), priority)

    @property
    def cuda_stream(self) -> int:
        """The handle of the default stream."""
        return 0

    def __repr__(self):
        return f"<torch.cuda.Stream device={self.device} cuda_stream=0x0>"


class Event(_Event):
    """A point in a GPU's queue (https://pytorch.org/docs/stable/generated/torch.cuda.Event.html);
    raises ``RuntimeError`` where there is none."""

    def __init__(self, enable_timing=False, blocking=False, interprocess=False, external=False):
        if not _devices.device_count("cuda"):
            raise RuntimeError("Tried to instantiate dummy base class Event: JAX finds no GPU")
        super().__init__(_devices.canonical("cuda"), enable_timing, blocking, interprocess)

    def __repr__(self):
        return "<torch.cuda.Event uninitialized>" if not self.event_id else "<torch.cuda.Event>"


class StreamContext:
    """A block whose work goes to a stream: here always to the one there is."""

    def __init__(self, stream: Stream | None):
        self.stream = stream

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return None


def stream(stream: Stream | None) -> StreamContext:
    """A block whose work goes to a stream: here always to the one there is."""
    return StreamContext(stream)


def set_stream(stream: Stream) -> None:
    """Nothing to do: there is one stream."""


def current_stream(device=None) -> Stream:
    """The stream of a GPU; raises ``AssertionError`` where there is none."""
    return Stream(gpu(device))


def default_stream(device=None) -> Stream:
    """The stream of a GPU; raises ``AssertionError`` where there is none."""
    return Stream(gpu(device))
