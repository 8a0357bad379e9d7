"""Distances between vectors."""

from __future__ import annotations

from torchlike.nn import functional as F
from torchlike.nn.modules.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    """The p-norm of differences
    (https://pytorch.org/docs/stable/generated/torch.nn.PairwiseDistance.html)."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1, x2):
        """(N, D), (N, D) -> (N)."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle along a dimension
    (https://pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html)."""

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1, x2):
        """(*, D, *), (*, D, *) -> (*, *)."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
