"""Between layouts: to_dense, to_sparse and its kin, coalesce, sparse_mask."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor import layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import method
from torchlike._tensor.function import Function
from torchlike._tensor.sparse import parts
from torchlike._tensor.sparse.parts import (
    BLOCKED,
    LAYOUT_NAMES,
    ROWS,
    Compressed,
    Coo,
    build,
    coalesced,
    coo,
    derived,
    flat_values,
    keys_of,
    named,
    parts_of,
    read,
)

_COMPRESSED = (
    layouts.sparse_csr, layouts.sparse_csc, layouts.sparse_bsr, layouts.sparse_bsc,
)  # fmt: skip


# ---- to dense ----------------------------------------------------------------------------------


def scattered(x):
    """The dense tensor that a sparse one stands for; the gradient keeps to its pattern."""
    pattern, values = parts_of(x), flat_values(x)
    index = pattern.index()
    if not index:
        return values.sum(0, dtype=x.dtype) if x.dtype is not dt.bool_ else values.any(0)
    if x.dtype is dt.bool_:
        zeros = values.new_zeros(pattern.size, dtype=dt.int32)
        return zeros.index_put(index, values.to(dt.int32), accumulate=True) > 0
    return values.new_zeros(pattern.size).index_put(index, values, accumulate=True)


class _Everywhere(Function):
    """to_dense whose gradient is not cut to the pattern: zeros that are not specified count too."""

    @staticmethod
    def forward(ctx, x):
        ctx.pattern = parts_of(x)
        return scattered(x)

    @staticmethod
    def backward(ctx, grad):
        pattern = ctx.pattern
        if pattern.__class__ is Coo:
            return converted(grad, pattern.layout, sparse_dim=pattern.sparse_dim)
        return converted(grad, pattern.layout, pattern.block or None, len(pattern.dense))


@method("to_dense")
def to_dense(self, dtype=None, *, masked_grad=None):
    """The tensor with the layout ``torch.strided``; with ``masked_grad`` (the default) the
    gradient keeps to the specified elements
    (https://pytorch.org/docs/stable/generated/torch.Tensor.to_dense.html)."""
    if not self._sparse:
        return self if dtype is None else self.to(dtype)
    if dtype is not None and dtype is not self.dtype:
        raise RuntimeError("dtype argument is not supported by sparse_to_dense")
    if masked_grad is False:
        return named(_Everywhere.apply(self), "ToDenseBackward0")
    return named(scattered(self), "ToDenseBackward0")


# ---- patterns ----------------------------------------------------------------------------------


def pattern_of(found: np.ndarray, size, layout, block, device, index_dtype=dt.int64):
    """The pattern of a layout that specifies the given coordinates; its values are of zero size.

    ``found`` is (sparse dimensions, positions); before rows and columns they are batches.
    """
    size = tuple(size)
    hollow = from_host(np.zeros(0, np.float32), device)
    if layout is layouts.sparse_coo:
        _, first = np.unique(keys_of(found, size[: len(found)]), return_index=True)
        found = np.ascontiguousarray(found[:, first])
        return Coo(from_host(found, device), hollow, size, True, {"coordinates": found})
    lead, (rows, columns) = found[:-2], found[-2:]
    batch, (n, m) = size[: len(lead)], size[len(lead) : len(lead) + 2]
    if block:
        rows, columns, n, m = rows // block[0], columns // block[1], n // block[0], m // block[1]
    major, minor, count, width = rows, columns, n, m
    if layout not in ROWS:
        major, minor, count, width = columns, rows, m, n
    sizes = (*batch, count, width)
    keys = np.unique(keys_of(np.concatenate([lead, major[None], minor[None]]), sizes))
    per_row = np.bincount(keys // max(width, 1), minlength=prod(batch) * count)
    per_row = per_row.reshape(*batch, count)
    totals = per_row.sum(-1).reshape(-1)
    if len(totals) and (totals != totals[0]).any():
        raise RuntimeError("Expect the same number of specified elements per batch.")
    starts = np.concatenate([np.zeros((*batch, 1), np.int64), per_row.cumsum(-1)], -1)
    nnz = int(totals[0]) if len(totals) else 0
    plain = (keys % max(width, 1)).reshape(*batch, nnz)
    kind = index_dtype.numpy
    return Compressed(
        layout, from_host(starts.astype(kind), device), from_host(plain.astype(kind), device),
        hollow, size, tuple(block or ()),
    )  # fmt: skip


def _specified(x, sparse_dims: int) -> np.ndarray:
    """The coordinates of the elements of a dense tensor that are not all zero."""
    host = x._host() != 0
    if host.ndim > sparse_dims:
        host = host.any(tuple(range(sparse_dims, host.ndim)))
    if not host.ndim:
        return np.zeros((0, int(host)), np.int64)
    return np.stack(np.nonzero(host)).astype(np.int64, copy=False)


# ---- to sparse ---------------------------------------------------------------------------------


def _check_dense_dim(ndim: int, dense_dim: int, layout):
    top = ndim if layout is layouts.sparse_coo else max(ndim - 2, 0)
    if not 0 <= dense_dim <= top:
        raise RuntimeError(
            f"dense_to_sparse: dense_dim argument must be in [0,{top}] range, but {dense_dim} is "
            "given"
        )
    if layout is layouts.sparse_coo and dense_dim == ndim > 0:
        raise RuntimeError(
            "dense_to_sparse: dense_dim argument must be !=self.dim() when self.dim()>0"
        )


def _block(block) -> tuple:
    return (block, block) if isinstance(block, int) else tuple(int(n) for n in block)


def _check_block(name, x, layout, block, lead):
    if layout not in BLOCKED:
        if block is not None:
            raise RuntimeError(
                f"{name}: conversion from {LAYOUT_NAMES[x.layout]} to {LAYOUT_NAMES[layout]} with "
                "blocksize argument given is not supported"
            )
        return ()
    if block is None:
        raise RuntimeError(
            f"{name}: conversion from {LAYOUT_NAMES[x.layout]} to {LAYOUT_NAMES[layout]} without "
            "blocksize argument given is not supported"
        )
    block = _block(block)
    if len(block) != 2:
        raise RuntimeError(f"{name}: blocksize needs to be a tuple of size 2, but got {len(block)}")
    if min(block) <= 0:
        raise RuntimeError(f"{name}: blocksize needs to be positive, but got {list(block)}")
    n, m = x.shape[lead : lead + 2]
    if n % block[0] or m % block[1]:
        raise RuntimeError(
            f"{name}: tensor sparse size ({n},{m}) must be divisible by given blocksize "
            f"({block[0]},{block[1]})"
        )
    return block


def converted(x, layout, block=None, dense_dim=None, sparse_dim=None):
    """A tensor in another layout; itself if it has it."""
    pattern = parts_of(x) if x._sparse else None
    label = "To" + LAYOUT_NAMES[layout] + "Backward0"
    if layout is layouts.strided:
        return to_dense(x)
    if pattern is None and dense_dim is not None:
        _check_dense_dim(x.ndim, dense_dim, layout)
    if layout is layouts.sparse_coo:
        if pattern is None:
            if dense_dim is not None:
                sparse_dim = x.ndim - dense_dim
            dims = x.ndim if sparse_dim is None else sparse_dim
            found = _specified(x, dims)
        elif pattern.__class__ is Coo:
            return x
        elif x.layout is not layouts.sparse_csr:  # in the order in which they are stored
            return derived(
                "ToSparseBackward0",
                lambda x: coo(pattern.coordinates(), flat_values(x), x.shape, False),
                _back_to(x),
                x,
            )
        else:
            found = pattern.coordinates()
        target = pattern_of(found, x.shape, layout, (), x.device)
        return named(_hold(x, target), "ToSparseBackward0")
    dense = dense_dim or 0 if pattern is None else len(pattern.dense)
    if pattern is not None and dense_dim is not None and dense_dim != dense:
        raise RuntimeError(
            f"to_sparse_{layout._name[7:]}: conversion from {LAYOUT_NAMES[x.layout]} to "
            f"{LAYOUT_NAMES[layout]} with dense_dim argument !=self.dense_dim() is not supported"
        )
    lead = x.ndim - dense - 2
    if lead < 0 and pattern.__class__ is Coo:
        raise RuntimeError(
            f"coo_to_{layout._name}: conversion from Sparse to {LAYOUT_NAMES[layout]} for input "
            "tensors with sparse_dim()!=2 is not supported"
        )
    if lead < 0:
        raise IndexError(
            f"to_sparse_{layout._name[7:]}: expected a tensor of at least {2 + dense} dimensions, "
            f"but got {x.ndim}"
        )
    if (
        pattern is not None
        and layout is x.layout
        and (block is None or _block(block) == pattern.block)
    ):
        return x
    if pattern is not None and pattern.__class__ is Compressed and layout in BLOCKED:
        name = "sparse_compressed_to_sparse_" + layout._name[7:]
    else:
        name = "dense_to_" + layout._name
    block = _check_block(name, x, layout, block, lead)
    found = _specified(x, x.ndim - dense) if pattern is None else pattern.coordinates()
    if len(found) != lead + 2:
        raise RuntimeError(
            f"to_sparse_{layout._name[7:]}: expected {lead + 2} sparse dimensions, but got "
            f"{len(found)}"
        )
    kind = dt.int64
    if pattern.__class__ is Compressed:
        kind = pattern.compressed.dtype
    target = pattern_of(found, x.shape, layout, block, x.device, kind)
    return named(_hold(x, target), label)


def _back_to(x):
    """The derivative of a conversion: the gradient in the layout of what was converted."""
    pattern, layout = parts_of(x), x.layout
    if pattern.__class__ is Coo:
        k = pattern.sparse_dim
        return lambda grad, needs: converted(grad, layout, sparse_dim=k)
    block, dense = pattern.block or None, len(pattern.dense)
    return lambda grad, needs: converted(grad, layout, block, dense)


def _hold(x, target):
    """The elements of a tensor at the positions of a pattern that has no values yet."""
    if x._sparse:
        pattern = parts_of(x)
        target.values = pattern.values  # says the device
        return derived(None, lambda x: build(target, read(x, target)), _back_to(x), x)
    target.values = x
    if not x.requires_grad:
        return build(target, read(x, target))
    return _FromDense.apply(x, target)


class _FromDense(Function):
    """A dense tensor's elements at the positions of a pattern; the gradient is not cut to it."""

    @staticmethod
    def forward(ctx, x, target):
        return build(target, read(x, target))

    @staticmethod
    def backward(ctx, grad):
        return (scattered(grad) if grad._sparse else grad), None


@method("to_sparse")
def to_sparse(self, sparse_dim=None, *, layout=None, blocksize=None, dense_dim=None):
    """A sparse copy, in coordinates unless ``layout`` says otherwise
    (https://pytorch.org/docs/stable/generated/torch.Tensor.to_sparse.html)."""
    if sparse_dim is not None:
        if layout is not None or blocksize is not None or dense_dim is not None:
            raise TypeError("to_sparse() takes 0 positional arguments but 1 was given")
        if self._sparse:
            if sparse_dim != self.sparse_dim() or self.layout is not layouts.sparse_coo:
                raise RuntimeError(
                    f"to_sparse: conversion from {LAYOUT_NAMES[self.layout]} to Sparse with "
                    "sparse_dim argument !=self.sparse_dim() is not supported"
                )
            return self
        n = self.ndim
        if not 0 <= sparse_dim <= n:
            raise RuntimeError(
                f"dense_to_sparse: sparse_dim argument must be in [0,{n}] range, but {sparse_dim} "
                "is given"
            )
        if n and not sparse_dim:
            raise RuntimeError(
                "dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0"
            )
    layout = layouts.sparse_coo if layout is None else layout
    if layout in BLOCKED and blocksize is None:
        _check_block("dense_to_sparse", self, layout, None, 0)
    if layout not in BLOCKED and blocksize is not None:
        _check_block("to_sparse", self, layout, blocksize, 0)
    return converted(self, layout, blocksize, dense_dim, sparse_dim)


@method("to_sparse_coo")
def to_sparse_coo(self):
    """A copy in coordinates; itself if it is that already."""
    return converted(self, layouts.sparse_coo)


@method("to_sparse_csr")
def to_sparse_csr(self, dense_dim=None):
    """A copy compressed along the rows (https://pytorch.org/docs/stable/generated/torch.Tensor.to_sparse_csr.html)."""
    return converted(self, layouts.sparse_csr, None, dense_dim)


@method("to_sparse_csc")
def to_sparse_csc(self, dense_dim=None):
    """A copy compressed along the columns (https://pytorch.org/docs/stable/generated/torch.Tensor.to_sparse_csc.html)."""
    return converted(self, layouts.sparse_csc, None, dense_dim)


@method("to_sparse_bsr")
def to_sparse_bsr(self, blocksize, dense_dim=None):
    """A copy of blocks compressed along the rows (https://pytorch.org/docs/stable/generated/torch.Tensor.to_sparse_bsr.html)."""
    return converted(self, layouts.sparse_bsr, blocksize, dense_dim)


@method("to_sparse_bsc")
def to_sparse_bsc(self, blocksize, dense_dim=None):
    """A copy of blocks compressed along the columns (https://pytorch.org/docs/stable/generated/torch.Tensor.to_sparse_bsc.html)."""
    return converted(self, layouts.sparse_bsc, blocksize, dense_dim)


# ---- patterns of others ------------------------------------------------------------------------


@method("coalesce")
def coalesce(self):
    """Each position once and in order, values of the same position summed; itself if it is so
    (https://pytorch.org/docs/stable/generated/torch.Tensor.coalesce.html)."""
    parts.need_coo("coalesce", self)
    return coalesced(self)


@method("sparse_mask")
def sparse_mask(self, mask):
    """The elements at the positions that a sparse tensor of the same shape specifies
    (https://pytorch.org/docs/stable/generated/torch.Tensor.sparse_mask.html)."""
    if not mask._sparse:
        raise parts.refuse("sparse_mask", (self, mask))
    if self.shape != mask.shape:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(self.shape)} "
            f"but mask has size {list(mask.shape)}"
        )
    if self._sparse:
        return named(_Masked.apply(self, mask), "SparseMaskBackward0")
    pattern = parts_of(mask)
    return named(build(pattern, read(self, pattern)), "SparseMaskBackward0")


class _Masked(Function):
    """What a sparse tensor has at the positions of a mask; the gradient has all of these."""

    @staticmethod
    def forward(ctx, x, mask):
        ctx.mask = mask.detach()
        return build(parts_of(mask), read(x, parts_of(mask)))

    @staticmethod
    def backward(ctx, grad):
        return grad.sparse_mask(ctx.mask), None
