"""The only element of a tensor as a Python number."""

from __future__ import annotations

from torchlike._core.errors import warn_once
from torchlike._tensor.modes import modes


def scalar(tensor):
    """The element that ``float`` and its like make a number of; raises if there are several."""
    if modes.grad and tensor.requires_grad:
        warn_once(
            "Converting a tensor with requires_grad=True to a scalar may lead to unexpected "
            "behavior.\nConsider using tensor.detach() first."
        )
    if tensor._value.aval.numel != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return tensor.item()


def real_scalar(tensor, kind: str):
    """The same as a real number; raises for an imaginary part. ``kind`` is C++'s, for the error."""
    x = scalar(tensor)
    if x.__class__ is not complex:
        return x
    if x.imag:
        raise RuntimeError(f"value cannot be converted to type {kind} without overflow")
    return x.real
