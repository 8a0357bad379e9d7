"""Version 2's changes drawn from a list, and batches mixed with themselves."""

from __future__ import annotations

import math

import torchlike as torch
from torchlike._runner.shims.utils._pytree import tree_flatten, tree_unflatten
from torchlike._runner.torchvision.transforms import autoaugment as _v1
from torchlike._runner.torchvision.transforms.autoaugment import (
    AutoAugmentPolicy as AutoAugmentPolicy,
)
from torchlike._runner.torchvision.transforms.functional import InterpolationMode, _mode
from torchlike._runner.torchvision.transforms.v2 import functional as F
from torchlike._runner.torchvision.transforms.v2.base import Transform, integer, labels_of
from torchlike._runner.torchvision.transforms.v2.geometry import fill_of
from torchlike._runner.torchvision.tv_tensors import BoundingBoxes, Mask
from torchlike.nn.functional import one_hot

__all__ = [
    "AutoAugment", "AutoAugmentPolicy", "CutMix", "MixUp", "RandAugment", "TrivialAugmentWide",
]  # fmt: skip


class _Augment(Transform):
    _kind = ""

    def __init__(self, interpolation, fill):
        super().__init__()
        self.interpolation, self._fill = _mode(interpolation), fill

    def _of(self, inputs):
        """(all inputs, how they nest, the place of the one image, its changes)."""
        flat, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        for x in flat:
            if isinstance(x, (Mask, BoundingBoxes)):
                raise TypeError(
                    f"Inputs of type {type(x).__name__} are not supported by "
                    f"{type(self).__name__}()"
                )
        images = [i for i, chosen in enumerate(self._chosen(flat)) if chosen]
        if len(images) != 1:
            found = "no image" if not images else f"{len(images)} images"
            raise TypeError(f"{type(self).__name__}() takes a sample with one image; found {found}")
        height, width = F.get_size(flat[images[0]])
        return flat, spec, images[0], height, width

    def _signed(self, magnitude: float, signed: bool) -> float:
        return -magnitude if signed and torch.rand(()).item() <= 0.5 else magnitude

    def _apply(self, image, name: str, magnitude: float):
        plain = F.as_plain(image)
        if name == "Solarize" and isinstance(plain, torch.Tensor):
            bound = 1.0 if plain.is_floating_point() else torch.iinfo(plain.dtype).max
            magnitude = magnitude / 255.0 * bound
        fill = fill_of(self._fill, image)
        return F._like(_v1.apply(plain, name, magnitude, self.interpolation, fill), image)


class RandAugment(_Augment):
    """``num_ops`` changes of one magnitude (https://arxiv.org/abs/1909.13719)."""

    def __init__(
        self, num_ops=2, magnitude=9, num_magnitude_bins=31,
        interpolation=InterpolationMode.NEAREST, fill=None,
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, *inputs):
        flat, spec, place, height, width = self._of(inputs)
        known = _v1.space("rand", self.num_magnitude_bins, height, width)
        for _ in range(self.num_ops):
            name = list(known)[integer(0, len(known))]
            magnitudes, signed = known[name]
            magnitude = 0.0
            if magnitudes is not None:
                magnitude = self._signed(float(magnitudes[self.magnitude]), signed)
            flat[place] = self._apply(flat[place], name, magnitude)
        return tree_unflatten(flat, spec)


class TrivialAugmentWide(_Augment):
    """One change of any magnitude (https://arxiv.org/abs/2103.10158)."""

    def __init__(
        self, num_magnitude_bins=31, interpolation=InterpolationMode.NEAREST, fill=None
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, *inputs):
        flat, spec, place, height, width = self._of(inputs)
        known = _v1.space("wide", self.num_magnitude_bins, height, width)
        name = list(known)[integer(0, len(known))]
        magnitudes, signed = known[name]
        magnitude = 0.0
        if magnitudes is not None:
            magnitude = float(magnitudes[integer(0, self.num_magnitude_bins)])
            magnitude = self._signed(magnitude, signed)
        flat[place] = self._apply(flat[place], name, magnitude)
        return tree_unflatten(flat, spec)


class AutoAugment(_Augment):
    """One of the pairs of changes that were found best (https://arxiv.org/abs/1805.09501)."""

    def __init__(
        self, policy=AutoAugmentPolicy.IMAGENET, interpolation=InterpolationMode.NEAREST, fill=None
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        self.policy, self._policies = policy, _v1.policies(policy)

    def forward(self, *inputs):
        flat, spec, place, height, width = self._of(inputs)
        known = _v1.space("auto", 10, height, width)
        for name, p, number in self._policies[integer(0, len(self._policies))]:
            if torch.rand(()).item() > p:
                continue
            magnitudes, signed = known[name]
            magnitude = 0.0
            if magnitudes is not None:
                magnitude = self._signed(float(magnitudes[number]), signed)
            flat[place] = self._apply(flat[place], name, magnitude)
        return tree_unflatten(flat, spec)


class _Mixing(Transform):
    """A batch of images and labels mixed with the batch one further."""

    def __init__(self, *, alpha: float = 1.0, num_classes=None, labels_getter="default"):
        super().__init__()
        self.alpha, self.num_classes = float(alpha), num_classes
        self._distribution = torch.distributions.Beta(
            torch.tensor([self.alpha]), torch.tensor([self.alpha])
        )
        self._getter = labels_getter

    def forward(self, *inputs):
        whole = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = tree_flatten(whole)
        if any(hasattr(x, "getbands") or isinstance(x, (Mask, BoundingBoxes)) for x in flat):
            raise ValueError(
                f"{type(self).__name__}() does not support PIL images, bounding boxes, keypoints "
                "and masks."
            )
        labels = labels_of(whole, self._getter)
        if labels is None:
            raise ValueError("The labels are None: labels_getter has to find them")
        if labels.ndim not in (1, 2):
            raise ValueError(
                "labels should be index based with shape (batch_size,) or probability based with "
                f"shape (batch_size, num_classes), but got a tensor of shape {labels.shape} "
                "instead."
            )
        if labels.ndim == 1 and self.num_classes is None:
            raise ValueError("num_classes must be passed if the labels are index-based (1D)")
        chosen = [c and x is not labels for x, c in zip(flat, self._chosen(flat), strict=True)]
        images = [x for x, c in zip(flat, chosen, strict=True) if c]
        for image in images:
            if image.ndim < 4:
                raise ValueError(
                    "Expected a batched input with 4 dims, but got "
                    f"{image.ndim} dimensions instead."
                )
            if image.shape[0] != labels.shape[0]:
                raise ValueError(
                    "The batch size of the image or video does not match the batch size of the "
                    f"labels: {image.shape[0]} != {labels.shape[0]}."
                )
        part = self._drawn(float(self._distribution.sample(())), *F.get_size(images[0]))
        mixed = [
            self._mixed_labels(x, part["share"]) if x is labels
            else F._like(self._mixed(F.as_plain(x), part), x) if c else x
            for x, c in zip(flat, chosen, strict=True)
        ]  # fmt: skip
        return tree_unflatten(mixed, spec)

    def _mixed_labels(self, labels, share: float):
        if labels.ndim == 1:
            labels = one_hot(labels, num_classes=self.num_classes)
        labels = labels if labels.is_floating_point() else labels.float()
        return labels.roll(1, 0) * (1.0 - share) + labels * share


class MixUp(_Mixing):
    """Images and labels as means of two (https://arxiv.org/abs/1710.09412)."""

    def _drawn(self, share, height, width):
        return {"share": share}

    def _mixed(self, images, part):
        return images.roll(1, 0) * (1.0 - part["share"]) + images * part["share"]


class CutMix(_Mixing):
    """Windows of images exchanged, and labels by their areas (https://arxiv.org/abs/1905.04899)."""

    def _drawn(self, share, height, width):
        x = int(torch.randint(width, size=(1,)))
        y = int(torch.randint(height, size=(1,)))
        half = 0.5 * math.sqrt(1.0 - share)
        wide, high = int(half * width), int(half * height)
        box = (
            max(x - wide, 0), max(y - high, 0), min(x + wide, width), min(y + high, height),
        )  # fmt: skip
        area = (box[2] - box[0]) * (box[3] - box[1])
        return {"box": box, "share": float(1.0 - area / (width * height))}

    def _mixed(self, images, part):
        left, top, right, bottom = part["box"]
        out = images.clone()
        out[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
        return out
