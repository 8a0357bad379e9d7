"""Padding, resizing, shuffling and sampling of pixels of ``torch.nn.functional``."""

from __future__ import annotations

import math
import warnings

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._core.symbolic import SymInt
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import modes
from torchlike.nn.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)

_CONSTANT, _OWN = TABLE["constant_pad_nd"], TABLE["pad_like_input"]


def pad(input, pad, mode: str = "constant", value: float | None = None):
    """Pad from the last dimension backwards (https://pytorch.org/docs/stable/generated/torch.nn.functional.pad.html)."""
    if mode == "constant" and any(isinstance(p, SymInt) for p in pad):
        return _pad_open(input, pad, value)
    pad = tuple([int(p) if hasattr(p, "__index__") else p for p in pad])
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if mode == "constant":
        return apply(_CONSTANT, (input,), (pad, value))
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    ndim = aval_of(input).ndim
    if (len(pad), ndim) not in ((2, 2), (2, 3), (4, 3), (4, 4), (6, 4), (6, 5)):
        raise NotImplementedError(
            f"Padding size {len(pad)} is not supported for {ndim}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    return apply(_OWN, (input,), (pad, mode))


def _pad_open(input, pad, value):
    """Padding by sizes that an exported program leaves open: XLA's own takes numbers only."""
    out = apply(
        _CONSTANT, (input,), (tuple([0 if isinstance(p, SymInt) else p for p in pad]), value)
    )
    for i, p in enumerate(pad):
        if not isinstance(p, SymInt):
            continue
        if p < 0:
            raise NotSupported("cropping by pad() with an open size", "slice the tensor")
        dim, shape = -1 - i // 2, list(out.shape)
        shape[dim] = p
        more = out.new_full(shape, 0 if value is None else value)
        out = FUNCTIONS["cat"]([out, more] if i % 2 else [more, out], dim)
    return out


def pixel_shuffle(input, upscale_factor: int):
    """(*, C * r^2, H, W) -> (*, C, H * r, W * r)."""
    return apply(TABLE["pixel_shuffle"], (input,), (upscale_factor,))


def pixel_unshuffle(input, downscale_factor: int):
    """(*, C, H * r, W * r) -> (*, C * r^2, H, W)."""
    return apply(TABLE["pixel_unshuffle"], (input,), (downscale_factor,))


def channel_shuffle(input, groups: int):
    """Channels dealt out over the groups in turn."""
    return apply(TABLE["channel_shuffle"], (input,), (groups,))


native_channel_shuffle = channel_shuffle

# ---- resizing ----------------------------------------------------------------------------------

_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}
_ANY = ("nearest", "nearest-exact", "area")


def interpolate(
    input, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
):  # fmt: skip
    """Resize the spatial dimensions (https://pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html)."""
    if mode in _ANY:
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | "
                "bilinear | bicubic | trilinear | lanczos"
            )
    elif align_corners is None:
        align_corners = False
    shape = input._value.aval.shape
    rank = len(shape) - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    scales = (None,) * rank
    if size is not None:
        size = _per_dim(size, rank, shape, "size")
        if not all(hasattr(n, "__index__") for n in size):
            raise TypeError(
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, "
                f"int, int], but got size with types {[type(n) for n in size]}"
            )
    else:
        scales = _per_dim(scale_factor, rank, shape, "scale_factor")
        size = tuple(math.floor(n * s) for n, s in zip(shape[2:], scales))
        if recompute_scale_factor or mode == "area":
            scales = (None,) * rank
    if recompute_scale_factor and scale_factor is None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if mode == "lanczos" and (align_corners or not antialias):
        told = "requires antialias=True" if not antialias else "does not support align_corners=True"
        raise ValueError(f"Lanczos mode {told}")
    if antialias and (mode not in ("bilinear", "bicubic", "lanczos") or rank != 2):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires "
            "a 4-D tensor as input"
        )
    if mode in _RANKS and rank in (1, 2, 3) and len(shape) != _RANKS[mode]:
        raise NotImplementedError(
            f"Got {len(shape)}D input, but {mode} mode needs {_RANKS[mode]}D input"
        )
    if rank not in (1, 2, 3) or (mode not in _RANKS and mode not in _ANY):
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{len(shape)}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | "
            f"lanczos | area | nearest-exact (got {mode})"
        )
    if mode == "area":
        pool = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[rank - 1]
        return pool(input, size)
    statics = (size, scales, mode, align_corners, antialias)
    return apply(TABLE["upsample"], (input,), statics)


def _per_dim(value, rank, shape, name) -> tuple:
    if not isinstance(value, (tuple, list)):
        return (value,) * rank
    if len(value) != rank:
        raise ValueError(
            f"Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(shape[2:])} and output {name} of {list(value)}. Please "
            "provide input tensor in (N, C, d1, d2, ...,dK) format and output size in (o1, o2, ..."
            ",oK) format."
        )
    return tuple(value)


def upsample(input, size=None, scale_factor=None, mode: str = "nearest", align_corners=None):
    """The old name of ``interpolate``."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """The old name of ``interpolate(mode="nearest")``."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """The old name of ``interpolate(mode="bilinear", align_corners=True)``."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# ---- sampling at any place ---------------------------------------------------------------------


def affine_grid(theta, size, align_corners: bool | None = None):
    """Coordinates of an image of the given size, mapped by affine matrices."""
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
        align_corners = False
    size = tuple(size)
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    wanted = {4: (2, 3), 5: (3, 4)}.get(len(size))
    if wanted is None:
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    shape = theta._value.aval.shape
    if len(shape) != 3 or shape[1:] != wanted:
        raise ValueError(
            f"Expected a batch of 2D affine matrices of shape Nx{wanted[0]}x{wanted[1]} for size "
            f"{size}. Got torch.Size({list(shape)})."
        )
    return apply(TABLE["affine_grid_generator"], (theta,), (size, align_corners))


def _check_grid(a, b) -> None:
    """Raise for shapes of an input and a grid that do not go together."""
    sizes = f"input with sizes {list(a)} and grid with sizes {list(b)}"
    if a[0] != b[0]:
        told = "grid and input to have same batch size"
    elif b[-1] != len(a) - 2:
        told = f"grid to have size {len(a) - 2} in last dimension"
        sizes = f"grid with sizes {list(b)}"
    elif len(a) not in (4, 5) or len(a) != len(b):
        told = "4D or 5D input and grid with same number of dimensions"
    else:
        empty = next((d for d in range(2, len(a)) if not a[d]), None)
        if empty is not None:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input "
                f"has sizes {list(a)} with dimension {empty} being empty"
            )
        return
    raise RuntimeError(f"grid_sampler(): expected {told}, but got {sizes}")


def grid_sample(
    input, grid, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
):  # fmt: skip
    """The input sampled at the grid's coordinates in [-1, 1]."""
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
        align_corners = False
    a, b = aval_of(input).shape, aval_of(grid).shape
    _check_grid(a, b)
    kinds = [dt.SCALAR_NAMES.get(x.dtype) for x in (input, grid)]
    if kinds[0] != kinds[1] and modes.cast is None:  # autocast makes them one
        raise RuntimeError(f"expected scalar type {kinds[0]} but found {kinds[1]}")
    if mode == "bicubic" and len(a) == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    statics = (mode, padding_mode, align_corners)
    return apply(TABLE["grid_sampler"], (input, grid), statics)
