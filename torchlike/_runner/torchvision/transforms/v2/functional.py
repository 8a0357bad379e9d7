"""torchvision.transforms.v2.functional: those of version 1, by what an input is.

Images are tensors, ``tv_tensors.Image`` or Pillow's; masks follow what moves pixels, by the nearest
one; boxes follow flips, windows, borders and sizes. What has no meaning for an input leaves it.
"""

from __future__ import annotations

import functools

import numpy as np

import torchlike as torch
from torchlike._core.errors import NotSupported
from torchlike._runner.torchvision.ops.boxes import box_convert
from torchlike._runner.torchvision.transforms import functional as F
from torchlike._runner.torchvision.transforms.functional import (
    InterpolationMode as InterpolationMode,
)
from torchlike._runner.torchvision.tv_tensors import (
    BoundingBoxes,
    BoundingBoxFormat,
    Image,
    Mask,
    TVTensor,
    as_plain,
    wrap,
)

pil_to_tensor = F.pil_to_tensor
to_pil_image = F.to_pil_image
to_tensor = F.to_tensor


def is_image(x) -> bool:
    """Whether it is an image of Pillow, or a tensor that is no mask and no boxes."""
    return hasattr(x, "getbands") or (
        isinstance(x, torch.Tensor) and not isinstance(x, (Mask, BoundingBoxes))
    )


def is_pure_tensor(x) -> bool:
    """Whether it is a tensor that does not say what it is."""
    return isinstance(x, torch.Tensor) and not isinstance(x, TVTensor)


def _check(x, name: str) -> None:
    if not isinstance(x, torch.Tensor) and not hasattr(x, "getbands"):
        raise TypeError(
            f"Input can either be a plain tensor, any TVTensor, or a PIL image, but got {type(x)} "
            f"instead in {name}()"
        )


def _like(result, x):
    return wrap(result, like=x) if isinstance(x, TVTensor) else result


def _of_image(function):
    """A function that changes images and leaves masks and boxes."""

    @functools.wraps(function)
    def call(inpt, *args, **kwargs):
        _check(inpt, function.__name__)
        if not is_image(inpt):
            return inpt
        return _like(function(as_plain(inpt), *args, **kwargs), inpt)

    return call


def _moving(function, boxes=None):
    """A function that moves pixels: masks by the nearest, boxes by ``boxes``.

    ``boxes(xyxy, canvas, ...)`` gives the new corners and canvas.
    """
    smooth = "interpolation" in function.__code__.co_varnames
    filled = "fill" in function.__code__.co_varnames

    @functools.wraps(function)
    def call(inpt, *args, **kwargs):
        _check(inpt, function.__name__)
        if isinstance(inpt, BoundingBoxes):
            if boxes is None:
                raise NotSupported(f"transforms.v2.functional.{function.__name__} of BoundingBoxes")
            corners = box_convert(as_plain(inpt), inpt.format.value.lower(), "xyxy")
            kwargs.pop("interpolation", None), kwargs.pop("fill", None)
            moved, canvas = boxes(corners, inpt.canvas_size, *args, **kwargs)
            moved = _clamped(moved, canvas)
            made = box_convert(moved, "xyxy", inpt.format.value.lower()).to(inpt.dtype)
            return wrap(made, like=inpt, canvas_size=canvas)
        plain = as_plain(inpt)
        if isinstance(inpt, Mask):
            if smooth:
                kwargs["interpolation"] = InterpolationMode.NEAREST
            fill = kwargs.get("fill")
            if filled and isinstance(fill, (list, tuple)) and len(fill) > 1:
                raise ValueError(f"Non-scalar fill value is not supported of a mask, got {fill}")
            if plain.ndim == 2:
                return _like(function(plain[None], *args, **kwargs)[0], inpt)
        return _like(function(plain, *args, **kwargs), inpt)

    return call


# ---- boxes ---------------------------------------------------------------------------------------


def _clamped(corners, canvas):
    height, width = canvas
    return torch.stack(
        [corners[:, i].clamp(0, width if i % 2 == 0 else height) for i in range(4)], dim=1
    )


def _shifted(corners, x, y):
    return corners + torch.tensor([x, y, x, y], dtype=corners.dtype, device=corners.device)


def _flip_boxes(axis: int):
    def move(corners, canvas):
        side = canvas[1 - axis]
        parts = list(corners.unbind(1))
        parts[axis], parts[axis + 2] = side - parts[axis + 2], side - parts[axis]
        return torch.stack(parts, dim=1), canvas

    return move


def _crop_boxes(corners, canvas, top, left, height, width):
    return _shifted(corners, -left, -top), (height, width)


def _resize_boxes(corners, canvas, size, max_size=None, antialias=True):
    new = F._resized_size(*canvas, size, max_size)
    x, y = new[1] / canvas[1], new[0] / canvas[0]
    ratio = torch.tensor([x, y, x, y], dtype=torch.float32, device=corners.device)
    return (corners * ratio).to(corners.dtype), new


def _pad_boxes(corners, canvas, padding, padding_mode="constant"):
    if padding_mode != "constant":
        raise ValueError(f"Padding mode '{padding_mode}' is not supported with bounding boxes")
    if isinstance(padding, int):
        padding = [padding]
    padding = list(padding) * (4 // len(padding))
    left, top, right, bottom = padding
    return _shifted(corners, left, top), (canvas[0] + top + bottom, canvas[1] + left + right)


def _center_crop_boxes(corners, canvas, output_size):
    height, width = F._pair(output_size)
    top, left = round((canvas[0] - height) / 2.0), round((canvas[1] - width) / 2.0)
    return _crop_boxes(corners, canvas, top, left, height, width)


def _resized_crop_boxes(corners, canvas, top, left, height, width, size, antialias=True):
    corners, canvas = _crop_boxes(corners, canvas, top, left, height, width)
    return _resize_boxes(_clamped(corners, canvas), canvas, size)


# ---- images that version 1 rounds in other places ------------------------------------------------


def _resized(
    image, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True
):  # fmt: skip
    interpolation = F._mode(interpolation)
    smooth = interpolation in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
    if hasattr(image, "getbands") or image.dtype != torch.uint8 or not smooth:
        return F.resize(image, size, interpolation, max_size, antialias)
    height, width = image.shape[-2:]
    new = F._resized_size(height, width, size, max_size)
    # Bytes are bytes again between the two directions, as in the kernel for bytes.
    for step in ((height, new[1]), new):
        if step != tuple(image.shape[-2:]):
            found = F.resize(image.float(), step, interpolation, antialias=antialias)
            image = (found + 0.5).floor().clamp(0, 255).to(torch.uint8)
    return image


def _resized_crop(
    image, top, left, height, width, size, interpolation=InterpolationMode.BILINEAR, antialias=True
):  # fmt: skip
    window = F.crop(image, top, left, height, width)
    return _resized(window, size, interpolation, antialias=antialias)


def _autocontrast(image):
    if hasattr(image, "getbands"):
        return F.autocontrast(image)
    bound = 1.0 if image.is_floating_point() else torch.iinfo(image.dtype).max
    whole = image if image.is_floating_point() else image.float()
    low, high = (f(dim=(-2, -1), keepdim=True) for f in (whole.amin, whole.amax))
    flat = low == high
    spread = torch.where(flat, torch.ones_like(high), (high - low) * (1.0 / bound))
    low = torch.where(flat, torch.zeros_like(low), low)
    return ((whole - low) / spread).clamp(0, bound).to(image.dtype)


_resized.__name__, _resized_crop.__name__ = "resize", "resized_crop"
_autocontrast.__name__ = "autocontrast"

# ---- by what an input is -------------------------------------------------------------------------

resize = _moving(_resized, _resize_boxes)
horizontal_flip = hflip = _moving(F.hflip, _flip_boxes(0))
vertical_flip = vflip = _moving(F.vflip, _flip_boxes(1))
crop = _moving(F.crop, _crop_boxes)
center_crop = _moving(F.center_crop, _center_crop_boxes)
resized_crop = _moving(_resized_crop, _resized_crop_boxes)
pad = _moving(F.pad, _pad_boxes)
rotate, affine, perspective = _moving(F.rotate), _moving(F.affine), _moving(F.perspective)

adjust_brightness = _of_image(F.adjust_brightness)
adjust_contrast = _of_image(F.adjust_contrast)
adjust_gamma = _of_image(F.adjust_gamma)
adjust_hue = _of_image(F.adjust_hue)
adjust_saturation = _of_image(F.adjust_saturation)
adjust_sharpness = _of_image(F.adjust_sharpness)
autocontrast, equalize, invert = (_of_image(f) for f in (_autocontrast, F.equalize, F.invert))
posterize, solarize = _of_image(F.posterize), _of_image(F.solarize)
gaussian_blur, erase = _of_image(F.gaussian_blur), _of_image(F.erase)
rgb_to_grayscale = to_grayscale = _of_image(F.rgb_to_grayscale)


def _normalize(image, mean, std, inplace: bool = False):
    if not isinstance(image, torch.Tensor):
        raise TypeError("Normalize() does not support PIL images.")
    return F.normalize(image, mean, std, inplace)


normalize = _of_image(_normalize)


def _grayscale_to_rgb(image):
    if hasattr(image, "getbands"):
        return image.convert("RGB")
    if image.shape[-3] >= 3:
        return image
    return image[..., :1, :, :].expand(*image.shape[:-3], 3, *image.shape[-2:])


grayscale_to_rgb = _of_image(_grayscale_to_rgb)


def permute_channels(inpt, permutation):
    """The channels of an image in another order."""
    if not is_image(inpt):
        return inpt
    if not isinstance(inpt, torch.Tensor):
        return F.to_pil_image(F.pil_to_tensor(inpt)[permutation])
    return _like(as_plain(inpt)[..., permutation, :, :], inpt)


def _gaussian_noise(image, mean: float = 0.0, sigma: float = 0.1, clip: bool = True):
    if not isinstance(image, torch.Tensor):
        raise TypeError("Gaussian Noise is not implemented for PIL images.")
    if sigma < 0:
        raise ValueError(f"sigma shouldn't be negative. Got {sigma}")
    if image.is_floating_point():
        out = image + mean + torch.randn_like(image) * sigma
        return out.clamp(0, 1) if clip else out
    if image.dtype != torch.uint8:
        raise ValueError(f"Input tensor is expected to be in uint8 or float dtype, got "
                         f"dtype={image.dtype}")  # fmt: skip
    noise = (mean * 255 + torch.randn(image.shape) * sigma * 255).to(torch.int16)
    out = image.to(torch.int16) + noise
    return (out.clamp(0, 255) if clip else out).to(torch.uint8)


gaussian_noise = _of_image(_gaussian_noise)


def _to_dtype(image, dtype=torch.float32, scale: bool = False):
    return F.convert_image_dtype(image, dtype) if scale else image.to(dtype)


convert_image_dtype = _of_image(F.convert_image_dtype)


def to_dtype(inpt, dtype=torch.float32, scale: bool = False):
    """Another dtype, the values scaled from one's range to the other's if ``scale``."""
    if isinstance(inpt, (Mask, BoundingBoxes)):
        return wrap(as_plain(inpt).to(dtype), like=inpt)
    return _like(_to_dtype(as_plain(inpt), dtype, scale), inpt)


def to_image(inpt):
    """An image of Pillow, an array (H, W, C) or a tensor as ``tv_tensors.Image``."""
    if isinstance(inpt, np.ndarray):
        array = inpt if inpt.ndim > 2 else inpt[:, :, None]
        return Image(torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, -3))))
    if hasattr(inpt, "getbands"):
        return Image(F.pil_to_tensor(inpt))
    if isinstance(inpt, torch.Tensor):
        return Image(inpt)
    raise TypeError(
        "Input can either be a pure Tensor, a numpy array, or a PIL image, but got "
        f"{type(inpt)} instead."
    )


def get_size(inpt) -> list[int]:
    """[height, width]."""
    if isinstance(inpt, BoundingBoxes):
        return list(inpt.canvas_size)
    return list(inpt.shape[-2:]) if isinstance(inpt, Mask) else get_dimensions(inpt)[1:]


def get_dimensions(inpt) -> list[int]:
    """[channels, height, width]."""
    return F.get_dimensions(as_plain(inpt))


def get_num_channels(inpt) -> int:
    """How many channels."""
    return get_dimensions(inpt)[0]


def five_crop(inpt, size) -> tuple:
    """The four corners and the middle."""
    return tuple(_like(x, inpt) for x in F.five_crop(as_plain(inpt), size))


def ten_crop(inpt, size, vertical_flip: bool = False) -> tuple:
    """``five_crop`` of the image and of its mirror image."""
    return tuple(_like(x, inpt) for x in F.ten_crop(as_plain(inpt), size, vertical_flip))


def convert_bounding_box_format(inpt, old_format=None, new_format=None, inplace: bool = False):
    """Boxes in another format."""
    old = inpt.format if isinstance(inpt, BoundingBoxes) else old_format
    old, new = (BoundingBoxFormat[f.upper()] if isinstance(f, str) else f
                for f in (old, new_format))  # fmt: skip
    found = box_convert(as_plain(inpt), old.value.lower(), new.value.lower())
    return wrap(found, like=inpt, format=new) if isinstance(inpt, BoundingBoxes) else found


def clamp_bounding_boxes(inpt, format=None, canvas_size=None, clamping_mode="auto"):
    """Boxes cut at the borders of their image."""
    format = inpt.format if isinstance(inpt, BoundingBoxes) else format
    canvas = inpt.canvas_size if isinstance(inpt, BoundingBoxes) else canvas_size
    kind = format.value.lower() if isinstance(format, BoundingBoxFormat) else format.lower()
    found = _clamped(box_convert(as_plain(inpt), kind, "xyxy"), canvas)
    return _like(box_convert(found, "xyxy", kind), inpt)
