"""Norms and clipping of many gradients at once: one op for all, so that a step stays short."""

from __future__ import annotations

import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Arrays, op, torch_dtype


@op("total_norm", differentiable=False)
def _total_norm(arrays: Arrays, norm_type: float):
    """The norm of the norms of all arrays."""
    norms = [vector_norm(x, norm_type) for x in arrays]
    common = norms[0].dtype
    for n in norms[1:]:
        common = jnp.promote_types(common, n.dtype)
    return vector_norm(jnp.stack([n.astype(common) for n in norms]), norm_type)


def vector_norm(x, p):
    """PyTorch's ``vector_norm``: half precision adds up in float32."""
    d = torch_dtype(x)
    kept = d.to_real().numpy
    x = jnp.abs(x).astype(jnp.float32 if d in dt.HALF else kept)
    if p == jnp.inf or p == -jnp.inf:
        if not x.size:
            out = jnp.zeros((), x.dtype)
        else:
            out = jnp.max(x) if p > 0 else jnp.min(x)
    elif p == 0:
        out = jnp.sum((x != 0).astype(x.dtype))
    elif p == 1:
        out = jnp.sum(x)
    elif p == 2:
        out = jnp.sqrt(jnp.sum(x * x))
    else:
        out = jnp.sum(x**p) ** (1.0 / p)
    return out.astype(kept)


@op("clip_to_norm", differentiable=False)
def _clip_to_norm(arrays: Arrays, total, max_norm: float):
    """Every array times ``max_norm / total`` where that is below one."""
    factor = jnp.minimum(jnp.asarray(max_norm, total.dtype) / (total + 1e-6), 1.0)
    return tuple(x * factor.astype(x.dtype) for x in arrays)


@op("clip_to_value", differentiable=False)
def _clip_to_value(arrays: Arrays, limit: float):
    """Every array clamped to [-limit, limit]."""
    return tuple(
        jnp.clip(x, jnp.asarray(-limit, x.dtype), jnp.asarray(limit, x.dtype)) for x in arrays
    )
