"""Watching calls: autocast and hooks on saved tensors stand around ``dispatch.apply`` by its code.

The path of a plain call knows nothing of them. While any thread has one of them on, the function
``apply``, which many modules hold, runs the code of ``dispatch.watched`` instead of its own.
"""

from __future__ import annotations

import threading
from types import FunctionType

from torchlike._tensor import dispatch, tape
from torchlike._tensor.modes import modes

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


# ---- backward ----------------------------------------------------------------------------------

_plain_walks: dict = {}  # what is replaced while anybody watches: (owner, name) -> its own function
_walk_watchers = 0


def _told(derive):
    def told(self, grads, graph=None):
        if modes.deriving is not None:
            modes.deriving(self, grads)
        return derive(self, grads, graph)

    return told


def _told_again(walk_again):
    def told(nodes, leaves, stretch):
        if modes.deriving is not None:
            for node in nodes:
                modes.deriving(node, None)
        return walk_again(nodes, leaves, stretch)

    return told


def begin_backward() -> None:
    """Let ``modes.deriving`` be told of nodes until the ``end_backward`` that belongs to this."""
    global _walk_watchers
    with _lock:
        _walk_watchers += 1
        if _walk_watchers > 1:
            return
        for kind in (tape.Node, *tape.Node.__subclasses__()):
            if "derive" in vars(kind):
                _plain_walks[kind, "derive"] = vars(kind)["derive"]
                kind.derive = _told(kind.derive)
        _plain_walks[tape, "walk_again"] = tape.walk_again
        tape.walk_again = _told_again(tape.walk_again)


def end_backward() -> None:
    """Undo one ``begin_backward``."""
    global _walk_watchers
    with _lock:
        _walk_watchers -= 1
        if not _walk_watchers:
            for (owner, name), own in _plain_walks.items():
                setattr(owner, name, own)
            _plain_walks.clear()
