"""Leaf tensors bound to new values, as an in-place op on each would."""

from __future__ import annotations

from torchlike._engine.values import Epoch
from torchlike._tensor import dispatch, views


def rebind_all(tensors, values, line: str) -> None:
    """Rebind leaf tensors to new values in one go, as an in-place op on each would."""
    ended = Epoch()
    ended.line = line
    for t, value in zip(tensors, values, strict=True):
        old = t._value
        if old.epoch is None:
            old.epoch = ended
        else:
            old.epoch.line = line
        storage = t._storage
        if storage is not None and t._chain:  # a window on a larger storage
            views.write_through(t, dispatch.wrap(value), line)
            continue
        t._value = value
        if storage is None:
            t._version_count += 1
        else:
            storage.value = value
            storage.version += 1
            t._seen = storage.version
