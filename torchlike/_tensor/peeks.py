"""Parts of memory that the host has, read and written where they are, without recording a call."""

from __future__ import annotations

from sys import getrefcount

import numpy as np

from torchlike._core import devices
from torchlike._engine import prompt
from torchlike._engine.flush import flush_writes
from torchlike._engine.prefix import local
from torchlike._engine.range_checks import pending_checks
from torchlike._engine.stats import stats
from torchlike._engine.values import TRACED, Value, exposed, host_copy


def part_at_hand(x) -> np.ndarray | None:
    """What a view that is pending shows of memory whose numbers the host has; None of others.

    ``x[i].item()`` in a loop reads a number for 1 us instead of 9.
    """
    storage = x._storage
    if pending_checks:  # a read is where they are looked at
        return None
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


class _Holder:
    __slots__ = ("held",)


def _alone() -> int:
    """What is counted of an object that one slot and one local name hold."""
    holder = _Holder()
    holder.held = held = object()
    return getrefcount(held)


_ALONE = _alone()


def overwritten(x, spec, numbers, value) -> Value | None:
    """What a tensor holds once a part of it is a number or an array: its own memory, changed where
    it is; None where somebody else may see that memory, or the host does not have it.

    ``x[i, j] = number`` in a loop takes 5 us instead of 18, and a mask whose rows are filled to
    their lengths is one kind of input, not a kind of program for each of the lengths.
    """
    held, storage = x._value, x._storage
    if held.array is None and not flush_writes(held):
        return None
    array = held.array
    if array.__class__ is not np.ndarray or getrefcount(array) != _ALONE:
        return None
    shared = storage is not None and storage.value is held
    if getrefcount(held) != _ALONE + shared or id(array) in exposed:
        return None
    if array.base is not None or not array.flags.writeable:
        return None
    prompt.forget(array)
    numbers = iter(numbers)
    array[tuple([_item(item, numbers) for item in spec])] = value
    return Value(held.aval, array)
