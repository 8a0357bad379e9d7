"""Joining, repeating and rearranging: cat, stack, repeat, flip, roll, triangles, diagonals."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.reduce import axes
from torchlike._ops.table import Arrays, Dim, Dims, Shape, op, torch_dtype


def common_dtype(arrays):
    """The numpy dtype that PyTorch promotes these arrays to."""
    dims = [torch_dtype(x) for x in arrays if x.ndim]
    zero = [torch_dtype(x) for x in arrays if not x.ndim]
    return dt.result_type(dims, zero, []).numpy


def one_axis(dim, ndim: int) -> int:
    """A dimension counted from the front; raises PyTorch's ``IndexError``."""
    return (axes(dim, ndim) or (0,))[0]


# ---- joining -----------------------------------------------------------------------------------


@op("cat", linear=True)
def cat(tensors: Arrays, dim: Dim):
    """The tensors one after the other along a dimension."""
    common = common_dtype(tensors)
    for i, x in enumerate(tensors):
        if x.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    # PyTorch lets an empty vector stand among tensors of any shape.
    parts = [(i, x.astype(common)) for i, x in enumerate(tensors) if x.shape != (0,)]
    if not parts:
        return jnp.zeros((0,), common)
    first = parts[0][1]
    dim = one_axis(dim, first.ndim)
    for i, x in parts[1:]:
        if x.ndim != first.ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}"
            )
        for d, (n, m) in enumerate(zip(first.shape, x.shape, strict=True)):
            if n != m and d != dim:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {n} but "
                    f"got size {m} for tensor number {i} in the list."
                )
    out = lax.concatenate([x for _, x in parts], dim)
    if out.shape[dim].__class__ is int and any(x.shape[dim].__class__ is not int for _, x in parts):
        # Open sizes that add up to a number: JAX knows it, but does not tell XLA.
        out = lax.dynamic_slice(out, (0,) * out.ndim, out.shape)
    return out


@op("stack", linear=True)
def stack(tensors: Arrays, dim: Dim):
    """The tensors along a new dimension."""
    first = tensors[0]
    for i, x in enumerate(tensors):
        if x.shape != first.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first.shape)} at entry "
                f"0 and {list(x.shape)} at entry {i}"
            )
    dim = one_axis(dim, first.ndim + 1)
    common = common_dtype(tensors)
    return lax.concatenate([jnp.expand_dims(x.astype(common), dim) for x in tensors], dim)


@op("block_diag", linear=True, grad_name="BlockDiagBackward0")
def block_diag(tensors: Arrays):
    """A matrix with the given matrices on its diagonal."""
    common = common_dtype(tensors)
    blocks = []
    for i, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{i} has {x.ndim} dimensions"
            )
        blocks.append(x.astype(common).reshape((1, -1) if x.ndim < 2 and x.size else
                                               (1, 0) if x.ndim < 2 else x.shape))  # fmt: skip
    rows, before, width = [], 0, sum(b.shape[1] for b in blocks)
    for b in blocks:
        rows.append(jnp.pad(b, ((0, 0), (before, width - before - b.shape[1]))))
        before += b.shape[1]
    return jnp.concatenate(rows)


# ---- repeating ---------------------------------------------------------------------------------


@op("repeat", linear=True)
def repeat(input, repeats: Shape):
    """Copies side by side, so many along each dimension."""
    return jnp.tile(input, repeats)


@op("repeat_each", linear=True, grad_name="ViewBackward0")
def repeat_each(input, repeats: Dim, dim: Dim):
    """Every slice along ``dim`` so many times."""
    return jnp.repeat(input, repeats, dim)


@op("repeat_counts", needs={"input": ("repeats",)}, grad_name="IndexSelectBackward0")
def repeat_counts(input, repeats, dim: Dim, total: Dim):
    """Every slice along ``dim`` as often as ``repeats`` says, ``total`` in all."""
    return jnp.repeat(input, repeats, dim, total_repeat_length=total)


# ---- rearranging -------------------------------------------------------------------------------


@op("flip", linear=True)
def flip(input, dims: Dims):
    """In reverse order along the given dimensions."""
    at = axes(dims, input.ndim) if dims != () else ()
    return lax.rev(input, at) if at else input


@op("roll_dims", linear=True, grad_name="RollBackward0")
def roll_dims(input, shifts: Shape, dims: Shape):
    """Elements moved along dimensions, those pushed out coming in at the other end."""
    return jnp.roll(input, shifts, dims)


TRIANGLE = ("function", "method", "inplace", "out")


def _triangle(x, diagonal, name, keep):
    if x.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    rows = lax.broadcasted_iota(jnp.int64, x.shape, x.ndim - 2)
    cols = lax.broadcasted_iota(jnp.int64, x.shape, x.ndim - 1)
    return jnp.where(keep(cols - rows, diagonal), x, jnp.zeros_like(x))


@op("tril", linear=True, forms=TRIANGLE)
def tril(input, diagonal: Dim = 0):
    """The lower triangle of matrices, zero above the given diagonal."""
    return _triangle(input, diagonal, "tril", lambda gap, d: gap <= d)


@op("triu", linear=True, forms=TRIANGLE)
def triu(input, diagonal: Dim = 0):
    """The upper triangle of matrices, zero below the given diagonal."""
    return _triangle(input, diagonal, "triu", lambda gap, d: gap >= d)


@op("diag_embed_dims", linear=True, grad_name="DiagEmbedBackward0")
def diag_embed_dims(input, offset: Dim, dim1: Dim, dim2: Dim):
    """The last dimension as a diagonal of the plane of two new dimensions, zero elsewhere."""
    n = input.shape[-1]
    k = jnp.arange(n)
    size = n + abs(offset)
    plane = jnp.zeros((*input.shape[:-1], size, size), input.dtype)
    plane = plane.at[..., k - min(offset, 0), k + max(offset, 0)].set(input)
    return jnp.moveaxis(plane, (-2, -1), (dim1, dim2))


@op("diagonal_copy", linear=True, grad_name="DiagonalBackward0_copy")
def diagonal_copy(input, offset: Dim, dim1: Dim, dim2: Dim):
    """A copy of the diagonal of the plane of two dimensions, as the last dimension."""
    return jnp.diagonal(input, offset, dim1, dim2)
