"""NumPy twins and shape rules of further reductions, running sums, orders and rearrangements.

They take a new shape in 10 to 50 us, where an op that has to be traced takes 0.5 to 3 ms.
"""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.inference import broadcast, shape_rule
from torchlike._engine.twins import REAL, TWINS, reduced, twin_of
from torchlike._ops.dims import axes, axis

_INTEGERS = frozenset((dt.int8, dt.int16, dt.int32, dt.int64, dt.uint8))
_PLAIN = REAL | _INTEGERS  # what NumPy orders as PyTorch does


def _all_of(dim):
    """The dimensions as ``axes`` takes them: no dimensions at all are all of them."""
    return None if dim.__class__ is tuple and not dim else dim


def _kept(in_avals) -> bool:
    """Whether the one operand is plain and has elements."""
    x = in_avals[0]
    return x.dtype in _PLAIN and x.numel > 0


# ---- reductions --------------------------------------------------------------------------------


@shape_rule("amax", "amin")
def _amax_shape(statics, in_avals):
    (x,), (dim, keepdim) = in_avals, statics
    return [(reduced(x, _all_of(dim), keepdim), x.dtype)] if _kept(in_avals) else None


@shape_rule("max", "min")
def _max_shape(statics, in_avals):
    return [((), in_avals[0].dtype)] if _kept(in_avals) else None


def _extreme(ufunc):
    def build(statics, in_avals, avals):
        if not _kept(in_avals):
            return None
        dim, keepdim = statics or (None, False)
        at = axes(_all_of(dim), in_avals[0].ndim)
        return lambda x: (ufunc.reduce(x, at, keepdims=keepdim),)

    return build


TWINS["amax"] = TWINS["max"] = _extreme(np.maximum)
TWINS["amin"] = TWINS["min"] = _extreme(np.minimum)


@shape_rule("all", "any")
def _all_shape(statics, in_avals):
    (x,), (dim, keepdim) = in_avals, statics
    if x.dtype is dt.uint8 or (dim.__class__ is tuple and not dim):
        return None
    return [(reduced(x, dim, keepdim), dt.bool_)]


def _truth(ufunc):
    def build(statics, in_avals, avals):
        (x,), (dim, keepdim) = in_avals, statics
        if x.dtype not in _PLAIN | {dt.bool_} or x.dtype is dt.uint8:
            return None
        if dim.__class__ is tuple and not dim:  # nothing is reduced
            return None
        at = axes(dim, x.ndim)
        if x.dtype is dt.bool_:
            return lambda x: (ufunc.reduce(x, at, keepdims=keepdim),)
        return lambda x: (ufunc.reduce(x != 0, at, keepdims=keepdim),)

    return build


TWINS["all"], TWINS["any"] = _truth(np.logical_and), _truth(np.logical_or)


@shape_rule("count_nonzero")
def _count_shape(statics, in_avals):
    return [(reduced(in_avals[0], statics[0], False), dt.int64)]


@twin_of("count_nonzero")
def _count(statics, in_avals, avals):
    (x,), (dim,) = in_avals, statics
    if x.dtype not in _PLAIN | {dt.bool_}:
        return None
    at = axes(dim, x.ndim)
    return lambda x: (np.add.reduce(x != 0, at, np.int64),)


@shape_rule("prod")
def _prod_shape(statics, in_avals):
    (x,), (dim, keepdim, dtype) = in_avals, statics
    if dtype is not None or x.dtype not in _PLAIN | {dt.bool_}:
        return None
    out = dt.int64 if x.dtype.category < dt.FLOATING else x.dtype
    return [(reduced(x, None if dim is None else axis(dim, x.ndim), keepdim), out)]


@twin_of("prod")
def _prod(statics, in_avals, avals):
    if _prod_shape(statics, in_avals) is None:
        return None
    (x,), (dim, keepdim, _) = in_avals, statics
    at, d = None if dim is None or not x.ndim else axis(dim, x.ndim), avals[0].dtype.numpy
    return lambda x: (np.multiply.reduce(x, at, d, keepdims=keepdim),)


@shape_rule("var", "std")
def _var_shape(statics, in_avals):
    (x,), (dim, correction, keepdim) = in_avals, statics
    at = axes(_all_of(dim), x.ndim)
    n = x.numel if at is None else prod(x.shape[d] for d in at)
    if x.dtype not in REAL or not x.numel or n <= correction:
        return None
    return [(reduced(x, _all_of(dim), keepdim), x.dtype)]


def _spread(root: bool):
    def build(statics, in_avals, avals):
        if _var_shape(statics, in_avals) is None:
            return None
        (x,), (dim, correction, keepdim) = in_avals, statics
        at, number = axes(_all_of(dim), x.ndim), x.dtype.numpy.type
        n = x.numel if at is None else prod(x.shape[d] for d in at)
        n, free = number(n), number(n - correction)

        def spread(x):
            x = x - np.add.reduce(x, at, keepdims=True) / n
            out = np.add.reduce(x * x, at, keepdims=keepdim) / free
            return (np.sqrt(out) if root else out,)

        return spread

    return build


TWINS["var"], TWINS["std"] = _spread(False), _spread(True)


@shape_rule("norm")
def _norm_shape(statics, in_avals):
    (x,), (p, dim, keepdim, dtype) = in_avals, statics
    if p != 2 or dtype is not None or x.dtype not in REAL or not x.numel:
        return None
    return [(reduced(x, _all_of(dim), keepdim), x.dtype)]


@twin_of("norm")
def _norm(statics, in_avals, avals):
    if _norm_shape(statics, in_avals) is None:
        return None
    (x,), (_, dim, keepdim, _) = in_avals, statics
    at = axes(_all_of(dim), x.ndim)
    return lambda x: (np.sqrt(np.add.reduce(x * x, at, keepdims=keepdim)),)


@shape_rule("logsumexp")
def _logsumexp_shape(statics, in_avals):
    (x,), (dim, keepdim) = in_avals, statics
    return [(reduced(x, dim, keepdim), x.dtype)] if x.dtype in REAL and x.numel else None


@twin_of("logsumexp")
def _logsumexp(statics, in_avals, avals):
    if _logsumexp_shape(statics, in_avals) is None:
        return None
    at, shape = axes(statics[0], in_avals[0].ndim), avals[0].shape

    def logsumexp(x):
        largest = np.maximum.reduce(x, at, keepdims=True)
        largest = np.where(np.isfinite(largest), largest, np.zeros((), x.dtype))
        total = np.log(np.add.reduce(np.exp(x - largest), at, keepdims=True)) + largest
        return (total.reshape(shape),)

    return logsumexp


# ---- running sums, orders ----------------------------------------------------------------------


@shape_rule("cumsum", "cumprod")
def _cumsum_shape(statics, in_avals):
    (x,), (dim, dtype) = in_avals, statics
    if dtype is not None or x.dtype not in _PLAIN or not x.ndim:
        return None
    axis(dim, x.ndim)
    return [(x.shape, dt.int64 if x.dtype.category < dt.FLOATING else x.dtype)]


def _running(ufunc):
    def build(statics, in_avals, avals):
        if _cumsum_shape(statics, in_avals) is None:
            return None
        at, d = axis(statics[0], in_avals[0].ndim), avals[0].dtype.numpy
        return lambda x: (ufunc.accumulate(x, at, d),)

    return build


TWINS["cumsum"], TWINS["cumprod"] = _running(np.add), _running(np.multiply)


def _order(x, at: int, largest: bool):
    """The places of elements in order, equal ones as they stand; nan is the largest."""
    if not largest:
        return np.argsort(x, at, "stable")
    back = (*[slice(None)] * at, slice(None, None, -1))
    return x.shape[at] - 1 - np.argsort(x[back], at, "stable")[back]


@shape_rule("sort")
def _sort_shape(statics, in_avals):
    (x,), dim = in_avals, statics[0]
    if x.dtype not in _PLAIN or not x.ndim:
        return None
    axis(dim, x.ndim)
    return [(x.shape, x.dtype), (x.shape, dt.int64)]


@shape_rule("argsort")
def _argsort_shape(statics, in_avals):
    found = _sort_shape(statics, in_avals)
    return found and found[1:]


def _sorting(values: bool):
    def build(statics, in_avals, avals):
        if _sort_shape(statics, in_avals) is None:
            return None
        at, descending = axis(statics[0], in_avals[0].ndim), statics[1]

        def sort(x):
            order = _order(x, at, descending)
            return (np.take_along_axis(x, order, at), order) if values else (order,)

        return sort

    return build


TWINS["sort"], TWINS["argsort"] = _sorting(True), _sorting(False)


@shape_rule("topk")
def _topk_shape(statics, in_avals):
    (x,), (k, dim, _, _) = in_avals, statics
    if x.dtype not in _PLAIN or not x.ndim:
        return None
    at = axis(dim, x.ndim)
    if not 0 <= k <= x.shape[at]:
        return None
    shape = (*x.shape[:at], k, *x.shape[at + 1 :])
    return [(shape, x.dtype), (shape, dt.int64)]


@twin_of("topk")
def _topk(statics, in_avals, avals):
    if _topk_shape(statics, in_avals) is None:
        return None
    k, dim, largest, _ = statics
    at = axis(dim, in_avals[0].ndim)
    first = (*[slice(None)] * at, slice(0, k))

    def topk(x):
        order = _order(x, at, largest)[first]
        return np.take_along_axis(x, order, at), order

    return topk


@shape_rule("searchsorted")
def _search_shape(statics, in_avals):
    (sequence, values, sorter), (_, short) = in_avals, statics
    if sorter is not None or sequence.ndim != 1 or values.dtype is not sequence.dtype:
        return None
    if sequence.dtype not in _PLAIN or not hasattr(values, "shape"):
        return None
    return [(values.shape, dt.int32 if short else dt.int64)]


@twin_of("searchsorted")
def _search(statics, in_avals, avals):
    if _search_shape(statics, in_avals) is None or not in_avals[0].numel:
        return None
    right, d = statics[0], avals[0].dtype.numpy
    side = "right" if right else "left"

    def search(a, v):
        if np.all(a[1:] >= a[:-1]) and a[-1] == a[-1]:
            found = np.searchsorted(a, v, side)
        else:  # the way there decides upon the result, as in the op
            found, high = np.zeros(v.shape, np.int64), np.full(v.shape, len(a), np.int64)
            for _ in range(len(a).bit_length()):
                middle = found + (high - found) // 2
                there = a[np.minimum(middle, len(a) - 1)]
                after = ~(there > v) if right else ~(there >= v)
                after, before = after & (found < high), ~after & (found < high)
                found, high = np.where(after, middle + 1, found), np.where(before, middle, high)
        return (np.asarray(found).astype(d, copy=False),)

    return search


# ---- rearrangements ----------------------------------------------------------------------------


@shape_rule("flip")
def _flip_shape(statics, in_avals):
    axes(statics[0], in_avals[0].ndim)
    return [(in_avals[0].shape, in_avals[0].dtype)]


@twin_of("flip")
def _flip(statics, in_avals, avals):
    dims = statics[0]
    at = axes(dims, in_avals[0].ndim) if dims != () else ()
    return lambda x: (np.flip(x, at),)


@shape_rule("roll_dims")
def _roll_shape(statics, in_avals):
    (x,), (shifts, dims) = in_avals, statics
    if len(shifts) != len(dims) or not all(-x.ndim <= d < x.ndim for d in dims):
        return None
    return [(x.shape, x.dtype)]


@twin_of("roll_dims")
def _roll(statics, in_avals, avals):
    if _roll_shape(statics, in_avals) is None:
        return None
    shifts, dims = statics
    return lambda x: (np.roll(x, shifts, dims),)


@shape_rule("repeat")
def _repeat_shape(statics, in_avals):
    (x,), (repeats,) = in_avals, statics
    if len(repeats) < x.ndim or min(repeats, default=0) < 0:
        return None
    shape = (1,) * (len(repeats) - x.ndim) + x.shape
    return [(tuple([n * r for n, r in zip(shape, repeats, strict=True)]), x.dtype)]


@twin_of("repeat")
def _repeat(statics, in_avals, avals):
    if _repeat_shape(statics, in_avals) is None:
        return None
    return lambda x: (np.tile(x, statics[0]),)


def _triangle(keep):
    def build(statics, in_avals, avals):
        (x,), (diagonal,) = in_avals, statics
        if x.dtype not in _PLAIN | {dt.bool_} or x.ndim < 2:
            return None
        return lambda x: (keep(x, diagonal),)

    return build


TWINS["tril"], TWINS["triu"] = _triangle(np.tril), _triangle(np.triu)


@shape_rule("dot")
def _dot_shape(statics, in_avals):
    a, b = in_avals
    if a.ndim != 1 or a.shape != b.shape or a.dtype is not b.dtype or a.dtype not in REAL:
        return None
    return [((), a.dtype)]


@twin_of("dot")
def _dot(statics, in_avals, avals):
    return (lambda a, b: (np.dot(a, b),)) if _dot_shape(statics, in_avals) else None


@shape_rule("outer")
def _outer_shape(statics, in_avals):
    a, b = in_avals
    if a.ndim != 1 or b.ndim != 1 or a.dtype is not b.dtype or a.dtype not in _PLAIN:
        return None
    return [((*a.shape, *b.shape), a.dtype)]


@twin_of("outer")
def _outer(statics, in_avals, avals):
    return (lambda a, b: (a[:, None] * b,)) if _outer_shape(statics, in_avals) else None


@twin_of("arange")
def _arange(statics, in_avals, avals):
    (size, dtype), (start, step) = statics, in_avals
    if dtype.category >= dt.FLOATING or dtype is dt.bool_ or {start, step} - {int}:
        return None
    n, d = size[0], dtype.numpy
    return lambda a, b: ((a + np.arange(n) * b).astype(d, copy=False),)


@twin_of("masked_fill_value")
def _masked_fill(statics, in_avals, avals):
    x, mask, number = in_avals
    if x.dtype not in REAL or mask.dtype is not dt.bool_ or number not in (int, float):
        return None
    d = x.dtype.numpy
    return lambda x, m, v: (np.where(m, v.astype(d), x),)


@shape_rule("masked_fill_value")
def _masked_fill_shape(statics, in_avals):
    x, mask = in_avals[:2]
    if mask.dtype is not dt.bool_ or x.dtype not in REAL:
        return None
    shape = broadcast((x, mask))
    return None if shape is None else [(shape, x.dtype)]


def _error(value):
    def build(statics, in_avals, avals):
        x, y, *weight = in_avals
        if x.shape != y.shape or x.dtype is not y.dtype or x.dtype not in REAL:
            return None
        if any(w is not None for w in weight) or not x.numel:
            return None
        (reduction,) = statics
        n = x.dtype.numpy.type(x.numel if reduction == "mean" else 1)
        if reduction == "none":
            return lambda x, y: (value(x - y),)
        return lambda x, y: (np.add.reduce(value(x - y), None) / n,)

    return build


TWINS["mse_loss"], TWINS["l1_loss"] = _error(lambda e: e * e), _error(np.abs)
