"""torchvision.ops.boxes: areas, overlaps and suppression of boxes, (N, 4) tensors."""

from __future__ import annotations

import math

import numpy as np

import torchlike as torch

_FORMATS = ("xyxy", "xywh", "cxcywh")


def _wide(t):
    """In a dtype in which areas do not overflow."""
    if t.is_floating_point():
        return t if t.dtype in (torch.float32, torch.float64) else t.float()
    return t if t.dtype in (torch.int32, torch.int64) else t.int()


def box_convert(boxes, in_fmt: str, out_fmt: str):
    """Boxes in another format, of xyxy, xywh and cxcywh.

    Raises ``ValueError`` for any other.
    """
    if in_fmt not in _FORMATS or out_fmt not in _FORMATS:
        raise ValueError(
            f"Unsupported Bounding Box Conversions for given in_fmt {in_fmt} and out_fmt {out_fmt}"
        )
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = boxes.unbind(-1)
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - 0.5 * c, b - 0.5 * d, a + 0.5 * c, b + 0.5 * d
    if out_fmt == "xywh":
        a, b, c, d = a, b, c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return torch.stack((a, b, c, d), dim=-1)


def box_area(boxes, fmt: str = "xyxy"):
    """The area of each box; shape (N,)."""
    if fmt not in _FORMATS:
        raise ValueError(f"Unsupported Box Area Calculation for given fmt {fmt}")
    boxes = _wide(boxes)
    if fmt == "xyxy":
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return boxes[..., 2] * boxes[..., 3]


def _overlap(boxes1, boxes2):
    low = torch.max(boxes1[..., None, :2], boxes2[..., None, :, :2])
    high = torch.min(boxes1[..., None, 2:], boxes2[..., None, :, 2:])
    sides = _wide(high - low).clamp(min=0)  # (N, M, 2)
    inter = sides[..., 0] * sides[..., 1]
    return inter, box_area(boxes1)[..., None] + box_area(boxes2)[..., None, :] - inter


def box_iou(boxes1, boxes2, fmt: str = "xyxy"):
    """Intersection over union of each of N boxes with each of M; shape (N, M)."""
    if fmt not in _FORMATS:
        raise ValueError(f"Unsupported Box IoU Calculation for given format {fmt}.")
    if fmt != "xyxy":
        boxes1, boxes2 = (box_convert(b, fmt, "xyxy") for b in (boxes1, boxes2))
    inter, union = _overlap(boxes1, boxes2)
    return inter / union


def _hull(boxes1, boxes2):
    low = torch.min(boxes1[..., None, :2], boxes2[..., None, :, :2])
    high = torch.max(boxes1[..., None, 2:], boxes2[..., None, :, 2:])
    return _wide(high - low).clamp(min=0)


def generalized_box_iou(boxes1, boxes2):
    """The generalized IoU (https://giou.stanford.edu/); shape (N, M)."""
    inter, union = _overlap(boxes1, boxes2)
    sides = _hull(boxes1, boxes2)
    area = sides[..., 0] * sides[..., 1]
    return inter / union - (area - union) / area


def distance_box_iou(boxes1, boxes2, eps: float = 1e-7):
    """The IoU less the distance of the centres (https://arxiv.org/abs/1911.08287); shape (N, M)."""
    return _distance_iou(boxes1, boxes2, eps)[0]


def _distance_iou(boxes1, boxes2, eps):
    iou = box_iou(boxes1, boxes2)
    sides = _hull(boxes1, boxes2)
    diagonal = sides[..., 0] ** 2 + sides[..., 1] ** 2 + eps
    centres1, centres2 = ((b[..., :2] + b[..., 2:]) / 2 for b in (boxes1, boxes2))
    apart = _wide(centres1[..., None, :] - centres2[..., None, :, :])
    return iou - (apart[..., 0] ** 2 + apart[..., 1] ** 2) / diagonal, iou


def complete_box_iou(boxes1, boxes2, eps: float = 1e-7):
    """The distance IoU less the difference in proportions; shape (N, M)."""
    distance, iou = _distance_iou(boxes1, boxes2, eps)

    def proportion(boxes):
        return torch.atan((boxes[..., 2] - boxes[..., 0]) / (boxes[..., 3] - boxes[..., 1]))

    apart = proportion(boxes1)[..., None] - proportion(boxes2)[..., None, :]
    v = 4 / math.pi**2 * apart**2
    with torch.no_grad():
        alpha = v / (1 - iou + v + eps)
    return distance - alpha * v


def clip_boxes_to_image(boxes, size: tuple[int, int]):
    """Boxes cut at the borders of an image of (height, width)."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x, y), dim=boxes.dim()).reshape(boxes.shape)


def remove_small_boxes(boxes, min_size: float):
    """The numbers of the boxes whose sides are both at least ``min_size``."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return torch.where((sides >= min_size).all(dim=1))[0]


def nms(boxes, scores, iou_threshold: float):
    """The numbers of the boxes that no better one overlaps by more than the threshold, best first.

    Computed on the host, where its length is known.
    """
    array = boxes.detach().cpu().double().numpy()
    order = torch.argsort(scores.detach(), descending=True, stable=True).cpu().numpy()
    area = (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(array[best, :2], array[order, :2])
        high = np.minimum(array[best, 2:], array[order, 2:])
        inter = np.prod(np.clip(high - low, 0, None), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = inter / (area[best] + area[order] - inter)
        order = order[~(iou > iou_threshold)]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def batched_nms(boxes, scores, idxs, iou_threshold: float):
    """``nms`` among the boxes of each class: ``idxs`` are the classes' numbers, shape (N,)."""
    if boxes.numel() == 0:
        return torch.empty((0,), dtype=torch.int64, device=boxes.device)
    offsets = idxs.to(boxes) * (boxes.max() + torch.tensor(1).to(boxes))
    return nms(boxes + offsets[:, None], scores, iou_threshold)


def masks_to_boxes(masks):
    """The smallest boxes (N, 4), xyxy, around the masks (N, H, W)."""
    if masks.numel() == 0:
        return torch.zeros((0, 4), device=masks.device, dtype=torch.float)
    array = masks.cpu().numpy() != 0
    boxes = np.zeros((len(array), 4), np.float32)
    for i, mask in enumerate(array):
        y, x = np.nonzero(mask)
        boxes[i] = x.min(), y.min(), x.max(), y.max()
    return torch.tensor(boxes, device=masks.device)
