"""Ops that make tensors from nothing but statics and numbers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.core import max_dim

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.table import Dim, Dtype, Shape, op


@op("full", differentiable=False, promotes="raw")
def full(fill_value, size: Shape, dtype: Dtype):
    """A tensor of one number."""
    value = fill_value.array if hasattr(fill_value, "kind") else fill_value
    return jnp.broadcast_to(_cast(value, dtype), size)


def _cast(value, dtype):
    if dtype.category == dt.BOOL:
        return value != 0
    return value.astype(dtype.numpy)


@op("zeros", differentiable=False)
def zeros(size: Shape, dtype: Dtype):
    """A tensor of zeros."""
    return jnp.zeros(size, dtype.numpy)


@op("ones", differentiable=False)
def ones(size: Shape, dtype: Dtype):
    """A tensor of ones."""
    return jnp.ones(size, dtype.numpy)


def _like_shape(statics, in_avals):
    return [(in_avals[0].shape, statics[0] or in_avals[0].dtype)]


@op("zeros_like", differentiable=False, shapes=_like_shape)
def zeros_like(input, dtype: Dtype):
    """Zeros of the operand's shape."""
    return jnp.zeros(input.shape, dtype.numpy if dtype else input.dtype)


@op("ones_like", differentiable=False, shapes=_like_shape)
def ones_like(input, dtype: Dtype):
    """Ones of the operand's shape."""
    return jnp.ones(input.shape, dtype.numpy if dtype else input.dtype)


@op("full_like", differentiable=False, promotes="raw")
def full_like(input, fill_value, dtype: Dtype):
    """One number in the operand's shape."""
    value = fill_value.array if hasattr(fill_value, "kind") else fill_value
    d = dtype or dt.BY_NUMPY[input.dtype]
    return jnp.broadcast_to(_cast(value, d), input.shape)


@op("arange", differentiable=False, promotes="raw")
def arange(start, step, size: Shape, dtype: Dtype):
    """start + i * step for i below the size."""
    n, a, b = size[0], start.array, step.array
    index = jnp.arange(n, dtype=jnp.int64)
    if dtype.category < dt.FLOATING:
        return (a.astype(jnp.int64) + index * b.astype(jnp.int64)).astype(dtype.numpy)
    a, b = a.astype(jnp.float64), b.astype(jnp.float64)
    exact = (a + index * b).astype(dtype.numpy)
    lanes = _LANES.get(dtype)
    if lanes is None:
        return exact
    # PyTorch's CPU kernel counts up from a rounded number at the head of each vector, and two
    # vectors at a time; the rest of the range is computed one by one.
    lane = index % lanes
    head = (a + (index - lane) * b).astype(dtype.numpy).astype(jnp.float64)
    return jnp.where(index < n - n % (2 * lanes), (head + lane * b).astype(dtype.numpy), exact)


_LANES = {dt.float32: 8, dt.float64: 4}


def _fused(a, step, count):
    """a + step * count in double, rounded once, for less than 2 ** 26 steps."""
    count = count.astype(a.dtype)
    plain = a + step * count
    high = step * (2**27 + 1.0)
    high = high - (high - step)  # half of the digits: the products of both parts are exact
    big = high * count
    total = a + big
    back = total - a
    lost = (a - (total - back)) + (big - back)
    exact = total + (lost + (step - high) * count)
    # XLA has 0 for the parts of the smallest steps.
    return jnp.where(jnp.isfinite(exact) & (jnp.abs(step) > 1e-280), exact, plain)


def _steps(start, end, n, dtype, rounded=False):
    """n numbers from start to end, counted from the nearer end as PyTorch does; float64."""
    working = dtype.numpy if dtype.category >= dt.FLOATING else jnp.float64
    if dtype.category < dt.FLOATING:  # between integers, wrapped into the dtype
        start, end = (x.astype(jnp.int64).astype(dtype.numpy) for x in (start, end))
    a, b = start.astype(working), end.astype(working)
    wide = jnp.complex128 if dtype.category == dt.COMPLEX else jnp.float64
    # The step is rounded to the dtype, the products are not: PyTorch's kernel fuses them.
    step = conventions.by_number((b - a).astype(wide), max_dim(n - 1, 1)).astype(working)
    a, b, step = a.astype(wide), b.astype(wide), step.astype(wide)
    index = jnp.arange(n, dtype=jnp.int64)
    if working == np.float64:
        early = index < n // 2
        return _fused(jnp.where(early, a, b), step, jnp.where(early, index, index - (n - 1)))
    rise, fall = step * index, step * (n - 1 - index)
    if rounded:  # after every operation
        half = lambda i: (step * i.astype(dtype.numpy).astype(wide)).astype(dtype.numpy)  # noqa: E731
        rise, fall = half(index).astype(wide), half(n - 1 - index).astype(wide)
    return jnp.where(index < n // 2, a + rise, b - fall)


def _ends(start, end):
    return (x.array if hasattr(x, "kind") else x for x in (start, end))


@op("linspace", differentiable=False, promotes="raw")
def linspace(start, end, n: Dim, dtype: Dtype):
    """n evenly spaced numbers from start to end, both included."""
    start, end = _ends(start, end)
    if n == 1:
        return start.astype(dtype.numpy).reshape(1)
    return _steps(start, end, n, dtype, dtype in dt.HALF).astype(dtype.numpy)


@op("logspace", differentiable=False, promotes="raw")
def logspace(start, end, base, n: Dim, dtype: Dtype):
    """n powers of the base, whose exponents are evenly spaced."""
    start, end = _ends(start, end)
    if n == 1:
        exponents = start.astype(jnp.float64).reshape(1)
    else:
        exponents = _steps(start, end, n, dtype)
    if dtype.category == dt.FLOATING:
        exponents = exponents.astype(dtype.numpy).astype(jnp.float64)
    return jnp.power(base.array.astype(exponents.dtype), exponents).astype(dtype.numpy)


@op("triangle_indices", differentiable=False)
def triangle_indices(row: Dim, col: Dim, offset: Dim, lower: bool, dtype: Dtype):
    """Row and column numbers of the lower or upper triangle of a matrix, row by row."""
    find = np.tril_indices if lower else np.triu_indices
    return jnp.asarray(np.stack(find(row, offset, col)), dtype.numpy)


@op("eye", differentiable=False)
def eye(size: Shape, dtype: Dtype):
    """Ones on the diagonal of a matrix."""
    return jnp.eye(size[0], size[1], dtype=dtype.numpy)
