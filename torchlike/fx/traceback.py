"""torch.fx.traceback: what new nodes take over from the node that is being run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torchlike.fx.node import Node

__all__ = [
    "annotate", "annotate_fn", "format_stack", "get_current_meta", "has_preserved_node_meta",
    "preserve_node_meta", "set_current_meta", "set_stack_trace",
]  # fmt: skip

_current: dict[str, Any] = {}
_preserving = [False]


@contextmanager
def preserve_node_meta(enable: bool = True) -> Iterator[None]:
    """Within: new nodes get the meta data of the node that an Interpreter runs."""
    before, held = _preserving[0], dict(_current)
    _preserving[0] = enable
    try:
        yield
    finally:
        _preserving[0] = before
        _current.clear()
        _current.update(held)


def has_preserved_node_meta() -> bool:
    """Whether new nodes get the meta data of the node that is being run."""
    return _preserving[0]


@contextmanager
def set_current_meta(node: Node, pass_name: str = "") -> Iterator[None]:
    """Within: the node is the one that is being run."""
    if not (_preserving[0] and node.meta):
        yield
        return
    held = dict(_current)
    try:
        _current.clear()
        _current.update(copy.copy(node.meta))
        yield
    finally:
        _current.clear()
        _current.update(held)


def get_current_meta() -> dict[str, Any]:
    """The meta data of the node that is being run."""
    return _current


def set_stack_trace(stack: list[str]) -> None:
    """Let new nodes have this stack trace."""
    if _preserving[0] and stack:
        _current["stack_trace"] = "".join(stack)


def format_stack() -> list[str]:
    """The stack trace that new nodes get."""
    return [_current["stack_trace"]] if _preserving[0] and "stack_trace" in _current else []


@contextmanager
def annotate(annotation_dict: dict[str, Any]) -> Iterator[None]:
    """Within: new nodes have these entries in ``meta["custom"]``, if meta data are preserved."""
    held = _current.get("custom")
    _current["custom"] = {**(held or {}), **annotation_dict}
    try:
        yield
    finally:
        if held is None:
            _current.pop("custom", None)
        else:
            _current["custom"] = held


def annotate_fn(annotation_dict: dict[str, Any]) -> Callable:
    """Decorator: ``annotate`` within the function."""

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def call(*args, **kwargs):
            with annotate(annotation_dict):
                return function(*args, **kwargs)

        return call

    return decorate
