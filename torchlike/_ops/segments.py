"""Reductions of runs of elements, hashes, and places of non-zeros in a fixed number of rows."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dim, Dims, op, torch_dtype
from torchlike._ops.windows import layer, require_floating

# ---- segments ----------------------------------------------------------------------------------

_SCATTERED = {
    "sum": jax.ops.segment_sum, "mean": jax.ops.segment_sum, "prod": jax.ops.segment_prod,
    "max": jax.ops.segment_max, "min": jax.ops.segment_min,
}  # fmt: skip


class _Segments:
    """Data with the dimensions before the axis as one, and each element's segment.

    offsets: whether the runs are given by their edges instead of by their lengths.
    """

    def __init__(self, data, given, axis, offsets):
        self.lead, self.count = data.shape[:axis], given.shape[axis] - offsets
        self.n_rows = math.prod(self.lead)
        self.length, self.rest = data.shape[axis], data.shape[axis + 1 :]
        given = given.reshape(self.n_rows, given.shape[axis])
        lengths = jnp.diff(given, axis=1) if offsets else given
        ends = given[:, 1:] if offsets else jnp.cumsum(lengths, 1)
        places = jnp.arange(self.length)
        ids = jax.vmap(lambda e: jnp.searchsorted(e, places, side="right"))(ends)
        # What is before the first edge belongs to no segment either.
        self.ids = jnp.where(places < given[:, :1], self.count, ids) if offsets else ids
        self.lengths = lengths.reshape(self.n_rows, self.count, *[1] * len(self.rest))

    def rows(self, x):
        """The data as (rows, elements, rest)."""
        return x.reshape(self.n_rows, self.length, *self.rest)

    def reduce(self, x, how):
        """(rows, segments, rest) of (rows, elements, rest); the last segment holds the others."""
        scatter, n = _SCATTERED[how], self.count
        return jax.vmap(lambda v, i: scatter(v, i, n + 1))(x, self.ids)[:, :n]

    def spread(self, r):
        """Each element's entry of (rows, segments, rest); zero for those of no segment."""
        padded = jnp.concatenate([r, jnp.zeros_like(r[:, :1])], 1)
        return jax.vmap(lambda v, i: v[i])(padded, self.ids)

    def finish(self, r):
        """The result's shape."""
        return r.reshape(*self.lead, self.count, *self.rest)


def _segment_vjp(c, g):
    data, given = c.operands[:2]
    how = c.statics["reduce"]
    s = _Segments(data, given, c.statics["axis"], c.statics["offsets"])
    x, g = s.rows(data), g.reshape(s.n_rows, s.count, *s.rest)
    if how == "sum":
        out = s.spread(g)
    elif how == "mean":
        out = s.spread(g / jnp.maximum(s.lengths, 1).astype(g.dtype))
    elif how == "prod":
        out = _pull_product(s, x, g, c.statics["initial"])
    else:  # the extremes share the gradient evenly
        result = segment_reduce(data, given, *c.statics.values())
        hit = (x == s.spread(result.reshape(g.shape))) | jnp.isnan(x)
        share = jnp.maximum(s.reduce(hit.astype(g.dtype), "sum"), 1)
        out = jnp.where(hit, s.spread(g / share), 0)
    return out.reshape(data.shape), None


def _pull_product(s, x, g, initial):
    """Each element's gradient is the product of the others, be it zero or no number itself."""
    zero, none = x == 0, jnp.isnan(x)
    rest = jnp.where(zero | none, 1, x)
    others = s.spread(s.reduce(rest, "prod") * (1 if initial is None else initial)) / rest
    zeros, nones = (s.spread(s.reduce(y.astype(jnp.int32), "sum")) - y for y in (zero, none))
    return s.spread(g) * jnp.where(nones > 0, jnp.nan, jnp.where(zeros > 0, 0, others))


@layer("segment_reduce", vjp=_segment_vjp)
def segment_reduce(data, given, reduce: str, axis: Dim, initial: float, offsets: bool):
    """Each run of elements along ``axis`` reduced to one."""
    require_floating(data, "_segment_reduce_cpu")
    s = _Segments(data, given, axis, offsets)
    result = s.reduce(s.rows(data), reduce)
    if initial is not None:
        start = jnp.asarray(initial, result.dtype)
        combine = {"prod": jnp.multiply, "max": jnp.maximum, "min": jnp.minimum}
        result = combine.get(reduce, jnp.add)(result, start)
    if reduce == "mean":
        empty = jnp.nan if initial is None else initial
        share = result / jnp.maximum(s.lengths, 1).astype(result.dtype)
        result = jnp.where(s.lengths == 0, jnp.asarray(empty, result.dtype), share)
    return s.finish(result).astype(data.dtype)


# ---- others ------------------------------------------------------------------------------------


@op("nonzero_static", differentiable=False, numbers=())
def nonzero_static(input, *, size: int, fill_value: int):
    """Indices of the first ``size`` elements that are not zero, one row an element."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    if not input.ndim:
        return jnp.zeros((size, 0), jnp.int64)
    if not input.size:
        return jnp.full((size, input.ndim), fill_value, jnp.int64)
    found = jnp.argwhere(input != 0, size=size, fill_value=fill_value)
    return found.astype(jnp.int64)


@op("hash_tensor", differentiable=False, numbers=())
def hash_tensor(input, dim: Dims, keepdim: bool):
    """The exclusive or of the elements' bits, as float64 or as int64."""
    d = torch_dtype(input)
    if d.category >= dt.COMPLEX:
        raise NotImplementedError(f"\"hash_cpu\" not implemented for '{dt.SCALAR_NAMES[d]}'")
    wide = input.astype(jnp.float64 if d.category == dt.FLOATING else jnp.int64)
    bits = lax.bitcast_convert_type(wide, jnp.uint64)
    result = lax.reduce(bits, jnp.zeros((), jnp.uint64), lax.bitwise_xor, dim)
    return jnp.expand_dims(result, dim) if keepdim else result
