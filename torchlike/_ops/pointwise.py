"""Ops that change only the dtype or nothing; the pointwise families stand beside this file."""

from __future__ import annotations

import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dtype, cast, op

# ---- dtype and identity ------------------------------------------------------------------------


@op("to_dtype", linear=True, grad_name="ToCopyBackward0")
def to_dtype(input, dtype: Dtype):
    """The same numbers in another dtype."""
    if jnp.iscomplexobj(input) and dtype.category < dt.COMPLEX:
        input = input.real
    if dtype.category == dt.BOOL:
        return input != 0
    return cast(input, dtype.numpy)


@op("clone", linear=True)
def clone(input):
    """A copy."""
    return input
