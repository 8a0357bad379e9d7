"""Images turned, sheared and seen from aside: ``rotate``, ``affine`` and ``perspective``."""

from __future__ import annotations

import math
import numbers

import numpy as np

import torchlike as torch
from torchlike._runner.torchvision.transforms._images import (
    _PILLOW,
    InterpolationMode,
    _check,
    _is_pillow,
    _mode,
)
from torchlike.nn import functional as F


def _inverse_affine(center, angle, translate, scale, shear) -> list[float]:
    """The matrix from places of the result to places of the image, row by row."""
    turn, sx, sy = (math.radians(x) for x in (angle, *shear))
    cx, cy = center
    tx, ty = translate
    a = math.cos(turn - sy) / math.cos(sy)
    b = -math.cos(turn - sy) * math.tan(sx) / math.cos(sy) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -math.sin(turn - sy) * math.tan(sx) / math.cos(sy) + math.cos(turn)
    m = [d / scale, -b / scale, 0.0, -c / scale, a / scale, 0.0]
    m[2] = m[0] * (-cx - tx) + m[1] * (-cy - ty) + cx
    m[5] = m[3] * (-cx - tx) + m[4] * (-cy - ty) + cy
    return m


def _pillow_fill(img, fill):
    """``fill`` as Pillow takes it: a number for one band, a tuple for more."""
    bands = len(img.getbands())
    fill = 0 if fill is None else fill
    if isinstance(fill, (list, tuple)):
        fill = tuple(fill) if len(fill) > 1 else (fill[0],) * bands
        if len(fill) != bands:
            raise ValueError(
                "The number of elements in 'fill' does not match the number of channels of the "
                f"image ({len(fill)} != {bands})"
            )
    elif bands > 1:
        fill = (fill,) * bands
    if img.mode != "F" and isinstance(fill, tuple):
        fill = tuple(int(x) for x in fill)
    return fill[0] if isinstance(fill, tuple) and bands == 1 else fill


def _base(width: int, height: int) -> np.ndarray:
    """The places of the result's pixels, (height * width, 3), on the host."""
    grid = np.ones((height, width, 3), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32) - (width * 0.5 - 0.5)
    grid[..., 1] = (np.arange(height, dtype=np.float32) - (height * 0.5 - 0.5))[:, None]
    return grid.reshape(-1, 3)


def _sampled(img, grid: np.ndarray, size: tuple[int, int], interpolation, fill):
    """The image (..., C, H, W) at places -1..1 of a grid (H' * W', 2)."""
    mode = interpolation.value
    if mode not in ("nearest", "bilinear"):
        raise ValueError(
            "This interpolation mode is unsupported with Tensor input: nearest or bilinear expected"
        )
    height, width = size
    dtype, shape = img.dtype, img.shape
    whole = img.reshape(-1, *shape[-3:])
    whole = whole if whole.is_floating_point() else whole.float()
    count, channels = whole.shape[0], whole.shape[1]
    if fill is not None:
        whole = torch.cat((whole, torch.ones_like(whole[:, :1])), dim=1)
    places = torch.from_numpy(grid.astype(np.float32)).to(whole.device, whole.dtype)
    places = places.reshape(1, height, width, 2).expand(count, -1, -1, -1)
    out = F.grid_sample(whole, places, mode=mode, padding_mode="zeros", align_corners=False)
    if fill is not None:
        out, inside = out[:, :-1], out[:, -1:]
        fill = [float(x) for x in (fill if isinstance(fill, (list, tuple)) else [fill])]
        color = torch.tensor(fill, dtype=out.dtype, device=out.device).view(1, -1, 1, 1)
        if mode == "nearest":
            out = torch.where(inside < 0.5, color, out)
        else:
            out = out * inside + (1.0 - inside) * color
    if not dtype.is_floating_point:
        out = out.round()
    return out.to(dtype).reshape(*shape[:-3], channels, height, width)


def _affine_grid(matrix, img, size: tuple[int, int]) -> np.ndarray:
    height, width = img.shape[-2:]
    theta = np.array(matrix, np.float32).reshape(2, 3).T
    half = np.array([0.5 * width, 0.5 * height], np.float32)
    return _base(size[1], size[0]) @ (theta / half)


def _expanded(matrix, width: int, height: int) -> tuple[int, int]:
    """(height, width) of the smallest image with all of the turned one."""
    x, y = 0.5 * width, 0.5 * height
    corners = np.array([[-x, -y, 1], [-x, y, 1], [x, y, 1], [x, -y, 1]], np.float32)
    found = corners @ np.array(matrix, np.float32).reshape(2, 3).T
    low, high = found.min(0) + (x, y), found.max(0) + (x, y)
    tol = 1e-4
    high, low = np.ceil(np.trunc(high / tol) * tol), np.floor(np.trunc(low / tol) * tol)
    new = high - low
    return int(new[1]), int(new[0])


def _tensor(img, matrix, size, interpolation, fill):
    return _sampled(img, _affine_grid(matrix, img, size), size, interpolation, fill)


def rotate(
    img, angle: float, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=None
):
    """The image turned counter-clockwise by degrees, around its middle or ``center`` (x, y)."""
    _check(img)
    interpolation = _mode(interpolation)
    if center is not None and len(center) != 2:
        raise ValueError("Argument center should be a sequence of length 2")
    if _is_pillow(img):
        fill = _pillow_fill(img, fill)
        return img.rotate(angle, _PILLOW[interpolation], expand, center, fillcolor=fill)
    height, width = img.shape[-2:]
    middle = [0.0, 0.0]
    if center is not None:
        middle = [c - s * 0.5 for c, s in zip(center, (width, height), strict=True)]
    # A tensor's rows go down, so that the angle has the other sign.
    matrix = _inverse_affine(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    size = _expanded(matrix, width, height) if expand else (height, width)
    return _tensor(img, matrix, size, interpolation, fill)


def affine(
    img, angle, translate, scale, shear, interpolation=InterpolationMode.NEAREST, fill=None,
    center=None,
):  # fmt: skip
    """The image turned clockwise by degrees, shifted, scaled and sheared by degrees."""
    _check(img)
    interpolation = _mode(interpolation)
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    shear = (shear, 0.0) if isinstance(shear, numbers.Number) else tuple(shear)
    shear = shear if len(shear) == 2 else (shear[0], shear[0])
    if _is_pillow(img):
        middle = [img.width * 0.5, img.height * 0.5] if center is None else center
        matrix = _inverse_affine(middle, angle, translate, scale, shear)
        return img.transform(
            img.size, 0, matrix, _PILLOW[interpolation], fillcolor=_pillow_fill(img, fill)
        )
    height, width = img.shape[-2:]
    middle = [0.0, 0.0]
    if center is not None:
        middle = [c - s * 0.5 for c, s in zip(center, (width, height), strict=True)]
    matrix = _inverse_affine(middle, angle, [float(t) for t in translate], scale, shear)
    return _tensor(img, matrix, (height, width), interpolation, fill)


def _perspective_coefficients(startpoints, endpoints) -> list[float]:
    rows = []
    for (x, y), (u, v) in zip(endpoints, startpoints, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    places = np.array(startpoints, np.float64).reshape(8)
    found = np.linalg.lstsq(np.array(rows, np.float64), places, rcond=None)[0]
    return found.astype(np.float32).tolist()


def perspective(img, startpoints, endpoints, interpolation=InterpolationMode.BILINEAR, fill=None):
    """The image with four corners (x, y) moved to others."""
    _check(img)
    interpolation = _mode(interpolation)
    found = _perspective_coefficients(startpoints, endpoints)
    if _is_pillow(img):
        return img.transform(
            img.size, 2, found, _PILLOW[interpolation], fillcolor=_pillow_fill(img, fill)
        )
    height, width = img.shape[-2:]
    base = _base(width, height) + np.array([width * 0.5, height * 0.5, 0], np.float32)
    top = np.array(found[:6], np.float32).reshape(2, 3).T
    below = np.array([*found[6:], 1.0], np.float32)
    half = np.array([0.5 * width, 0.5 * height], np.float32)
    grid = base @ (top / half) / (base @ below)[:, None] - 1.0
    return _sampled(img, grid, (height, width), interpolation, fill)
