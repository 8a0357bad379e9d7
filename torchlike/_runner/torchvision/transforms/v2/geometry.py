"""Version 2's transforms that move pixels; masks and boxes go along."""

from __future__ import annotations

import numbers

import torchlike as torch
from torchlike._runner.torchvision.transforms import chance as _chance
from torchlike._runner.torchvision.transforms import transforms as _v1
from torchlike._runner.torchvision.transforms.functional import InterpolationMode, _mode
from torchlike._runner.torchvision.transforms.v2 import functional as F
from torchlike._runner.torchvision.transforms.v2.base import (
    RandomlyApplied,
    Transform,
    integer,
    size_of,
    uniform,
)

__all__ = [
    "CenterCrop", "FiveCrop", "Pad", "RandomAffine", "RandomCrop", "RandomHorizontalFlip",
    "RandomPerspective", "RandomResize", "RandomResizedCrop", "RandomRotation",
    "RandomShortestSize", "RandomVerticalFlip", "Resize", "TenCrop",
]  # fmt: skip


def fill_of(fill, inpt):
    """What fills the border of an input, of a number, a list or a dictionary by kinds."""
    if isinstance(fill, dict):
        fill = fill.get(type(inpt), fill.get("others", 0))
    return 0 if fill is None else fill


class Resize(Transform):
    """``functional.resize``."""

    def __init__(
        self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True
    ):  # fmt: skip
        super().__init__()
        if isinstance(size, numbers.Integral):
            size = [int(size)]
        elif isinstance(size, (list, tuple)) and len(size) in (1, 2):
            size = list(size)
        elif size is not None or not isinstance(max_size, int):  # a string, too
            raise ValueError(f"size can be an integer, a sequence of one or two integers, or None, "
                             f"but got {size} instead.")  # fmt: skip
        self.size, self.interpolation = size, _mode(interpolation)
        self.max_size, self.antialias = max_size, antialias

    def transform(self, inpt, params):
        return F.resize(
            inpt, self.size, interpolation=self.interpolation, max_size=self.max_size,
            antialias=self.antialias,
        )  # fmt: skip


class CenterCrop(Transform):
    """``functional.center_crop``."""

    def __init__(self, size):
        super().__init__()
        self.size = _v1._size(size)

    def transform(self, inpt, params):
        return F.center_crop(inpt, self.size)


class FiveCrop(CenterCrop):
    """``functional.five_crop``; each image becomes five."""

    def _takes(self, x) -> bool:
        return F.is_image(x)

    def transform(self, inpt, params):
        return F.five_crop(inpt, self.size)


class TenCrop(FiveCrop):
    """``functional.ten_crop``; each image becomes ten."""

    def __init__(self, size, vertical_flip: bool = False):
        super().__init__(size)
        self.vertical_flip = vertical_flip

    def transform(self, inpt, params):
        return F.ten_crop(inpt, self.size, self.vertical_flip)


class Pad(Transform):
    """``functional.pad``."""

    def __init__(self, padding, fill=0, padding_mode="constant"):
        super().__init__()
        if not isinstance(padding, int) and len(padding) not in (1, 2, 4):
            raise ValueError("Padding must be an int or a 1, 2, or 4 element of tuple or list, got "
                             f"a {len(padding)} element tuple")  # fmt: skip
        self.padding = padding if isinstance(padding, int) else list(padding)
        self.fill, self.padding_mode = fill, padding_mode

    def transform(self, inpt, params):
        fill = fill_of(self.fill, inpt)
        return F.pad(inpt, padding=self.padding, fill=fill, padding_mode=self.padding_mode)


class RandomHorizontalFlip(RandomlyApplied):
    """Left and right exchanged with probability ``p``."""

    def transform(self, inpt, params):
        return F.horizontal_flip(inpt)


class RandomVerticalFlip(RandomlyApplied):
    """Top and bottom exchanged with probability ``p``."""

    def transform(self, inpt, params):
        return F.vertical_flip(inpt)


class RandomCrop(Transform):
    """A window of ``size`` anywhere, after padding."""

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant"):
        super().__init__()
        self.size = _v1._size(size)
        if padding is not None:
            padding = [padding] if isinstance(padding, int) else list(padding)
            padding = padding * (4 // len(padding))
        self.padding, self.pad_if_needed = padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def make_params(self, flat_inputs):
        height, width = before = size_of(flat_inputs)
        around = [0, 0, 0, 0] if self.padding is None else list(self.padding)
        height, width = height + around[1] + around[3], width + around[0] + around[2]
        high, wide = self.size
        if self.pad_if_needed:
            for axis, (has, wants) in enumerate(((width, wide), (height, high))):
                more = max(wants - has, 0)
                around[axis] += more
                around[axis + 2] += more
            height, width = before[0] + around[1] + around[3], before[1] + around[0] + around[2]
        if height < high or width < wide:
            raise ValueError(
                f"Required crop size {(high, wide)} is larger than "
                f"{'padded ' if any(around) else ''}input image size {(height, width)}."
            )
        top = integer(0, height - high + 1) if height > high else 0
        left = integer(0, width - wide + 1) if width > wide else 0
        return {"around": around, "window": (top, left, high, wide)}

    def transform(self, inpt, params):
        if any(params["around"]):
            fill = fill_of(self.fill, inpt)
            inpt = F.pad(inpt, padding=params["around"], fill=fill, padding_mode=self.padding_mode)
        return F.crop(inpt, *params["window"])


class RandomResizedCrop(Transform):
    """A window of random area and proportions, resized."""

    def __init__(
        self, size, scale=(0.08, 1.0), ratio=(3.0 / 4.0, 4.0 / 3.0),
        interpolation=InterpolationMode.BILINEAR, antialias=True,
    ):  # fmt: skip
        super().__init__()
        self.size, self.scale, self.ratio = _v1._size(size), scale, ratio
        self.interpolation, self.antialias = _mode(interpolation), antialias

    def make_params(self, flat_inputs):
        height, width = size_of(flat_inputs)
        like = torch.empty(1, height, width, device="meta")
        return {"window": _v1.RandomResizedCrop.get_params(like, self.scale, self.ratio)}

    def transform(self, inpt, params):
        return F.resized_crop(
            inpt, *params["window"], size=self.size, interpolation=self.interpolation,
            antialias=self.antialias,
        )  # fmt: skip


class RandomRotation(Transform):
    """Turned by a random angle."""

    def __init__(
        self, degrees, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=0
    ):  # fmt: skip
        super().__init__()
        self.degrees = _v1._angles(degrees, "degrees")
        self.interpolation, self.expand, self.fill = _mode(interpolation), expand, fill
        self.center = center

    def make_params(self, flat_inputs):
        return {"angle": uniform(*self.degrees)}

    def transform(self, inpt, params):
        return F.rotate(
            inpt, params["angle"], interpolation=self.interpolation, expand=self.expand,
            center=self.center, fill=fill_of(self.fill, inpt),
        )  # fmt: skip


class RandomAffine(Transform):
    """Turned, shifted, scaled and sheared by chance."""

    def __init__(
        self, degrees, translate=None, scale=None, shear=None,
        interpolation=InterpolationMode.NEAREST, fill=0, center=None,
    ):  # fmt: skip
        super().__init__()
        drawn = _v1.RandomAffine(degrees, translate, scale, shear)  # it checks them
        self.degrees, self.translate, self.scale = drawn.degrees, drawn.translate, drawn.scale
        self.shear = drawn.shear
        self.interpolation, self.fill, self.center = _mode(interpolation), fill, center

    def make_params(self, flat_inputs):
        height, width = size_of(flat_inputs)
        found = _v1.RandomAffine.get_params(
            self.degrees, self.translate, self.scale, self.shear, [width, height]
        )
        return {"found": found}

    def transform(self, inpt, params):
        return F.affine(
            inpt, *params["found"], interpolation=self.interpolation, center=self.center,
            fill=fill_of(self.fill, inpt),
        )  # fmt: skip


class RandomPerspective(RandomlyApplied):
    """Seen from aside, by chance."""

    def __init__(
        self, distortion_scale=0.5, p=0.5, interpolation=InterpolationMode.BILINEAR, fill=0
    ):  # fmt: skip
        super().__init__(p=p)
        if not 0 <= distortion_scale <= 1:
            raise ValueError("Argument distortion_scale value should be between 0 and 1")
        self.distortion_scale = distortion_scale
        self.interpolation, self.fill = _mode(interpolation), fill

    def make_params(self, flat_inputs):
        height, width = size_of(flat_inputs)
        draw = _chance.RandomPerspective.get_params
        return {"corners": draw(width, height, self.distortion_scale)}

    def transform(self, inpt, params):
        return F.perspective(
            inpt, *params["corners"], interpolation=self.interpolation,
            fill=fill_of(self.fill, inpt),
        )  # fmt: skip


class RandomResize(Transform):
    """Resized to a random length of the shorter side."""

    def __init__(
        self, min_size, max_size, interpolation=InterpolationMode.BILINEAR, antialias=True
    ):  # fmt: skip
        super().__init__()
        self.min_size, self.max_size = min_size, max_size
        self.interpolation, self.antialias = _mode(interpolation), antialias

    def make_params(self, flat_inputs):
        return {"size": [integer(self.min_size, self.max_size)]}

    def transform(self, inpt, params):
        return F.resize(
            inpt, params["size"], interpolation=self.interpolation, antialias=self.antialias
        )


class RandomShortestSize(Transform):
    """Resized to one of several lengths of the shorter side."""

    def __init__(
        self, min_size, max_size=None, interpolation=InterpolationMode.BILINEAR, antialias=True
    ):  # fmt: skip
        super().__init__()
        self.min_size = [min_size] if isinstance(min_size, int) else list(min_size)
        self.max_size = max_size
        self.interpolation, self.antialias = _mode(interpolation), antialias

    def make_params(self, flat_inputs):
        height, width = size_of(flat_inputs)
        ratio = self.min_size[integer(0, len(self.min_size))] / min(height, width)
        if self.max_size is not None:
            ratio = min(ratio, self.max_size / max(height, width))
        return {"size": (int(height * ratio), int(width * ratio))}

    def transform(self, inpt, params):
        return F.resize(
            inpt, params["size"], interpolation=self.interpolation, antialias=self.antialias
        )
