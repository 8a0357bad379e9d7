"""Distances and similarities between vectors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.normalization import safe_norm
from torchlike._ops.table import Dim, torch_dtype
from torchlike._ops.windows import layer


@layer(
    "pairwise_distance", promotes="result", saves="nothing", forms=("function",),
    grad_name="NormBackward1",
)  # fmt: skip
def pairwise_distance(x1, x2, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
    """The p-norm of x1 - x2 + eps over the last dimension."""
    difference = x1 - x2  # of integers by their own arithmetic
    if not jnp.issubdtype(difference.dtype, jnp.inexact):
        difference = difference.astype(dt.get_default_dtype().numpy)
    return safe_norm(difference + eps, p, -1, keepdim)


@layer("cosine_similarity", promotes="result", forms=("function",), grad_name="SumBackward1")
def cosine_similarity(x1, x2, dim: Dim = 1, eps: float = 1e-8):
    """The cosine of the angle between vectors along a dimension."""
    if not jnp.issubdtype(x1.dtype, jnp.floating):
        name = dt.SCALAR_NAMES[torch_dtype(x1)]
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {name}"
        )
    if not eps >= 0:
        raise RuntimeError(f"eps must be non-negative, got: {eps:g}")
    shape = jnp.broadcast_shapes(x1.shape, x2.shape)
    rank = len(shape) or 1
    if not -rank <= dim < rank:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got "
            f"{dim})"
        )
    x1, x2 = jnp.broadcast_to(x1, shape), jnp.broadcast_to(x2, shape)
    unit = lambda x: x / conventions.at_least(safe_norm(x, 2, dim, True), eps)  # noqa: E731
    return (unit(x1) * unit(x2)).sum(dim if shape else None)


@layer("pdist", grad_name="PdistBackward0")
def pdist(input, p: float):
    """p-norms of the differences of all pairs of rows."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    i, j = np.triu_indices(input.shape[0], 1)
    if p == jnp.inf and input.shape[1]:
        return conventions.each_largest(conventions.magnitude(input[i] - input[j]))
    return safe_norm(input[i] - input[j], p, -1, False)
