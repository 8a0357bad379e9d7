"""Version 2's transforms for images with boxes."""

from __future__ import annotations

import torchlike as torch
from torchlike._runner.shims.utils._pytree import tree_flatten, tree_unflatten
from torchlike._runner.torchvision.ops.boxes import box_convert, box_iou
from torchlike._runner.torchvision.transforms.v2 import functional as F
from torchlike._runner.torchvision.transforms.v2.base import (
    RandomlyApplied,
    Transform,
    chance,
    labels_of,
    size_of,
    uniform,
)
from torchlike._runner.torchvision.transforms.v2.geometry import fill_of
from torchlike._runner.torchvision.tv_tensors import BoundingBoxes, Mask, as_plain, wrap

__all__ = ["RandomIoUCrop", "RandomPhotometricDistort", "RandomZoomOut", "SanitizeBoundingBoxes"]


def _boxes(flat: list) -> BoundingBoxes:
    found = [x for x in flat if isinstance(x, BoundingBoxes)]
    if len(found) != 1:
        raise ValueError(f"The sample should have one BoundingBoxes, got {len(found)}")
    return found[0]


def _corners(boxes):
    return box_convert(as_plain(boxes), boxes.format.value.lower(), "xyxy")


class RandomZoomOut(RandomlyApplied):
    """The image somewhere on a larger one, with probability ``p``."""

    def __init__(self, fill=0, side_range=(1.0, 4.0), p: float = 0.5):
        super().__init__(p=p)
        self.fill, self.side_range = fill, side_range
        if not 1.0 <= side_range[0] <= side_range[1]:
            raise ValueError(f"Invalid side range provided {side_range}.")

    def make_params(self, flat_inputs):
        height, width = size_of(flat_inputs)
        low, high = self.side_range
        ratio = low + chance() * (high - low)
        wide, tall = int(width * ratio), int(height * ratio)
        x, y = torch.rand(2).tolist()
        left, top = int((wide - width) * x), int((tall - height) * y)
        return {"padding": [left, top, wide - left - width, tall - top - height]}

    def transform(self, inpt, params):
        return F.pad(inpt, padding=params["padding"], fill=fill_of(self.fill, inpt))


class RandomPhotometricDistort(Transform):
    """Each of brightness, contrast, saturation, hue and the order of channels changed with
    probability ``p``."""

    def __init__(
        self, brightness=(0.875, 1.125), contrast=(0.5, 1.5), saturation=(0.5, 1.5),
        hue=(-0.05, 0.05), p: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        self.brightness, self.contrast, self.hue = brightness, contrast, hue
        self.saturation, self.p = saturation, p

    def make_params(self, flat_inputs):
        spans = (self.brightness, self.contrast, self.saturation, self.hue)
        factors = [uniform(*span) if chance() < self.p else None for span in spans]
        first = torch.rand(()).item() < 0.5
        count = next(F.get_num_channels(x) for x in flat_inputs if F.is_image(x))
        order = torch.randperm(count) if chance() < self.p else None
        return {"factors": factors, "first": first, "order": order}

    def transform(self, inpt, params):
        brightness, contrast, saturation, hue = params["factors"]
        steps = [
            (F.adjust_brightness, brightness), (F.adjust_saturation, saturation),
            (F.adjust_hue, hue),
        ]  # fmt: skip
        steps.insert(1 if params["first"] else 3, (F.adjust_contrast, contrast))
        for change, factor in steps:
            if factor is not None:
                inpt = change(inpt, factor)
        return inpt if params["order"] is None else F.permute_channels(inpt, params["order"])


class RandomIoUCrop(Transform):
    """A window that has enough of a box, as SSD is trained (https://arxiv.org/abs/1512.02325)."""

    def __init__(
        self, min_scale=0.3, max_scale=1.0, min_aspect_ratio=0.5, max_aspect_ratio=2.0,
        sampler_options=None, trials: int = 40,
    ):  # fmt: skip
        super().__init__()
        self.min_scale, self.max_scale = min_scale, max_scale
        self.min_aspect_ratio, self.max_aspect_ratio = min_aspect_ratio, max_aspect_ratio
        self.options = sampler_options or [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
        self.trials = trials

    def check_inputs(self, flat_inputs):
        """Raise ``TypeError`` for a sample without an image or boxes."""
        images = [x for x in flat_inputs if F.is_image(x)]
        if not images or not any(isinstance(x, BoundingBoxes) for x in flat_inputs):
            raise TypeError(
                f"{type(self).__name__}() requires input sample to contain tensor or PIL images "
                "and bounding boxes. Sample can also contain masks."
            )

    def make_params(self, flat_inputs):
        height, width = size_of(flat_inputs)
        corners = _corners(_boxes(flat_inputs))
        x, y = (corners[:, 0] + corners[:, 2]) * 0.5, (corners[:, 1] + corners[:, 3]) * 0.5
        while True:
            least = self.options[int(torch.randint(low=0, high=len(self.options), size=(1,)))]
            if least >= 1.0:  # the whole image
                return {}
            for _ in range(self.trials):
                r = (self.min_scale + (self.max_scale - self.min_scale) * torch.rand(2)).tolist()
                wide, tall = int(width * r[0]), int(height * r[1])
                if not self.min_aspect_ratio <= wide / tall <= self.max_aspect_ratio:
                    continue
                r = torch.rand(2).tolist()
                left, top = int((width - wide) * r[0]), int((height - tall) * r[1])
                right, bottom = left + wide, top + tall
                if left == right or top == bottom:
                    continue
                inside = (left < x) & (x < right) & (top < y) & (y < bottom)
                if not inside.any():
                    continue
                window = torch.tensor([[left, top, right, bottom]], dtype=corners.dtype)
                if box_iou(corners[inside], window).max() < least:
                    continue
                return {"window": (top, left, tall, wide), "inside": inside}

    def transform(self, inpt, params):
        if not params:
            return inpt
        out = F.crop(inpt, *params["window"])
        if isinstance(out, BoundingBoxes):  # those outside have no size any more
            out = wrap(as_plain(out) * params["inside"][:, None], like=out)
        return out


class SanitizeBoundingBoxes(Transform):
    """Without the boxes that are too small or outside, their labels and their masks."""

    def __init__(self, min_size=1.0, min_area=1.0, labels_getter="default"):
        super().__init__()
        if min_size < 1:
            raise ValueError(f"min_size must be >= 1, got {min_size}.")
        if min_area < 1:
            raise ValueError(f"min_area must be >= 1, got {min_area}.")
        self.min_size, self.min_area, self.labels_getter = min_size, min_area, labels_getter

    def forward(self, *inputs):
        whole = inputs if len(inputs) > 1 else inputs[0]
        labels = labels_of(whole, self.labels_getter)
        labels = () if labels is None else labels
        labels = tuple(labels) if isinstance(labels, (list, tuple)) else (labels,)
        flat, spec = tree_flatten(whole)
        boxes = _boxes(flat)
        for label in labels:
            if label.shape[0] != as_plain(boxes).shape[0]:
                raise ValueError(
                    f"Number of boxes (shape={tuple(boxes.shape)}) and must match the number of "
                    f"labels. Found labels with shape={tuple(label.shape)})."
                )
        height, width = boxes.canvas_size
        left, top, right, bottom = _corners(boxes).unbind(1)
        wide, tall = right - left, bottom - top
        valid = (wide >= self.min_size) & (tall >= self.min_size) & (wide * tall >= self.min_area)
        valid = valid & (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height)

        def kept(x):
            if isinstance(x, (BoundingBoxes, Mask)):
                return wrap(as_plain(x)[valid], like=x)
            return x[valid] if any(x is label for label in labels) else x

        return tree_unflatten([kept(x) for x in flat], spec)
