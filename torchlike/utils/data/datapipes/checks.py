"""What the data pipes refuse, with PyTorch's errors."""

from __future__ import annotations

import functools
import inspect

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_callable(fn) -> None:
    """Raise ``TypeError`` for what cannot be called."""
    if not callable(fn):
        raise TypeError(f"A callable function is expected, but {type(fn)} is provided.")


def check_columns(fn, columns) -> None:
    """Raise ``ValueError`` for a function that cannot take a sample, or these columns of it."""
    check_callable(fn)
    try:
        taken = inspect.signature(fn).parameters.values()
    except ValueError:  # a builtin that does not tell
        return
    count = len(columns) if isinstance(columns, (list, tuple)) else 1
    name = fn.func if isinstance(fn, functools.partial) else fn
    said = f"The function {getattr(name, '__name__', repr(name))} takes"
    places = [p for p in taken if p.kind in _POSITIONAL]
    any_number = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in taken)
    named = [p for p in taken if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is p.empty]
    if named:
        raise ValueError(
            f"{said} {len(named)} non-default keyword-only parameters, which is not allowed."
        )
    if len(taken) < count and not any_number:
        raise ValueError(f"{said} {len(taken)} parameters, but {count} are required.")
    too_many = any(p.default is p.empty for p in places[count:])
    if too_many or (len(places) < count and not any_number):
        raise ValueError(f"{said} {len(places)} positional parameters, but {count} are required.")


def check_pipes(datapipes, kind, text: str = "Expected all inputs to be `{}`") -> None:
    """Raise ``ValueError`` for no data pipes, ``TypeError`` for others than of this kind."""
    if not datapipes:
        raise ValueError("Expected at least one DataPipe, but got nothing")
    if not all(isinstance(pipe, kind) for pipe in datapipes):
        raise TypeError(text.format(kind.__name__))
