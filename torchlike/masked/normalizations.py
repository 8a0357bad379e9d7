"""Masked normalisations (https://pytorch.org/docs/stable/masked.html).

``mask`` is True where an element of ``input`` counts, and broadcasts to its shape.
"""

from __future__ import annotations

from torchlike.masked.masks import dim_of, filled, torch
from torchlike.masked.reductions import norm


def softmax(input, dim, *, dtype=None, mask=None):
    """exp(x) over its sum along a dimension; 0 where the mask says no, nan if it always does."""
    x = filled("softmax", input, mask, like="amax")
    return torch.softmax(x, dim_of(dim, x.ndim), dtype=dtype)


def log_softmax(input, dim, *, dtype=None, mask=None):
    """The logarithm of ``softmax``; -inf where the mask says no, nan if it always does."""
    x = filled("log_softmax", input, mask, like="amax")
    return torch.log_softmax(x, dim_of(dim, x.ndim), dtype=dtype)


def softmin(input, dim, *, dtype=None, mask=None):
    """``softmax`` of the negated input."""
    x = filled("softmin", input, mask, like="amin")
    return torch.softmax(-x, dim_of(dim, x.ndim), dtype=dtype)


def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    """Divided by the norm along ``dim``, or by ``eps`` where that is larger; 0 where masked out."""
    lengths = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    x = filled("normalize", input, mask)
    return x / torch.maximum(lengths, torch.full_like(lengths, eps))
