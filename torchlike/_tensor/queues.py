"""Streams and events: a device runs its work in order, so there is one queue for each."""

from __future__ import annotations

import time

import jax
import numpy as np

from torchlike._core import devices
from torchlike._engine.compat import in_program_scope
from torchlike._engine.flush import flush


class OutOfMemoryError(RuntimeError):
    """Raised when a device has no memory left
    (https://pytorch.org/docs/stable/torch_cuda_memory.html)."""


class AcceleratorError(RuntimeError):
    """Raised when a call to an accelerator's runtime fails."""


def wait_for(device) -> None:
    """Run what is recorded on this thread and wait until the device has done it."""
    flush(why="synchronize")
    jax.effects_barrier()
    d = devices.canonical(device)
    if d is devices.CPU:  # its programs run beside each other: what they make tells
        jax.block_until_ready(jax.live_arrays("cpu"))
    elif d is not devices.META:
        # A device runs its programs in order: when a new one has run, so have all before it.
        in_program_scope(_last_in_line, devices.jax_device(d))


def _last_in_line(jax_device) -> None:
    jax.block_until_ready(jax.numpy.negative(jax.device_put(np.float32(0), jax_device)))


def _device_of(device) -> devices.device:
    if device is None:
        kind = next((k for k in ("cuda", "tpu") if devices.device_count(k)), "cpu")
        return devices.canonical(kind)
    d = devices.canonical(device)
    if d.type != "cpu":
        devices.jax_device(d)  # raises where there is none
    return d


class Stream:
    """A queue of work on a device (https://pytorch.org/docs/stable/generated/torch.Stream.html).

    XLA orders a device's work itself, so all streams of a device are one queue: whatever one is
    told to wait for has been done before. As a ``with`` block it changes nothing.
    """

    def __init__(self, device=None, priority=0, **kwargs):
        self.device = _device_of(device)
        self.priority = priority
        self.stream_id = 0

    @property
    def device_index(self) -> int:
        """The index of the device, -1 for the CPU."""
        return -1 if self.device.index is None else self.device.index

    @property
    def device_type(self) -> str:
        """The kind of the device."""
        return self.device.type

    def query(self) -> bool:
        """Whether all work is done: it is, once this has waited for it."""
        self.synchronize()
        return True

    def synchronize(self) -> None:
        """Run what is recorded, and wait for it."""
        wait_for(self.device)

    def wait_event(self, event) -> None:
        """Nothing to do: the queue is in order."""

    def wait_stream(self, stream) -> None:
        """Nothing to do: there is one queue."""

    def record_event(self, event=None):
        """Record an event in the queue, a new one if none is given."""
        event = Event(self.device) if event is None else event
        event.record(self)
        return event

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def __eq__(self, other):
        return isinstance(other, Stream) and other.device == self.device

    def __hash__(self):
        return hash(self.device)

    def __repr__(self):
        return (
            f"torch.Stream device_type={self.device.type}, device_index={self.device_index}, "
            f"stream_id={self.stream_id}"
        )


class Event:
    """A point in a device's queue (https://pytorch.org/docs/stable/generated/torch.Event.html).

    ``record`` waits until the work before it is done, so that ``elapsed_time`` is the time that
    the work between two events took.
    """

    def __init__(self, device=None, enable_timing=False, blocking=False, interprocess=False):
        self.device = _device_of(device)
        self.enable_timing = enable_timing
        self.event_id = 0
        self._time = None

    def record(self, stream=None) -> None:
        """Run what is recorded, wait for it, and note the time."""
        wait_for(self.device if stream is None else stream.device)
        self._time = time.perf_counter()
        self.event_id = id(self)

    def query(self) -> bool:
        """Whether the work before the event is done: always."""
        return True

    def synchronize(self) -> None:
        """Nothing to do: ``record`` has waited."""

    def wait(self, stream=None) -> None:
        """Nothing to do: the queue is in order."""

    def elapsed_time(self, end_event) -> float:
        """Milliseconds between two recorded events; raises unless both take times."""
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or end_event._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return 1000 * (end_event._time - self._time)

    def __repr__(self):
        return (
            f"torch.Event device_type={self.device.type}, device_index="
            f"{-1 if self.device.index is None else self.device.index}, "
            f"event_flag={int(self.enable_timing)}, event_id={self.event_id}"
        )
