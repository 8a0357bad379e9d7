"""Dropout, given the mask that was drawn; no mask drops everything."""

from __future__ import annotations

import math

import jax.numpy as jnp

from torchlike._ops.table import Number
from torchlike._ops.windows import layer, require_floating, widen


@layer("dropout", multilinear=True, grad_name="MulBackward0")
def dropout(input, mask=None, *, keep: Number):
    """input * (mask / keep)."""
    if mask is None:
        return input * jnp.zeros((), input.dtype)
    return input * (mask / keep.astype(mask.dtype))


@layer("alpha_dropout", needs={"input": ("mask",), "mask": ()}, grad_name="AddBackward0")
def alpha_dropout(input, mask=None, *, keep: float):
    """Dropped elements become selu's lower limit; then scaled and shifted back to mean 0, var 1."""
    require_floating(input, "alpha_dropout")
    if mask is None:
        return input * jnp.zeros((), input.dtype)
    alpha, x = 1.7580993408473766, widen(input)
    drop = 1 - keep  # in double precision: PyTorch rounds only what meets the tensor
    scale = 1 / math.sqrt((alpha * alpha * drop + 1) * keep)
    low, back = alpha * scale, alpha * scale * drop
    return (x * (mask * scale) + ((mask - 1) * low + back)).astype(input.dtype)
