"""torch.accelerator: whatever accelerator JAX sees, a GPU or a TPU, under one set of names."""

from __future__ import annotations

import collections

from torchlike._core import devices as _devices
from torchlike._engine.flush import flush as _flush
from torchlike._tensor.queues import Stream as _Stream
from torchlike._tensor.queues import wait_for as _wait_for

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream",
    "device_count", "device_index", "empty_cache", "empty_host_cache", "get_device_capability",
    "get_memory_info", "is_available", "max_memory_allocated", "max_memory_reserved",
    "memory_allocated", "memory_reserved", "memory_stats", "reset_accumulated_memory_stats",
    "reset_peak_memory_stats", "set_device_idx", "set_device_index", "set_stream", "synchronize",
]  # fmt: skip


def _kind() -> str | None:
    return next((k for k in ("cuda", "tpu") if _devices.device_count(k)), None)


def _device(device=None) -> _devices.device:
    kind = _kind()
    if kind is None:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    if device is None:
        device = kind
    if isinstance(device, int):
        device = _devices.device(kind, device)
    d = _devices.canonical(device)
    if d.type != kind:
        raise ValueError(f"{d.type} doesn't match the current accelerator {kind}.")
    _devices.jax_device(d)
    return d


def is_available() -> bool:
    """Whether JAX sees an accelerator."""
    return _kind() is not None


def device_count() -> int:
    """How many accelerators JAX sees."""
    kind = _kind()
    return 0 if kind is None else _devices.device_count(kind)


def current_accelerator(check_available: bool = False) -> _devices.device | None:
    """The kind of accelerator, a device without an index, or None."""
    kind = _kind()
    return None if kind is None else _devices.device(kind)


def current_device_index() -> int:
    """The index that the accelerator without one means; raises where there is none."""
    return _device().index


def current_device_idx() -> int:
    """Former name of ``current_device_index``."""
    return current_device_index()


def set_device_index(device: _devices.device | str | int | None, /) -> None:
    """Let the accelerator without an index mean this one; negative numbers change nothing."""
    if isinstance(device, int) and device < 0:
        return
    _devices.set_current(_device(device))


def set_device_idx(device: _devices.device | str | int | None, /) -> None:
    """Former name of ``set_device_index``."""
    set_device_index(device)


class device_index:
    """A block in which the accelerator without an index means another one; None changes nothing."""

    def __init__(self, device: int | None, /):
        self.idx, self.prev_idx = device, -1

    def __enter__(self):
        if self.idx is not None:
            self.prev_idx = current_device_index()
            set_device_index(self.idx)

    def __exit__(self, *exc):
        if self.idx is not None:
            set_device_index(self.prev_idx)


def current_stream(device: _devices.device | str | int | None = None, /) -> _Stream:
    """The queue of an accelerator; raises where there is none."""
    return _Stream(_device(device))


def set_stream(stream: _Stream) -> None:
    """Nothing to do: there is one queue."""


def synchronize(device: _devices.device | str | int | None = None, /) -> None:
    """Run what is recorded on this thread and wait until the accelerator has done it."""
    _wait_for(_device(device))


def get_device_capability(device: _devices.device | str | int | None = None, /) -> dict:
    """The dtypes that the accelerator computes in; raises where there is none."""
    from torchlike._core import dtypes

    _device(device)
    return {"supported_dtypes": set(dtypes.BY_NAME.values())}


# ---- memory ------------------------------------------------------------------------------------


def _numbers(device) -> dict:
    d = _device(device)
    _flush(why="memory")
    return _devices.jax_device(d).memory_stats() or {}


def memory_stats(device_index: _devices.device | str | int | None = None, /) -> dict:
    """Bytes under PyTorch's names, as far as XLA has them."""
    found = _numbers(device_index)
    reserved = found.get("pool_bytes", found.get("bytes_reserved", 0))
    return collections.OrderedDict(
        {
            "allocated_bytes.all.current": found.get("bytes_in_use", 0),
            "allocated_bytes.all.peak": found.get("peak_bytes_in_use", 0),
            "reserved_bytes.all.current": reserved,
            "reserved_bytes.all.peak": found.get("peak_pool_bytes", reserved),
        }
    )


def memory_allocated(device_index: _devices.device | str | int | None = None, /) -> int:
    """Bytes that arrays take."""
    return memory_stats(device_index)["allocated_bytes.all.current"]


def max_memory_allocated(device_index: _devices.device | str | int | None = None, /) -> int:
    """The most bytes that arrays took."""
    return memory_stats(device_index)["allocated_bytes.all.peak"]


def memory_reserved(device_index: _devices.device | str | int | None = None, /) -> int:
    """Bytes that XLA's allocator holds."""
    return memory_stats(device_index)["reserved_bytes.all.current"]


def max_memory_reserved(device_index: _devices.device | str | int | None = None, /) -> int:
    """The most bytes that XLA's allocator held."""
    return memory_stats(device_index)["reserved_bytes.all.peak"]


def get_memory_info(device_index: _devices.device | str | int | None = None, /) -> tuple[int, int]:
    """(free, total) bytes of what XLA may use."""
    found = _numbers(device_index)
    total = found.get("bytes_limit", 0)
    return total - found.get("bytes_in_use", 0), total


def reset_peak_memory_stats(device_index: _devices.device | str | int | None = None, /) -> None:
    """Not supported: XLA keeps one peak for the process."""
    from torchlike._core.errors import NotSupported

    _device(device_index)
    raise NotSupported(
        "accelerator.reset_peak_memory_stats", "cuda.reset_peak_memory_stats says what can be known"
    )


def reset_accumulated_memory_stats(
    device_index: _devices.device | str | int | None = None, /
) -> None:
    """Nothing to do: nothing is accumulated."""
    _device(device_index)


def empty_cache() -> None:
    """Nothing to do: XLA's allocator keeps and reuses its memory; raises without an accelerator."""
    _device()


def empty_host_cache() -> None:
    """Nothing to do: there is no cache of pinned memory; raises without an accelerator."""
    _device()
