"""NumPy twins of the derivatives of reductions, orders, products, losses, parts and joins.

To trace a derivative at a new shape takes 4 to 15 ms, most of it JAX's linearization of each step.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import prod

import numpy as np

from torchlike._engine.inference import shape_rules
from torchlike._engine.training_twins import plain_spec
from torchlike._engine.twins import REAL, TWINS, parts_of, slices_of, twin_of
from torchlike._ops.derivatives import Spec
from torchlike._ops.dims import axes, axis


def _one(statics, in_avals, avals, saved: int, nothing: bool = False):
    """The description of a call with one derivative, of real numbers, and ``saved`` arrays beside
    the gradient; None if it is another."""
    spec = plain_spec(statics, in_avals, nothing)
    if spec is None or len(avals) != 1 or not spec.need[0] or avals[0].dtype not in REAL:
        return None
    there = [a for a in in_avals if a is not None]
    if len(there) != saved + 1 or in_avals[-1] is None or not avals[0].numel:
        return None
    return spec


def _dims(spec, dim) -> tuple:
    """The reduced dimensions, and the result's shape with these kept."""
    x = spec.avals[0]
    at = axes(None if dim.__class__ is tuple and not dim else dim, x.ndim)
    at = tuple(range(x.ndim)) if at is None else at
    return at, tuple([1 if d in at else n for d, n in enumerate(x.shape)])


# ---- reductions --------------------------------------------------------------------------------


def _spreading(mean: bool):
    def build(statics, in_avals, avals):
        spec = _one(statics, in_avals, avals, 0, True)
        if spec is None or spec.statics[2] is not None:
            return None
        at, kept = _dims(spec, spec.statics[0])
        shape = avals[0].shape
        n = avals[0].dtype.numpy.type(prod(shape[d] for d in at))
        if mean:
            return lambda g: (np.broadcast_to(g.reshape(kept) / n, shape),)
        return lambda g: (np.broadcast_to(g.reshape(kept), shape),)

    return build


TWINS["sum_backward"], TWINS["mean_backward"] = _spreading(False), _spreading(True)


def _spread_backward(root: bool):
    def build(statics, in_avals, avals):
        spec = _one(statics, in_avals, avals, 1 + root)
        if spec is None:
            return None
        dim, correction, _ = spec.statics
        at, kept = _dims(spec, dim)
        number = avals[0].dtype.numpy.type
        n = prod(avals[0].shape[d] for d in at)
        if n <= correction:
            return None
        n, factor = number(n), number(2 / (n - correction))

        def backward(x, *rest):
            g = rest[-1].reshape(kept)
            if root:
                result = rest[0].reshape(kept)
                g = np.where(result == 0, np.zeros((), g.dtype), g / (result * number(2)))
            return ((x - np.add.reduce(x, at, keepdims=True) / n) * (g * factor),)

        return backward

    return build


TWINS["var_backward"], TWINS["std_backward"] = _spread_backward(False), _spread_backward(True)


@twin_of("norm_backward")
def _norm_backward(statics, in_avals, avals):
    spec = _one(statics, in_avals, avals, 2)
    if spec is None or spec.statics[0] != 2 or spec.statics[3] is not None:
        return None
    _, kept = _dims(spec, spec.statics[1])

    def backward(x, norm, g):
        norm, g = norm.reshape(kept), g.reshape(kept)
        return (np.where(norm == 0, np.zeros((), x.dtype), x * (g / norm)),)

    return backward


@twin_of("logsumexp_backward")
def _logsumexp_backward(statics, in_avals, avals):
    spec = _one(statics, in_avals, avals, 2)
    if spec is None:
        return None
    _, kept = _dims(spec, spec.statics[0])

    def backward(x, result, g):
        result = result.reshape(kept)
        with np.errstate(all="ignore"):
            return (g.reshape(kept) * np.exp(x - result),)

    return backward


def _at_dim(statics, in_avals, avals, saved: int):
    spec = _one(statics, in_avals, avals, saved)
    return None if spec is None or not avals[0].ndim else spec


def _softmax(log: bool):
    def build(statics, in_avals, avals):
        spec = _at_dim(statics, in_avals, avals, 1)
        if spec is None or not spec.has_result or spec.statics[1] not in (None, avals[0].dtype):
            return None
        dim = axis(spec.statics[0], avals[0].ndim)
        if log:
            return lambda y, g: (g - np.exp(y) * np.add.reduce(g, dim, keepdims=True),)
        return lambda y, g: (y * (g - np.add.reduce(y * g, dim, keepdims=True)),)

    return build


TWINS["softmax_backward"], TWINS["log_softmax_backward"] = _softmax(False), _softmax(True)


@twin_of("cumsum_backward")
def _cumsum_backward(statics, in_avals, avals):
    spec = _at_dim(statics, in_avals, avals, 0)
    if spec is None or spec.statics[1] is not None:
        return None
    dim = axis(spec.statics[0], avals[0].ndim)
    return lambda g: (np.flip(np.add.accumulate(np.flip(g, dim), dim), dim),)


# ---- what is chosen ----------------------------------------------------------------------------


@twin_of("max_dim_backward", "min_dim_backward", "sort_backward", "topk_backward")
def _chosen_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None or len(avals) != 1 or avals[0].dtype not in REAL or not avals[0].ndim:
        return None
    _, values, index, g, other = in_avals if len(in_avals) == 5 else (None,) * 5
    if values is None or index is None or g is None or other is not None or in_avals[0] is not None:
        return None
    shape, d = avals[0].shape, avals[0].dtype.numpy
    if not avals[0].numel or not index.numel:
        return None
    dim = axis(spec.statics[1 if len(spec.statics) == 4 else 0], len(shape))
    part = tuple([index.numel // prod(shape[:dim] + shape[dim + 1 :]) if i == dim else n
                  for i, n in enumerate(shape)])  # fmt: skip

    def backward(values, index, g):
        out = np.zeros(shape, d)
        np.put_along_axis(out, index.reshape(part), g.reshape(part), dim)
        return (out,)

    return backward


def _adding(place):
    """A derivative that adds what arrives to zeros, at places that ``place`` finds."""

    def build(statics, in_avals, avals):
        spec = plain_spec(statics, in_avals)
        if spec is None or len(avals) != 1 or not spec.need[0] or avals[0].dtype not in REAL:
            return None
        if in_avals[0] is not None or any(a is None for a in in_avals[1:]):
            return None
        found = place(spec, in_avals, avals[0].shape)
        if found is None:
            return None
        shape, d = avals[0].shape, avals[0].dtype.numpy

        def backward(*arrays):
            out = np.zeros(shape, d)
            np.add.at(out, found(*arrays[:-1]), arrays[-1])
            return (out,)

        return backward

    return build


def _gathered(spec, in_avals, shape):
    index = in_avals[1]
    if len(in_avals) != 3 or not shape or index.ndim != len(shape):
        return None
    dim = axis(spec.statics[0], len(shape))
    grid = list(np.ogrid[tuple(map(slice, index.shape))])
    return lambda index: (*grid[:dim], index, *grid[dim + 1 :])


def _selected(spec, in_avals, shape):
    if len(in_avals) != 3 or not shape or in_avals[1].ndim != 1:
        return None
    before = (slice(None),) * axis(spec.statics[0], len(shape))
    return lambda index: (*before, index)


def _indexed(spec, in_avals, shape):
    dims, indices = spec.statics[0], in_avals[1:-1]
    if dims != tuple(range(len(dims))) or len(dims) != len(indices):
        return None
    if any(a.ndim == 0 or a.shape != indices[0].shape for a in indices):
        return None
    return lambda *indices: indices


TWINS["gather_dim_backward"] = _adding(_gathered)
TWINS["index_select_dim_backward"] = _adding(_selected)
TWINS["index_backward"] = _adding(_indexed)


@twin_of("index_basic_backward")
def _index_basic_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None or len(avals) != 1 or in_avals[0] is not None or in_avals[-1] is None:
        return None
    starts, shape, d = in_avals[1:-1], avals[0].shape, avals[0].dtype.numpy
    found = parts_of(spec.statics[0], shape, in_avals[:-1])
    if found is None or any(a is not int for a in starts) or 0 in found[1]:
        return None
    parts, _ = found
    slices, part = slices_of(parts, shape), [size for size, _, _ in parts]

    def backward(*arrays):
        out = np.zeros(shape, d)
        out[slices(arrays[:-1])] = arrays[-1].reshape(part)
        return (out,)

    return backward


@twin_of("expand_backward")
def _expand_backward(statics, in_avals, avals):
    spec = _one(statics, in_avals, avals, 0, True)
    if spec is None:
        return None
    shape, wide = avals[0].shape, in_avals[-1].shape
    new = len(wide) - len(shape)
    at = (*range(new), *[new + d for d, n in enumerate(shape) if n == 1 != wide[new + d]])
    return lambda g: (np.add.reduce(g, at).reshape(shape),)


@twin_of("clone_backward", "alias_backward")
def _clone_backward(statics, in_avals, avals):
    return (lambda g: (g,)) if _one(statics, in_avals, avals, 0, True) else None


@twin_of("flip_backward")
def _flip_backward(statics, in_avals, avals):
    spec = _one(statics, in_avals, avals, 0, True)
    if spec is None:
        return None
    dims = spec.statics[0]
    at = axes(dims, avals[0].ndim) if dims != () else ()
    return lambda g: (np.flip(g, at),)


def _triangle_backward(keep):
    def build(statics, in_avals, avals):
        spec = _one(statics, in_avals, avals, 0, True)
        return None if spec is None else lambda g: (keep(g, spec.statics[0]),)

    return build


TWINS["tril_backward"] = _triangle_backward(np.tril)
TWINS["triu_backward"] = _triangle_backward(np.triu)


@twin_of("masked_fill_value_backward")
def _masked_fill_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None or len(avals) != 1 or not spec.need[0] or len(in_avals) != 4:
        return None
    x, mask, _, g = in_avals
    if x is not None or mask is None or g is None or g.shape != avals[0].shape:
        return None
    if avals[0].dtype not in REAL:
        return None
    return lambda mask, *rest: (np.where(mask, np.zeros((), g.dtype.numpy), rest[-1]),)


@twin_of("stack_backward")
def _stack_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals, True)
    if spec is None or in_avals[-1] is None:
        return None
    before = (slice(None),) * axis(spec.statics[0], in_avals[-1].ndim)
    places = [n for n, need in enumerate(spec.need) if need]
    return lambda g: [g[(*before, n)] for n in places]


@twin_of("split_sizes_backward")
def _split_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals, True)
    if spec is None or len(avals) != 1 or len(in_avals) != 1 + spec.outs:
        return None
    (sizes, dim), shape, d = spec.statics, avals[0].shape, avals[0].dtype.numpy
    dim, parts, start = axis(dim, len(shape)), [], 0
    for size, g in zip(sizes, in_avals[1:], strict=True):
        if g is not None:
            parts.append((*[slice(None)] * dim, slice(start, start + size)))
        start += size

    def backward(*gs):
        out = np.zeros(shape, d)
        for part, g in zip(parts, gs, strict=True):
            out[part] = g
        return (out,)

    return backward


# ---- products ----------------------------------------------------------------------------------


def _pair(statics, in_avals, avals):
    """The needs of a product of two, each of which is saved where the other one's are wanted."""
    spec = plain_spec(statics, in_avals)
    if spec is None or len(in_avals) != 3 or in_avals[2] is None or not avals:
        return None
    if any(a.dtype not in REAL or not a.numel for a in avals) or not in_avals[2].numel:
        return None
    if any((in_avals[1 - n] is None) and spec.need[n] for n in (0, 1)):
        return None
    return spec.need, in_avals[0] is not None, in_avals[1] is not None


def _product(left, right):
    """A derivative from the two functions (other operand, gradient) -> gradient."""

    def build(statics, in_avals, avals):
        found = _pair(statics, in_avals, avals)
        if found is None or not fits(plain_spec(statics, in_avals).avals):
            return None
        (want_a, want_b), has_a, has_b = found

        def backward(*arrays):
            g = arrays[-1]
            a = arrays[0] if has_a else None
            b = arrays[has_a] if has_b else None
            out = [left(b, g)] if want_a else []
            return [*out, right(a, g)] if want_b else out

        return backward

    def fits(given) -> bool:
        a, b = given
        same = a.shape[:-2] == b.shape[:-2] and a.ndim == b.ndim >= 2
        return same or (a.ndim == 1 == b.ndim) or (a.ndim == 2 and b.ndim == 1)

    return build


_of_matrices = _product(
    lambda b, g: np.matmul(g, b.swapaxes(-1, -2)), lambda a, g: np.matmul(a.swapaxes(-1, -2), g)
)
TWINS["mm_backward"] = TWINS["bmm_backward"] = _of_matrices
TWINS["mv_backward"] = _product(lambda b, g: np.multiply.outer(g, b), lambda a, g: a.T @ g)
TWINS["dot_backward"] = _product(lambda b, g: g * b, lambda a, g: g * a)
TWINS["outer_backward"] = _product(lambda b, g: g @ b, lambda a, g: a @ g)


@twin_of("matmul_backward")
def _matmul_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None:
        return None
    a, b = spec.avals
    if a.ndim >= 2 and a.ndim == b.ndim and a.shape[:-2] == b.shape[:-2]:
        return _of_matrices(statics, in_avals, avals)
    found = _pair(statics, in_avals, avals)
    if found is None or a.ndim < 2 or b.ndim != 2:
        return None
    (want_a, want_b), has_a, _ = found
    shape, rows = a.shape, prod(a.shape[:-1])

    def backward(*arrays):
        g, out = arrays[-1].reshape(rows, -1), []
        if want_a:
            out.append(np.matmul(g, arrays[has_a].T).reshape(shape))
        if want_b:
            out.append(np.matmul(arrays[0].reshape(rows, -1).T, g))
        return out

    return backward


# ---- losses ------------------------------------------------------------------------------------


def _mean_of(reduction, aval):
    return aval.dtype.numpy.type(aval.numel if reduction == "mean" else 1)


def _error_backward(slope):
    def build(statics, in_avals, avals):
        spec = plain_spec(statics, in_avals)
        if spec is None or in_avals[0] is None or in_avals[1] is None or in_avals[-1] is None:
            return None
        x, y, *weight = in_avals[:-1]
        if x.shape != y.shape or x.dtype is not y.dtype or x.dtype not in REAL or not x.numel:
            return None
        if any(w is not None for w in weight):
            return None
        n, (want_x, want_y, *_) = _mean_of(spec.statics[0], x), spec.need

        def backward(x, y, g):
            out = slope(x - y) * (g / n)
            return [*[out] * want_x, *[-out] * want_y]

        return backward

    return build


TWINS["mse_loss_backward"] = _error_backward(lambda e: e + e)
TWINS["l1_loss_backward"] = _error_backward(
    lambda e: np.where(e == e, np.sign(e), np.zeros_like(e))
)


def _plain_bce(given):
    x, y, *rest = given
    if any(r is not None for r in rest) or x is None or y is None:
        return False
    return x.shape == y.shape and x.dtype is y.dtype and x.dtype in REAL and x.numel > 0


@twin_of("binary_cross_entropy_with_logits")
def _bce(statics, in_avals, avals):
    if not _plain_bce(in_avals):
        return None
    (reduction,) = statics
    n = _mean_of(reduction, in_avals[0])

    def bce(x, y):
        loss = np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))
        return (loss if reduction == "none" else np.add.reduce(loss, None) / n,)

    return bce


@twin_of("binary_cross_entropy_with_logits_backward")
def _bce_backward(statics, in_avals, avals):
    spec = plain_spec(statics, in_avals)
    if spec is None or in_avals[-1] is None or not _plain_bce(in_avals[:-1]):
        return None
    if len(avals) != 1 or not spec.need[0]:
        return None
    n = _mean_of(spec.statics[0], in_avals[0])

    def backward(x, y, g):
        e = np.exp(-np.abs(x))
        sigmoid = np.where(x < 0, e, np.ones((), x.dtype)) / (1 + e)
        return ((sigmoid - y) * (g / n),)

    return backward


# ---- joins and layers --------------------------------------------------------------------------


def _forward(name: str, statics: tuple):
    """The description of a forward call that its shape rule says is valid, else None."""
    (spec,) = statics
    if spec.__class__ is not Spec:
        return None
    return spec if shape_rules[name](spec.statics, spec.avals) is not None else None


@twin_of("cat_backward")
def _cat_backward(statics, in_avals, avals):
    spec = _forward("cat", statics)
    if spec is None or any(a is not None for a in in_avals[:-1]):
        return None
    dim = spec.statics[0] % spec.avals[0].ndim
    bounds = pairwise(accumulate([a.shape[dim] for a in spec.avals], initial=0))
    parts = [(*[slice(None)] * dim, slice(*at))
             for at, need in zip(bounds, spec.need, strict=True) if need]  # fmt: skip
    return lambda g: [g[part] for part in parts]


@twin_of("linear_backward")
def _linear_backward(statics, in_avals, avals):
    spec = _forward("linear", statics)
    if spec is None or len(in_avals) != 4 or any(a.dtype not in REAL for a in avals):
        return None
    x, w, b, g = in_avals
    want_x, want_w, want_b = spec.need
    if b is not None or g is None or (w is None) is want_x or (x is None) is want_w:
        return None
    shape, rows, width = spec.avals[0].shape, prod(g.shape[:-1]), g.shape[-1]

    def linear_backward(*saved):
        g = saved[-1].reshape(rows, width)
        out = []
        if want_x:
            out.append(np.matmul(g, saved[-2]).reshape(shape))
        if want_w:
            out.append(np.matmul(g.T, saved[0].reshape(rows, shape[-1])))
        if want_b:
            out.append(np.add.reduce(g, 0))
        return out

    return linear_backward
