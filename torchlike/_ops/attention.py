"""Attention: softmax(Q K^T * scale + mask) V."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import loops
from torchlike._ops.dims import surely
from torchlike._ops.table import Number, check_broadcast, torch_dtype
from torchlike._ops.windows import layer, require_floating, widen


def _product(a, b, at_a, at_b):
    """A batched product of the last two dimensions, contracting one of each."""
    lead = tuple(range(a.ndim - 2))
    return lax.dot_general(a, b, (((a.ndim + at_a,), (b.ndim + at_b,)), (lead, lead)))


def _check(query, key, value, mask):
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{_c_name(query)} key.dtype: {_c_name(key)} and value.dtype: {_c_name(value)} instead."
        )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if mask is not None and mask.dtype not in (bool, jnp.float32, query.dtype):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"attn_mask.dtype: {_c_name(mask)} and  query.dtype: {_c_name(query)} instead."
        )
    for wanted, found in ((query.shape[-1], key.shape[-1]), (key.shape[-2], value.shape[-2])):
        if wanted != found:
            batch = math.prod(query.shape[:-2])
            raise RuntimeError(
                "Expected size for first two dimensions of batch2 tensor to be: "
                f"[{batch}, {wanted}] but got: [{batch}, {found}]."
            )


def _check_mask(query, key, mask):
    """Raise for a mask that does not broadcast to the scores."""
    if mask is None:
        return
    scores = jax.ShapeDtypeStruct((*query.shape[:-1], key.shape[-2]), query.dtype)
    check_broadcast((scores, mask))
    common = jnp.broadcast_shapes(scores.shape, mask.shape)
    if common != scores.shape:
        raise RuntimeError(
            f"output with shape {list(scores.shape)} doesn't match the broadcast shape "
            f"{list(common)}"
        )


def _c_name(x):
    return dt.C_NAMES.get(torch_dtype(x), torch_dtype(x).name)


def scores(query, key, mask, is_causal, scale, first=0):
    """softmax(Q K^T * scale + mask); rows that are masked as a whole are 0.

    ``first`` is the number of the first query: a causal one sees no key after its own number.
    """
    scale = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    logits = widen(_product(query * jnp.asarray(scale, query.dtype), key, -1, -1))
    # What must not be seen gets -inf added, not chosen: XLA's CPU library takes a sum into its
    # kernel, a choice runs on its own (4x8x256x64, forward: 8 instead of 13 ms of a core).
    if is_causal:
        shape = logits.shape[-2:]
        number = first + lax.broadcasted_iota(jnp.int32, shape, 0)
        seen = number >= lax.broadcasted_iota(jnp.int32, shape, 1)
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
        heads = query.shape[-3]
        if heads % key.shape[-3] or heads % value.shape[-3]:
            raise RuntimeError(
                "Number of heads in key and value must divide the number of heads in query"
            )
        key, value = (jnp.repeat(x, heads // x.shape[-3], -3) for x in (key, value))
    check_broadcast([jax.ShapeDtypeStruct(x.shape[:-2], x.dtype) for x in (query, key, value)])
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

    if not surely(lambda: p.shape[-1] >= 2 * g.shape[-1]):
        return _product(p, g, -2, -2)
    return lax.platform_dependent(p, g, cpu=cpu, default=lambda p, g: _product(p, g, -2, -2))


# ---- in blocks ---------------------------------------------------------------------------------
# Queries in four blocks: a causal one meets the keys up to its own end, so that little more than
# half of the products remain. 4x8x256x64 forward and backward on 2 CPU cores: 9.9 ms, in one block
# 16.9, PyTorch 9.0. Long ones go some heads at a time, so that a block's scores stay in the cache:
# 2x8x1024x64 in 55 ms, all heads at once 75, PyTorch 49.

_BLOCKS, _LEAST = 4, 32  # blocks of queries at most, queries in one at least
_CHUNK = 1 << 21  # bytes of a block's scores; one pass takes all heads up to four times as many


def _bounds(query, key, in_blocks):
    """(first query, last, keys that they meet) of each block."""
    rows, keys = query.shape[-2], key.shape[-2]
    if not in_blocks or not rows or not _may_divide(query, key):
        return [(0, rows, keys)]
    size = max(_LEAST, -(-rows // _BLOCKS))
    return [
        (start, min(start + size, rows), min(start + size, rows, keys))
        for start in range(0, rows, size)
    ]


def _may_divide(*arrays):
    """Whether this is for a CPU, and all sizes are numbers: export has some that are not."""
    known = all(isinstance(n, int) for x in arrays for n in x.shape)
    return known and jax.default_backend() == "cpu"


def _in_chunks(function, mask, is_causal, *arrays):
    """``function(*arrays)``, for some of the batch's heads at a time where all are too many."""
    query, key = arrays[:2]
    if mask is not None or not _may_divide(query, key):
        return function(*arrays)
    lead = query.shape[:-2]
    heads, bounds = math.prod(lead), _bounds(query, key, is_causal)
    bytes_each = 4 * max((end - start) * keys for start, end, keys in bounds)
    if heads * bytes_each <= 4 * _CHUNK:
        return function(*arrays)
    most = max(1, _CHUNK // max(1, bytes_each))
    count = next(n for n in range(min(most, heads), 0, -1) if heads % n == 0)
    chunked = [
        None if x is None else x.reshape(heads // count, count, *x.shape[-2:]) for x in arrays
    ]
    out = loops.map(lambda some: function(*some), tuple(chunked))
    return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[-2:]), out)


def _rows(x, start, end, keys):
    """Some rows of a matrix over (queries, keys), up to some column."""
    return None if x is None else x[..., start:end, :keys]


def _forward(query, key, value, weight, *, mask, is_causal, scale):
    out = []
    for start, end, keys in _bounds(query, key, is_causal and mask is None):
        p = scores(query[..., start:end, :], key[..., :keys, :], mask, is_causal, scale, start)
        if weight is not None:
            p = p * _rows(weight, start, end, keys)
        out.append(_product(p.astype(value.dtype), value[..., :keys, :], -1, -2))
    return out[0] if len(out) == 1 else jnp.concatenate(out, -2)


def _backward(query, key, value, weight, out, g, *, mask, is_causal, scale):
    """Gradients of query, key and value, and of the scores if there is a mask."""
    by = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    by = jnp.asarray(by, query.dtype)
    inner = (widen(g) * widen(out)).sum(-1, keepdims=True)
    dq, dk, dv, ds = [], None, None, None
    for start, end, keys in reversed(_bounds(query, key, is_causal and mask is None)):
        q, rows = query[..., start:end, :], g[..., start:end, :]
        k, v = key[..., :keys, :], value[..., :keys, :]
        p = scores(q, k, mask, is_causal, scale, start)
        ds = widen(_product(rows, v, -1, -1))
        used = p
        if weight is not None:
            own = _rows(weight, start, end, keys)
            used, ds = p * own, ds * own
        ds = p * (ds - inner[..., start:end, :])
        down = ds.astype(query.dtype)
        dq.append(_product(down, k, -1, -2) * by)
        dk = _onto(dk, _over_rows(down, q * by), key)
        dv = _onto(dv, _over_rows(used.astype(value.dtype), rows.astype(value.dtype)), value)
    dq = dq[0] if len(dq) == 1 else jnp.concatenate(dq[::-1], -2)
    return (dq, dk, dv) if mask is None else (dq, dk, dv, ds)


def _onto(total, part, whole):
    """A sum to which another part for the first keys comes."""
    missing = whole.shape[-2] - part.shape[-2]
    if missing:
        part = jnp.pad(part, [(0, 0)] * (part.ndim - 2) + [(0, missing), (0, 0)])
    return part if total is None else total + part


def _weight(dropped, keep):
    return None if dropped is None else dropped / keep.astype(dropped.dtype)


def _attention_vjp(c, g):
    """The gradients in terms of the probabilities, with no gradient of a softmax in between."""
    query, key, value, mask, dropped, keep = c.operands
    s = c.statics
    align = lambda *qkv: _aligned(*qkv, s["enable_gqa"])  # noqa: E731
    (query, key, value), back = jax.vjp(align, query, key, value)
    weight = _weight(dropped, keep.array if dropped is not None else None)
    apply = partial(_backward, mask=mask, is_causal=s["is_causal"], scale=s["scale"])
    grads = _in_chunks(apply, mask, s["is_causal"], query, key, value, weight, c.result, g)
    return (*back(grads[:3]), grads[3] if c.need[3] else None, None, None)


def _node(c):
    # What PyTorch chooses on the CPU.
    q, k, v = c.query.shape, c.key.shape, c.value.shape
    if len(q) == len(v) == 2:
        return "MmBackward0"
    alike = len(q) == len(k) == len(v) == 4 and (q[0], q[3]) == (k[0], k[3]) == (v[0], v[3])
    heads = c.enable_gqa or q[1] == k[1] == v[1]
    flash = c.dropped is None and alike and heads
    return "ScaledDotProductFlashAttentionForCpuBackward0" if flash else "UnsafeViewBackward0"


@layer("scaled_dot_product_attention", saves="both", vjp=_attention_vjp, grad_name=_node)
def scaled_dot_product_attention(
    query,
    key,
    value,
    mask=None,
    dropped=None,
    *,
    keep: Number,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
):
    """Attention; ``dropped`` is a mask of 0 and 1 over the probabilities, kept at rate ``keep``."""
    _check(query, key, value, mask)
    require_floating(query, "softmax_lastdim_kernel_impl")
    query, key, value = _aligned(query, key, value, enable_gqa)
    _check_mask(query, key, mask)
    apply = partial(_forward, mask=mask, is_causal=is_causal, scale=scale)
    return _in_chunks(apply, mask, is_causal, query, key, value, _weight(dropped, keep))
