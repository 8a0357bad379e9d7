"""Padding, sliding blocks, shuffled pixels and resizing: ops on grids of pixels."""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.table import Shape, torch_dtype
from torchlike._ops.windows import layer, require_floating, slices, widen

# ---- padding -----------------------------------------------------------------------------------

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _held(x, d):
    """A number as an element of a dtype; PyTorch's error if it cannot hold it."""
    if d.category != dt.INTEGRAL:
        if d.category >= dt.FLOATING:
            dt.check_held(x, d)
        return x
    info = np.iinfo(d.numpy)
    if not info.min <= x <= info.max:
        raise dt.does_not_fit(d)
    return int(x)


@layer("constant_pad_nd", linear=True, signature="pad(input, pad)")
def constant_pad_nd(input, pad: Shape, value: float):
    """Pad with one number from the last dimension backwards; negative padding crops."""
    low, high = _edges(input, pad)
    for n, a, b in zip(input.shape, low, high):
        if n + a + b < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b} resulted in a negative "
                "output size, which is invalid."
            )
    fill = jnp.asarray(_held(0 if value is None else value, torch_dtype(input)), input.dtype)
    return lax.pad(input, fill, [(a, b, 0) for a, b in zip(low, high)])


def _edges(input, pad):
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pad)} and input of dimension {input.ndim}"
        )
    low, high = [0] * input.ndim, [0] * input.ndim
    for i in range(len(pad) // 2):
        low[-1 - i], high[-1 - i] = pad[2 * i], pad[2 * i + 1]
    return low, high


def _pad_node(c):
    if c.mode == "circular":
        return "torch::autograd::CopySlices"
    kind = "Reflection" if c.mode == "reflect" else "Replication"
    return f"{kind}Pad{len(c.pad) // 2}DBackward0"


@layer("pad_like_input", linear=True, grad_name=_pad_node, signature="pad(input, pad, mode)")
def pad_like_input(input, pad: Shape, mode: str):
    """Pad the last dimensions with the input's own elements."""
    low, high = _edges(input, pad)
    _check_padded(input, len(pad) // 2, low, high, mode)
    for d, (n, a, b) in enumerate(zip(input.shape, low, high)):
        if mode == "reflect" and (a >= n or b >= n) and (a or b):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({a}, {b}) at dimension {d} of input {list(input.shape)}"
            )
        if mode == "circular" and (a > n or b > n):
            raise RuntimeError("Padding value causes wrapping around more than once.")
    if mode == "replicate" or (mode == "reflect" and min(pad) < 0):
        for d, (n, a, b) in enumerate(zip(input.shape, low, high)):
            if a or b:  # what negative padding cuts is still there to be reflected
                at = np.arange(n + a + b) - a
                if mode == "reflect":
                    at = n - 1 - np.abs(n - 1 - np.abs(at))
                input = jnp.take(input, np.minimum(np.maximum(at, 0), n - 1), d)
        return input
    widths = [(max(a, 0), max(b, 0)) for a, b in zip(low, high)]
    # PyTorch's circular padding crops before it wraps, so that what it cuts is gone.
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, a, b in zip(input.shape, low, high))
    return jnp.pad(input[cut], widths, mode=_MODES[mode])


def _check_padded(input, rank, low, high, mode):
    """Raise for an input without elements (a batch may be empty), and for an empty result."""
    if mode == "circular":
        if any(n and n + min(a, 0) + min(b, 0) < 0 for n, a, b in zip(input.shape, low, high)):
            raise RuntimeError("Negative padding value is resulting in an empty dimension")
        return
    if not all(input.shape[1 if input.ndim == rank + 2 else 0 :]):
        raise RuntimeError(
            f"Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with possibly 0 batch size "
            f"and other non-zero dimensions for input, but got: {list(input.shape)}"
        )
    sizes = [n + a + b for n, a, b in zip(input.shape, low, high)][-rank:]
    if min(sizes) < 1:
        names = "DHW"[-rank:]
        given = ", ".join(f"{name}: {n}" for name, n in zip(names, input.shape[-rank:]))
        out = " ".join(f"{name}: {n}" for name, n in zip(names, sizes))
        raise RuntimeError(f"input ({given}) is too small. Calculated output {out}")


# ---- sliding blocks ----------------------------------------------------------------------------


def _pair(value, name):
    value = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(value) != 2:
        raise RuntimeError(f"It is expected {name} to be 2, but got {len(value)}")
    return value


def _check_blocks(kernel, dilation, padding, stride):
    """Raise for sizes of sliding blocks that make none."""
    for what, name, pair, least in (
        ("kernel size", "kernel", kernel, 1), ("dilation", "dilation", dilation, 1),
        ("padding", "pad", padding, 0), ("stride", "stride", stride, 1),
    ):  # fmt: skip
        if min(pair) < least:
            kind = "greater than zero" if least else "non-negative"
            raise RuntimeError(
                f"{what} should be {kind}, but got {name}_height: {pair[0]} {name}_width: {pair[1]}"
            )


def _blocks(size, kernel, dilation, padding, stride):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)
    )


def _im2col(x, kernel, dilation, padding, stride, out):
    edges = [(0, 0, 0)] * (x.ndim - 2) + [(p, p, 0) for p in padding]
    padded = lax.pad(x, jnp.zeros((), x.dtype), edges)
    parts = [part for _, part in slices(padded, kernel, stride, dilation, out)]
    return jnp.stack(parts, -3).reshape(*x.shape[:-3], x.shape[-3] * prod(kernel), prod(out))


@layer(
    "im2col", linear=True, grad_name="Im2ColBackward0",
    signature="im2col(input, kernel_size, dilation, padding, stride)",
)  # fmt: skip
def im2col(input, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape):
    """Sliding blocks as columns: (N, C, H, W) -> (N, C * block, blocks)."""
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )
    kernel, dilation = _pair(kernel, "kernel_size"), _pair(dilation, "dilation")
    padding, stride = _pair(padding, "padding"), _pair(stride, "stride")
    _check_blocks(kernel, dilation, padding, stride)
    out = _blocks(input.shape[-2:], kernel, dilation, padding, stride)
    if min(out) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(input.shape[-2:])}, kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, calculated shape of the array of sliding "
            f"blocks as {tuple(max(n, 0) for n in out)}, but its components must be at least one."
        )
    return _im2col(input, kernel, dilation, padding, stride, out)


@layer(
    "col2im", linear=True, grad_name="Col2ImBackward0",
    signature="col2im(input, output_size, kernel_size, dilation, padding, stride)",
)  # fmt: skip
def col2im(input, size: Shape, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape):
    """Columns summed back to where their blocks lie: the transpose of ``im2col``."""
    size, kernel = _pair(size, "output_size"), _pair(kernel, "kernel_size")
    dilation, padding = _pair(dilation, "dilation"), _pair(padding, "padding")
    stride = _pair(stride, "stride")
    _check_blocks(kernel, dilation, padding, stride)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    if input.shape[-2] % prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={input.shape[-2]} and kernel_size={kernel}."
        )
    out = _blocks(size, kernel, dilation, padding, stride)
    if input.shape[-1] != prod(out):
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, expected size of input's dimension 2 to match "
            f"the calculated number of sliding blocks {out[0]} * {out[1]} = {prod(out)}, but got "
            f"input.size(2)={input.shape[-1]}."
        )
    if min(out) < 1:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, calculated shape of the array of sliding blocks "
            f"as {out}, which is too small (non-positive)"
        )
    shape = (*input.shape[:-2], input.shape[-2] // prod(kernel), *size)
    image = jax.ShapeDtypeStruct(shape, input.dtype)
    forward = lambda x: _im2col(x, kernel, dilation, padding, stride, out)  # noqa: E731
    return jax.linear_transpose(forward, image)(input)[0]


# ---- shuffled pixels ---------------------------------------------------------------------------


@layer(
    "pixel_shuffle", linear=True, forms=("function",),
    signature="pixel_shuffle(input, upscale_factor)",
)  # fmt: skip
def pixel_shuffle(input, upscale_factor: int):
    """(*, C * r^2, H, W) -> (*, C, H * r, W * r)."""
    r = upscale_factor
    _at_least_3d("pixel_shuffle", input)
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    x = input.reshape(*lead, c // (r * r), r, r, h, w)
    x = x.transpose(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*lead, c // (r * r), h * r, w * r)


@layer(
    "pixel_unshuffle", linear=True, forms=("function",),
    signature="pixel_unshuffle(input, downscale_factor)",
)  # fmt: skip
def pixel_unshuffle(input, downscale_factor: int):
    """(*, C, H * r, W * r) -> (*, C * r^2, H, W)."""
    r = downscale_factor
    _at_least_3d("pixel_unshuffle", input)
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    for name, size, at in (("height", h, -2), ("width", w, -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({at})={size} is not divisible by {r}"
            )
    n = len(lead)
    x = input.reshape(*lead, c, h // r, r, w // r, r)
    x = x.transpose(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*lead, c * r * r, h // r, w // r)


def _at_least_3d(name, input):
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} "
            "dimension(s)"
        )


@layer(
    "channel_shuffle", linear=True, forms=("function",),
    signature="channel_shuffle(input, groups)",
)  # fmt: skip
def channel_shuffle(input, groups: int):
    """Channels dealt out over the groups in turn."""
    if input.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    n, c, *rest = input.shape
    if groups <= 0 or c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    return input.reshape(n, groups, c // groups, *rest).swapaxes(1, 2).reshape(input.shape)


# ---- resizing ----------------------------------------------------------------------------------

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


def _cubic(t, a, xp=np):
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
        (np.clip(first.astype(np.int64) + k, 0, n - 1), _cubic(part - k, -0.75))
        for k in (-1, 0, 1, 2)
    ]


def _lanczos(t):
    """A sinc within the main lobe of another, thrice as wide."""
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


# Per mode the filter, and how far it reaches.
_FILTERS = {
    "bilinear": (lambda t: np.maximum(1 - np.abs(t), 0), 1),
    "bicubic": (lambda t: _cubic(t, -0.5), 2),
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


def _resize(x, axis, taps, out):
    """Combine the taps along one dimension, by a matrix while that is small."""
    n = x.shape[axis]
    if n * out > _MAX_MATRIX:
        shape = [1] * x.ndim
        shape[axis] = out
        return sum(
            jnp.take(x, jnp.asarray(at), axis=axis) * jnp.asarray(w, x.dtype).reshape(shape)
            for at, w in taps
        )
    return _apply_matrix(x, axis, _matrix_of(taps, n, out))


def _matrix_of(taps, n, out):
    matrix = np.zeros((out, n))
    for at, w in taps:
        np.add.at(matrix, (np.arange(out), at), w)
    return matrix


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


@layer("upsample", linear=True, grad_name=_upsample_node)
def upsample(
    input, size: Shape, scales: tuple, mode: str, align_corners: bool | None, antialias: bool
):
    """Resize the spatial dimensions, one after the other."""
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
    for d in reversed(range(rank)):
        axis, n, out, scale = d + 2, input.shape[d + 2], size[d], scales[d]
        if n == out and (bytes_ or ((scale is None or scale == 1) and not antialias)):
            continue
        if nearest:
            x = _nearest(x, axis, out, scale, mode == "nearest-exact")
        elif antialias:
            matrix = _antialias_matrix(n, out, scale, align_corners, mode)
            x = (_resize_bytes if bytes_ else _apply_matrix)(x, axis, matrix)
        else:
            taps = _cubic_taps if mode == "bicubic" else _linear_taps
            if bytes_:
                found = taps(n, out, scale, align_corners, np.float64)
                x = _resize_bytes(x, axis, _matrix_of(found, n, out))
                continue
            kind = np.float64 if x.dtype == np.float64 else np.float32
            x = _resize(x, axis, taps(n, out, scale, align_corners, kind), out)
    return x.astype(input.dtype)


# ---- sampling at any place ---------------------------------------------------------------------


@layer("affine_grid_generator", linear=True)
def affine_grid_generator(theta, size: Shape, align_corners: bool):
    """Coordinates in [-1, 1] of an image of the given size, mapped by affine matrices."""
    kind = np.float64 if theta.dtype == np.float64 else np.float32
    lines = [_centers(n, align_corners, kind) for n in size[2:]]
    grid = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(size[2:])], -1)
    base = jnp.asarray(grid.reshape(-1, len(size) - 1), theta.dtype)
    out = lax.dot_general(base, theta, (((1,), (2,)), ((), ())))  # (points, N, coordinates)
    return jnp.moveaxis(out, 1, 0).reshape(size[0], *size[2:], len(size) - 2)


def _centers(n, align_corners, kind):
    """The centers of n pixels in [-1, 1], rounded as PyTorch rounds them: at the identity a sampler
    stands between two cells, and the last digit says which of their slopes is the gradient."""
    if n == 1:
        return np.zeros(1, kind)
    step, i = float(kind(2) / kind(n - 1)), np.arange(n)
    line = np.where(i < n // 2, step * i - 1, 1 - step * (n - 1 - i)).astype(kind)
    return line if align_corners else line * kind(n - 1) / kind(n)


def _unnormalize(x, n, align_corners, spatial):
    """Coordinates in [-1, 1] as places, rounded as PyTorch does; which program it is in does not
    change the last digit: see ``_centers``."""
    if spatial == 2 and align_corners:
        return (x + 1) * ((n - 1) / 2)
    if spatial == 2:  # a product and a difference that are rounded once, together
        wide = jnp.float64 if x.dtype == np.float32 else x.dtype
        return ((x + 1).astype(wide) * (n / 2) - 0.5).astype(x.dtype)
    return (x + 1) / 2 * (n - 1) if align_corners else ((x + 1) * n - 1) / 2


def _fold_back(x, n, padding_mode, align_corners):
    """Coordinates outside the image, as the padding mode maps them inside."""
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
        if span == 0:
            return jnp.zeros_like(x)
        x = jnp.abs(x - low)
        turns, extra = jnp.floor(x / span), jnp.fmod(x, span)
        x = jnp.where(turns % 2 == 0, extra + low, span - extra + low)
    if padding_mode != "zeros":
        x = jnp.where(x <= 0, 0, jnp.where(x >= n - 1, n - 1, x)).astype(x.dtype)
    return x


@layer("grid_sampler", grad_name=lambda c: f"GridSampler{c.input.ndim - 2}DBackward0")
def grid_sampler(input, grid, mode: str, padding_mode: str, align_corners: bool):
    """The input sampled at coordinates in [-1, 1]; the last of them counts rows or planes."""
    require_floating(input, f"grid_sampler_{input.ndim - 2}d_cpu_kernel_impl")
    spatial = input.shape[2:]
    batch = jnp.arange(input.shape[0]).reshape(-1, *[1] * (grid.ndim - 2))
    inside = lambda x, n: _fold_back(x, n, padding_mode, align_corners)  # noqa: E731
    dims = len(spatial)
    at = [_unnormalize(grid[..., -1 - d], n, align_corners, dims) for d, n in enumerate(spatial)]
    if mode != "bicubic":
        at = [inside(a, n) for a, n in zip(at, spatial)]
    image = jnp.moveaxis(input, 1, -1)  # (N, *spatial, C)

    def read(places):
        inside = jnp.ones(grid.shape[:-1], bool)
        for p, n in zip(places, spatial):
            inside &= (p >= 0) & (p <= n - 1)
        index = tuple(jnp.clip(p, 0, n - 1).astype(jnp.int64) for p, n in zip(places, spatial))
        return jnp.where(inside[..., None], image[(batch, *index)], 0)

    if mode == "nearest":
        return jnp.moveaxis(
            read([lax.round(a, lax.RoundingMethod.TO_NEAREST_EVEN) for a in at]), -1, 1
        )
    first = [jnp.floor(a) for a in at]
    if mode == "bicubic":  # the taps come from inside, where the place between them may not
        taps = [
            [(inside(f + k, n), _cubic(a - f - k, -0.75, jnp)) for k in (-1, 0, 1, 2)]
            for a, f, n in zip(at, first, spatial)
        ]
    else:
        taps = [[(f, f + 1 - a), (f + 1, a - f)] for a, f in zip(at, first)]
    total = 0
    for corner in product(*taps):
        weight = prod(w for _, w in corner)
        total = total + read([place for place, _ in corner]) * weight[..., None]
    return jnp.moveaxis(total, -1, 1)
