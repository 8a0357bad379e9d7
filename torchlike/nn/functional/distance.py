"""Distances and similarities of ``torch.nn.functional``."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply


def pairwise_distance(x1, x2, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
    """The p-norm of x1 - x2 + eps over the last dimension."""
    return apply(TABLE["pairwise_distance"], (x1, x2), (float(p), eps, keepdim))


def cosine_similarity(x1, x2, dim: int = 1, eps: float = 1e-8):
    """The cosine of the angle between vectors along a dimension."""
    return apply(TABLE["cosine_similarity"], (x1, x2), (dim, eps))


def pdist(input, p: float = 2):
    """p-norms of the differences of all pairs of rows."""
    return apply(TABLE["pdist"], (input,), (float(p),))
