"""torch.backends.cudnn: switches that scripts set; XLA tunes and orders its kernels itself.

Its programs give the same numbers in each run unless XLA_FLAGS asks otherwise, which is what these
flags promise at best.
"""

from __future__ import annotations

from contextlib import contextmanager

__all__ = ["flags", "is_acceptable", "is_available", "set_flags", "version"]

enabled = True
benchmark = False
benchmark_limit = None
deterministic = False
allow_tf32 = True
fp32_precision = "none"


def is_available() -> bool:
    """False: XLA calls cuDNN itself where it pays."""
    return False


def is_acceptable(tensor) -> bool:
    """False: XLA chooses the kernel of each call."""
    return False


def version() -> int | None:
    """None."""
    return None


def set_flags(
    _enabled=None, _benchmark=None, _benchmark_limit=None, _deterministic=None, _allow_tf32=None,
    _fp32_precision="none",
):  # fmt: skip
    """Set several switches; returns what they were."""
    scope = globals()
    names = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
    given = (_enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32)
    before = tuple(scope[n] for n in names)
    scope.update({n: x for n, x in zip(names, given, strict=True) if x is not None})
    return before


@contextmanager
def flags(
    enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True,
    fp32_precision="none",
):  # fmt: skip
    """A block with these switches."""
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    try:
        yield
    finally:
        set_flags(*before)
