"""Matrix products in which a factor is sparse."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.function import Function
from torchlike._tensor.sparse.conversion import converted
from torchlike._tensor.sparse.parts import (
    LAYOUT_NAMES,
    _Build,
    build,
    coalesced,
    coo,
    derived,
    flat_values,
    is_coo,
    keys_of,
    named,
    others,
    parts_of,
    summed,
)
from torchlike._tensor.sparse.rules import rule

_MATMUL = TABLE["sparse_matmul"]


def _csr(pattern, transposed: bool):
    """(order, starts, columns): how the values of a matrix are sorted by rows (None: as they are),
    where each row begins, and their columns; of the transposed matrix if asked."""

    def make():
        rows, columns = pattern.coordinates()
        n = pattern.size[0]
        if transposed:
            rows, columns, n = columns, rows, pattern.size[1]
        starts = np.concatenate([[0], np.bincount(rows, minlength=n).cumsum()]).astype(np.int64)
        if (np.diff(rows) >= 0).all():
            return starts, columns
        order = np.argsort(rows, kind="stable")
        return order, starts, columns[order]

    found = pattern.tensors("columns" if transposed else "rows", make)
    return found if len(found) == 3 else (None, *found)


class _Product(Function):
    """(values of a sparse matrix) times dense; differentiable twice."""

    @staticmethod
    def forward(ctx, values, dense, pattern, transposed):
        ctx.save_for_backward(values, dense)
        ctx.pattern, ctx.transposed = pattern, transposed
        order, starts, columns = _csr(pattern, transposed)
        values = values if order is None else values[order]
        return apply(_MATMUL, (values, dense, starts, columns))

    @staticmethod
    def backward(ctx, grad):
        values, dense = ctx.saved_tensors
        pattern, transposed = ctx.pattern, ctx.transposed
        of_values = of_dense = None
        if ctx.needs_input_grad[0]:
            rows, columns = pattern.index()
            if transposed:
                rows, columns = columns, rows
            of_values = (grad[rows] * dense[columns].conj()).sum(1)
        if ctx.needs_input_grad[1]:
            of_dense = _Product.apply(values.conj(), grad, pattern, not transposed)
        return of_values, of_dense, None, None


def _matrix(x, name):
    pattern = parts_of(x)
    if x.ndim != 2 or len(pattern.dense):
        raise RuntimeError(f"{name}: expected a sparse matrix, but got a tensor of {x.ndim}D")
    return pattern


def product(x, dense, transposed=False):
    """A sparse matrix (or its transpose) times a dense one; the sparse gradient keeps its
    pattern."""
    pattern = _matrix(x, "addmm")
    n = pattern.size[0 if transposed else 1]
    if dense.ndim != 2:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-dense.ndim}, "
            f"{dense.ndim - 1}], but got 1)"
        )
    if dense.shape[0] != n:
        raise RuntimeError(
            f"addmm: Argument #3 (dense): Expected dim 0 size {n}, got {dense.shape[0]}"
        )
    if x.dtype is not dense.dtype:
        raise RuntimeError(
            f"expected scalar type {dt.SCALAR_NAMES[x.dtype]} but found "
            f"{dt.SCALAR_NAMES[dense.dtype]}"
        )
    return _Product.apply(flat_values(x), dense, pattern, transposed)


class _DenseGradient(Function):
    """``product`` whose gradient of the sparse factor is a whole matrix, as PyTorch's mm has."""

    @staticmethod
    def forward(ctx, x, dense, transposed):
        ctx.save_for_backward(x, dense)
        ctx.transposed = transposed
        return product(x, dense, transposed)

    @staticmethod
    def backward(ctx, grad):
        x, dense = ctx.saved_tensors
        of_x = of_dense = None
        if ctx.needs_input_grad[0]:
            of_x = grad @ dense.mH
            if ctx.transposed:
                of_x = of_x.mT
        if ctx.needs_input_grad[1]:
            other = build(parts_of(x), flat_values(x).conj().reshape(parts_of(x).values_shape))
            of_dense = product(other, grad, not ctx.transposed)
        return of_x, of_dense, None


def multiplied(x, dense, transposed=False):
    """``product`` with the gradient that PyTorch's mm gives."""
    if not x._requires_grad and (x._node is None or x._node.function is _Build):
        # Made of values: a whole matrix would only be made to pick its elements at the pattern.
        return product(x, dense, transposed)
    return named(_DenseGradient.apply(x, dense, transposed), "MmBackward0")


def sparse_sparse(a, b):
    """The product of two sparse matrices: a sparse one, whose pattern is found on the host; the
    gradients keep to the patterns."""
    return named(_sparse_sparse(a, b), "SparseSparseMatmulBackward0")


def _mm_gradients(grad, needs, a, b):
    return (grad @ b.mH if needs[0] else None, a.mH @ grad if needs[1] else None)


def _sparse_sparse(a, b):
    p, q = _matrix(a, "mm"), _matrix(b, "mm")
    if p.size[1] != q.size[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({p.size[0]}x{p.size[1]} and "
            f"{q.size[0]}x{q.size[1]})"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"mat1 dtype {dt.SCALAR_NAMES[a.dtype]} does not match mat2 dtype "
            f"{dt.SCALAR_NAMES[b.dtype]}"
        )
    layout = a.layout
    if (a.layout, b.layout) not in _PAIRS:
        raise RuntimeError(
            f"addmm: computation on CPU is not implemented for {LAYOUT_NAMES[layout]} + "
            f"{LAYOUT_NAMES[a.layout]} @ {LAYOUT_NAMES[b.layout]}"
        )
    a, b = coalesced(a), coalesced(b)
    rows, inner = parts_of(a).coordinates()
    other, columns = parts_of(b).coordinates()
    order = np.argsort(other, kind="stable")
    starts = np.concatenate([[0], np.bincount(other, minlength=p.size[1]).cumsum()])
    counts = np.diff(starts)[inner]
    left = np.repeat(np.arange(len(inner)), counts)
    ends = counts.cumsum()
    within = np.arange(len(left)) - np.repeat(ends - counts, counts)
    right = order[np.repeat(starts[inner], counts) + within]
    size = (p.size[0], q.size[1])
    found = np.stack([rows[left], columns[right]])
    _, first, group = np.unique(keys_of(found, size), return_index=True, return_inverse=True)
    device = a.device
    products = flat_values(a)[from_host(left, device)] * flat_values(b)[from_host(right, device)]
    out = coo(found[:, first], summed(products, group.reshape(-1), len(first)), size, True)
    if layout is not layouts.sparse_coo:
        out = converted(out, layouts.sparse_csr)
    return out


_PAIRS = {
    (layouts.sparse_coo, layouts.sparse_coo), (layouts.sparse_csr, layouts.sparse_csr),
    (layouts.sparse_csr, layouts.sparse_csc), (layouts.sparse_csc, layouts.sparse_csr),
    (layouts.sparse_csc, layouts.sparse_csc),
}  # fmt: skip


# ---- rules -------------------------------------------------------------------------------------


@rule("mm")
def mm(a, b):
    """The product of two matrices of which one or both are sparse."""
    if a._sparse and b._sparse:
        return derived("MmBackward0", _sparse_sparse, _mm_gradients, a, b, saved=others(a, b))
    if a._sparse:
        return multiplied(a, b)
    if a.shape[1] != parts_of(b).size[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
            f"{b.shape[0]}x{b.shape[1]})"
        )
    return named(multiplied(b, a.mT, True).mT, "MmBackward0")


@rule("mv")
def mv(a, x):
    """A sparse matrix times a vector."""
    if not a._sparse or x._sparse:
        return None
    if a.shape[1] != x.shape[0]:
        raise RuntimeError("mv: expected self.size(-1) == vec.size(-1)")
    return named(multiplied(a, x.unsqueeze(1)).squeeze(1), "MvBackward0")


@rule("addmm")
def addmm(input, a, b, beta=1, alpha=1):
    """beta * input + alpha * (a @ b)."""
    if input._sparse and is_coo(input):
        raise RuntimeError(
            "addmm_sparse_dense: expected strided result tensor, got tensor with layout "
            f"{LAYOUT_NAMES[input.layout]}"
        )
    if input._sparse and not (a._sparse and b._sparse):
        raise RuntimeError(
            "addmm: computation on CPU is not implemented for "
            f"{LAYOUT_NAMES[input.layout]} + {LAYOUT_NAMES[a.layout]} @ {LAYOUT_NAMES[b.layout]}"
        )
    found = mm(a, b)
    if alpha is not None and alpha != 1:
        found = found * alpha
    if beta == 0:
        return found
    out = (input if beta is None or beta == 1 else input * beta) + found
    return named(out, "AddmmBackward0")


@rule("linear")
def linear(input, weight, bias=None):
    """input @ weight.T + bias, where the weight or the (two-dimensional) input is sparse."""
    if input._sparse:
        if weight._sparse or input.ndim != 2:
            return None
        out = multiplied(input, weight.mT)
    else:
        flat = input.reshape(-1, input.shape[-1])
        out = multiplied(weight, flat.mT).mT.reshape(*input.shape[:-1], weight.shape[0])
    return out if bias is None else out + bias


@rule("bmm")
def bmm(a, b):
    """A batch of sparse matrices times a batch of dense ones, as one block matrix."""
    if not a._sparse or b._sparse or not is_coo(a):
        return None
    return derived("BmmBackward0", _bmm, _bmm_gradients, a, b, saved=others(a, b))


def _bmm_gradients(grad, needs, a, b):
    return (grad @ b.mH if needs[0] else None, a.mH.bmm(grad) if needs[1] else None)


def _bmm(a, b):
    pattern = parts_of(a)
    count, n, m = pattern.size
    if b.shape[0] != count or b.shape[1] != m:
        raise RuntimeError("bmm_sparse: Tensor sizes do not match")
    batch, rows, columns = pattern.coordinates()
    found = np.stack([batch * n + rows, batch * m + columns])
    whole = coo(found, flat_values(a), (count * n, count * m), pattern.coalesced)
    return product(whole, b.reshape(count * m, b.shape[2])).reshape(count, n, b.shape[2])


@rule("matmul")
def matmul(a, b):
    """A dense vector, or a batch of dense matrices, times a sparse matrix."""
    if a._sparse or b.ndim != 2:
        raise RuntimeError("expand is unsupported for Sparse tensors")
    return mm(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])


@rule("addmv")
def addmv(input, matrix, vector, beta=None, alpha=None):
    """beta * input + alpha * (matrix @ vector)."""
    found = mv(matrix, vector)
    if found is None:
        return None
    found = found if alpha is None else found * alpha
    return named(found + (input if beta is None else input * beta), "AddmvBackward0")
