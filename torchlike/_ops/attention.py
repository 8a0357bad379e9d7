"""Attention: softmax(Q K^T * scale + mask) V."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.table import Number, torch_dtype
from torchlike._ops.windows import layer, widen


def _product(a, b, at_a, at_b):
    """A batched product of the last two dimensions, contracting one of each."""
    lead = tuple(range(a.ndim - 2))
    return lax.dot_general(a, b, (((a.ndim + at_a,), (b.ndim + at_b,)), (lead, lead)))


def _check(query, key, value):
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{_c_name(query)} key.dtype: {_c_name(key)} and value.dtype: {_c_name(value)} instead."
        )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim}, key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if query.shape[-1] != key.shape[-1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: "
            f"[{query.shape[0]}, {query.shape[-1]}] but got: [{key.shape[0]}, {key.shape[-1]}]."
        )


def _c_name(x):
    names = {dt.float32: "float", dt.float64: "double"}
    return names.get(torch_dtype(x), torch_dtype(x).name)


def scores(query, key, mask, is_causal, scale):
    """softmax(Q K^T * scale + mask); rows that are masked as a whole are 0."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = widen(_product(query * jnp.asarray(scale, query.dtype), key, -1, -1))
    if is_causal:
        shape = logits.shape[-2:]
        seen = lax.broadcasted_iota(jnp.int32, shape, 0) >= lax.broadcasted_iota(
            jnp.int32, shape, 1
        )
        logits = jnp.where(seen, logits, -jnp.inf)
    if mask is not None:
        if mask.dtype == bool:
            logits = jnp.where(mask, logits, -jnp.inf)
        else:
            logits = logits + mask.astype(logits.dtype)
    if mask is None:
        return jax.nn.softmax(logits, -1)
    dead = (logits == -jnp.inf).all(-1, keepdims=True)
    return jnp.where(dead, 0, jax.nn.softmax(jnp.where(dead, 0, logits), -1))


@layer("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query,
    key,
    value,
    mask=None,
    dropped=None,
    *,
    keep: Number,
    is_causal: bool,
    scale: float,
    enable_gqa: bool,
):
    """Attention; ``dropped`` is a mask of 0 and 1 over the probabilities, kept at rate ``keep``."""
    _check(query, key, value)
    if enable_gqa:
        repeat = query.shape[-3] // key.shape[-3]
        if query.shape[-3] % key.shape[-3]:
            raise RuntimeError(
                "Number of heads in key and value must divide the number of heads in query"
            )
        key, value = jnp.repeat(key, repeat, -3), jnp.repeat(value, repeat, -3)
    lead = jnp.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    query, key, value = (
        x if x.shape[:-2] == lead else jnp.broadcast_to(x, (*lead, *x.shape[-2:]))
        for x in (query, key, value)
    )
    p = scores(query, key, mask, is_causal, scale)
    if dropped is not None:
        p = p * (dropped / keep.astype(dropped.dtype))
    return _product(p.astype(value.dtype), value, -1, -2)
