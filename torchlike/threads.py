"""Thread counts: XLA has one pool for the process, so these report and accept."""

from __future__ import annotations

import os

__all__ = ["get_num_threads", "set_num_threads"]


def get_num_threads() -> int:
    """The threads XLA's CPU client may use: one a core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(n: int, /) -> None:
    """Accepted: XLA sizes its pool when the process starts, from the cores it may run on.

    Raises ``RuntimeError`` for a count below one, as PyTorch does.
    """
    if n < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
