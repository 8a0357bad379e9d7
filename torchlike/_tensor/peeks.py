"""Peeks: numbers of views that are read off memory which the host has, without running the view."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._engine.prefix import local
from torchlike._engine.stats import stats
from torchlike._engine.values import TRACED, host_copy


def part_at_hand(x) -> np.ndarray | None:
    """What a view that is pending shows of memory whose numbers the host has; None of others.

    ``x[i].item()`` in a loop reads a number for 1 us instead of 9.
    """
    storage = x._storage
    if x._value.array is not None or x._seen != storage.version or local.capture is not None:
        return None
    root = storage.value.array
    if root.__class__ is not np.ndarray:
        if root is None or isinstance(root, TRACED) or storage.value.aval.device is not devices.CPU:
            return None
        root = host_copy(root)
    for op, numbers, statics, _ in x._chain:
        if op.name != "index_basic":
            return None
        numbers = iter(numbers)
        root = root[tuple([_item(item, numbers) for item in statics[0]])]
    stats.syncs += 1
    return np.asarray(root)


def _item(item: tuple, numbers):
    """One item of a basic index, for numpy."""
    kind = item[0]
    if kind == "all":
        return slice(None)
    if kind == "new":
        return None
    start = next(numbers)
    if kind == "int":
        return start
    _, size, step = item
    return slice(start, start + (size - 1) * step + 1 if size else start, step)
