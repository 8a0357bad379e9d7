"""torchvision.tv_tensors: tensors that say what they are: an image, a mask, boxes."""

from __future__ import annotations

import enum

import torchlike as torch
from torchlike._tensor.overriding import DisableTorchFunctionSubclass

# Not ours by its name: only a program's classes of tensors take over functions.
_SHOWN = "torchvision.tv_tensors"
# What is still an image, a mask or boxes afterwards; all else gives plain tensors.
_KEEPING = frozenset(("clone", "detach", "requires_grad_", "to"))


class TVTensor(torch.Tensor):
    """The base: a tensor whose results are plain tensors, but for its copies."""

    __module__ = _SHOWN

    _fields: tuple[str, ...] = ()

    @classmethod
    def _from(cls, data, dtype=None, device=None, requires_grad=None):
        if hasattr(data, "getbands"):
            from torchlike._runner.torchvision.transforms._images import pil_to_tensor

            data = pil_to_tensor(data)
        if requires_grad is None:
            requires_grad = data.requires_grad if isinstance(data, torch.Tensor) else False
        found = torch.as_tensor(data, dtype=dtype, device=device)
        return as_plain(found).requires_grad_(requires_grad)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with DisableTorchFunctionSubclass():
            out = func(*args, **(kwargs or {}))
        first = args[0] if args else None
        if isinstance(first, TVTensor) and getattr(func, "__name__", "") in _KEEPING:
            return wrap(out, like=first)
        return out

    def __deepcopy__(self, memo):
        return wrap(as_plain(self).detach().clone().requires_grad_(self.requires_grad), like=self)


class Image(TVTensor):
    """Images (..., C, H, W), from an image of Pillow or what ``torch.as_tensor`` takes.

    Raises ``ValueError`` for one dimension.
    """

    __module__ = _SHOWN

    def __new__(cls, data, *, dtype=None, device=None, requires_grad=None):
        tensor = cls._from(data, dtype, device, requires_grad)
        if tensor.ndim < 2:
            raise ValueError
        return (tensor.unsqueeze(0) if tensor.ndim == 2 else tensor).as_subclass(cls)


class Video(TVTensor):
    """Videos (..., T, C, H, W); raises ``ValueError`` for fewer dimensions."""

    __module__ = _SHOWN

    def __new__(cls, data, *, dtype=None, device=None, requires_grad=None):
        tensor = cls._from(data, dtype, device, requires_grad)
        if tensor.ndim < 4:
            raise ValueError
        return tensor.as_subclass(cls)


class Mask(TVTensor):
    """Masks (..., H, W) of classes or objects."""

    __module__ = _SHOWN

    def __new__(cls, data, *, dtype=None, device=None, requires_grad=None):
        return cls._from(data, dtype, device, requires_grad).as_subclass(cls)


class BoundingBoxFormat(enum.Enum):
    """What the four numbers of a box are."""

    XYXY = "XYXY"
    XYWH = "XYWH"
    CXCYWH = "CXCYWH"


class BoundingBoxes(TVTensor):
    """Boxes (N, 4) in a ``format`` on images of ``canvas_size`` (height, width).

    Raises ``ValueError`` for other shapes.
    """

    __module__ = _SHOWN

    _fields = ("format", "canvas_size", "clamping_mode")

    def __new__(
        cls, data, *, format, canvas_size, clamping_mode="soft", dtype=None, device=None,
        requires_grad=None,
    ):  # fmt: skip
        tensor = cls._from(data, dtype, device, requires_grad)
        tensor = tensor.unsqueeze(0) if tensor.ndim == 1 else tensor
        if tensor.ndim != 2:
            raise ValueError(f"Expected a 1D or 2D tensor, got {tensor.ndim}D")
        boxes = tensor.as_subclass(cls)
        boxes.format = BoundingBoxFormat[format.upper()] if isinstance(format, str) else format
        boxes.canvas_size, boxes.clamping_mode = tuple(canvas_size), clamping_mode
        return boxes

    def __repr__(self, *, tensor_contents=None) -> str:
        inner = repr(as_plain(self)).replace("\n", "\n       ")
        return (
            f"BoundingBoxes({inner.removeprefix('tensor(')[:-1]}, format={self.format}, "
            f"canvas_size={self.canvas_size}, clamping_mode={self.clamping_mode})"
        )


def as_plain(tensor):
    """The same data as a plain tensor."""
    return tensor.as_subclass(torch.Tensor) if isinstance(tensor, TVTensor) else tensor


def wrap(wrappee, *, like, **kwargs):
    """A tensor as what ``like`` is; ``format`` and ``canvas_size`` of boxes may be others."""
    made = wrappee.as_subclass(type(like))
    for name in like._fields:
        setattr(made, name, kwargs.get(name, getattr(like, name)))
    return made
