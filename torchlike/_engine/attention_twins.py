"""NumPy twins of attention and its derivative: generated text has a new length at each word."""

from __future__ import annotations

import math

import numpy as np

from torchlike._engine.inference import shape_rules
from torchlike._engine.twins import REAL, aligned, twin_of
from torchlike._ops.derivatives import Spec


def _probabilities(statics, in_avals):
    """softmax(Q K^T * scale + mask) as a function of (q, k, mask), and the scale; or None."""
    if shape_rules["scaled_dot_product_attention"](statics, in_avals) is None:
        return None
    query, key = in_avals[:2]
    if query.dtype not in REAL:
        return None
    is_causal, scale, _ = statics
    scale = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    scale = query.dtype.numpy.type(scale)
    rows, keys = query.shape[-2], key.shape[-2]
    unseen = np.triu(np.ones((rows, keys), bool), 1) if is_causal else None

    def probabilities(q, k, mask):
        p = np.matmul(q * scale, k.swapaxes(-1, -2))
        if is_causal:
            p[..., unseen] = -np.inf
        dead = None
        if mask is not None:
            p = np.where(mask, p, -np.inf) if mask.dtype == bool else p + mask
            dead = np.isneginf(p).all(-1, keepdims=True)
            p = np.where(dead, 0, p)
        p = np.exp(p - np.maximum.reduce(p, -1, keepdims=True))
        p /= np.add.reduce(p, -1, keepdims=True)
        return (p if dead is None else np.where(dead, 0, p)).astype(q.dtype, copy=False)

    return probabilities, scale


@twin_of("scaled_dot_product_attention")
def _attention(statics, in_avals, avals):
    found, take = _probabilities(statics, in_avals), aligned(in_avals)
    if found is None or take is None:
        return None
    probabilities, _ = found

    def attention(*arrays):
        q, k, v, mask, dropped, keep = take(arrays)
        p = probabilities(q, k, mask)
        if dropped is not None:
            p = p * (dropped / keep.astype(p.dtype))
        return (np.matmul(p, v),)

    return attention


@twin_of("scaled_dot_product_attention_backward")
def _attention_backward(statics, in_avals, avals):
    (spec,), take = statics, aligned(in_avals)
    if spec.__class__ is not Spec or take is None or len(in_avals) != 8:
        return None
    found = _probabilities(spec.statics, spec.avals)
    if found is None or spec.need[3] or any(in_avals[n] is None for n in (0, 1, 2, 6, 7)):
        return None
    if any((a is None) is not (b is None) for a, b in zip(in_avals, spec.avals)):
        return None
    probabilities, scale = found
    want_q, want_k, want_v = spec.need[:3]

    def attention_backward(*arrays):
        q, k, v, mask, dropped, keep, out, g = take(arrays)
        used = p = probabilities(q, k, mask)
        ds = np.matmul(g, v.swapaxes(-1, -2))
        if dropped is not None:
            own = dropped / keep.astype(p.dtype)
            used, ds = p * own, ds * own
        ds = p * (ds - np.add.reduce(g * out, -1, keepdims=True))
        grads = []
        if want_q:
            grads.append(np.matmul(ds, k) * scale)
        if want_k:
            grads.append(np.matmul(ds.swapaxes(-1, -2), q * scale))
        if want_v:
            grads.append(np.matmul(used.swapaxes(-1, -2), g))
        return grads

    return attention_backward
