"""torch.cuda's memory statistics, from what XLA's allocator tells; zeros where there is no GPU."""

from __future__ import annotations

import collections
import warnings

from torchlike._core import devices as _devices
from torchlike._core.errors import NotSupported
from torchlike._engine.flush import flush
from torchlike.cuda._gpu import gpu

__all__ = [
    "empty_cache", "get_per_process_memory_fraction", "max_memory_allocated", "max_memory_cached",
    "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved",
    "memory_snapshot", "memory_stats", "memory_summary", "reset_accumulated_memory_stats",
    "reset_max_memory_allocated", "reset_max_memory_cached", "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
]  # fmt: skip


def _renamed(old: str, new: str) -> None:
    warnings.warn(
        f"`torch.cuda.{old}` has been renamed to `torch.cuda.{new}`", FutureWarning, stacklevel=3
    )


_peaks: dict = {}  # device -> XLA's peak when it was reset


def _stats(device) -> dict:
    """XLA's numbers for a GPU, after what is recorded has been given to it."""
    d = gpu(device)
    flush(why="memory")
    return _devices.jax_device(d).memory_stats() or {}


def _present() -> bool:
    return _devices.device_count("cuda") > 0


def memory_stats(device=None) -> dict:
    """Bytes and counts under PyTorch's names, as far as XLA has them; empty without a GPU
    (https://pytorch.org/docs/stable/generated/torch.cuda.memory.memory_stats.html)."""
    if not _present():
        return collections.OrderedDict()
    found = _stats(device)
    reserved = found.get("pool_bytes", found.get("bytes_reserved", 0))
    out = collections.OrderedDict()
    for name, now, peak in (
        ("allocated_bytes", found.get("bytes_in_use", 0), _peak(found, device)),
        ("reserved_bytes", reserved, found.get("peak_pool_bytes", reserved)),
    ):
        out[f"{name}.all.current"], out[f"{name}.all.peak"] = now, max(now, peak)
    out["allocation.all.allocated"] = found.get("num_allocs", 0)
    out["largest_alloc_size"] = found.get("largest_alloc_size", 0)
    out["bytes_limit"] = found.get("bytes_limit", 0)
    return out


def _peak(found, device) -> int:
    peak, before = found.get("peak_bytes_in_use", 0), _peaks.get(gpu(device))
    return peak if before is None or peak > before else found.get("bytes_in_use", 0)


def memory_allocated(device=None) -> int:
    """Bytes that arrays take on a GPU; 0 without one."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device=None) -> int:
    """The most bytes that arrays took; see ``reset_peak_memory_stats``."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device=None) -> int:
    """Bytes that XLA's allocator holds; it takes most of the memory at its start."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device=None) -> int:
    """The most bytes that XLA's allocator held."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def memory_cached(device=None) -> int:
    """Former name of ``memory_reserved``."""
    _renamed("memory_cached", "memory_reserved")
    return memory_reserved(device)


def max_memory_cached(device=None) -> int:
    """Former name of ``max_memory_reserved``."""
    _renamed("max_memory_cached", "max_memory_reserved")
    return max_memory_reserved(device)


def mem_get_info(device=None) -> tuple[int, int]:
    """(free, total) bytes of what XLA may use; raises ``AssertionError`` without a GPU."""
    found = _stats(device)
    total = found.get("bytes_limit", 0)
    return total - found.get("bytes_in_use", 0), total


def reset_peak_memory_stats(device=None) -> None:
    """Count the peak from now on.

    XLA's own peak cannot be reset. A later peak above it is told exactly; until there is one,
    ``max_memory_allocated`` tells what is in use, which may be less than a peak since the reset.
    """
    if not _present():
        return
    warnings.warn(
        "XLA keeps one peak for the whole process: after a reset, max_memory_allocated() is exact "
        "only once that peak has been passed",
        UserWarning,
        stacklevel=2,
    )
    _peaks[gpu(device)] = _stats(device).get("peak_bytes_in_use", 0)


def reset_max_memory_allocated(device=None) -> None:
    """Former name of ``reset_peak_memory_stats``."""
    _renamed("reset_max_memory_allocated", "reset_peak_memory_stats")
    reset_peak_memory_stats(device)


def reset_max_memory_cached(device=None) -> None:
    """Former name of ``reset_peak_memory_stats``."""
    _renamed("reset_max_memory_cached", "reset_peak_memory_stats")
    reset_peak_memory_stats(device)


def reset_accumulated_memory_stats(device=None) -> None:
    """Nothing to do: XLA accumulates only its count of allocations."""


def memory_summary(device=None, abbreviated: bool = False) -> str:
    """A table of ``memory_stats``."""
    rows = memory_stats(device).items()
    return "\n".join(f"| {name:34} | {value:>18} |" for name, value in rows)


def memory_snapshot(mempool_id=None, include_traces=True):
    """Not supported: XLA does not list its blocks."""
    raise NotSupported("cuda.memory_snapshot", "jax.profiler.device_memory_profile() has one")


def empty_cache() -> None:
    """Nothing to do: XLA's allocator keeps and reuses its memory."""


def set_per_process_memory_fraction(fraction, device=None) -> None:
    """Not supported once the process runs: XLA takes its share at its start."""
    gpu(device)
    raise NotSupported(
        "cuda.set_per_process_memory_fraction",
        "set XLA_PYTHON_CLIENT_MEM_FRACTION before the program starts",
    )


def get_per_process_memory_fraction(device=None) -> float:
    """The share of the memory that XLA may take."""
    import os

    gpu(device)
    return float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75"))
