"""Version 2's transforms of colours, and those that change an image in places."""

from __future__ import annotations

import torchlike as torch
from torchlike._runner.torchvision.transforms import transforms as _v1
from torchlike._runner.torchvision.transforms.v2 import functional as F
from torchlike._runner.torchvision.transforms.v2.base import (
    RandomlyApplied,
    Transform,
    uniform,
)

__all__ = [
    "RGB", "ColorJitter", "GaussianBlur", "GaussianNoise", "Grayscale", "RandomAdjustSharpness",
    "RandomAutocontrast", "RandomChannelPermutation", "RandomEqualize", "RandomErasing",
    "RandomGrayscale", "RandomInvert", "RandomPosterize", "RandomSolarize",
]  # fmt: skip


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by chance, in a random order."""

    def __init__(self, brightness=None, contrast=None, saturation=None, hue=None):
        super().__init__()
        made = _v1.ColorJitter(brightness or 0, contrast or 0, saturation or 0, hue or 0)
        self.brightness, self.contrast = made.brightness, made.contrast
        self.saturation, self.hue = made.saturation, made.hue

    def make_params(self, flat_inputs):
        spans = (self.brightness, self.contrast, self.saturation, self.hue)
        order, *factors = _v1.ColorJitter.get_params(*spans)
        return {"order": order.tolist(), "factors": factors}

    def transform(self, inpt, params):
        changes = (
            F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue,
        )  # fmt: skip
        for i in params["order"]:
            if params["factors"][i] is not None:
                inpt = changes[i](inpt, params["factors"][i])
        return inpt


class Grayscale(Transform):
    """``functional.rgb_to_grayscale``."""

    def __init__(self, num_output_channels: int = 1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def transform(self, inpt, params):
        return F.rgb_to_grayscale(inpt, num_output_channels=self.num_output_channels)


class RandomGrayscale(RandomlyApplied):
    """Gray with probability ``p``, in as many channels."""

    def __init__(self, p: float = 0.1):
        super().__init__(p=p)

    def make_params(self, flat_inputs):
        return {"channels": next(F.get_num_channels(x) for x in flat_inputs if F.is_image(x))}

    def transform(self, inpt, params):
        return F.rgb_to_grayscale(inpt, num_output_channels=params["channels"])


class RGB(Transform):
    """Three channels, of one."""

    def transform(self, inpt, params):
        return F.grayscale_to_rgb(inpt)


class RandomChannelPermutation(Transform):
    """Channels in a random order."""

    def make_params(self, flat_inputs):
        count = next(F.get_num_channels(x) for x in flat_inputs if F.is_image(x))
        return {"order": torch.randperm(count)}

    def transform(self, inpt, params):
        return F.permute_channels(inpt, params["order"])


class GaussianBlur(Transform):
    """``functional.gaussian_blur`` with a random width."""

    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        super().__init__()
        self.kernel_size = _v1._size(kernel_size)
        if any(k <= 0 or k % 2 == 0 for k in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        spread = [sigma, sigma] if isinstance(sigma, (int, float)) else list(sigma)
        self.sigma = [float(s) for s in spread]
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma values should be positive and of the form (min, max). Got "
                             f"{self.sigma}")  # fmt: skip

    def make_params(self, flat_inputs):
        return {"sigma": [uniform(*self.sigma)] * 2}

    def transform(self, inpt, params):
        return F.gaussian_blur(inpt, self.kernel_size, params["sigma"])


class GaussianNoise(Transform):
    """``functional.gaussian_noise``."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip=True):
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, inpt, params):
        return F.gaussian_noise(inpt, mean=self.mean, sigma=self.sigma, clip=self.clip)


class RandomErasing(RandomlyApplied):
    """A window of a tensor erased with probability ``p``."""

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0.0, inplace=False):
        super().__init__(p=p)
        self.scale, self.ratio = scale, ratio
        if isinstance(value, (int, float)):
            self.value = [float(value)]
        elif isinstance(value, str):
            self.value = None  # noise
        else:
            self.value = [float(v) for v in value]
        self.inplace = inplace

    def make_params(self, flat_inputs):
        image = next((x for x in flat_inputs if F.is_image(x)), None)
        if image is None:
            return {"window": None}
        channels = F.get_num_channels(image)
        if self.value is not None and len(self.value) not in (1, channels):
            raise ValueError(f"If value is a sequence, it should have either a single value or "
                             f"{channels} (number of inpt channels)")  # fmt: skip
        plain = F.pil_to_tensor(image) if hasattr(image, "getbands") else F.as_plain(image)
        found = _v1.RandomErasing.get_params(plain, self.scale, self.ratio, self.value)
        return {"window": None if found[4] is plain else found}

    def transform(self, inpt, params):
        if params["window"] is None:
            return inpt
        if hasattr(inpt, "getbands"):
            return F.to_pil_image(F.erase(F.pil_to_tensor(inpt), *params["window"]))
        return F.erase(inpt, *params["window"], inplace=self.inplace)


def _simple(name: str, function, argument: str | None = None) -> type:
    def __init__(self, *args, **kwargs):
        names = ("p",) if argument is None else (argument, "p")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if len(args) > len(names) or not set(given) <= set(names) or not (
            argument is None or argument in given
        ):  # fmt: skip
            raise TypeError(f"{name}() takes {', '.join(names)}")
        RandomlyApplied.__init__(self, given.get("p", 0.5))
        if argument is not None:
            setattr(self, argument, given[argument])

    def transform(self, inpt, params):
        return function(inpt, *(() if argument is None else (getattr(self, argument),)))

    body = {
        "__init__": __init__, "transform": transform, "__module__": __name__,
        "__doc__": f"``functional.{function.__name__}`` with probability ``p``.",
    }  # fmt: skip
    return type(name, (RandomlyApplied,), body)


RandomInvert = _simple("RandomInvert", F.invert)
RandomAutocontrast = _simple("RandomAutocontrast", F.autocontrast)
RandomEqualize = _simple("RandomEqualize", F.equalize)
RandomPosterize = _simple("RandomPosterize", F.posterize, "bits")
RandomSolarize = _simple("RandomSolarize", F.solarize, "threshold")
RandomAdjustSharpness = _simple("RandomAdjustSharpness", F.adjust_sharpness, "sharpness_factor")
