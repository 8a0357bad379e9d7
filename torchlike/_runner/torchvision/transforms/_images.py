"""What the transforms share: images of Pillow and tensors (..., C, H, W), to and from each other.

Pillow is imported where an image of it is made or changed.
"""

from __future__ import annotations

import enum
import numbers

import numpy as np

import torchlike as torch


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


def _pair(size) -> tuple[int, int]:
    if isinstance(size, numbers.Number):
        return int(size), int(size)
    return (size[0], size[0]) if len(size) == 1 else tuple(size)


def _blend(img1, img2, ratio: float):
    bound = 1.0 if img1.is_floating_point() else torch.iinfo(img1.dtype).max
    ratio = float(ratio)  # a whole number would keep bytes bytes
    return (ratio * img1 + (1.0 - ratio) * img2).clamp(0, bound).to(img1.dtype)
