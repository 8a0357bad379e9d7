"""torch._higher_order_ops.map: a function of each slice of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torchlike._higher_order_ops._functions as f
from torchlike._core.errors import NotTraceable
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees

__all__ = ["map"]


def map(f: Callable[[Any, tuple[Any, ...]], Any], xs: Any | Tensor, *args):
    """``f(x, *args)`` for each slice ``x`` of the first dimension of ``xs``, stacked: one
    ``lax.scan`` (https://docs.jax.dev/en/latest/_autosummary/jax.lax.map.html).

    ``f`` returns a tree of tensors and of None, which stays None. Raises ``RuntimeError`` if the
    tensors of ``xs`` differ in length, or have none.
    """
    return _map(f, xs, args)


def _map(function, xs, args):
    given, spec = trees.flatten(xs)
    if not given or any(not isinstance(x, Tensor) for x in given):
        raise RuntimeError(f"Mapped xs can only consist of tensors. Got xs {given}.")
    if any(not x.ndim for x in given):
        raise IndexError("Mapped xs must have a leading dimension, but one has none")
    if len({x.shape[0] for x in given}) > 1:
        raise RuntimeError(
            "Leading dimensions of mapped xs must be consistent. Got shapes "
            f"{[x.shape for x in given]}."
        )
    if given[0].shape[0] == 0:
        raise RuntimeError("Leading dimensions of mapped xs cannot be 0.")
    others, other_spec = trees.flatten(tuple(args))
    at = [i for i, x in enumerate(others) if isinstance(x, Tensor)]

    def flat(*tensors):
        full = list(others)
        for i, t in zip(at, tensors[len(given) :], strict=True):
            full[i] = t
        row = trees.unflatten(tensors[: len(given)], spec)
        return function(row, *trees.unflatten(full, other_spec))

    shared = [others[i] for i in at]
    try:
        return _loop(flat, given, shared)
    except NotTraceable as error:
        f.eager(error, [*given, *shared])
    found = [trees.flatten(flat(*[x[i] for x in given], *shared)) for i in range(len(given[0]))]
    columns = zip(*[x for x, _ in found], strict=True)
    stacked = [None if parts[0] is None else FUNCTIONS["stack"](parts) for parts in columns]
    return trees.unflatten(stacked, found[0][1])


def _loop(flat, given, shared):
    # What all slices share is not carried: the body captures it.
    row_avals = f.avals_of([x[0] for x in given])
    recorded = f.record_loop(lambda *rows: flat(*rows, *shared), row_avals, [*given, *shared])
    if any(x is not None for i, x in enumerate(recorded.leaves) if i not in recorded.at):
        raise RuntimeError("Expected all leaves to be of torch.Tensor type.")
    if not recorded.at:
        return recorded.restore([])
    statics = (recorded.body, 0, len(given), False)
    out = f.call("scan_body", [*given, *recorded.extra], statics)
    return recorded.restore(out)
