"""A condition that a program states: it does not wait, and the next value that is read raises."""

from __future__ import annotations

import numpy as np

from torchlike._core.errors import REQUIREMENT
from torchlike._ops.table import op, report_bad_index


@op(REQUIREMENT, checks=True, differentiable=False)
def require(condition, error: str, text: str):
    """The bool array itself; if one of it is false, an ``error`` of Python's with this text."""
    report_bad_index((~condition).any().reshape(1).astype(np.int64), 1)
    return condition
