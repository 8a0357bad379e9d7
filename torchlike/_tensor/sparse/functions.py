"""The top-level functions over sparse matrices: smm, spmm, hspmm, sspaddmm and their like."""

from __future__ import annotations

import numpy as np

from torchlike._tensor import dispatch, layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import FUNCTIONS, METHODS, function
from torchlike._tensor.sparse import parts, products
from torchlike._tensor.sparse.parts import (
    Coo,
    build,
    coo,
    flat_values,
    is_coo,
    parts_of,
    read,
)


def _into(out, result):
    if out is None:
        return result
    if out._sparse:
        return dispatch.rebind(out, result)
    return dispatch.copy_out(out, result)


def _need_strided(name, x, which):
    if x._sparse:
        raise RuntimeError(
            f"{name}: expected '{which}' to have strided layout, got '{which}' with layout "
            f"{parts.LAYOUT_NAMES[x.layout]}"
        )


def _whole_rows(found: np.ndarray, n: int):
    """The coordinates of all elements of the rows that are specified."""
    rows = np.unique(found[0])
    return rows, np.stack([np.repeat(rows, n), np.tile(np.arange(n), len(rows))])


@function(method=True)
def smm(input, mat):
    """input @ mat, both a COO matrix and the result too
    (https://pytorch.org/docs/stable/generated/torch.smm.html)."""
    return sspaddmm(_nothing(input.shape[0], mat.shape[1], input), input, mat)


def _nothing(n, m, like):
    return FUNCTIONS["sparse_coo_tensor"](size=(n, m), dtype=like.dtype, device=like.device)


@function(method=True)
def sspaddmm(input, mat1, mat2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (mat1 @ mat2) in coordinates, from sparse input and mat1
    (https://pytorch.org/docs/stable/generated/torch.sspaddmm.html)."""
    for x in (input, mat1):
        if not x._sparse or not is_coo(x):
            raise parts.refuse("sspaddmm", (input, mat1, mat2))
    _need_strided("sspaddmm", mat2, "mat2")
    whole = products.product(mat1, mat2)
    if alpha != 1:
        whole = whole * alpha
    _, found = _whole_rows(parts_of(mat1).coordinates(), mat2.shape[1])
    size = (mat1.shape[0], mat2.shape[1])
    empty = from_host(np.zeros(found.shape[1], np.float32), input.device)
    pattern = Coo(from_host(found, input.device), empty, size, True, {"coordinates": found})
    values, own = read(whole, pattern), parts_of(input)
    if not own.nnz:
        return _into(out, build(pattern, values))
    first = flat_values(input) if beta == 1 else flat_values(input) * beta
    joined = FUNCTIONS["cat"]((first, values))
    found = np.concatenate([own.coordinates(), found], axis=1)
    return _into(out, coo(found, joined, size, False))


@function()
def hspmm(mat1, mat2, *, out=None):
    """mat1 @ mat2 as a COO tensor of whole rows
    (https://pytorch.org/docs/stable/generated/torch.hspmm.html)."""
    if not mat1._sparse or not is_coo(mat1):
        raise parts.refuse("hspmm", (mat1, mat2))
    _need_strided("hspmm", mat2, "mat2")
    whole = products.product(mat1, mat2)
    rows = np.unique(parts_of(mat1).coordinates()[0])
    values = whole[from_host(rows, mat1.device)]
    return _into(out, coo(rows[None], values, whole.shape, True))


FUNCTIONS["hsmm"] = hspmm
FUNCTIONS["spmm"] = FUNCTIONS["dsmm"] = FUNCTIONS["mm"]


@function()
def saddmm(input, mat1, mat2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (mat1 @ mat2): ``sspaddmm`` under its older name."""
    return sspaddmm(input, mat1, mat2, beta=beta, alpha=alpha, out=out)


METHODS.setdefault("smm", smm)
_ = layouts
