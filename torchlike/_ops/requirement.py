"""A condition that a program states: it does not wait, and the next value that is read raises."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from torchlike._core.errors import FAILURE, MOST_CODES, REQUIREMENT
from torchlike._ops.table import op, report_bad_index


@op(REQUIREMENT, checks=True, differentiable=False)
def require(condition, error: str, text: str):
    """The bool array itself; if one of it is false, an ``error`` of Python's with this text."""
    report_bad_index((~condition).any().reshape(1).astype(np.int64), 1)
    return condition


@op(FAILURE, checks=True, differentiable=False)
def refuse_failed(info, kind: str, name: str):
    """LAPACK's codes themselves; if one is not 0, that error of ``errors.FAILURES``."""
    codes = info.reshape(-1).astype(np.int64)
    numbers = 1 + MOST_CODES * jnp.arange(codes.size, dtype=np.int64) + codes
    report_bad_index(jnp.where(codes == 0, 0, numbers), 1)
    return info
