"""NumPy twins of what training on sequences of ever other lengths adds to the layers: dropout,
cross entropy, and the derivatives of these, of layer norms, embeddings and views."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.inference import shape_rules
from torchlike._engine.twins import REAL, aligned, twin_of
from torchlike._ops.derivatives import Spec


def plain_spec(statics, in_avals, saves_nothing: bool = False):
    """The description of a forward call whose derivative this is, if all of it is plain."""
    (spec,) = statics
    if spec.__class__ is not Spec or aligned(in_avals) is None:
        return None
    if saves_nothing and any(a is not None for a in in_avals[: len(spec.avals)]):
        return None
    return spec


# ---- views -------------------------------------------------------------------------------------


@twin_of("view_backward", "squeeze_dims_backward", "unsqueeze_backward")
def _view_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals, True)
    if spec is None or len(in_avals) != 2 or len(avals) != 1:
        return None
    shape = spec.avals[0].shape
    return lambda g: (g.reshape(shape),)


@twin_of("permute_backward")
def _permute_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals, True)
    if spec is None or len(in_avals) != 2 or len(avals) != 1:
        return None
    back = np.argsort([d % in_avals[1].ndim for d in spec.statics[0]])
    return lambda g: (g.transpose(back),)


@twin_of("unbind_backward")
def _unbind_backward(statics, in_avals, avals):
    spec, take = plain_spec(statics, in_avals, True), aligned(in_avals)
    if spec is None or len(avals) != 1 or len(in_avals) != 1 + spec.outs:
        return None
    (dim,), shape, dtype = spec.statics, avals[0].shape, avals[0].dtype.numpy
    before = (slice(None),) * (dim % len(shape))

    def unbind_backward(*arrays):
        whole = np.zeros(shape, dtype)
        for n, g in enumerate(take(arrays)[1:]):
            if g is not None:
                whole[(*before, n)] = g
        return (whole,)

    return unbind_backward


# ---- layers ------------------------------------------------------------------------------------


def _drops(x, mask, keep) -> bool:
    """Whether a mask of 0 and 1 drops elements of an array, the rest at a rate of run time."""
    plain = mask is not None and mask.shape == x.shape and mask.dtype is x.dtype
    return plain and x.dtype in REAL and keep is float


@twin_of("dropout")
def _dropout(statics, in_avals, avals):
    if not _drops(*in_avals):
        return None
    return lambda x, mask, keep: (x * (mask / keep.astype(mask.dtype)),)


@twin_of("dropout_backward")
def _dropout_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None or not _drops(*spec.avals) or spec.need != (True, False, False):
        return None
    if in_avals[0] is not None or in_avals[1] is None or in_avals[2] is not float:
        return None
    return lambda mask, keep, g: (g * (mask / keep.astype(mask.dtype)),)


@twin_of("native_layer_norm_backward")
def _layer_norm_backward(statics, in_avals, avals):
    spec, take = plain_spec(statics, in_avals), aligned(in_avals)
    if spec is None or len(in_avals) != 4 or in_avals[0] is None or in_avals[3] is None:
        return None
    if shape_rules["native_layer_norm"](spec.statics, spec.avals) is None:
        return None
    if (in_avals[1] is None) is not (spec.avals[1] is None):
        return None
    (shape, eps), (want_x, want_w, want_b) = spec.statics, spec.need
    rank = len(shape)
    last, lead = tuple(range(-rank, 0)), tuple(range(in_avals[0].ndim - rank))
    number = in_avals[0].dtype.numpy.type
    n, eps = number(prod(shape)), number(eps)
    mean = lambda x: np.add.reduce(x, last, keepdims=True) / n  # noqa: E731

    def layer_norm_backward(*arrays):
        x, w, _, g = take(arrays)
        grads = []
        normal = x - mean(x)
        rstd = 1 / np.sqrt(mean(normal * normal) + eps)
        normal = normal * rstd
        if want_x:
            scaled = g if w is None else g * w
            grads.append(rstd * (scaled - mean(scaled) - normal * mean(scaled * normal)))
        if want_w:
            grads.append(np.add.reduce(g * normal, lead))
        if want_b:
            grads.append(np.add.reduce(g, lead))
        return grads

    return layer_norm_backward


@twin_of("embedding_backward")
def _embedding_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None or len(in_avals) != 3 or in_avals[0] is not None or in_avals[1] is None:
        return None
    (weight, index), (padding, by_count, _) = spec.avals, spec.statics
    if by_count or spec.need != (True, False) or weight.dtype not in REAL:
        return None
    if index.dtype not in (dt.int64, dt.int32):
        return None
    rows, width = weight.shape

    def embedding_backward(index, g):
        index, g = index.reshape(-1), g.reshape(index.size, width)
        taken = (index >= 0) & (index < rows) & (index != padding)
        if not taken.all():
            index, g = index[taken], g[taken]
        whole = np.zeros((rows, width), g.dtype)
        np.add.at(whole, index, g)
        return (whole,)

    return embedding_backward


# ---- loss --------------------------------------------------------------------------------------


def _classes(statics, x, target, weight):
    """(number of classes, number that is ignored, reduction, checked) of a plain cross entropy."""
    ignored, reduction, smoothing, checked = statics
    if weight is not None or smoothing or x.ndim != 2 or x.dtype not in REAL or not x.numel:
        return None
    if target.shape != x.shape[:1] or target.dtype is not dt.int64:
        return None
    return x.shape[1], ignored, reduction, checked


@twin_of("cross_entropy")
def _cross_entropy(statics, in_avals, avals):
    found = _classes(statics, *in_avals)
    if found is None:
        return None
    classes, ignored, reduction, checked = found
    rows = np.arange(in_avals[0].shape[0])

    def cross_entropy(x, target):
        valid = target != ignored
        at = np.where(valid, target, 0)
        bad = (at < 0) | (at >= classes)
        x = x - np.maximum.reduce(x, 1, keepdims=True)
        own = x[rows, np.where(bad, 0, at)]
        loss = (np.log(np.add.reduce(np.exp(x), 1)) - own) * valid
        if reduction != "none":
            loss = np.add.reduce(loss)
        if reduction == "mean":
            loss = loss / x.dtype.type(np.count_nonzero(valid))
        if checked:
            return (loss,)
        return loss, np.array([[np.count_nonzero(bad), at[np.argmax(bad)]]])

    return cross_entropy if checked else (cross_entropy, [(classes, 1)])


@twin_of("cross_entropy_backward")
def _cross_entropy_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    found = None if spec is None else _classes(spec.statics, *spec.avals)
    if found is None or len(in_avals) != 4 or spec.need != (True, False, False):
        return None
    if in_avals[0] is None or in_avals[1] is None or in_avals[3] is None:
        return None
    classes, ignored, reduction, _ = found
    rows = np.arange(in_avals[0].shape[0])

    def cross_entropy_backward(x, target, g):
        valid = target != ignored
        if reduction == "mean":
            g = g / x.dtype.type(np.count_nonzero(valid))
        own = np.where(valid, g, x.dtype.type(0))[:, None]
        out = np.exp(x - np.maximum.reduce(x, 1, keepdims=True))
        out /= np.add.reduce(out, 1, keepdims=True)
        hit = valid & (target >= 0) & (target < classes)
        out[rows[hit], target[hit]] -= 1
        out *= own
        return (out,)

    return cross_entropy_backward
