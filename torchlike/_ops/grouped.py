"""Products of groups of rows, each with a matrix of its own."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import loops
from torchlike._ops.matmul import contract, product, scalar_name
from torchlike._ops.table import Dtype, op, torch_dtype

_WANTED = (dt.float32, dt.bfloat16, dt.float16)


def _check(a, b, offs, out_dtype):
    for x, name in ((a, "mat_a"), (b, "mat_b")):
        if x.ndim not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
    if (a.ndim == 2 or b.ndim == 2) is (offs is None):
        raise RuntimeError(
            "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d"
        )
    if torch_dtype(a) not in _WANTED:
        raise RuntimeError(
            f"Expected mat_a to be Float32, BFloat16 or Float16 matrix, got {scalar_name(a)}"
        )
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"Expected mat_a and mat_b to have one dtype, got {scalar_name(a)} and {scalar_name(b)}"
        )
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError("contraction dimension of mat_a and mat_b must match")
    if a.ndim == b.ndim == 3 and a.shape[0] != b.shape[0]:
        raise RuntimeError("batched dimension has to match")
    if out_dtype is not None and out_dtype is not torch_dtype(a):
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")
    if offs is None:
        return
    if offs.ndim != 1:
        raise RuntimeError("offs has to be 1D")
    if offs.dtype != jnp.int32:
        raise RuntimeError("Offsets have to be int32")
    for x in (a, b):
        if x.ndim == 3 and x.shape[0] != offs.shape[0]:
            raise RuntimeError("matrix batch sizes have to match")


def _by_rows(a, b, offs):
    """Rows of ``a`` up to each offset times their matrix of ``b``; zero beyond the last one."""
    sizes = jnp.diff(offs, prepend=0)
    full = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return lax.ragged_dot(a, b, sizes, precision=full)


@op("grouped_mm", numbers=(), needs=None)
def grouped_mm(mat_a, mat_b, offs=None, *, out_dtype: Dtype):
    """The products of groups: of rows, of columns, of parts of the contraction, or of a batch."""
    _check(mat_a, mat_b, offs, out_dtype)
    if offs is None:
        return product(mat_a, mat_b)
    if mat_a.ndim == 2 and mat_b.ndim == 3:
        return _by_rows(mat_a, mat_b, offs)
    if mat_a.ndim == 3:
        return _by_rows(mat_b.T, mat_a.swapaxes(1, 2), offs).T
    at = jnp.arange(mat_a.shape[1])
    starts = jnp.concatenate([jnp.zeros(1, offs.dtype), offs[:-1]])

    def one(ends):
        inside = (at >= ends[0]) & (at < ends[1])
        return contract(jnp.where(inside, mat_a, 0), mat_b, (1,), (0,))

    return loops.map(one, (starts, offs))
