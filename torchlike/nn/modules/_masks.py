"""Attention masks: booleans become numbers to add to the scores."""

from __future__ import annotations

import warnings

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor.creation import full, zeros
from torchlike._tensor.forms import FUNCTIONS


def additive_mask(mask, name: str, dtype, *, beside=None, beside_name: str = "attn_mask"):
    """A floating mask: 0 where attention is allowed, -inf where a boolean mask is True."""
    if mask is None:
        return None
    if mask.dtype is not dt.bool_ and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if beside is not None and beside.dtype is not mask.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {beside_name} is deprecated. Use same type for "
            "both instead.",
            stacklevel=3,
        )
    if mask.dtype is not dt.bool_:
        return mask
    return zeros(tuple(mask.shape), dtype=dtype, device=mask.device).masked_fill_(
        mask, float("-inf")
    )


def causal_mask(sz: int, device=None, dtype=None):
    """(sz, sz): 0 on and below the diagonal, -inf above."""
    return FUNCTIONS["triu"](
        full((sz, sz), float("-inf"), dtype=dtype or dt.get_default_dtype(), device=device),
        diagonal=1,
    )


def is_causal_mask(mask, size: int | None = None) -> bool:
    """Whether a mask is the causal one; looks at its numbers."""
    size = mask.size(-2) if size is None else size
    if tuple(mask.shape) != (size, size):
        return False
    wanted = np.triu(np.full((size, size), -np.inf, np.float32), 1)
    return bool((mask._host().astype(np.float32) == wanted).all())
