"""torchvision.transforms.transforms: the classes; chance is drawn as torchvision draws it."""

from __future__ import annotations

import math
import numbers
import random
from collections.abc import Sequence

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.transforms import functional as F
from torchlike._runner.torchvision.transforms.functional import InterpolationMode

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "FiveCrop", "GaussianBlur",
    "Grayscale", "Lambda", "Normalize", "PILToTensor", "Pad", "RandomAffine", "RandomApply",
    "RandomChoice", "RandomCrop", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomOrder", "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip", "Resize", "TenCrop",
    "ToPILImage", "ToTensor",
]  # fmt: skip


def _size(size) -> tuple[int, int]:
    if isinstance(size, numbers.Number):
        return int(size), int(size)
    if isinstance(size, Sequence) and len(size) == 1:
        return size[0], size[0]
    if len(size) != 2:
        raise ValueError("Please provide only two dimensions (h, w) for size.")
    return tuple(size)


def _uniform(low: float, high: float) -> float:
    return float(torch.empty(1).uniform_(float(low), float(high)).item())


def _angles(x, name: str, lengths: tuple[int, ...] = (2,)) -> list[float]:
    """A span of degrees; raises ``ValueError`` for a negative number or a sequence too long."""
    if isinstance(x, numbers.Number):
        if x < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        x = [-x, x]
    elif len(x) not in lengths:
        known = " or ".join(str(n) for n in lengths)
        raise ValueError(f"{name} should be a sequence of length {known}.")
    return [float(d) for d in x]


class _Shown(nn.Module):
    """A module whose repr tells the arguments named in ``_shown``, but not ``_unshown`` values."""

    _shown: tuple[str, ...] = ()
    _unshown: tuple = ()

    def __repr__(self) -> str:
        held = [(name, getattr(self, name)) for name in self._shown]
        told = [
            f"{name}={getattr(value, 'value', value)}"
            for name, value in held
            if not any(value is u or value == u for u in self._unshown)
            and (name != "center" or value is not None)
        ]
        return f"{type(self).__name__}({', '.join(told)})"


class _Chain:
    def __init__(self, transforms):
        self.transforms = transforms

    def __repr__(self) -> str:
        inside = "".join(f"\n    {t}" for t in self.transforms)
        return f"{type(self).__name__}({inside}\n)"


class Compose(_Chain):
    """One transform after the other."""

    def __call__(self, img):
        for t in self.transforms:
            img = t(img)
        return img


class RandomOrder(_Chain):
    """All of them in a random order."""

    def __call__(self, img):
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img


class RandomChoice(_Chain):
    """One of them, by chance."""

    def __init__(self, transforms, p=None):
        super().__init__(transforms)
        self.p = p

    def __call__(self, *args):
        return random.choices(self.transforms, weights=self.p)[0](*args)


class RandomApply(nn.Module):
    """All of them with probability ``p``, or none."""

    def __init__(self, transforms, p: float = 0.5):
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img):
        if self.p < torch.rand(1):
            return img
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        inside = "".join(f"\n    {t}" for t in self.transforms)
        return f"{type(self).__name__}(\n    p={self.p}{inside}\n)"


class ToTensor:
    """``functional.to_tensor``."""

    def __call__(self, pic):
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return "ToTensor()"


class PILToTensor:
    """``functional.pil_to_tensor``."""

    def __call__(self, pic):
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return "PILToTensor()"


class ToPILImage:
    """``functional.to_pil_image``."""

    def __init__(self, mode=None):
        self.mode = mode

    def __call__(self, pic):
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return "ToPILImage(" + (f"mode={self.mode}" if self.mode is not None else "") + ")"


class Lambda:
    """Any function."""

    def __init__(self, lambd):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img):
        return self.lambd(img)

    def __repr__(self) -> str:
        return "Lambda()"


class ConvertImageDtype(nn.Module):
    """``functional.convert_image_dtype``."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, image):
        return F.convert_image_dtype(image, self.dtype)


class Normalize(_Shown):
    """``functional.normalize``."""

    _shown = ("mean", "std")

    def __init__(self, mean, std, inplace: bool = False):
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor):
        return F.normalize(tensor, self.mean, self.std, self.inplace)


class Resize(_Shown):
    """``functional.resize``."""

    _shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True
    ):
        super().__init__()
        if not isinstance(size, (int, Sequence)) and size is not None:
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.max_size = size, max_size
        self.interpolation, self.antialias = F._mode(interpolation), antialias

    def forward(self, img):
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(_Shown):
    """``functional.center_crop``."""

    _shown = ("size",)

    def __init__(self, size):
        super().__init__()
        self.size = _size(size)

    def forward(self, img):
        return F.center_crop(img, self.size)


class FiveCrop(CenterCrop):
    """``functional.five_crop``."""

    def forward(self, img):
        return F.five_crop(img, self.size)


class TenCrop(CenterCrop):
    """``functional.ten_crop``."""

    def __init__(self, size, vertical_flip: bool = False):
        super().__init__(size)
        self.vertical_flip = vertical_flip

    def forward(self, img):
        return F.ten_crop(img, self.size, self.vertical_flip)


class Pad(_Shown):
    """``functional.pad``."""

    _shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding, fill=0, padding_mode="constant"):
        super().__init__()
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img):
        return F.pad(img, self.padding, self.fill, self.padding_mode)


class RandomCrop(nn.Module):
    """A window of ``size`` anywhere, after padding."""

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant"):
        super().__init__()
        self.size, self.padding, self.pad_if_needed = _size(size), padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    @staticmethod
    def get_params(img, output_size) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a window; raises ``ValueError`` where it does not fit."""
        _, h, w = F.get_dimensions(img)
        height, width = output_size
        if h < height or w < width:
            raise ValueError(
                f"Required crop size {(height, width)} is larger than input image size {(h, w)}"
            )
        if (w, h) == (width, height):
            return 0, 0, h, w
        top = torch.randint(0, h - height + 1, size=(1,)).item()
        left = torch.randint(0, w - width + 1, size=(1,)).item()
        return top, left, height, width

    def forward(self, img):
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        _, h, w = F.get_dimensions(img)
        if self.pad_if_needed and w < self.size[1]:
            img = F.pad(img, [self.size[1] - w, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and h < self.size[0]:
            img = F.pad(img, [0, self.size[0] - h], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size}, padding={self.padding})"


class _Flip(_Shown):
    _shown = ("p",)

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p


class RandomHorizontalFlip(_Flip):
    """Left and right exchanged with probability ``p``."""

    def forward(self, img):
        return F.hflip(img) if torch.rand(1) < self.p else img


class RandomVerticalFlip(_Flip):
    """Top and bottom exchanged with probability ``p``."""

    def forward(self, img):
        return F.vflip(img) if torch.rand(1) < self.p else img


class RandomGrayscale(_Flip):
    """Gray with probability ``p``, in as many channels."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)

    def forward(self, img):
        channels, _, _ = F.get_dimensions(img)
        return F.rgb_to_grayscale(img, channels) if torch.rand(1) < self.p else img


class Grayscale(_Shown):
    """``functional.rgb_to_grayscale``."""

    _shown = ("num_output_channels",)

    def __init__(self, num_output_channels: int = 1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img):
        return F.rgb_to_grayscale(img, self.num_output_channels)


class RandomResizedCrop(nn.Module):
    """A window of random area and proportions, resized."""

    def __init__(
        self, size, scale=(0.08, 1.0), ratio=(3.0 / 4.0, 4.0 / 3.0),
        interpolation=InterpolationMode.BILINEAR, antialias=True,
    ):  # fmt: skip
        super().__init__()
        self.size, self.scale, self.ratio = _size(size), scale, ratio
        self.interpolation, self.antialias = F._mode(interpolation), antialias

    @staticmethod
    def get_params(img, scale, ratio) -> tuple[int, int, int, int]:
        """(top, left, height, width); after ten tries in vain the largest in the middle."""
        _, height, width = F.get_dimensions(img)
        logs = torch.log(torch.tensor(ratio))
        for _ in range(10):
            area = height * width * torch.empty(1).uniform_(scale[0], scale[1]).item()
            aspect = torch.exp(torch.empty(1).uniform_(logs[0].item(), logs[1].item())).item()
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                i = torch.randint(0, height - h + 1, size=(1,)).item()
                j = torch.randint(0, width - w + 1, size=(1,)).item()
                return i, j, h, w
        whole = width / height
        if whole < min(ratio):
            w, h = width, round(width / min(ratio))
        elif whole > max(ratio):
            w, h = round(height * max(ratio)), height
        else:
            w, h = width, height
        return (height - h) // 2, (width - w) // 2, h, w

    def forward(self, img):
        window = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *window, self.size, self.interpolation, antialias=self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(x, 4) for x in span) for span in (self.scale, self.ratio))
        return (
            f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


class ColorJitter(_Shown):
    """Brightness, contrast, saturation and hue changed by chance, in a random order."""

    _shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        super().__init__()
        self.brightness = self._range(brightness, "brightness")
        self.contrast = self._range(contrast, "contrast")
        self.saturation = self._range(saturation, "saturation")
        self.hue = self._range(hue, "hue", 0, (-0.5, 0.5), False)

    @staticmethod
    def _range(value, name, center=1, bound=(0, float("inf")), clip=True):
        if isinstance(value, numbers.Number):
            if value < 0:
                raise ValueError(f"If {name} is a single number, it must be non negative.")
            value = [center - float(value), center + float(value)]
            if clip:
                value[0] = max(value[0], 0.0)
        elif len(value) == 2:
            value = [float(value[0]), float(value[1])]
        if not bound[0] <= value[0] <= value[1] <= bound[1]:
            raise ValueError(f"{name} values should be between {bound}, but got {value}.")
        return None if value[0] == value[1] == center else tuple(value)

    @staticmethod
    def get_params(brightness, contrast, saturation, hue) -> tuple:
        """The order, and a factor for each of them or None."""
        order = torch.randperm(4)
        return order, *(
            None if span is None else _uniform(*span)
            for span in (brightness, contrast, saturation, hue)
        )

    def forward(self, img):
        spans = (self.brightness, self.contrast, self.saturation, self.hue)
        order, *factors = self.get_params(*spans)
        changes = (
            F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue,
        )  # fmt: skip
        for i in order.tolist():
            if factors[i] is not None:
                img = changes[i](img, factors[i])
        return img


class GaussianBlur(_Shown):
    """``functional.gaussian_blur`` with a random width."""

    _shown = ("kernel_size", "sigma")

    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        super().__init__()
        self.kernel_size = _size(kernel_size)
        self.sigma = (sigma, sigma) if isinstance(sigma, numbers.Number) else tuple(sigma)

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A width."""
        return _uniform(sigma_min, sigma_max)

    def forward(self, img):
        sigma = self.get_params(*self.sigma)
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])


class RandomErasing(_Shown):
    """A window of a tensor erased with probability ``p``."""

    _shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False):
        super().__init__()
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(img, scale, ratio, value=None) -> tuple:
        """(top, left, height, width, what to write)."""
        channels, height, width = img.shape[-3:]
        logs = torch.log(torch.tensor(ratio))
        for _ in range(10):
            area = height * width * torch.empty(1).uniform_(scale[0], scale[1]).item()
            aspect = torch.exp(torch.empty(1).uniform_(logs[0].item(), logs[1].item())).item()
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (h < height and w < width):
                continue
            if value is None:
                v = torch.empty([channels, h, w], dtype=torch.float32).normal_()
            else:
                v = torch.tensor(value)[:, None, None]
            i = torch.randint(0, height - h + 1, size=(1,)).item()
            j = torch.randint(0, width - w + 1, size=(1,)).item()
            return i, j, h, w, v
        return 0, 0, height, width, img

    def forward(self, img):
        if torch.rand(1) >= self.p:
            return img
        value = self.value
        if isinstance(value, (int, float)):
            value = [float(value)]
        elif isinstance(value, str):
            value = None
        elif value is not None:
            value = [float(v) for v in value]
        return F.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)


class RandomRotation(_Shown):
    """The image turned by a random angle."""

    _shown = ("degrees", "interpolation", "expand", "center", "fill")

    def __init__(
        self, degrees, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=0
    ):  # fmt: skip
        super().__init__()
        self.degrees = _angles(degrees, "degrees")
        self.interpolation, self.expand = F._mode(interpolation), expand
        self.center, self.fill = center, 0 if fill is None else fill

    @staticmethod
    def get_params(degrees) -> float:
        """An angle."""
        return _uniform(*degrees)

    def forward(self, img):
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)


class RandomAffine(_Shown):
    """The image turned, shifted, scaled and sheared by chance."""

    _shown = ("degrees", "translate", "scale", "shear", "interpolation", "fill", "center")
    _unshown = (None, InterpolationMode.NEAREST, 0)

    def __init__(
        self, degrees, translate=None, scale=None, shear=None,
        interpolation=InterpolationMode.NEAREST, fill=0, center=None,
    ):  # fmt: skip
        super().__init__()
        self.degrees = _angles(degrees, "degrees")
        self.shear = None if shear is None else _angles(shear, "shear", (2, 4))
        if translate is not None and not all(0.0 <= t <= 1.0 for t in translate):
            raise ValueError("translation values should be between 0 and 1")
        if scale is not None and any(s <= 0 for s in scale):
            raise ValueError("scale values should be positive")
        self.translate, self.scale = translate, scale
        self.interpolation, self.fill = F._mode(interpolation), 0 if fill is None else fill
        self.center = center

    @staticmethod
    def get_params(degrees, translate, scale_ranges, shears, img_size) -> tuple:
        """(angle, shift, scale, shear)."""
        angle, shift, scale, shear = _uniform(*degrees), (0, 0), 1.0, (0.0, 0.0)
        if translate is not None:
            far = [float(t * s) for t, s in zip(translate, img_size, strict=True)]
            shift = tuple(round(_uniform(-f, f)) for f in far)
        if scale_ranges is not None:
            scale = _uniform(*scale_ranges)
        if shears is not None:
            shear = (_uniform(*shears[:2]), _uniform(*shears[2:]) if len(shears) == 4 else 0.0)
        return angle, shift, scale, shear

    def forward(self, img):
        _, height, width = F.get_dimensions(img)
        found = self.get_params(
            self.degrees, self.translate, self.scale, self.shear, [width, height]
        )
        return F.affine(
            img, *found, interpolation=self.interpolation, fill=self.fill, center=self.center
        )
