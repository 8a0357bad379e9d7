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
    # What must not be seen gets -inf added, not chosen: XLA's CPU library takes a sum into its
    # kernel, a choice runs on its own (4x8x256x64, forward: 8 instead of 13 ms of a core).
    if is_causal:
        shape = logits.shape[-2:]
        seen = lax.broadcasted_iota(jnp.int32, shape, 0) >= lax.broadcasted_iota(
            jnp.int32, shape, 1
        )
        logits = logits + _hiding(~seen, logits.dtype)
    if mask is not None:
        if mask.dtype == bool:
            mask = _hiding(~mask, logits.dtype)
        logits = logits + mask.astype(logits.dtype)
    if mask is None:
        return jax.nn.softmax(logits, -1)
    dead = (logits == -jnp.inf).all(-1, keepdims=True)
    return jnp.where(dead, 0, jax.nn.softmax(jnp.where(dead, 0, logits), -1))


def _hiding(hidden, dtype):
    return jnp.where(hidden, jnp.asarray(-jnp.inf, dtype), jnp.zeros((), dtype))


def _aligned(query, key, value, enable_gqa):
    """Keys and values repeated for the heads that share them, all with the same batch."""
    if enable_gqa:
        repeat = query.shape[-3] // key.shape[-3]
        if query.shape[-3] % key.shape[-3]:
            raise RuntimeError(
                "Number of heads in key and value must divide the number of heads in query"
            )
        key, value = jnp.repeat(key, repeat, -3), jnp.repeat(value, repeat, -3)
    lead = jnp.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    return tuple(
        x if x.shape[:-2] == lead else jnp.broadcast_to(x, (*lead, *x.shape[-2:]))
        for x in (query, key, value)
    )


def _over_rows(p, g):
    """P^T G, where P is (..., L, S), and G is as wide as a head."""
    turned = lambda x: lax.optimization_barrier(jnp.swapaxes(x, -1, -2))  # noqa: E731

    def cpu(p, g):
        # Turning the narrow factor and the result: 32x256x256 by 64, 4.2 instead of 6.1 ms.
        return jnp.swapaxes(lax.optimization_barrier(_product(turned(g), p, -1, -2)), -1, -2)

    if p.shape[-1] < 2 * g.shape[-1]:
        return _product(p, g, -2, -2)
    return lax.platform_dependent(p, g, cpu=cpu, default=lambda p, g: _product(p, g, -2, -2))


def _attention_vjp(c, g):
    """The gradients in terms of the probabilities, with no gradient of a softmax in between.

    4x8x256x64 with all gradients: 20 ms of a core (PyTorch: 19), where jax.vjp takes 33.
    """
    query, key, value, mask, dropped, keep = c.operands
    s = c.statics
    scale = 1 / math.sqrt(query.shape[-1]) if s["scale"] is None else s["scale"]
    align = lambda *qkv: _aligned(*qkv, s["enable_gqa"])  # noqa: E731
    (query, key, value), back = jax.vjp(align, query, key, value)
    scale = jnp.asarray(scale, query.dtype)
    p = scores(query, key, mask, s["is_causal"], s["scale"])
    weight = None if dropped is None else dropped / keep.array.astype(dropped.dtype)
    used = (p if weight is None else p * weight).astype(value.dtype)
    out = _product(used, value, -1, -2)
    ds = widen(_product(g, value, -1, -1))
    ds = ds if weight is None else ds * weight
    ds = p * (ds - (widen(g) * widen(out)).sum(-1, keepdims=True))
    down = ds.astype(query.dtype)
    dq = _product(down, key, -1, -2) * scale if c.need[0] else jnp.zeros_like(query)
    dk = _over_rows(down, query * scale) if c.need[1] else jnp.zeros_like(key)
    dv = _over_rows(used, g.astype(value.dtype)) if c.need[2] else jnp.zeros_like(value)
    return (*back((dq, dk, dv)), ds if c.need[3] else None, None, None)


@layer("scaled_dot_product_attention", vjp=_attention_vjp)
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
    query, key, value = _aligned(query, key, value, enable_gqa)
    p = scores(query, key, mask, is_causal, scale)
    if dropped is not None:
        p = p * (dropped / keep.astype(dropped.dtype))
    return _product(p.astype(value.dtype), value, -1, -2)
