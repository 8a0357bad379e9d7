"""torchvision.transforms.functional: images of Pillow and tensors (..., C, H, W), one at a time.

Pillow is imported where an image of it is made or changed.
"""

from __future__ import annotations

import enum
import math
import numbers

import numpy as np

import torchlike as torch
from torchlike._core.errors import NotSupported
from torchlike.nn import functional as F


class InterpolationMode(enum.Enum):
    """How pixels between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_PILLOW = {
    InterpolationMode.NEAREST: 0, InterpolationMode.NEAREST_EXACT: 0,
    InterpolationMode.BILINEAR: 2, InterpolationMode.BICUBIC: 3, InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5, InterpolationMode.LANCZOS: 1,
}  # fmt: skip
pil_modes_mapping = _PILLOW
_FROM_PILLOW = {
    0: InterpolationMode.NEAREST, 2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC,
    4: InterpolationMode.BOX, 5: InterpolationMode.HAMMING, 1: InterpolationMode.LANCZOS,
}  # fmt: skip


def _is_pillow(image) -> bool:
    return hasattr(image, "getbands")


def _check(image) -> None:
    if not _is_pillow(image) and not isinstance(image, torch.Tensor):
        raise TypeError(f"img should be PIL Image or Tensor. Got {type(image)}")


def _mode(interpolation) -> InterpolationMode:
    if isinstance(interpolation, int):
        return _FROM_PILLOW[int(interpolation)]
    if not isinstance(interpolation, InterpolationMode):
        raise TypeError(
            "Argument interpolation should be a InterpolationMode or a corresponding Pillow "
            "integer constant"
        )
    return interpolation


# ---- to and from tensors -----------------------------------------------------------------------


def _array(image) -> np.ndarray:
    """The pixels of a Pillow image, (H, W, C)."""
    if image.mode == "1":
        array = np.array(image, np.uint8) * 255
    elif image.mode == "I;16":
        array = np.array(image).astype(np.uint16)
    else:
        array = np.array(image, copy=True)
    return array if array.ndim == 3 else array[:, :, None]


def pil_to_tensor(pic):
    """The pixels of a Pillow image as they are, (C, H, W); raises ``TypeError`` for others."""
    if not _is_pillow(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return torch.from_numpy(_array(pic).transpose(2, 0, 1).copy())


def to_tensor(pic):
    """An image of Pillow or an array (H, W[, C]) as a tensor (C, H, W); bytes become 0..1.

    Raises ``TypeError`` for anything else and ``ValueError`` for arrays of another rank.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic if pic.ndim == 3 else pic[:, :, None]
    elif _is_pillow(pic):
        array = _array(pic)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    array = np.ascontiguousarray(array.transpose(2, 0, 1))
    if array.dtype == np.uint8:
        # On the host: an image is no work for a program of its own.
        return torch.from_numpy(array.astype(np.float32) / np.float32(255)).to(
            torch.get_default_dtype()
        )
    return torch.from_numpy(array)


def to_pil_image(pic, mode: str | None = None):
    """A tensor (C, H, W) or an array (H, W, C) as an image of Pillow.

    Raises ``TypeError`` or ``ValueError`` for what is no image.
    """
    from PIL import Image

    if isinstance(pic, torch.Tensor):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        floating = pic.is_floating_point()
        array = pic.detach().cpu().numpy()
        array = array[None] if array.ndim == 2 else array
        if floating and mode != "F":
            array = (array * 255).astype(np.uint8)
        array = array.transpose(1, 2, 0)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic if pic.ndim == 3 else pic[:, :, None]
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    channels = array.shape[2]
    if channels > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {channels} channels.")
    if channels == 1:
        kinds = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F", "uint16": "I;16"}
        array, expected = array[:, :, 0], kinds.get(str(array.dtype))
    else:
        expected = {2: "LA", 3: "RGB", 4: "RGBA"}[channels] if array.dtype == np.uint8 else None
        also = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}[channels]
        if mode is not None and mode not in also:
            raise ValueError(f"Only modes {also} are supported for {channels}D inputs")
    if expected is None:
        raise TypeError(f"Input type {array.dtype} is not supported")
    made = Image.fromarray(np.ascontiguousarray(array))
    if mode is not None and channels > 1:
        return Image.frombytes(mode, made.size, made.tobytes())
    return made


def convert_image_dtype(image, dtype=torch.float32):
    """An image in another dtype, scaled from one's range to the other's."""
    if image.dtype == dtype:
        return image
    if image.is_floating_point():
        if dtype.is_floating_point:
            return image.to(dtype)
        high = 1 if dtype is torch.bool else torch.iinfo(dtype).max
        return (image * (high + 1.0 - 1e-3)).to(dtype)
    high = 1 if image.dtype is torch.bool else torch.iinfo(image.dtype).max
    if dtype.is_floating_point:
        return image.to(dtype) / high
    to_high = 1 if dtype is torch.bool else torch.iinfo(dtype).max
    if high > to_high:
        return torch.div(image, (high + 1) // (to_high + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((to_high + 1) // (high + 1))


def normalize(tensor, mean, std, inplace: bool = False):
    """``(tensor - mean) / std`` by channel; raises ``TypeError`` for bytes, ``ValueError`` for a
    deviation of 0."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.ndim < 3:
        raise ValueError(
            "Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = "
            f"{tensor.size()}"
        )
    mean = torch.as_tensor(mean, dtype=tensor.dtype, device=tensor.device)
    std = torch.as_tensor(std, dtype=tensor.dtype, device=tensor.device)
    if (std == 0).any():
        raise ValueError(
            f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by "
            "zero."
        )
    mean = mean.view(-1, 1, 1) if mean.ndim == 1 else mean
    std = std.view(-1, 1, 1) if std.ndim == 1 else std
    if inplace:
        return tensor.sub_(mean).div_(std)
    return (tensor - mean) / std


# ---- sizes -------------------------------------------------------------------------------------


def get_dimensions(img) -> list[int]:
    """[channels, height, width]."""
    _check(img)
    if _is_pillow(img):
        return [len(img.getbands()), img.height, img.width]
    return [1 if img.ndim == 2 else img.shape[-3], *img.shape[-2:]]


def get_image_size(img) -> list[int]:
    """[width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img) -> int:
    """How many channels."""
    return get_dimensions(img)[0]


def _resized(height: int, width: int, size, max_size: int | None) -> tuple[int, int]:
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
    new = _resized(height, width, size, max_size)
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


def _pair(size) -> tuple[int, int]:
    if isinstance(size, numbers.Number):
        return int(size), int(size)
    return (size[0], size[0]) if len(size) == 1 else tuple(size)


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


def _blend(img1, img2, ratio: float):
    bound = 1.0 if img1.is_floating_point() else torch.iinfo(img1.dtype).max
    return (ratio * img1 + (1.0 - ratio) * img2).clamp(0, bound).to(img1.dtype)


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


def invert(img):
    """The negative."""
    if _is_pillow(img):
        from PIL import ImageOps

        return ImageOps.invert(img)
    return (1 if img.is_floating_point() else 255) - img


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


def rotate(
    img, angle: float, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=None
):
    """An image of Pillow turned counter-clockwise by degrees."""
    if not _is_pillow(img):
        raise NotSupported("transforms.functional.rotate of a tensor", "rotate before ToTensor")
    bands = len(img.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (list, tuple)):
        fill = tuple(fill) if len(fill) > 1 else (fill[0],) * bands
    elif bands > 1:
        fill = (fill,) * bands
    if isinstance(fill, tuple) and bands == 1:
        fill = fill[0]
    return img.rotate(angle, _PILLOW[_mode(interpolation)], expand, center, fillcolor=fill)


def erase(img, i: int, j: int, h: int, w: int, v, inplace: bool = False):
    """The tensor with ``v`` in a window."""
    if not isinstance(img, torch.Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    img = img if inplace else img.clone()
    img[..., i : i + h, j : j + w] = v
    return img


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


def affine(
    img, angle, translate, scale, shear, interpolation=InterpolationMode.NEAREST, fill=None,
    center=None,
):  # fmt: skip
    """An image of Pillow turned, shifted, scaled and sheared."""
    if not _is_pillow(img):
        raise NotSupported("transforms.functional.affine of a tensor", "apply it before ToTensor")
    shear = (shear, 0.0) if isinstance(shear, numbers.Number) else tuple(shear)
    shear = shear if len(shear) == 2 else (shear[0], shear[0])
    if center is None:
        center = [img.width * 0.5, img.height * 0.5]
    matrix = _inverse_affine(center, angle, translate, scale, shear)
    bands = len(img.getbands())
    fill = 0 if fill is None else fill
    fill = tuple(fill) if isinstance(fill, (list, tuple)) else fill
    if bands > 1 and not isinstance(fill, tuple):
        fill = (fill,) * bands
    return img.transform(img.size, 0, matrix, _PILLOW[_mode(interpolation)], fillcolor=fill)
