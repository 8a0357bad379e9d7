"""Ops that change only the dtype or nothing; the pointwise families stand beside this file."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dtype, cast, op

# ---- dtype and identity ------------------------------------------------------------------------


@op("to_dtype", linear=True, grad_name="ToCopyBackward0")
def to_dtype(input, dtype: Dtype):
    """The same numbers in another dtype."""
    if dtype.category == dt.BOOL:
        return input != 0
    if jnp.iscomplexobj(input) and dtype.category < dt.COMPLEX:
        input = input.real
    if dtype in WRAPPED and jnp.issubdtype(input.dtype, jnp.floating):
        return _cut(input, *WRAPPED[dtype]).astype(dtype.numpy)
    return cast(input, dtype.numpy)


# How PyTorch makes integers of floating numbers on the CPU, whose processors have instructions for
# two widths only: what these do not hold becomes their least number, and what is narrower is the
# low bits of theirs. XLA takes the nearest number that the dtype holds.
WRAPPED = {
    d: (np.int32, d.itemsize * 8) for d in (dt.uint8, dt.int8, dt.int16, dt.int32, dt.uint16)
} | {dt.int64: (np.int64, 64)}


def _cut(x, wide, bits: int):
    x = x if x.dtype.itemsize > 2 else x.astype(np.float32)
    width = 8 * np.dtype(wide).itemsize
    least = np.asarray(-(2.0 ** (width - 1)), x.dtype)
    whole = jnp.where((x >= least) & (x < -least), x, least).astype(wide)
    if bits == width:
        return whole
    # Shifted out and back, for of two conversions in a row XLA makes one.
    return lax.shift_right_arithmetic(whole << (width - bits), np.int32(width - bits))


@op("to_device", places=lambda statics: statics, differentiable=False)
def to_device(input, device: object):
    """The same numbers elsewhere: who calls the program moves them."""
    return input


@op("clone", linear=True)
def clone(input):
    """A copy."""
    return input


def _refused(c):
    """There is no derivative: ``refuse`` says so."""


def _refuse(statics, in_avals):
    name = statics[0].statics[0]
    raise NotImplementedError(f"the derivative for '{name}' is not implemented.")


_refused.refuse = _refuse


@op("counted", linear=True, vjp=_refused, grad_name="NotImplemented")
def counted(result, input, name: str):
    """``result``, which the host has read off ``input``: a backward through it raises."""
    return result
