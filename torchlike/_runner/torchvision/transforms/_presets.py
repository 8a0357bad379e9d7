"""torchvision.transforms._presets: what images go through before a network of published weights."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.transforms import functional as F
from torchlike._runner.torchvision.transforms.functional import InterpolationMode

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Preset(nn.Module):
    _shown: tuple[str, ...] = ("resize_size", "mean", "std", "interpolation")

    def __init__(self, resize_size, mean, std, interpolation, antialias):
        super().__init__()
        self.resize_size = None if resize_size is None else [resize_size]
        self.mean, self.std = list(mean), list(std)
        self.interpolation, self.antialias = interpolation, antialias

    def forward(self, img):
        if self.resize_size is not None:
            img = F.resize(
                img, self.resize_size, interpolation=self.interpolation, antialias=self.antialias
            )
        img = self._cropped(img)
        if not isinstance(img, torch.Tensor):
            img = F.pil_to_tensor(img)
        img = F.convert_image_dtype(img, torch.float)
        return F.normalize(img, mean=self.mean, std=self.std)

    def _cropped(self, img):
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {name}={getattr(self, name)}" for name in self._shown)
        return f"{type(self).__name__}({lines}\n)"


class ImageClassification(_Preset):
    """Resized, cut in the middle, made a tensor, normalized."""

    _shown = ("crop_size", *_Preset._shown)

    def __init__(
        self, *, crop_size: int, resize_size: int = 256, mean=_MEAN, std=_STD,
        interpolation=InterpolationMode.BILINEAR, antialias=True,
    ):  # fmt: skip
        super().__init__(resize_size, mean, std, interpolation, antialias)
        self.crop_size = [crop_size]

    def _cropped(self, img):
        return F.center_crop(img, self.crop_size)


class SemanticSegmentation(_Preset):
    """Resized, made a tensor, normalized."""

    def __init__(
        self, *, resize_size: int | None, mean=_MEAN, std=_STD,
        interpolation=InterpolationMode.BILINEAR, antialias=True,
    ):  # fmt: skip
        super().__init__(resize_size, mean, std, interpolation, antialias)
