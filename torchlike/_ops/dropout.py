"""Dropout, given the mask that was drawn; no mask drops everything."""

from __future__ import annotations

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
def alpha_dropout(input, mask=None, *, keep: Number):
    """Dropped elements become selu's lower limit; then scaled and shifted back to mean 0, var 1."""
    require_floating(input, "alpha_dropout")
    if mask is None:
        return input * jnp.zeros((), input.dtype)
    alpha, x = 1.7580993408473766, widen(input)
    keep = keep.astype(x.dtype)
    drop = 1 - keep
    scale = 1 / jnp.sqrt((alpha * alpha * drop + 1) * keep)
    shift = (mask - 1) * (alpha * scale) + alpha * scale * drop
    return (x * (mask * scale) + shift).astype(input.dtype)
