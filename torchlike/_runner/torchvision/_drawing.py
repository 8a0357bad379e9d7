"""Boxes and masks drawn on images (3, H, W), by Pillow."""

from __future__ import annotations

import warnings

import numpy as np

import torchlike as torch
from torchlike._runner.torchvision.transforms import functional as F


def _colors(colors, count: int) -> list[tuple[int, int, int]]:
    """So many colours (red, green, blue), of names or of torchvision's own choice."""
    from PIL import ImageColor

    if colors is None:
        primes = (2**25 - 1, 2**15 - 1, 2**21 - 1)
        colors = [tuple(i * p % 255 for p in primes) for i in range(count)]
    elif isinstance(colors, list):
        if len(colors) < count:
            raise ValueError(
                f"Number of colors must be equal or larger than the number of objects, but got "
                f"{len(colors)} < {count}."
            )
    elif isinstance(colors, (tuple, str)):
        colors = [colors] * count
    else:
        raise ValueError("`colors` must be a tuple or a string, or a list thereof, but got "
                         f"{colors}.")  # fmt: skip
    return [ImageColor.getrgb(c) if isinstance(c, str) else tuple(c) for c in colors]


def _check_image(image) -> None:
    if not isinstance(image, torch.Tensor):
        raise TypeError(f"The image must be a tensor, got {type(image)}")
    if not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise ValueError(f"The image dtype must be uint8 or float, got {image.dtype}")
    if image.dim() != 3:
        raise ValueError("Pass individual images, not batches")


@torch.no_grad()
def draw_bounding_boxes(
    image, boxes, labels=None, colors=None, fill: bool | None = False, width: int = 1, font=None,
    font_size=None, label_colors=None, label_background_colors=None, fill_labels: bool = False,
):  # fmt: skip
    """The image with boxes (N, 4), xyxy, and their labels.

    Raises ``ValueError`` for boxes whose corners are exchanged and for labels of another number.
    """
    from PIL import ImageDraw, ImageFont

    _check_image(image)
    if image.size(0) not in (1, 3):
        raise ValueError("Only grayscale and RGB images are supported")
    spans = boxes.to(torch.int64).tolist()
    if any(b[0] > b[2] or b[1] > b[3] for b in boxes.tolist()):
        raise ValueError(
            "Boxes need to be in (xmin, ymin, xmax, ymax) format. Use torchvision.ops.box_convert "
            "to convert them"
        )
    if not spans:
        warnings.warn("boxes doesn't contain any box. No box was drawn", stacklevel=2)
        return image
    if labels is None:
        labels = [None] * len(spans)
    elif len(labels) != len(spans):
        raise ValueError(
            f"Number of boxes ({len(spans)}) and labels ({len(labels)}) mismatch. Please specify "
            "labels for each box."
        )
    colors = _colors(colors, len(spans))
    inks = colors if label_colors is None else _colors(label_colors, len(spans))
    papers = (
        colors if label_background_colors is None else _colors(label_background_colors, len(spans))
    )
    kind = None if font is None else ImageFont.truetype(font=font, size=font_size or 10)
    floating = image.is_floating_point()
    picture = F.to_pil_image(image.expand(3, -1, -1)
                             if image.size(0) == 1 else image)  # fmt: skip
    draw = ImageDraw.Draw(picture, "RGBA" if fill else "RGB")
    for box, color, label, ink, paper in zip(spans, colors, labels, inks, papers, strict=True):
        draw.rectangle(box, width=width, outline=color, fill=(*color, 100) if fill else None)
        if label is None:
            continue
        place = (box[0] + width + 1, box[1] + width + 1)
        if fill_labels or label_background_colors is not None:
            draw.rectangle(draw.textbbox(place, label, font=kind), fill=paper)
        draw.text(place, label, fill=ink, font=kind)
    out = F.pil_to_tensor(picture)
    return F.convert_image_dtype(out, image.dtype) if floating else out


@torch.no_grad()
def draw_segmentation_masks(image, masks, alpha: float = 0.8, colors=None):
    """The image with masks (H, W) or (N, H, W) of bools, each in its colour.

    Raises ``ValueError`` for masks of another type or size.
    """
    _check_image(image)
    if image.size(0) != 3:
        raise ValueError("Pass an RGB image. Other Image formats are not supported")
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3:
        raise ValueError("masks must be of shape (H, W) or (batch_size, H, W)")
    if masks.dtype != torch.bool:
        raise ValueError(f"The masks must be of dtype bool. Got {masks.dtype}")
    if masks.shape[-2:] != image.shape[-2:]:
        raise ValueError("The image and the masks must have the same height and width")
    if masks.size(0) == 0:
        warnings.warn("masks doesn't contain any mask. No mask was drawn", stacklevel=2)
        return image
    bound = 1.0 if image.is_floating_point() else 255.0
    before = image.detach().cpu().numpy().astype(np.float32)
    drawn = before.copy()
    for mask, color in zip(masks.cpu().numpy(), _colors(colors, masks.size(0)), strict=False):
        ink = np.array(color, np.float32) / (255.0 if bound == 1.0 else 1.0)
        drawn[:, mask] = ink[:, None]
    drawn[:, masks.cpu().numpy().sum(0) > 1] = 0.0  # black where masks lie on each other
    out = before * np.float32(1 - alpha) + drawn * np.float32(alpha)
    return torch.tensor(out).to(image.device, image.dtype)
