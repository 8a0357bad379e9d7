"""Version 2's transforms from one kind of input to another, and of numbers."""

from __future__ import annotations

import warnings

import numpy as np

import torchlike as torch
from torchlike._runner.torchvision.transforms.v2 import functional as F
from torchlike._runner.torchvision.transforms.v2.base import Transform
from torchlike._runner.torchvision.tv_tensors import BoundingBoxes, TVTensor, as_plain

__all__ = [
    "ClampBoundingBoxes", "ConvertBoundingBoxFormat", "ConvertImageDtype", "Identity", "Lambda",
    "Normalize", "PILToTensor", "ToDtype", "ToImage", "ToPILImage", "ToPureTensor", "ToTensor",
]  # fmt: skip


class _OfAll(Transform):
    def _takes(self, x) -> bool:
        return isinstance(x, (torch.Tensor, np.ndarray)) or hasattr(x, "getbands")


class ToImage(_OfAll):
    """``functional.to_image`` of images, arrays and plain tensors."""

    def transform(self, inpt, params):
        return inpt if isinstance(inpt, TVTensor) else F.to_image(inpt)


class ToTensor(_OfAll):
    """``functional.to_tensor`` of images and arrays."""

    def __init__(self):
        super().__init__()
        warnings.warn(
            "The transform `ToTensor()` is deprecated and will be removed in a future release. "
            "Instead, please use `v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, "
            "scale=True)])`.Output is equivalent up to float precision.",
            stacklevel=2,
        )

    def transform(self, inpt, params):
        return inpt if isinstance(inpt, torch.Tensor) else F.to_tensor(inpt)


class PILToTensor(_OfAll):
    """``functional.pil_to_tensor`` of images of Pillow."""

    def transform(self, inpt, params):
        return F.pil_to_tensor(inpt) if hasattr(inpt, "getbands") else inpt


class ToPILImage(_OfAll):
    """``functional.to_pil_image`` of tensors and arrays."""

    def __init__(self, mode: str | None = None):
        super().__init__()
        self.mode = mode

    def transform(self, inpt, params):
        if not F.is_image(inpt) and not isinstance(inpt, np.ndarray):
            return inpt
        if hasattr(inpt, "getbands"):
            return inpt
        return F.to_pil_image(as_plain(inpt), mode=self.mode)


class ToPureTensor(Transform):
    """Tensors that do not say what they are."""

    def transform(self, inpt, params):
        return as_plain(inpt)


class ToDtype(Transform):
    """``functional.to_dtype`` of images, or of the kinds that a dictionary names."""

    def __init__(self, dtype, scale: bool = False):
        super().__init__()
        if not isinstance(dtype, (dict, torch.dtype)):
            raise ValueError(f"dtype must be a dict or a torch.dtype, got {type(dtype)} instead")
        self.dtype, self.scale = dtype, scale

    def _chosen(self, flat):
        chosen = super()._chosen(flat)
        if isinstance(self.dtype, dict):  # plain tensors are chosen by what the dictionary says
            return [isinstance(x, torch.Tensor) for x in flat]
        return chosen

    def transform(self, inpt, params):
        dtype = self.dtype
        if isinstance(dtype, dict):
            if type(inpt) in dtype:
                dtype = dtype[type(inpt)]
            elif "others" in dtype:
                dtype = dtype["others"]
            else:
                raise ValueError(f"No dtype was specified for type {type(inpt)}.")
        elif not F.is_image(inpt) or not isinstance(inpt, torch.Tensor):
            return inpt
        return inpt if dtype is None else F.to_dtype(inpt, dtype=dtype, scale=self.scale)


class ConvertImageDtype(Transform):
    """``functional.to_dtype`` with the values scaled."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.dtype = dtype

    def transform(self, inpt, params):
        if not F.is_image(inpt):
            return inpt
        return F.to_dtype(inpt, dtype=self.dtype, scale=True)


class Normalize(Transform):
    """``functional.normalize``."""

    def __init__(self, mean, std, inplace: bool = False):
        super().__init__()
        self.mean, self.std, self.inplace = list(mean), list(std), inplace

    def check_inputs(self, flat_inputs):
        """Raise ``TypeError`` for images of Pillow."""
        if any(hasattr(x, "getbands") for x in flat_inputs):
            raise TypeError("Normalize() does not support PIL images.")

    def transform(self, inpt, params):
        return F.normalize(inpt, mean=self.mean, std=self.std, inplace=self.inplace)


class Identity(Transform):
    """No change."""

    def transform(self, inpt, params):
        return inpt


class Lambda(Transform):
    """Any function, of the inputs of these types."""

    def __init__(self, lambd, *types: type):
        super().__init__()
        self.lambd, self.types = lambd, types or (object,)

    def _chosen(self, flat):
        return [isinstance(x, self.types) for x in flat]

    def transform(self, inpt, params):
        return self.lambd(inpt)

    def extra_repr(self) -> str:
        name = getattr(self.lambd, "__name__", None)
        told = [name] if name else []
        return ", ".join([*told, f"types={[t.__name__ for t in self.types]}"])


class ConvertBoundingBoxFormat(Transform):
    """``functional.convert_bounding_box_format`` of boxes."""

    def __init__(self, format):
        super().__init__()
        self.format = format

    def transform(self, inpt, params):
        if not isinstance(inpt, BoundingBoxes):
            return inpt
        return F.convert_bounding_box_format(inpt, new_format=self.format)


class ClampBoundingBoxes(Transform):
    """``functional.clamp_bounding_boxes`` of boxes."""

    def __init__(self, clamping_mode="auto"):
        super().__init__()
        self.clamping_mode = clamping_mode

    def transform(self, inpt, params):
        return F.clamp_bounding_boxes(inpt) if isinstance(inpt, BoundingBoxes) else inpt
