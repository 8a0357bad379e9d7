"""Shapes of ops that take milliseconds to trace, for calls that are plainly valid.

A training script calls each of these with a shape of its own, a generating one with a new length at
each word: attention took 7 ms a length, and a rule takes microseconds. All else is left to the op.
"""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.inference import shape_rule
from torchlike._ops.table import TABLE

_FLOATS = frozenset((dt.float16, dt.bfloat16, dt.float32, dt.float64))


def _named(name: str, statics: tuple) -> dict:
    """The static arguments of a call by their names."""
    return dict(zip([p.name for p in TABLE[name].statics], statics, strict=True))


def _reduced(shape: tuple, reduction: str) -> tuple | None:
    return {"none": shape, "mean": (), "sum": ()}.get(reduction)


# ---- creation ----------------------------------------------------------------------------------


@shape_rule("arange", "full")
def _filled(statics, in_avals):
    size, dtype = statics
    return [(tuple(size), dtype)] if min(size, default=0) >= 0 and dtype is not None else None


@shape_rule("triu", "tril")
def _triangle(statics, in_avals):
    (x,) = in_avals
    return [(x.shape, x.dtype)] if x.ndim >= 2 and statics[0].__class__ is int else None


# ---- writing -----------------------------------------------------------------------------------

# Views of these read numbers of another dtype than their base has.
_RETYPES = frozenset(("real", "imag", "conj_view", "view_as_real", "view_as_complex", "view_dtype"))


@shape_rule("write_view")
def _write_view(statics, in_avals):
    (links,), (base, new, *_) = statics, in_avals
    if base.dtype is not new.dtype or any(link[0] in _RETYPES for link in links):
        return None
    return [(base.shape, base.dtype)]


# ---- gradients ---------------------------------------------------------------------------------


@shape_rule("total_norm")
def _total_norm(statics, in_avals):
    kinds = {a.dtype for a in in_avals}
    return [((), *kinds)] if len(kinds) == 1 and kinds <= _FLOATS else None


@shape_rule("clip_to_norm")
def _clip_to_norm(statics, in_avals):
    *arrays, total = in_avals
    ours = total.dtype in _FLOATS and all(a.dtype in _FLOATS for a in arrays)
    return [(a.shape, a.dtype) for a in arrays] if ours and total.shape == () else None


@shape_rule("clip_to_value")
def _clip_to_value(statics, in_avals):
    ours = all(a.dtype in _FLOATS for a in in_avals)
    return [(a.shape, a.dtype) for a in in_avals] if ours else None


# ---- losses ------------------------------------------------------------------------------------


def _over_classes(name: str):
    def rule(statics, in_avals):
        x, target, weight = in_avals
        given = _named(name, statics)
        shape = (x.shape[0], *x.shape[2:])
        if x.ndim < 2 or 0 in x.shape or target.shape != shape or target.dtype is not dt.int64:
            return None
        if x.dtype not in _FLOATS or not 0 <= given.get("label_smoothing", 0) <= 1:
            return None
        if weight is not None and (weight.shape != x.shape[1:2] or weight.dtype is not x.dtype):
            return None
        out = _reduced(shape, given["reduction"])
        return None if out is None else [(out, x.dtype)]

    shape_rule(name)(rule)


_over_classes("cross_entropy")
_over_classes("nll_loss")


def _elementwise(name: str, positive: str | None = None):
    def rule(statics, in_avals):
        x, target, *others = in_avals
        given = _named(name, statics)
        if x.dtype not in _FLOATS or target is not x or any(o is not None for o in others):
            return None
        if positive is not None and not given[positive] > 0:
            return None
        out = _reduced(x.shape, given["reduction"])
        return None if out is None else [(out, x.dtype)]

    shape_rule(name)(rule)


_elementwise("mse_loss")
_elementwise("l1_loss")
_elementwise("smooth_l1_loss", "beta")
_elementwise("huber_loss", "delta")
_elementwise("binary_cross_entropy")
_elementwise("binary_cross_entropy_with_logits")


# ---- attention, maxima -------------------------------------------------------------------------


@shape_rule("scaled_dot_product_attention")
def _attention(statics, in_avals):
    query, key, value, mask, dropped, _ = in_avals
    lead, rows, keys = query.shape[:-2], query.shape[-2], key.shape[-2]
    if query.dtype not in _FLOATS or not query.dtype is key.dtype is value.dtype:
        return None
    if not lead == key.shape[:-2] == value.shape[:-2] or value.shape[-2] != keys:
        return None
    if query.shape[-1] != key.shape[-1] or 0 in key.shape or statics[2]:
        return None
    whole = (*lead, rows, keys)
    if dropped is not None and (dropped.shape != whole or dropped.dtype is not query.dtype):
        return None
    if mask is not None:
        if mask.dtype not in (dt.bool_, query.dtype):
            return None
        if np.broadcast_shapes(mask.shape, whole) != whole:
            return None
    return [((*query.shape[:-1], value.shape[-1]), query.dtype)]


@shape_rule("max_dim", "min_dim")
def _extreme(statics, in_avals):
    (x,), (dim, keepdim) = in_avals, statics
    dim = dim + x.ndim if dim < 0 else dim
    if not 0 <= dim < x.ndim or not x.shape[dim] or x.dtype.category >= dt.COMPLEX:
        return None
    kept = (1,) if keepdim else ()
    shape = (*x.shape[:dim], *kept, *x.shape[dim + 1 :])
    return [(shape, x.dtype), (shape, dt.int64)]
