"""torch._higher_order_ops.scan: a function with a carry, over a dimension of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torchlike._higher_order_ops._functions as f
from torchlike._core.errors import NotTraceable
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees

__all__ = ["scan"]


def scan(
    combine_fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    *,
    dim: int = 0,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """(last carry, ys) of ``carry, y = combine_fn(carry, x)`` over the slices of ``xs``, as one
    ``lax.scan`` (https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html).

    init     tree of tensors
    xs       tree of tensors of the same length along ``dim``; ys are stacked along it
    reverse  whether to begin at the last slice

    Raises ``RuntimeError`` for an empty ``init``, and a carry of another shape or dtype.
    """
    if not callable(combine_fn):
        raise RuntimeError(f"Combine_fn must be a callable, but got {combine_fn}")
    if not isinstance(dim, int):
        raise TypeError(f"Dim must be an int, but got {type(dim)}")
    if not isinstance(reverse, bool):
        raise RuntimeError(f"Reverse must be a bool, but got {type(reverse)}")
    carries, carry_spec = trees.flatten(init)
    given, spec = trees.flatten(xs)
    if not carries:
        raise RuntimeError("scan() operator requires init leaves.")
    for name, leaves in (("init", carries), ("xs", given)):
        for x in leaves:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"All {name} leaves must be a Tensor but got {x}")
    if not given:
        return init, []
    dim = f.dimension(dim, given[0].ndim)
    if any(x.ndim <= dim or x.shape[dim] == 0 for x in given):
        raise RuntimeError(
            "All xs leaves must at least have 'dim' number of dimensions and scan dimension > 0"
        )
    if len({x.shape[dim] for x in given}) > 1:
        raise RuntimeError("All xs leaves must have the same length in the scan dimension")
    given = [x.movedim(dim, 0) if dim else x for x in given]

    def flat(*tensors):
        carry = trees.unflatten(tensors[: len(carries)], carry_spec)
        found = combine_fn(carry, trees.unflatten(tensors[len(carries) :], spec))
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise RuntimeError(
                "Expected init and carry to have same number of outputs: combine_fn must return "
                f"a tuple (carry, y), but it returned {type(found)}"
            )
        return tuple(found)

    try:
        carry, ys = _loop(flat, carries, given, reverse)
    except NotTraceable as error:
        f.eager(error, [*carries, *given])
        carry, ys = _in_python(flat, carries, given, reverse)
    return carry, trees.map_tree(lambda y: y.movedim(0, dim), ys) if dim else ys


def _loop(flat, carries, given, reverse):
    rows = f.avals_of([x[0] for x in given])
    avals = f.avals_of(carries)
    recorded = f.record_loop(flat, [*avals, *rows], [*carries, *given])
    spec, count = recorded.spec, len(carries)
    if len(recorded.at) != len(recorded.leaves):
        other = next(x for i, x in enumerate(recorded.leaves) if i not in recorded.at)
        raise RuntimeError(f"combine_fn must return tensors only, but it returned {other!r}")
    carry = recorded.leaves[: spec.parts[0].num_leaves]  # of any structure, as in PyTorch
    f.same_metadata(avals, carry, ("init", "carry"))
    operands = [*carries, *given, *recorded.extra]
    statics = (recorded.body, count, len(given), bool(reverse))
    out = f.call("scan_body", operands, statics)
    for i in range(count, len(out)):
        if not recorded.traced.seen[i]:
            out[i] = out[i].detach()
    return trees.unflatten(out, spec)


def _in_python(flat, carries, given, reverse):
    length = given[0].shape[0]
    rows: list = [None] * length
    for i in reversed(range(length)) if reverse else range(length):
        carry, y = flat(*carries, *[x[i] for x in given])
        carries = trees.flatten(carry)[0]
        rows[i], spec = trees.flatten(y)
    ys = [FUNCTIONS["stack"](parts) for parts in zip(*rows, strict=True)]
    return carry, trees.unflatten(ys, spec)
