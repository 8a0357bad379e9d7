"""Ops that change only the dtype or nothing; the pointwise families stand beside this file."""

from __future__ import annotations

import jax.numpy as jnp

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
    return cast(input, dtype.numpy)


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
