"""NumPy twins and shape rules of products and layers, as ``twins`` describes them."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.inference import shape_rule, shape_rules
from torchlike._engine.twins import REAL, twin_of


def _plain(*avals) -> bool:
    """Whether all are arrays of one dtype that NumPy multiplies fast."""
    return len({a.dtype for a in avals}) == 1 and avals[0].dtype in REAL


@shape_rule("matmul", "mm", "bmm", "mv")
def _matmul_shape(statics, in_avals):
    a, b = in_avals
    if not _plain(a, b) or not a.ndim or not b.ndim:
        return None
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return None
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows = a.shape[-2:-1]
    return [((*lead, *rows, *(b.shape[-1:] if b.ndim > 1 else ())), a.dtype)]


def _ranked(name, left, right):
    """A rule of matmul that holds for operands of these ranks only."""
    general = shape_rules["matmul"]

    def rule(statics, in_avals):
        a, b = in_avals
        if getattr(a, "ndim", None) != left or getattr(b, "ndim", None) != right:
            return None
        if left == 3 and a.shape[0] != b.shape[0]:
            return None
        return general(statics, in_avals)

    shape_rules[name] = rule


_ranked("mm", 2, 2)
_ranked("mv", 2, 1)
_ranked("bmm", 3, 3)


@twin_of("matmul", "mm", "bmm", "mv")
def _matmul(statics, in_avals, avals):
    if not _plain(*in_avals):
        return None
    return lambda a, b: (np.matmul(a, b),)


@shape_rule("linear")
def _linear_shape(statics, in_avals):
    x, w, b = in_avals
    if w.ndim != 2 or not x.ndim or x.shape[-1] != w.shape[1] or not _plain(x, w):
        return None
    if b is not None and (b.shape != w.shape[:1] or b.dtype is not x.dtype):
        return None
    return [((*x.shape[:-1], w.shape[0]), x.dtype)]


@twin_of("linear")
def _linear(statics, in_avals, avals):
    if shape_rules["linear"](statics, in_avals) is None:
        return None
    if in_avals[2] is None:
        return lambda x, w: (np.matmul(x, w.T),)
    return lambda x, w, b: (np.matmul(x, w.T) + b,)


@shape_rule("native_layer_norm")
def _layer_norm_shape(statics, in_avals):
    x, shape = in_avals[0], tuple(statics[0])
    if x.dtype not in REAL or not shape or x.shape[x.ndim - len(shape) :] != shape:
        return None
    if any(p is not None and (p.shape != shape or p.dtype is not x.dtype) for p in in_avals[1:]):
        return None
    return [(x.shape, x.dtype)]


@twin_of("native_layer_norm")
def _layer_norm(statics, in_avals, avals):
    if shape_rules["native_layer_norm"](statics, in_avals) is None:
        return None
    shape, eps = statics
    at = tuple(range(-len(shape), 0))
    d = in_avals[0].dtype.numpy.type
    n, eps = d(prod(shape)), d(eps)
    scaled, shifted = (p is not None for p in in_avals[1:])

    def layer_norm(x, *affine):
        x = x - np.add.reduce(x, at, keepdims=True) / n
        x = x * (1 / np.sqrt(np.add.reduce(x * x, at, keepdims=True) / n + eps))
        if scaled:
            x = x * affine[0]
        return (x + affine[-1] if shifted else x,)

    return layer_norm


@shape_rule("embedding")
def _embedding_shape(statics, in_avals):
    weight, index = in_avals
    if weight.ndim != 2 or index.dtype not in (dt.int64, dt.int32):
        return None
    return [((*index.shape, weight.shape[1]), weight.dtype)]


@twin_of("embedding")
def _embedding(statics, in_avals, avals):
    weight, index = in_avals
    rows = weight.shape[0]
    if not rows or statics[-1].__class__ is not bool:
        return None
    if statics[-1] or not index.numel:
        return lambda w, i: (np.take(w, i, 0, mode="clip"),)

    def embedding(w, i):
        flat = i.reshape(-1).astype(np.int64)
        bad = (flat < 0) | (flat >= rows)
        flags = np.array([[bad.sum(), flat[np.argmax(bad)]]])
        return np.take(w, i, 0, mode="clip"), flags

    return embedding, [(rows, index.ndim)]


@twin_of("lbfgs_direction")
def _lbfgs_direction(statics, in_avals, avals):
    (slots,) = statics
    if avals[0].dtype not in REAL:
        return None
    number = avals[0].dtype.numpy.type

    def direction(gradient, scale, *kept):
        changes, steps, inverses = (kept[k * slots : (k + 1) * slots] for k in range(3))
        inverses = [number(x) for x in inverses]
        q, als = -gradient, np.zeros(slots, number)
        for k in reversed(range(slots)):
            if inverses[k]:  # an empty slot changes nothing
                als[k] = al = steps[k].dot(q) * inverses[k]
                q -= al * changes[k]
        q *= number(scale)
        for k in range(slots):
            if inverses[k]:
                q += (als[k] - changes[k].dot(q) * inverses[k]) * steps[k]
        return q, als

    return direction
