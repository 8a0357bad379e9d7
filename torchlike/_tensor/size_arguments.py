"""Sizes as programs give them: one by one or in a sequence, one of them left to infer."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core.symbolic import whole


def is_integer(n) -> bool:
    """Whether an argument may stand for an int: a number of NumPy's and a 0-d tensor may."""
    if isinstance(n, (bool, float, np.ndarray)) or not hasattr(n, "__index__"):
        return False
    return not getattr(n, "ndim", 0)


def integer(function: str, argument: str, position: int | None, n, size=False) -> int:
    """An argument as an int; raises PyTorch's ``TypeError`` for what is none.

    size: whether it is one that may be open, and so may be whatever holds one integer.
    """
    if n.__class__ is int:
        return n
    if not is_integer(n) and not (size and getattr(n, "ndim", None) is not None):
        place = "" if position is None else f" (position {position})"
        raise TypeError(
            f"{function}(): argument '{argument}'{place} must be int, not {type(n).__name__}"
        )
    return whole(n)


def sizes_argument(sizes, function: str | None = None, argument: str = "size") -> tuple:
    """``f(2, 3)`` and ``f((2, 3))`` alike, as plain ints; errors name function and argument."""
    lone = len(sizes) == 1
    if lone and isinstance(sizes[0], (tuple, list)):
        sizes, lone = sizes[0], False
    for n in sizes:
        if n.__class__ is not int:
            break
    else:
        return tuple(sizes)
    out = []
    for i, n in enumerate(sizes):
        if n.__class__ is not int:
            first = n.__class__ is bool and not i and function is not None
            if first or isinstance(n, float) or not hasattr(n, "__index__"):
                raise TypeError(_not_a_size(function, argument, i, type(n).__name__, lone))
            n = whole(n)
        out.append(n)
    return tuple(out)


def _not_a_size(function, argument, at: int, kind: str, lone: bool) -> str:
    if function is None:
        return f"argument '{argument}' must be tuple of ints, but found element of type {kind}"
    if at:
        return (
            f"{function}(): argument '{argument}' failed to unpack the object at pos {at + 1} with "
            f'error "type must be tuple of ints,but got {kind}"'
        )
    found = f"not {kind}" if lone else f"but found element of type {kind} at pos 0"
    return f"{function}(): argument '{argument}' (position 1) must be tuple of ints, {found}"


def sizes_given(function: str, argument: str, sizes: tuple, named: dict | None) -> tuple:
    """The sizes of a method, which takes them one by one, in one sequence or by name."""
    if named:
        lone = lone_keyword(function, argument, named)
        if sizes:
            raise TypeError(f"{function}() got multiple values for argument '{argument}'")
        sizes = (lone,)
    elif not sizes:
        raise TypeError(f'{function}() missing 1 required positional arguments: "{argument}"')
    return sizes_argument(sizes, function, argument)


def infer_size(shape, numel: int) -> tuple:
    """Fill in a -1; raises PyTorch's errors if the sizes do not fit."""
    known = 1
    for n in shape:
        if n.__class__ is not int or n < 0:
            break
        known *= n
    else:
        if known == numel:
            return shape
    unknown = [i for i, n in enumerate(shape) if n == -1]
    known = prod(n for n in shape if n != -1)
    bad = next((n for n in shape if n < -1), None)
    if bad is not None:
        raise RuntimeError(
            f"invalid shape dimension {bad} at index {shape.index(bad)} of shape {list(shape)}"
        )
    if len(unknown) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if unknown:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if numel % known == 0:
            i = unknown[0]
            return (*shape[:i], numel // known, *shape[i + 1 :])
    elif known == numel:
        return shape
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")


_SEQUENCES = ("size", "shape", "dims", "repeats", "sizes")


def lone_keyword(function: str, name: str, named: dict):
    """The one argument that may be given by name; raises ``TypeError`` for any other."""
    for other in named:
        if other != name:
            raise TypeError(f"{function}() got an unexpected keyword argument '{other}'")
    if name in _SEQUENCES and not isinstance(named[name], (tuple, list)):
        kind = type(named[name]).__name__
        raise TypeError(f"{function}(): argument '{name}' must be tuple of ints, not {kind}")
    return named[name]
