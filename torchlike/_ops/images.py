"""Padding, sliding blocks, shuffled pixels, sampling at places: ops on grids of pixels."""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.resizing import cubic
from torchlike._ops.table import Shape, torch_dtype
from torchlike._ops.windows import layer, require_floating, slices

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
def constant_pad_nd(input, pad: Shape, value: complex):
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
    given, input = input.dtype, input.astype(jnp.int32) if input.dtype == bool else input
    image = jax.ShapeDtypeStruct(shape, input.dtype)
    forward = lambda x: _im2col(x, kernel, dilation, padding, stride, out)  # noqa: E731
    return jax.linear_transpose(forward, image)(input)[0].astype(given)  # True and True is True


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
        turns, extra = jnp.floor(conventions.by_number(x, span)), jnp.fmod(x, span)
        x = jnp.where(turns % 2 == 0, extra + low, span - extra + low)
    if padding_mode != "zeros":
        x = jnp.where(x > 0, jnp.where(x >= n - 1, n - 1, x), 0).astype(x.dtype)  # nan: 0
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

    def cubic_or_nan(x):
        return jnp.where(x != x, x, cubic(x, -0.75, jnp))

    if mode == "nearest":
        return jnp.moveaxis(
            read([lax.round(a, lax.RoundingMethod.TO_NEAREST_EVEN) for a in at]), -1, 1
        )
    first = [jnp.floor(a) for a in at]
    if mode == "bicubic":  # the taps come from inside, where the place between them may not
        taps = [
            [(inside(f + k, n), cubic_or_nan(a - f - k)) for k in (-1, 0, 1, 2)]
            for a, f, n in zip(at, first, spatial)
        ]
    else:
        taps = [[(f, f + 1 - a), (f + 1, a - f)] for a, f in zip(at, first)]
    total = 0
    for corner in product(*taps):
        weight = prod(w for _, w in corner)
        total = total + read([place for place, _ in corner]) * weight[..., None]
    return jnp.moveaxis(total, -1, 1)
