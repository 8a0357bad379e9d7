"""Reductions: sums, means, extremes, norms, scans."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dims, Dtype, op


def axes(dim, ndim: int):
    """Dimensions counted from the front, or None for all; raises PyTorch's errors."""
    if dim is None or dim == ():
        return None
    dims = dim if isinstance(dim, tuple) else (dim,)
    n = ndim or 1
    out = []
    for d in dims:
        if not -n <= d < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})"
            )
        d = d + n if d < 0 else d
        if d in out:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        out.append(d)
    return () if ndim == 0 else tuple(out)


def sum_dtype(input, dtype):
    """Integers are summed as int64 unless a dtype is asked for."""
    if dtype is not None:
        return dtype.numpy
    return input.dtype if dt.BY_NUMPY[np.dtype(input.dtype)].category >= dt.FLOATING else np.int64


@op(linear=True, forms=("function", "method", "out"), grad_name="SumBackward0")
def sum(input, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None):
    """The sum over the given dimensions, or over all."""
    return jnp.sum(input, axes(dim, input.ndim), sum_dtype(input, dtype), keepdims=keepdim)
