"""Watching calls: autocast and hooks on saved tensors stand around ``dispatch.apply`` by its code.

The path of a plain call knows nothing of them. While any thread has one of them on, the function
``apply``, which many modules hold, runs the code of ``dispatch.watched`` instead of its own.
"""

from __future__ import annotations

import threading
from types import FunctionType

from torchlike._tensor import dispatch

plain = FunctionType(dispatch.apply.__code__, vars(dispatch), "apply", dispatch.apply.__defaults__)
dispatch._plain = plain
_lock = threading.Lock()
_watchers = 0


def begin() -> None:
    """Let calls be watched until the ``end`` that belongs to this."""
    global _watchers
    with _lock:
        _watchers += 1
        if _watchers == 1:
            dispatch.apply.__code__ = dispatch.watched.__code__


def end() -> None:
    """Undo one ``begin``."""
    global _watchers
    with _lock:
        _watchers -= 1
        if not _watchers:
            dispatch.apply.__code__ = plain.__code__
