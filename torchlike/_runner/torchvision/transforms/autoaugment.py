"""torchvision.transforms.autoaugment: changes drawn from a list, with drawn magnitudes."""

from __future__ import annotations

import enum
import functools
import math

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.transforms import functional as F
from torchlike._runner.torchvision.transforms.functional import InterpolationMode

__all__ = ["AutoAugment", "AutoAugmentPolicy", "RandAugment", "TrivialAugmentWide"]


class AutoAugmentPolicy(enum.Enum):
    """The data that the policies of ``AutoAugment`` were found on."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# Each policy is a pair of changes with their probabilities in tenths and places of magnitudes.
_POLICIES = {
    AutoAugmentPolicy.IMAGENET: (
        "Posterize48 Rotate69, Solarize65 AutoContrast6, Equalize8 Equalize6, "
        "Posterize67 Posterize66, Equalize4 Solarize24, Equalize4 Rotate88, Solarize63 Equalize6, "
        "Posterize85 EqualizeX, Rotate23 Solarize68, Equalize6 Posterize46, Rotate88 Color40, "
        "Rotate49 Equalize6, Equalize0 Equalize8, Invert6 EqualizeX, Color64 ContrastX8, "
        "Rotate88 ColorX2, Color88 Solarize87, Sharpness47 Invert6, ShearX65 EqualizeX, "
        "Color40 Equalize6, Equalize4 Solarize24, Solarize65 AutoContrast6, Invert6 EqualizeX, "
        "Color64 ContrastX8, Equalize8 Equalize6"
    ),
    AutoAugmentPolicy.CIFAR10: (
        "Invert1 Contrast26, Rotate72 TranslateX39, Sharpness81 Sharpness93, "
        "ShearY58 TranslateY79, AutoContrast5 Equalize9, ShearY27 Posterize37, "
        "Color43 Brightness67, Sharpness39 Brightness79, Equalize6 Equalize5, "
        "Contrast67 Sharpness65, Color77 TranslateX58, Equalize3 AutoContrast4, "
        "TranslateY43 Sharpness26, Brightness96 Color28, Solarize52 Invert0, "
        "Equalize2 AutoContrast6, Equalize2 Equalize6, Color99 Equalize6, "
        "AutoContrast8 Solarize28, Brightness13 Color70, Solarize45 AutoContrast9, "
        "TranslateY99 TranslateY79, AutoContrast9 Solarize83, Equalize8 Invert1, "
        "TranslateY79 AutoContrast9"
    ),
    AutoAugmentPolicy.SVHN: (
        "ShearX94 Invert2, ShearY98 Invert7, Equalize6 Solarize66, Invert9 Equalize6, "
        "Equalize6 Rotate93, ShearX94 AutoContrast8, ShearY98 Invert4, ShearY95 Solarize26, "
        "Invert9 AutoContrast8, Equalize6 Rotate93, ShearX94 Solarize33, ShearY88 Invert7, "
        "Equalize9 TranslateY66, Invert9 Equalize6, Contrast33 Rotate84, Invert8 TranslateY02, "
        "ShearY76 Solarize48, Invert6 Rotate84, ShearY37 TranslateX93, ShearX16 Invert6, "
        "Solarize72 TranslateY67, ShearY84 Invert8, ShearX79 TranslateY83, ShearY85 AutoContrast7, "
        "ShearX72 Invert1"
    ),
}
_PLAIN = ("AutoContrast", "Equalize", "Invert")


def _step(text: str) -> tuple[str, float, int | None]:
    plain = text[:-1] in _PLAIN
    name, numbers = (text[:-1], text[-1:]) if plain else (text[:-2], text[-2:])
    tenths = 10 if numbers[0] == "X" else int(numbers[0])
    return name, tenths / 10, None if plain else int(numbers[1])


def policies(policy: AutoAugmentPolicy) -> list:
    """The 25 pairs of (name, probability, place of the magnitude or None)."""
    if policy not in _POLICIES:
        raise ValueError(f"The provided policy {policy} is not recognized.")
    return [tuple(_step(s) for s in pair.split()) for pair in _POLICIES[policy].split(", ")]


@functools.lru_cache(maxsize=256)
def space(kind: str, bins: int, height: int, width: int) -> dict[str, tuple[list | None, bool]]:
    """For each change its magnitudes, None if it has none, and whether they have a sign.

    ``kind`` is "auto" (with the negative), "rand" (with no change) or "wide" (with larger ones).
    """

    def line(end: float, start: float = 0.0) -> list[float]:
        return torch.linspace(start, end, bins).tolist()

    wide = kind == "wide"
    bits = [8 - round(i / ((bins - 1) / (6 if wide else 4))) for i in range(bins)]
    signed = {
        "ShearX": 0.99 if wide else 0.3, "ShearY": 0.99 if wide else 0.3,
        "TranslateX": 32.0 if wide else 150.0 / 331.0 * width,
        "TranslateY": 32.0 if wide else 150.0 / 331.0 * height,
        "Rotate": 135.0 if wide else 30.0,
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.99 if wide else 0.9),
    }  # fmt: skip
    found: dict = {} if kind == "auto" else {"Identity": (None, False)}
    found.update({name: (line(end), True) for name, end in signed.items()})
    found["Posterize"] = (bits, False)
    found["Solarize"] = (line(0.0, 255.0), False)
    found.update({name: (None, False) for name in _PLAIN[: 3 if kind == "auto" else 2]})
    return found


def apply(img, name: str, magnitude: float, interpolation, fill):
    """The image with one of the changes."""
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY"):
        shift, shear = [0, 0], [0.0, 0.0]
        axis = "XY".index(name[-1])
        if name.startswith("Shear"):
            shear[axis] = math.degrees(math.atan(magnitude))
            return F.affine(img, 0.0, shift, 1.0, shear, interpolation, fill, center=[0, 0])
        shift[axis] = int(magnitude)
        return F.affine(img, 0.0, shift, 1.0, shear, interpolation, fill)
    if name == "Rotate":
        return F.rotate(img, magnitude, interpolation=interpolation, fill=fill)
    factors = {
        "Brightness": F.adjust_brightness, "Color": F.adjust_saturation,
        "Contrast": F.adjust_contrast, "Sharpness": F.adjust_sharpness,
    }  # fmt: skip
    if name in factors:
        return factors[name](img, 1.0 + magnitude)
    if name == "Posterize":
        return F.posterize(img, int(magnitude))
    if name == "Solarize":
        return F.solarize(img, magnitude)
    rest = {"AutoContrast": F.autocontrast, "Equalize": F.equalize, "Invert": F.invert}
    return rest[name](img) if name in rest else img


class _Augment(nn.Module):
    _kind, _shown = "", ()

    def __init__(self, interpolation, fill):
        super().__init__()
        self.interpolation, self.fill = interpolation, fill

    def _space(self, img, bins: int):
        _, height, width = F.get_dimensions(img)
        return space(self._kind, bins, height, width)

    def _apply(self, img, name, magnitude):
        return apply(img, name, magnitude, self.interpolation, self.fill)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)}" for name in self._shown)
        return f"{type(self).__name__}({told})"


class AutoAugment(_Augment):
    """One of the pairs of changes that were found best (https://arxiv.org/abs/1805.09501)."""

    _kind, _shown = "auto", ("policy", "fill")

    def __init__(
        self, policy=AutoAugmentPolicy.IMAGENET, interpolation=InterpolationMode.NEAREST, fill=None
    ):
        super().__init__(interpolation, fill)
        self.policy, self.policies = policy, policies(policy)

    @staticmethod
    def get_params(transform_num: int) -> tuple:
        """(which pair, two probabilities, two signs)."""
        number = int(torch.randint(transform_num, (1,)).item())
        return number, torch.rand((2,)), torch.randint(2, (2,))

    def forward(self, img):
        known = self._space(img, 10)
        number, chances, signs = self.get_params(len(self.policies))
        draws = zip(self.policies[number], chances.tolist(), signs.tolist(), strict=True)
        for (name, p, place), chance, sign in draws:
            if chance <= p:
                magnitudes, signed = known[name]
                magnitude = 0.0 if place is None else float(magnitudes[place])
                img = self._apply(img, name, -magnitude if signed and sign == 0 else magnitude)
        return img


class RandAugment(_Augment):
    """``num_ops`` changes of one magnitude (https://arxiv.org/abs/1909.13719)."""

    _kind, _shown = (
        "rand", ("num_ops", "magnitude", "num_magnitude_bins", "interpolation", "fill"),
    )  # fmt: skip

    def __init__(
        self, num_ops=2, magnitude=9, num_magnitude_bins=31,
        interpolation=InterpolationMode.NEAREST, fill=None,
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, img):
        known = self._space(img, self.num_magnitude_bins)
        for _ in range(self.num_ops):
            name = list(known)[int(torch.randint(len(known), (1,)).item())]
            magnitudes, signed = known[name]
            magnitude = 0.0 if magnitudes is None else float(magnitudes[self.magnitude])
            if signed and torch.randint(2, (1,)):
                magnitude *= -1.0
            img = self._apply(img, name, magnitude)
        return img


class TrivialAugmentWide(_Augment):
    """One change of any magnitude (https://arxiv.org/abs/2103.10158)."""

    _kind, _shown = "wide", ("num_magnitude_bins", "interpolation", "fill")

    def __init__(self, num_magnitude_bins=31, interpolation=InterpolationMode.NEAREST, fill=None):
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, img):
        known = self._space(img, self.num_magnitude_bins)
        name = list(known)[int(torch.randint(len(known), (1,)).item())]
        magnitudes, signed = known[name]
        magnitude = 0.0
        if magnitudes is not None:
            magnitude = float(magnitudes[torch.randint(len(magnitudes), (1,)).item()])
        if signed and torch.randint(2, (1,)):
            magnitude *= -1.0
        return self._apply(img, name, magnitude)
