"""torch._higher_order_ops.associative_scan: all prefixes, combined in logarithmic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torchlike._higher_order_ops._functions as f
from torchlike._core.errors import NotTraceable
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees

__all__ = ["associative_scan"]


def associative_scan(
    combine_fn: Callable[[Any, Any], Any],
    xs: Any,
    dim: int,
    reverse: bool = False,
    combine_mode: str = "pointwise",
) -> Tensor:
    """The running ``combine_fn`` of slices along ``dim``, as ``lax.associative_scan``
    (https://docs.jax.dev/en/latest/_autosummary/jax.lax.associative_scan.html).

    combine_fn    associative, of two trees like a slice of ``xs``
    combine_mode  "pointwise" and "generic" are computed alike, on every device

    Raises ``ValueError`` for arguments of the wrong kind, and ``RuntimeError`` for results of
    other shapes and dtypes than the slices.
    """
    if not callable(combine_fn):
        raise ValueError(f"Combine_fn must be a callable, but got {combine_fn}")
    if not isinstance(reverse, bool):
        raise RuntimeError(f"Reverse must be a bool, but got {type(reverse)}")
    if not isinstance(dim, int):
        raise ValueError(f"Dim must be an int, but got {type(dim)}")
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(
            f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}"
        )
    given, spec = trees.flatten(xs)
    if not given:
        raise ValueError("Expected at least 1 xs leaf")
    if any(not isinstance(x, Tensor) for x in given):
        raise ValueError(f"xs leaves must be tensors, but got {given}")
    dim = f.dimension(dim, given[0].ndim)
    if any(x.ndim <= dim or x.shape[dim] == 0 for x in given):
        raise ValueError(
            "All xs leaves must at least have 'dim' number of dimensions and scan dimension > 0"
        )
    if len({x.shape[dim] for x in given}) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{[x.shape[dim] for x in given]} for the mapped dimension"
        )
    given = [x.movedim(dim, 0) if dim else x for x in given]

    def flat(*tensors):
        n = len(given)
        return combine_fn(trees.unflatten(tensors[:n], spec), trees.unflatten(tensors[n:], spec))

    try:
        out = _loop(flat, given, spec, reverse)
    except NotTraceable as error:
        f.eager(error, given)
        out = _in_python(flat, given, reverse)
    return trees.unflatten([y.movedim(0, dim) if dim else y for y in out], spec)


def _loop(flat, given, spec, reverse) -> list:
    avals = f.avals_of([x[0] for x in given])
    recorded = f.record_loop(flat, [*avals, *avals], given)
    if recorded.spec != spec or len(recorded.at) != len(given):
        raise AssertionError(
            f"Combine_fn received wrong number of arguments, expected {len(given)}, but got "
            f"{len(recorded.leaves)}"
        )
    f.same_metadata(recorded.leaves, avals, ("combine_fn's output", "xs"))
    statics = (recorded.body, len(given), bool(reverse))
    return f.call("associative_body", [*given, *recorded.extra], statics)


def _in_python(flat, given, reverse) -> list:
    length = given[0].shape[0]
    order = range(length)[::-1] if reverse else range(length)
    rows: list = [None] * length
    last = None
    for i in order:
        row = [x[i] for x in given]
        last = row if last is None else trees.flatten(flat(*last, *row))[0]
        rows[i] = last
    return [FUNCTIONS["stack"](parts) for parts in zip(*rows, strict=True)]
