"""Changes of ``functional`` that happen with a probability ``p``."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.transforms import functional as F
from torchlike._runner.torchvision.transforms.functional import InterpolationMode

__all__ = [
    "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize", "RandomInvert",
    "RandomPerspective", "RandomPosterize", "RandomSolarize",
]  # fmt: skip


class _Chance(nn.Module):
    """``_change`` with the argument that ``_argument`` names, if there is one."""

    _argument: str | None = None

    def __init__(self, *args, p: float = 0.5, **kwargs):
        super().__init__()
        names = [] if self._argument is None else [self._argument]
        args = (*args, *(kwargs.pop(name) for name in names[len(args) :] if name in kwargs))
        if kwargs or len(args) > len(names) + 1 or len(args) < len(names):
            raise TypeError(f"{type(self).__name__}() takes {[*names, 'p']}, got {args} {kwargs}")
        self.p = args[-1] if len(args) > len(names) else p
        if names:
            setattr(self, names[0], args[0])

    def forward(self, img):
        if torch.rand(1).item() >= self.p:
            return img
        extra = () if self._argument is None else (getattr(self, self._argument),)
        return type(self)._change(img, *extra)

    def __repr__(self) -> str:
        told = "" if self._argument is None else f"{self._argument}={getattr(self, self._argument)}"
        return f"{type(self).__name__}({told}{',' if told else ''}p={self.p})"


class RandomInvert(_Chance):
    """``functional.invert``."""

    _change = staticmethod(F.invert)


class RandomPosterize(_Chance):
    """``functional.posterize``."""

    _change, _argument = staticmethod(F.posterize), "bits"


class RandomSolarize(_Chance):
    """``functional.solarize``."""

    _change, _argument = staticmethod(F.solarize), "threshold"


class RandomAdjustSharpness(_Chance):
    """``functional.adjust_sharpness``."""

    _change, _argument = staticmethod(F.adjust_sharpness), "sharpness_factor"


class RandomAutocontrast(_Chance):
    """``functional.autocontrast``."""

    _change = staticmethod(F.autocontrast)


class RandomEqualize(_Chance):
    """``functional.equalize``."""

    _change = staticmethod(F.equalize)


class RandomPerspective(nn.Module):
    """``functional.perspective`` with corners moved by chance."""

    def __init__(
        self, distortion_scale=0.5, p=0.5, interpolation=InterpolationMode.BILINEAR, fill=0
    ):
        super().__init__()
        self.p, self.distortion_scale, self.fill = p, distortion_scale, fill
        self.interpolation = F._mode(interpolation)

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list, list]:
        """The corners, and where they go."""
        far = [int(distortion_scale * (side // 2)) for side in (width, height)]

        def near(axis: int) -> int:
            return int(torch.randint(0, far[axis] + 1, size=(1,)).item())

        def away(axis: int) -> int:
            side = (width, height)[axis]
            return int(torch.randint(side - far[axis] - 1, side, size=(1,)).item())

        ends = [[near(0), near(1)], [away(0), near(1)], [away(0), away(1)], [near(0), away(1)]]
        right, below = width - 1, height - 1
        return [[0, 0], [right, 0], [right, below], [0, below]], ends

    def forward(self, img):
        if torch.rand(1).item() >= self.p:
            return img
        _, height, width = F.get_dimensions(img)
        start, end = self.get_params(width, height, self.distortion_scale)
        return F.perspective(img, start, end, self.interpolation, self.fill)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"
