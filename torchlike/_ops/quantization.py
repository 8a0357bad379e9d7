"""Fake quantization: numbers rounded to a grid of integers, with straight-through gradients."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from torchlike._ops.overloads import is_tensor
from torchlike._ops.table import Scalar, op
from torchlike._ops.windows import widen


def _array(x):
    return x.array if x.__class__ is Scalar else x


def _grid(input, scale, zero_point):
    """(input, scale, zero point, place on the grid) in the precision that PyTorch computes in."""
    x = widen(input)
    scale = _array(scale).astype(np.float32)
    zero = _array(zero_point)
    inverse = (np.float32(1) / scale).astype(x.dtype)
    if jnp.issubdtype(zero.dtype, jnp.floating):  # such a zero point lies between the integers
        zero = zero.astype(x.dtype)
        return x, scale.astype(x.dtype), zero, jnp.round(x * inverse + zero)
    zero = zero.astype(x.dtype)
    return x, scale.astype(x.dtype), zero, jnp.round(x * inverse) + zero


def _inside(input, scale, zero_point, low, high):
    at = _grid(input, scale, zero_point)[3]
    return (at >= low) & (at <= high)


def _straight_through(c, grad):
    """The gradient passes where the number lies on the grid."""
    input, scale, zero_point = c.operands
    low, high = c.statics["quant_min"], c.statics["quant_max"]
    return jnp.where(_inside(input, scale, zero_point, low, high), grad, 0), None, None


def _node(c):
    if is_tensor(c.scale) and c.scale.shape:
        return "FakeQuantizePerChannelAffineCachemaskBackward0"
    how = "TensorQparams" if is_tensor(c.scale) else ""
    return f"FakeQuantizePerTensorAffineCachemask{how}Backward0"


@op(promotes="raw", vjp=_straight_through, grad_name=_node)
def fake_quantize(input, scale, zero_point, quant_min: int, quant_max: int):
    """Numbers rounded to (q - zero_point) * scale with q between two integers."""
    _, scale, zero, at = _grid(input, scale, zero_point)
    at = jnp.where(jnp.isnan(at), quant_min, jnp.clip(at, quant_min, quant_max))
    return ((at - zero) * scale).astype(input.dtype)
