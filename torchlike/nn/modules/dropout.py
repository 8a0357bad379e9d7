"""Dropout layers: random zeros in training, nothing in evaluation."""

from __future__ import annotations

from torchlike.nn import functional as F
from torchlike.nn.modules.module import Module

__all__ = [
    "AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
]  # fmt: skip


class _DropoutNd(Module):
    """The constructor of all dropouts."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes elements with probability ``p`` and scales the rest
    (https://pytorch.org/docs/stable/generated/torch.nn.Dropout.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Zeroes whole channels of (N, C, L) or (C, L)
    (https://pytorch.org/docs/stable/generated/torch.nn.Dropout1d.html)."""

    def forward(self, input):
        """(N, C, L) -> the same."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Zeroes whole channels of (N, C, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.Dropout2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> the same."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Zeroes whole channels of (N, C, D, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.Dropout3d.html)."""

    def forward(self, input):
        """(N, C, D, H, W) -> the same."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of self-normalising inputs
    (https://pytorch.org/docs/stable/generated/torch.nn.AlphaDropout.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """``AlphaDropout`` of whole channels
    (https://pytorch.org/docs/stable/generated/torch.nn.FeatureAlphaDropout.html)."""

    def forward(self, input):
        """(N, C, ...) -> the same."""
        return F.feature_alpha_dropout(input, self.p, self.training)
