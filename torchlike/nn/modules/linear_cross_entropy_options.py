"""How ``linear_cross_entropy`` splits the rows of its input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from torchlike._core import dtypes as dt

__all__ = ["LinearCrossEntropyOptions"]

_ACC_DTYPES = (None, dt.float16, dt.bfloat16, dt.float32, dt.float64)


@dataclass(frozen=True, slots=True)
class LinearCrossEntropyOptions:
    """Lets ``linear_cross_entropy`` compute some rows at a time, so that all logits never exist
    (https://pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyOptions.html).

    ``batch_chunk_size`` says how many rows; without it ``chunking_method`` does: "auto", or
    "aspect_ratio:k" for a part of the rows the smaller, the more classes there are. The other
    options are checked and have no effect: results are accumulated as PyTorch's most accurate
    policy does, and backward may run again and may be differentiated.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: Literal["accurate", "balanced", "compact", "auto"] = "auto"
    acc_dtype: dt.dtype | None = None

    def __post_init__(self):
        size, method = self.batch_chunk_size, self.chunking_method
        if size is not None and (not isinstance(size, int) or size <= 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size}")
        if method not in (None, "auto") and not re.fullmatch(r"aspect_ratio:[1-9]\d*", method):
            raise ValueError(f"invalid chunking_method: {method!r}")
        if self.acc_policy not in ("accurate", "balanced", "compact", "auto"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if not any(self.acc_dtype is d for d in _ACC_DTYPES):
            raise ValueError(
                "acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, "
                f"torch.float64}}, got {self.acc_dtype}. Pass acc_dtype=None to let the op pick "
                "automatically."
            )

    def _rows(self, batch: int, in_features: int, classes: int) -> int:
        """How many rows to compute at a time."""
        if self.batch_chunk_size is not None:
            return max(1, min(self.batch_chunk_size, batch))
        if self.chunking_method is None:
            return max(1, batch)
        _, _, factor = (self.chunking_method.replace("auto", "aspect_ratio:2")).partition(":")
        rows = batch * in_features // max(1, int(factor) * classes)
        # Below 16 rows a product costs as much as with 16.
        return max(1, min(batch, max(16, 1 << (max(rows, 1) - 1).bit_length())))
