"""Causal masks for queries and keys of different lengths."""

from __future__ import annotations

import enum
import warnings

from torchlike._core.dtypes import bool_
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor
from torchlike.nn.parameter import _handle

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(enum.IntEnum):
    """Which corner of the mask the diagonal goes through
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.bias.CausalVariant.html)."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A bool mask (seq_len_q, seq_len_kv) to be given as ``attn_mask``; it is an ordinary tensor,
    and what is computed from it is one, too
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.bias.CausalBias.html)."""

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int):
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        below = seq_len_kv - seq_len_q if variant is CausalVariant.LOWER_RIGHT else 0
        ones = FUNCTIONS["ones"](seq_len_q, seq_len_kv, dtype=bool_)
        return _handle(cls, ones.tril(below))

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int):
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if seq_len_q > seq_len_kv and variant is CausalVariant.LOWER_RIGHT:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > "
                "seq_len_kv!",
                stacklevel=2,
            )


def causal_upper_left(*size) -> CausalBias:
    """The mask of ``is_causal=True``: the diagonal starts at the first query and key
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.bias.causal_upper_left.html)."""
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size) -> CausalBias:
    """The mask whose diagonal ends at the last query and key, as in decoding with a cache
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.bias.causal_lower_right.html)."""
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
