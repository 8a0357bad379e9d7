"""torchvision.utils: a batch of images as one image, boxes and masks on images."""

from __future__ import annotations

import math

import torchlike as torch
from torchlike._runner.torchvision._drawing import draw_bounding_boxes as draw_bounding_boxes
from torchlike._runner.torchvision._drawing import (
    draw_segmentation_masks as draw_segmentation_masks,
)


def make_grid(
    tensor, nrow: int = 8, padding: int = 2, normalize: bool = False, value_range=None,
    scale_each: bool = False, pad_value: float = 0.0,
):  # fmt: skip
    """Images (B, C, H, W), or a list of (C, H, W), side by side in rows of ``nrow``."""
    if isinstance(tensor, (list, tuple)):
        tensor = torch.stack(list(tensor), dim=0)
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    if tensor.dim() == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.dim() == 3:
        tensor = torch.cat((tensor,) * 3, 0) if tensor.size(0) == 1 else tensor
        tensor = tensor.unsqueeze(0)
    if tensor.dim() == 4 and tensor.size(1) == 1:
        tensor = torch.cat((tensor,) * 3, 1)
    if normalize:
        if value_range is not None and not isinstance(value_range, tuple):
            raise TypeError(
                "value_range has to be a tuple (min, max) if specified. min and max are numbers"
            )
        tensor = tensor.clone()
        for t in tensor if scale_each else [tensor]:
            low, high = value_range or (float(t.min()), float(t.max()))
            t.clamp_(min=low, max=high).sub_(low).div_(max(high - low, 1e-5))
    if tensor.size(0) == 1:
        return tensor.squeeze(0)
    count = tensor.size(0)
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    height, width = tensor.size(2) + padding, tensor.size(3) + padding
    shape = (tensor.size(1), height * rows + padding, width * columns + padding)
    grid = tensor.new_full(shape, pad_value)
    for k in range(count):
        y, x = k // columns * height + padding, k % columns * width + padding
        grid[:, y : y + height - padding, x : x + width - padding] = tensor[k]
    return grid


def save_image(tensor, fp, format: str | None = None, **kwargs) -> None:
    """``make_grid`` of images, written to a file by Pillow."""
    from PIL import Image

    grid = make_grid(tensor, **kwargs)
    array = grid.mul(255).add_(0.5).clamp_(0, 255).permute(1, 2, 0).to("cpu", torch.uint8).numpy()
    Image.fromarray(array).save(fp, format=format)
