"""Brightness and colours by rules: ``invert``, ``posterize``, ``equalize`` and so on."""

from __future__ import annotations

import torchlike as torch
from torchlike._runner.torchvision.transforms._images import (
    _blend,
    _check,
    _is_pillow,
    convert_image_dtype,
)
from torchlike.nn import functional as F


def _bound(img) -> float:
    return 1.0 if img.is_floating_point() else torch.iinfo(img.dtype).max


def invert(img):
    """The negative."""
    _check(img)
    if _is_pillow(img):
        from PIL import ImageOps

        return ImageOps.invert(img)
    return _bound(img) - img


def posterize(img, bits: int):
    """Only the highest ``bits`` of each byte; raises ``TypeError`` for a tensor of other types."""
    _check(img)
    if _is_pillow(img):
        from PIL import ImageOps

        return ImageOps.posterize(img, bits)
    if img.dtype != torch.uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
    return img & (256 - 2 ** (8 - bits))


def solarize(img, threshold: float):
    """The negative where the image is not below ``threshold``."""
    _check(img)
    if _is_pillow(img):
        from PIL import ImageOps

        return ImageOps.solarize(img, threshold)
    if threshold > _bound(img):
        raise TypeError("Threshold should be less than bound of img.")
    return torch.where(img >= threshold, invert(img), img)


def adjust_sharpness(img, sharpness_factor: float):
    """Sharper for a factor above 1, smoothed for 0."""
    _check(img)
    if sharpness_factor < 0:
        raise ValueError(f"sharpness_factor ({sharpness_factor}) is not non-negative.")
    if _is_pillow(img):
        from PIL import ImageEnhance

        return ImageEnhance.Sharpness(img).enhance(sharpness_factor)
    height, width = img.shape[-2:]
    if height <= 2 or width <= 2:
        return img
    dtype = img.dtype if img.is_floating_point() else torch.float32
    kernel = torch.ones((3, 3), dtype=dtype, device=img.device)
    kernel[1, 1] = 5.0
    kernel /= kernel.sum()
    inner = F.conv2d(img.reshape(-1, 1, height, width).to(dtype), kernel[None, None])
    if not img.is_floating_point():
        inner = inner.round()
    smooth = img.clone()
    smooth[..., 1:-1, 1:-1] = inner.to(img.dtype).reshape(*img.shape[:-2], height - 2, width - 2)
    return _blend(img, smooth, sharpness_factor)


def autocontrast(img):
    """Each channel stretched from the darkest to the brightest."""
    _check(img)
    if _is_pillow(img):
        from PIL import ImageOps

        return ImageOps.autocontrast(img)
    bound = _bound(img)
    dtype = img.dtype if img.is_floating_point() else torch.float32
    low = img.amin(dim=(-2, -1), keepdim=True).to(dtype)
    high = img.amax(dim=(-2, -1), keepdim=True).to(dtype)
    flat = low == high
    scale = torch.where(flat, torch.ones_like(high), bound / torch.where(flat, 1.0, high - low))
    low = torch.where(flat, torch.zeros_like(low), low)
    return ((img - low) * scale).clamp(0, bound).to(img.dtype)


def equalize(img):
    """Each channel of bytes with as many dark pixels as bright ones."""
    _check(img)
    if _is_pillow(img):
        from PIL import ImageOps

        return ImageOps.equalize(img)
    if img.dtype != torch.uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
    channels = [_equalized(c) for c in img.reshape(-1, *img.shape[-2:])]
    return torch.stack(channels).reshape(img.shape)


def _equalized(channel):
    counts = torch.bincount(channel.reshape(-1).long(), minlength=256)
    used = counts[counts != 0]
    step = int(used[:-1].sum()) // 255
    if step == 0:
        return channel
    table = (torch.cumsum(counts, 0) + step // 2) // step
    table = F.pad(table, [1, 0])[:-1].clamp(0, 255)
    return table[channel.long()].to(torch.uint8)


def adjust_gamma(img, gamma: float, gain: float = 1):
    """``gain * img ** gamma`` on the scale 0..1."""
    _check(img)
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    if _is_pillow(img):
        mode, img = img.mode, img.convert("RGB")
        table = [int((255 + 1 - 1e-3) * gain * pow(i / 255.0, gamma)) for i in range(256)] * 3
        return img.point(table).convert(mode)
    found = (gain * convert_image_dtype(img, torch.float32) ** gamma).clamp(0, 1)
    return convert_image_dtype(found, img.dtype)
