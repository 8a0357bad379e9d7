"""Ops that make tensors from nothing but statics and numbers."""

from __future__ import annotations

import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dtype, Shape, op


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
    """start + i * step for i below the size, computed in double or int64."""
    a, b = start.array, step.array
    index = jnp.arange(size[0])
    if dtype.category >= dt.FLOATING and dtype.itemsize < 8 and a.dtype.kind == "f":
        # PyTorch computes float32 ranges in float32 lanes of double steps: double, rounded once.
        index = index.astype(jnp.float64)
    return (a + index * b).astype(dtype.numpy)


@op("eye", differentiable=False)
def eye(size: Shape, dtype: Dtype):
    """Ones on the diagonal of a matrix."""
    return jnp.eye(size[0], size[1], dtype=dtype.numpy)
