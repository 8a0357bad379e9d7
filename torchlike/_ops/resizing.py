"""Resizing: combinations of few neighbours along each spatial dimension, and nearest ones."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._ops.table import Shape
from torchlike._ops.windows import layer, require_floating, widen

# Above this many entries the matrix of a resized dimension gives way to gathers.
_MAX_MATRIX = 1 << 16
_MAX_TAPS = 16  # as long as each output element is made of no more


def _source(n, out, scale, align_corners, kind, cubic=False):
    """Where each output element lies on the input; ``kind`` is the type PyTorch computes it in."""
    i = np.arange(out, dtype=kind)
    if align_corners:
        return i * kind((n - 1) / (out - 1) if out > 1 else 0)
    at = kind(1 / scale if scale else n / out) * (i + kind(0.5)) - kind(0.5)
    return at if cubic else np.maximum(at, 0)


def _linear_taps(n, out, scale, align_corners, kind):
    at = _source(n, out, scale, align_corners, kind)
    first = np.minimum(at.astype(np.int64), n - 1)
    part = np.clip(at - first, 0, 1)
    return [(first, 1 - part), (np.minimum(first + 1, n - 1), part)]


def cubic(t, a, xp=np):
    """Keys' cubic kernel (IEEE ASSP 29, 1981)."""
    t = xp.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return xp.where(t <= 1, near, xp.where(t < 2, far, 0))


def _cubic_taps(n, out, scale, align_corners, kind):
    at = _source(n, out, scale, align_corners, kind, True)
    first = np.floor(at)
    part = at - first
    return [
        (np.clip(first.astype(np.int64) + k, 0, n - 1), cubic(part - k, -0.75))
        for k in (-1, 0, 1, 2)
    ]


def _lanczos(t):
    """A sinc within the main lobe of another, thrice as wide."""
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


# Per mode the filter, and how far it reaches.
_FILTERS = {
    "bilinear": (lambda t: np.maximum(1 - np.abs(t), 0), 1),
    "bicubic": (lambda t: cubic(t, -0.5), 2),
    "lanczos": (_lanczos, 3),
}


def _antialias_matrix(n, out, scale, align_corners, mode):
    """Weights of a filter that grows with the shrinking, as Pillow's."""
    kernel, half = _FILTERS[mode]
    if align_corners:
        step = (n - 1) / (out - 1) if out > 1 else 0
    else:
        step = 1 / scale if scale else n / out
    support = half * step if step >= 1 else half
    inverse = 1 / step if step >= 1 else 1
    matrix = np.zeros((out, n))
    for i in range(out):
        center = step * (i + 0.5)
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), n)
        t = (np.arange(low, high) - center + 0.5) * inverse
        w = kernel(t)
        matrix[i, low:high] = w / w.sum()
    return matrix


def gathered(x, axis, taps):
    """Combine the taps along one dimension; what is not finite stays where it is seen.

    A tap without weight is none where it is masked.
    """
    total = 0
    for at, w in taps:
        shape = [1] * x.ndim
        shape[axis] = len(at)
        part = jnp.take(x, jnp.asarray(at), axis=axis, mode="clip")
        if np.ma.isMaskedArray(w):
            part = jnp.where(jnp.asarray(w.mask).reshape(shape), jnp.zeros((), x.dtype), part)
            w = w.filled(0)
        total = total + part * jnp.asarray(w, x.dtype).reshape(shape)
    return total


def by_matrix(x, axis, taps):
    """The same as a product, which has the cheaper transpose, while its matrix is small.

    Forward it would spread what is not finite over the whole dimension, and from 32 channels of
    56x56 on it takes five times as long.
    """
    n, out = x.shape[axis], len(taps[0][0])
    if n * out > _MAX_MATRIX:
        return gathered(x, axis, taps)
    return _apply_matrix(x, axis, _matrix_of(taps, n, out))


def transposed(linear, c, g):
    """The gradient of an op that is linear in its operand, by the transpose of ``linear``."""
    (dx,) = jax.linear_transpose(linear, jax.ShapeDtypeStruct(c.shapes[0].shape, g.dtype))(g)
    return dx


def _matrix_of(taps, n, out):
    matrix = np.zeros((out, n))
    for at, w in taps:
        np.add.at(matrix, (np.arange(out), at), np.ma.filled(w, 0))
    return matrix


def _taps_of(matrix):
    """The taps of a matrix whose rows have few numbers, side by side."""
    used = matrix != 0
    low = used.argmax(1)
    last = matrix.shape[1] - 1 - used[:, ::-1].argmax(1)
    rows = np.arange(len(matrix))
    return [
        (at, np.ma.array(matrix[rows, at], mask=low + k > last))
        for k in range(int((last - low).max()) + 1)
        for at in [np.minimum(low + k, last)]
    ]


def _resize_bytes(x, axis, matrix):
    """Weights as 16-bit integers, and a rounded image after each dimension, as Pillow has them."""
    bits = next(b for b in range(23) if b == 22 or matrix.max() * 2 ** (b + 1) + 0.5 >= 1 << 15)
    weights = np.trunc(matrix * (1 << bits) + np.copysign(0.5, matrix)).astype(np.int32)
    out, n = weights.shape
    used = weights != 0
    low = used.argmax(1)
    width = int((n - used[:, ::-1].argmax(1) - low).max())
    if weights.size <= _MAX_MATRIX or width > _MAX_TAPS:
        # A product of floats is fast, and exact: no sum needs as many bits as float64 has.
        sums = _apply_matrix(x.astype(np.float64), axis, weights).astype(np.int32)
    else:
        low, sums = np.minimum(low, n - width), 0
        shape = [1] * x.ndim
        shape[axis] = out
        for k in range(width):
            w = jnp.asarray(weights[np.arange(out), low + k].reshape(shape))
            sums = sums + jnp.take(x, jnp.asarray(low + k), axis=axis).astype(np.int32) * w
    return jnp.clip((sums + (1 << bits >> 1)) >> bits, 0, 255).astype(np.uint8)


def _apply_matrix(x, axis, matrix):
    m = jnp.asarray(matrix, x.dtype)
    return jnp.moveaxis(lax.dot_general(x, m, (((axis,), (1,)), ((), ()))), -1, axis)


def _nearest(x, axis, out, scale, exact):
    n = x.shape[axis]
    if scale is None and out % n == 0:
        shape = (*x.shape[: axis + 1], out // n, *x.shape[axis + 1 :])
        return jnp.broadcast_to(jnp.expand_dims(x, axis + 1), shape).reshape(
            *x.shape[:axis], out, *x.shape[axis + 1 :]
        )
    step = np.float32(1 / scale if scale else n / out)
    i = np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)
    at = np.minimum(np.floor(i * step).astype(np.int64), n - 1)
    return jnp.take(x, jnp.asarray(at), axis=axis)


def _upsample_node(c):
    kind = "".join(part.capitalize() for part in c.mode.split("-"))
    return f"Upsample{kind}{c.input.ndim - 2}D{'Aa' if c.antialias else ''}Backward0"


def _upsample_vjp(c, g):
    """By matrices."""
    return transposed(partial(_upsample, combine=by_matrix, **c.statics), c, g)


@layer("upsample", linear=True, vjp=_upsample_vjp, grad_name=_upsample_node)
def upsample(
    input, size: Shape, scales: tuple, mode: str, align_corners: bool | None, antialias: bool
):
    """Resize the spatial dimensions, one after the other."""
    return _upsample(input, size, scales, mode, align_corners, antialias, gathered)


def _upsample(input, size, scales, mode, align_corners, antialias, combine):
    rank = input.ndim - 2
    if min(input.shape[2:]) <= 0 or min(size) <= 0:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"{list(input.shape[2:])} and output {list(size)}"
        )
    nearest = mode in ("nearest", "nearest-exact")
    bytes_ = input.dtype == np.uint8 and rank == 2
    if not nearest and not bytes_:
        require_floating(input, f"upsample_{mode}{rank}d")
    x = input if nearest or bytes_ else widen(input)
    # PyTorch's kernel for small images copies, or doubles, whatever the scale says.
    by_size = mode == "nearest" and rank == 2 and sum(size) <= 128
    for d in reversed(range(rank)):
        axis, n, out, scale = d + 2, input.shape[d + 2], size[d], scales[d]
        if by_size and out in (n, 2 * n):
            scale = None
        plain = bytes_ and not nearest
        if n == out and (plain or ((scale is None or scale == 1) and not antialias)):
            continue
        if nearest:
            x = _nearest(x, axis, out, scale, mode == "nearest-exact")
        elif antialias:
            matrix = _antialias_matrix(n, out, scale, align_corners, mode)
            if bytes_:
                x = _resize_bytes(x, axis, matrix)
                continue
            taps = _taps_of(matrix)
            x = combine(x, axis, taps) if len(taps) <= _MAX_TAPS else _apply_matrix(x, axis, matrix)
        else:
            taps = _cubic_taps if mode == "bicubic" else _linear_taps
            if bytes_:
                found = taps(n, out, scale, align_corners, np.float64)
                x = _resize_bytes(x, axis, _matrix_of(found, n, out))
                continue
            kind = np.float64 if x.dtype == np.float64 else np.float32
            x = combine(x, axis, taps(n, out, scale, align_corners, kind))
    return x.astype(input.dtype)
