"""torchvision.transforms.functional: images of Pillow and tensors (..., C, H, W), one at a time."""

from __future__ import annotations

import numbers

import numpy as np

import torchlike as torch
from torchlike._core.errors import NotSupported
from torchlike._runner.torchvision.transforms._images import (
    _PILLOW,
    _blend,
    _check,
    _is_pillow,
    _mode,
    _pair,
)
from torchlike._runner.torchvision.transforms._images import InterpolationMode as InterpolationMode
from torchlike._runner.torchvision.transforms._images import (
    convert_image_dtype as convert_image_dtype,
)
from torchlike._runner.torchvision.transforms._images import get_dimensions as get_dimensions
from torchlike._runner.torchvision.transforms._images import (
    get_image_num_channels as get_image_num_channels,
)
from torchlike._runner.torchvision.transforms._images import get_image_size as get_image_size
from torchlike._runner.torchvision.transforms._images import normalize as normalize
from torchlike._runner.torchvision.transforms._images import pil_modes_mapping as pil_modes_mapping
from torchlike._runner.torchvision.transforms._images import pil_to_tensor as pil_to_tensor
from torchlike._runner.torchvision.transforms._images import to_pil_image as to_pil_image
from torchlike._runner.torchvision.transforms._images import to_tensor as to_tensor
from torchlike._runner.torchvision.transforms.geometry import affine as affine
from torchlike._runner.torchvision.transforms.geometry import perspective as perspective
from torchlike._runner.torchvision.transforms.geometry import rotate as rotate
from torchlike._runner.torchvision.transforms.tones import adjust_gamma as adjust_gamma
from torchlike._runner.torchvision.transforms.tones import adjust_sharpness as adjust_sharpness
from torchlike._runner.torchvision.transforms.tones import autocontrast as autocontrast
from torchlike._runner.torchvision.transforms.tones import equalize as equalize
from torchlike._runner.torchvision.transforms.tones import invert as invert
from torchlike._runner.torchvision.transforms.tones import posterize as posterize
from torchlike._runner.torchvision.transforms.tones import solarize as solarize
from torchlike.nn import functional as F


def _resized_size(height: int, width: int, size, max_size: int | None) -> tuple[int, int]:
    """(height, width) of an image whose shorter side becomes ``size``."""
    if isinstance(size, (list, tuple)) and len(size) == 2:
        if max_size is not None:
            raise ValueError(
                "max_size should only be passed if size specifies the length of the smaller edge, "
                "i.e. size should be an int or a sequence of length 1 in torchscript mode."
            )
        return tuple(size)
    size = size[0] if isinstance(size, (list, tuple)) else size
    short, long = sorted((height, width))
    if size is None:
        new_short, new_long = short * max_size / long, max_size
        new_short = int(new_short)
    else:
        new_short, new_long = size, int(size * long / short)
    if max_size is not None:
        if size is not None and max_size <= size:
            raise ValueError(
                f"max_size = {max_size} must be strictly greater than the requested size for the "
                f"smaller edge size = {size}"
            )
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_short, new_long) if height <= width else (new_long, new_short)


def resize(img, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """The image in another size: (height, width), or the length of its shorter side."""
    interpolation = _mode(interpolation)
    _, height, width = get_dimensions(img)
    new = _resized_size(height, width, size, max_size)
    if (height, width) == new:
        return img
    if _is_pillow(img):
        return img.resize(new[::-1], _PILLOW[interpolation])
    return _interpolate(img, new, interpolation, antialias)


def _interpolate(img, size, interpolation, antialias):
    smooth = interpolation in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
    if not smooth and not interpolation.value.startswith("nearest"):
        raise NotImplementedError("Expects a tensor to be resized by nearest, bilinear or bicubic")
    dtype, extra = img.dtype, max(0, 4 - img.ndim)
    batch = img[(None,) * extra]
    shape = batch.shape[:-3]
    batch = batch.reshape(-1, *batch.shape[-3:])
    if dtype not in (torch.float32, torch.float64):
        batch = batch.float()
    options = {"align_corners": False, "antialias": bool(antialias)} if smooth else {}
    out = F.interpolate(batch, size=tuple(size), mode=interpolation.value, **options)
    if interpolation is InterpolationMode.BICUBIC and dtype is torch.uint8:
        out = out.clamp(0, 255)
    out = out.reshape(*shape, *out.shape[1:])
    for _ in range(extra):
        out = out[0]
    if dtype.is_floating_point:
        return out.to(dtype)
    return out.round().to(dtype)


def pad(img, padding, fill=0, padding_mode: str = "constant"):
    """The image with a border: one width, (left and right, top and bottom), or all four."""
    _check(img)
    if isinstance(padding, numbers.Number):
        left = top = right = bottom = int(padding)
    elif len(padding) == 1:
        left = top = right = bottom = padding[0]
    elif len(padding) == 2:
        left, top = right, bottom = padding
    else:
        left, top, right, bottom = padding
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    if _is_pillow(img):
        from PIL import Image, ImageOps

        if padding_mode == "constant":
            color = tuple(fill) if isinstance(fill, (list, tuple)) else fill
            if isinstance(color, tuple) and len(color) == 1:
                color = color * len(img.getbands())
            elif not isinstance(color, tuple) and len(img.getbands()) > 1:
                color = (color,) * len(img.getbands())
            return ImageOps.expand(img, (left, top, right, bottom), color)
        array = np.asarray(img)
        widths = ((top, bottom), (left, right)) + ((0, 0),) * (array.ndim - 2)
        return Image.fromarray(np.pad(array, widths, padding_mode))
    if padding_mode == "symmetric":
        raise NotSupported("transforms.functional.pad(padding_mode='symmetric') of a tensor")
    mode = {"edge": "replicate"}.get(padding_mode, padding_mode)
    whole = img if img.ndim > 3 or mode == "constant" else img[None]
    dtype = whole.dtype
    if mode != "constant" and not dtype.is_floating_point:
        whole = whole.float()
    if isinstance(fill, (list, tuple)):
        fill = fill[0]
    out = F.pad(
        whole,
        (left, right, top, bottom),
        mode,
        **{"value": float(fill)} if mode == "constant" else {},
    )
    out = out.to(dtype)
    return out if whole.ndim == img.ndim else out[0]


def crop(img, top: int, left: int, height: int, width: int):
    """A window of the image; what lies outside is 0."""
    _check(img)
    if _is_pillow(img):
        return img.crop((left, top, left + width, top + height))
    h, w = img.shape[-2:]
    right, bottom = left + width, top + height
    inside = img[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if left >= 0 and top >= 0 and right <= w and bottom <= h:
        return inside
    around = (
        max(min(right, 0) - left, 0), max(right - max(w, left), 0),
        max(min(bottom, 0) - top, 0), max(bottom - max(h, top), 0),
    )  # fmt: skip
    return F.pad(inside, around)


def center_crop(img, output_size):
    """A window in the middle, padded with 0 where the image is smaller."""
    height, width = _pair(output_size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        around = [
            (width - w) // 2 if width > w else 0, (height - h) // 2 if height > h else 0,
            (width - w + 1) // 2 if width > w else 0, (height - h + 1) // 2 if height > h else 0,
        ]  # fmt: skip
        img = pad(img, around, fill=0)
        _, h, w = get_dimensions(img)
        if (w, h) == (width, height):
            return img
    top, left = round((h - height) / 2.0), round((w - width) / 2.0)
    return crop(img, top, left, height, width)


def resized_crop(
    img, top, left, height, width, size, interpolation=InterpolationMode.BILINEAR, antialias=True
):
    """A window, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def five_crop(img, size) -> tuple:
    """The four corners and the middle; raises ``ValueError`` where they do not fit."""
    height, width = _pair(size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        raise ValueError(f"Requested crop size {size} is bigger than input size {(h, w)}")
    corners = ((0, 0), (0, w - width), (h - height, 0), (h - height, w - width))
    return (
        *(crop(img, top, left, height, width) for top, left in corners),
        center_crop(img, [height, width]),
    )


def ten_crop(img, size, vertical_flip: bool = False) -> tuple:
    """``five_crop`` of the image and of its mirror image."""
    other = vflip(img) if vertical_flip else hflip(img)
    return five_crop(img, size) + five_crop(other, size)


# ---- mirrors, colours --------------------------------------------------------------------------


def hflip(img):
    """Left and right exchanged."""
    _check(img)
    return img.transpose(0) if _is_pillow(img) else img.flip(-1)


def vflip(img):
    """Top and bottom exchanged."""
    _check(img)
    return img.transpose(1) if _is_pillow(img) else img.flip(-2)


def rgb_to_grayscale(img, num_output_channels: int = 1):
    """Brightness, in one channel or in three."""
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    if _is_pillow(img):
        gray = img.convert("L")
        if num_output_channels == 1:
            return gray
        from PIL import Image

        return Image.merge("RGB", (gray, gray, gray))
    if img.shape[-3] == 1:
        gray = img
    else:
        r, g, b = img.unbind(-3)
        gray = (0.2989 * r + 0.587 * g + 0.114 * b).to(img.dtype).unsqueeze(-3)
    if num_output_channels == 3:
        return gray.expand(*gray.shape[:-3], 3, *gray.shape[-2:])
    return gray


def to_grayscale(img, num_output_channels: int = 1):
    """``rgb_to_grayscale`` of an image of Pillow."""
    if not _is_pillow(img):
        raise TypeError("Input should be PIL Image")
    return rgb_to_grayscale(img, num_output_channels)


def _enhanced(img, kind: str, factor: float):
    from PIL import ImageEnhance

    return getattr(ImageEnhance, kind)(img).enhance(factor)


def _check_factor(name: str, factor: float) -> None:
    if factor < 0:
        raise ValueError(f"{name} ({factor}) is not non-negative.")


def adjust_brightness(img, brightness_factor: float):
    """Brighter for a factor above 1, black for 0."""
    _check_factor("brightness_factor", brightness_factor)
    if _is_pillow(img):
        return _enhanced(img, "Brightness", brightness_factor)
    return _blend(img, torch.zeros_like(img), brightness_factor)


def adjust_contrast(img, contrast_factor: float):
    """More contrast for a factor above 1, gray for 0."""
    _check_factor("contrast_factor", contrast_factor)
    if _is_pillow(img):
        return _enhanced(img, "Contrast", contrast_factor)
    dtype = img.dtype if img.is_floating_point() else torch.float32
    gray = rgb_to_grayscale(img).to(dtype)
    return _blend(img, gray.mean(dim=(-3, -2, -1), keepdim=True), contrast_factor)


def adjust_saturation(img, saturation_factor: float):
    """More colour for a factor above 1, none for 0."""
    _check_factor("saturation_factor", saturation_factor)
    if _is_pillow(img):
        return _enhanced(img, "Color", saturation_factor)
    return img if img.shape[-3] == 1 else _blend(img, rgb_to_grayscale(img), saturation_factor)


def adjust_hue(img, hue_factor: float):
    """Colours turned by ``hue_factor``, -0.5 to 0.5, of the circle."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if _is_pillow(img):
        if img.mode in ("L", "1", "I", "F"):
            return img
        from PIL import Image

        h, s, v = img.convert("HSV").split()
        turned = np.array(h, np.uint8) + np.uint8(int(hue_factor * 255) % 256)
        h = Image.fromarray(turned.astype(np.uint8))
        return Image.merge("HSV", (h, s, v)).convert(img.mode)
    if img.shape[-3] == 1:
        return img
    dtype = img.dtype
    h, s, v = _to_hsv(convert_image_dtype(img, torch.float32))
    return convert_image_dtype(_from_hsv((h + hue_factor) % 1.0, s, v), dtype)


def _to_hsv(img):
    r, g, b = img.unbind(-3)
    high, low = torch.max(img, dim=-3).values, torch.min(img, dim=-3).values
    gray = high == low
    spread = high - low
    one = torch.ones_like(high)
    s = spread / torch.where(gray, one, high)
    divisor = torch.where(gray, one, spread)
    rc, gc, bc = ((high - c) / divisor for c in (r, g, b))
    h = (high == r) * (bc - gc)
    h = h + ((high == g) & (high != r)) * (2.0 + rc - bc)
    h = h + ((high != g) & (high != r)) * (4.0 + gc - rc)
    return torch.fmod(h / 6.0 + 1.0, 1.0), s, high


def _from_hsv(h, s, v):
    i = torch.floor(h * 6.0)
    f = h * 6.0 - i
    p = (v * (1.0 - s)).clamp(0.0, 1.0)
    q = (v * (1.0 - s * f)).clamp(0.0, 1.0)
    t = (v * (1.0 - s * (1.0 - f))).clamp(0.0, 1.0)
    place = (i.to(torch.int32) % 6).long()
    tables = ((v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q))
    channels = [torch.stack(c, 0).gather(0, place[None])[0] for c in tables]
    return torch.stack(channels, dim=-3)


def gaussian_blur(img, kernel_size, sigma=None):
    """The image convolved with a bell of ``kernel_size`` (width, height), both odd."""
    kernel = _pair(kernel_size)
    if any(k <= 0 or k % 2 == 0 for k in kernel):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {kernel_size}")
    if sigma is None:
        sigma = [k * 0.15 + 0.35 for k in kernel]
    sigma = [float(sigma)] * 2 if isinstance(sigma, numbers.Number) else list(sigma)
    sigma = sigma * 2 if len(sigma) == 1 else sigma
    if any(s <= 0 for s in sigma):
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    if _is_pillow(img):
        return to_pil_image(gaussian_blur(pil_to_tensor(img), kernel, sigma), mode=img.mode)
    dtype = img.dtype if img.is_floating_point() else torch.float32

    def bell(size, s):
        half = (size - 1) * 0.5
        x = torch.linspace(-half, half, steps=size, dtype=dtype)
        weights = torch.exp(-0.5 * (x / s).pow(2))
        return weights / weights.sum()

    weights = bell(kernel[1], sigma[1])[:, None] * bell(kernel[0], sigma[0])[None, :]
    shape = img.shape
    batch = img.reshape(-1, 1, *shape[-2:]).to(dtype)
    x, y = kernel[0] // 2, kernel[1] // 2
    out = F.conv2d(F.pad(batch, (x, x, y, y), "reflect"), weights[None, None].to(img.device))
    out = out.reshape(shape)
    return out if img.is_floating_point() else out.round().to(img.dtype)


def erase(img, i: int, j: int, h: int, w: int, v, inplace: bool = False):
    """The tensor with ``v`` in a window."""
    if not isinstance(img, torch.Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    img = img if inplace else img.clone()
    img[..., i : i + h, j : j + w] = v
    return img
