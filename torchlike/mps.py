"""torch.mps: Apple's GPUs, which JAX does not drive; what PyTorch says on a machine without one."""

from __future__ import annotations

__all__ = [
    "current_allocated_memory", "device_count", "driver_allocated_memory", "empty_cache",
    "get_rng_state", "is_available", "manual_seed", "recommended_max_memory", "seed",
    "set_per_process_memory_fraction", "set_rng_state", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Harmless, as there is no such device."""


def _absent(what: str):
    raise RuntimeError(f"Cannot execute {what}() without MPS backend.")


def synchronize() -> None:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("deviceSynchronize")


def empty_cache() -> None:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("emptyCache")


def seed() -> None:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("getDefaultGenerator")


def get_rng_state(device="mps"):
    """Raises ``RuntimeError``: there is no such device."""
    _absent("getDefaultGenerator")


def set_rng_state(new_state, device="mps") -> None:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("getDefaultGenerator")


def current_allocated_memory() -> int:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("getCurrentAllocatedMemory")


def driver_allocated_memory() -> int:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("getDriverAllocatedMemory")


def recommended_max_memory() -> int:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("getRecommendedMaxMemory")


def set_per_process_memory_fraction(fraction) -> None:
    """Raises ``RuntimeError``: there is no such device."""
    _absent("setMemoryFraction")
