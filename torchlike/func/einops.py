"""func.rearrange: permute, split and merge dimensions by a pattern of names."""

from __future__ import annotations

import re
from math import prod

from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor

_TOKEN = re.compile(r"\.\.\.|[()]|[^\s()]+")


def rearrange(
    tensor: Tensor | list[Tensor] | tuple[Tensor, ...], pattern: str, **axes_lengths: int
) -> Tensor:
    """A tensor whose dimensions are reordered, split and merged as ``pattern`` says, e.g.
    ``"b (h d) t -> b h t d"`` with ``h=4`` (https://einops.rocks/api/rearrange/).

    ``...`` stands for all other dimensions, ``1`` or ``()`` for one of size 1; a list of tensors is
    stacked first. Raises ``ValueError`` for a pattern that does not fit.
    """
    if not isinstance(tensor, Tensor):
        tensor = FUNCTIONS["stack"](list(tensor))
    left, right = _sides(pattern)
    rank = tensor.ndim
    _check_names(left, right, axes_lengths)
    if ... in left:
        if len(left) - 1 > rank:
            raise ValueError(
                f"Number of dimensions in pattern ({len(left) - 1}) must be less than or equal to "
                f"the number of dimensions in the tensor ({rank})"
            )
        at = left.index(...)
        others = [f"_{i}" for i in range(rank - len(left) + 1)]
        left = [*left[:at], *[[n] for n in others], *left[at + 1 :]]
        right = [_spread(group, others) for group in right]
        right = [g for group in right for g in group]
    elif len(left) != rank:
        raise ValueError(
            f"Number of dimensions in pattern ({len(left)}) must be equal to the number of "
            f"dimensions in the tensor ({rank})"
        )
    sizes = _sizes(left, tuple(tensor.shape), axes_lengths)
    names = [n for group in left for n in group]
    split = tensor.reshape([sizes[n] for n in names])
    order = [names.index(n) for group in right for n in group]
    moved = split.permute(order) if order else split.reshape(())
    return moved.reshape([prod(sizes[n] for n in group) for group in right])


def _spread(group, others) -> list:
    """A group of the right side with the names that ``...`` stands for."""
    if group is ...:
        return [[n] for n in others]
    return [[m for n in group for m in (others if n is ... else [n])]]


def _sides(pattern: str) -> tuple[list, list]:
    parts = pattern.split("->")
    if len(parts) != 2:
        raise ValueError("Pattern must contain a single '->' separator")
    return _groups(parts[0]), _groups(parts[1])


def _groups(text: str) -> list:
    """The dimensions of one side, each a list of names, or Ellipsis; a 1 is no name."""
    if "." in text and (text.count("...") != 1 or text.count(".") != 3):
        raise ValueError("Expression may contain dots only inside ellipsis (...)")
    out: list = []
    inside = None
    for token in _TOKEN.findall(text):
        if token == "(":
            if inside is not None:
                raise ValueError(
                    "Axis composition is one-level (brackets inside brackets not allowed)"
                )
            inside = []
        elif token == ")":
            if inside is None:
                raise ValueError(f"Imbalanced parentheses in expression: '{text.strip()}'")
            out.append(inside)
            inside = None
        else:
            names = _names(token)
            if inside is None:
                out.append(... if token == "..." else names)
            else:
                inside += names
    if inside is not None:
        raise ValueError(f"Imbalanced parentheses in expression: '{text.strip()}'")
    return out


def _names(token: str) -> list:
    if token == "...":
        return [...]
    if token == "1":
        return []
    if token.isdecimal():
        raise ValueError(f"Invalid axis identifier: {token}: only 1 may stand for itself")
    if not token.isidentifier() or token[0] == "_" or token[-1] == "_":
        raise ValueError(
            f"Invalid axis identifier: {token}: a name of letters and digits is needed, which "
            "does not start or end with underscore"
        )
    return [token]


def _check_names(left, right, lengths) -> None:
    sides = [
        [n for group in side for n in ([...] if group is ... else group)] for side in (left, right)
    ]
    for names in sides:
        for n in names:
            if names.count(n) > 1:
                shown = "..." if n is ... else n
                raise ValueError(f"Indexing expression contains duplicate dimension '{shown}'")
    different = set(sides[0]) ^ set(sides[1])
    if different:
        raise ValueError(
            f"Identifiers only on one side of rearrange expression (should be on both): {different}"
        )
    unknown = set(lengths) - set(sides[0])
    if unknown:
        raise ValueError(f"Identifiers not found in rearrange expression: {unknown}")


def _sizes(left, shape, lengths) -> dict:
    """The size of each name; raises where a group's cannot be told, or do not fit."""
    sizes = dict(lengths)
    for group, n in zip(left, shape, strict=True):
        free = [name for name in group if name not in sizes]
        known = prod(sizes[name] for name in group if name in sizes)
        if len(free) > 1:
            raise ValueError(f"cannot infer the sizes of {len(free)} dimensions at once: {free}")
        if not free:
            if known != n:
                raise ValueError(f"dimensions {group} of {known} elements do not fit in {n}")
        elif known == 0 or n % known:
            raise ValueError(
                f"inferred dimension does not evenly fit into larger dimension: {n} vs {group}"
            )
        else:
            sizes[free[0]] = n // known
    return sizes
