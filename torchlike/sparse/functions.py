"""Functions of torch.sparse: products, sums, softmax, diagonals, solutions."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.function import Function
from torchlike._tensor.sparse import parts, products, reductions
from torchlike._tensor.sparse.conversion import converted
from torchlike._tensor.sparse.parts import build, coo, flat_values, named, parts_of, read
from torchlike._tensor.sparse.slices import wrapped

_REDUCE = TABLE["sparse_reduce"]
_HOW = ("sum", "mean", "amax", "amin", "prod")


# ---- products ----------------------------------------------------------------------------------


def mm(mat1, mat2, reduce: str | None = None):
    """mat1 @ mat2 where one or both are sparse; a sparse factor's gradient keeps its pattern.

    With ``reduce`` mat1 is CSR and a row's products are combined in another way than by a sum
    (https://pytorch.org/docs/stable/generated/torch.sparse.mm.html).
    """
    if reduce is not None:
        return named(_reduced(mat1, mat2, reduce), "SparseMmReduceImplBackward0")
    if not mat1._sparse and not mat2._sparse:
        return FUNCTIONS["mm"](mat1, mat2)
    return _product(mat1, mat2)


def _product(a, b):
    if a._sparse and b._sparse:
        return products.sparse_sparse(a, b)
    if a._sparse:
        return named(products.product(a, b), "SparseAddmmBackward0")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
            f"{b.shape[0]}x{b.shape[1]})"
        )
    return products.product(b, a.mT, True).mT


def _reduced(a, b, how):
    how = {"max": "amax", "min": "amin"}.get(how, how)
    if how not in _HOW:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {how}"
        )
    if not a._sparse or a.layout is not layouts.sparse_csr or b._sparse:
        raise parts.refuse("_sparse_mm_reduce_impl", (a, b))
    if how == "sum":
        return _product(a, b)
    if b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({list(a.shape)} and {list(b.shape)})"
        )
    pattern = parts_of(a)
    values = flat_values(a)
    return apply(_REDUCE, (values, b, pattern.compressed, pattern.plain), (how,))


def addmm(mat, mat1, mat2, *, beta=1.0, alpha=1.0):
    """beta * mat + alpha * (mat1 @ mat2) with a sparse mat1, whose gradient keeps its pattern
    (https://pytorch.org/docs/stable/generated/torch.sparse.addmm.html)."""
    if not mat1._sparse and not mat2._sparse:
        return FUNCTIONS["addmm"](mat, mat1, mat2, beta=beta, alpha=alpha)
    if mat._sparse:
        raise RuntimeError(
            "addmm_sparse_dense: expected strided result tensor, got tensor with layout "
            f"{parts.LAYOUT_NAMES[mat.layout]}"
        )
    found = _product(mat1, mat2)
    if alpha != 1:
        found = found * alpha
    if beta == 0:
        return found
    return named((mat if beta == 1 else mat * beta) + found, "SparseAddmmBackward0")


class _Plus(Function):
    """beta * x and values for its pattern; x gets the gradient as it comes, as in PyTorch."""

    @staticmethod
    def forward(ctx, x, values, beta):
        ctx.pattern, ctx.beta = parts_of(x), beta
        own = ctx.pattern.values
        return build(ctx.pattern, values.detach() + (own if beta == 1 else own * beta))

    @staticmethod
    def backward(ctx, grad):
        own = grad if ctx.beta == 1 else grad * np.conj(ctx.beta)
        return own, read(grad, ctx.pattern), None


def sampled_addmm(input, mat1, mat2, *, beta=1.0, alpha=1.0, out=None):
    """beta * input + alpha * (mat1 @ mat2) where the CSR tensor ``input`` specifies elements
    (https://pytorch.org/docs/stable/generated/torch.sparse.sampled_addmm.html)."""
    if not input._sparse or input.layout not in (layouts.sparse_csr, layouts.sparse_csc):
        raise parts.refuse("sparse_sampled_addmm", (input, mat1, mat2))
    for name, x in (("mat1", mat1), ("mat2", mat2)):
        if x._sparse:
            raise RuntimeError(
                f"sampled_addmm: Expected {name} to have strided layout, but got {x.layout}"
            )
        if x.dtype is not input.dtype:
            raise RuntimeError(
                f"sampled_addmm: Expected mat1 and mat2 to have the same dtype, but got "
                f"{mat1.dtype} and {mat2.dtype}"
            )
        if x.ndim < 2:
            raise RuntimeError(f"sampled_addmm: Expected {name} to be a matrix, got {x.ndim}-D")
    shape = tuple(input.shape)
    if tuple(mat1.shape[:-2]) != shape[:-2] or tuple(mat2.shape[:-2]) != shape[:-2]:
        raise RuntimeError(
            "sampled_addmm: Expected mat1 and mat2 to have the same batch size, but got "
            f"{list(mat1.shape[:-2])} and {list(mat2.shape[:-2])}"
        )
    if mat1.shape[-1] != mat2.shape[-2]:
        raise RuntimeError(
            f"sampled_addmm: mat1 and mat2 shapes cannot be multiplied ({mat1.shape[-2]}x"
            f"{mat1.shape[-1]} and {mat2.shape[-2]}x{mat2.shape[-1]})"
        )
    if (mat1.shape[-2], mat2.shape[-1]) != shape[-2:]:
        raise RuntimeError(
            f"sampled_addmm: self.shape[-2:] must match the shape of the product, but got "
            f"{list(shape[-2:])} and {[mat1.shape[-2], mat2.shape[-1]]}"
        )
    pattern = parts_of(input)
    *batch, rows, columns = pattern.index()
    left = mat1[(*batch, rows)]
    right = mat2.mT[(*batch, columns)]
    values = (left * right).sum(-1)
    values = values * alpha if alpha != 1 else values
    values = values.reshape(pattern.values_shape)
    if beta == 0:
        result = build(pattern, values)
    else:
        result = _Plus.apply(input, values, beta)
    named(result, "SparseSampledAddmmBackward0")
    return result if out is None else dispatch.rebind(out, result)


def spsolve(input, other, *, left: bool = True):
    """Not supported: raises ``NotSupported`` (PyTorch has it on GPUs with cuDSS only)."""
    raise NotSupported("sparse.spsolve", "use torch.linalg.solve(input.to_dense(), other)")


# ---- reductions --------------------------------------------------------------------------------


def sum(input, dim=None, dtype=None):
    """The sum of a COO tensor, along ``dim`` sparse as long as a sparse dimension is left
    (https://pytorch.org/docs/stable/generated/torch.sparse.sum.html)."""
    parts.need_coo("coalesce", input)
    input = input if dtype is None else input.to(dtype)  # before elements are added up
    n = input.ndim
    dims = range(n) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = reductions.unique([wrapped(d, n) for d in dims])
    if len(dims) == n:
        out = flat_values(input).sum(dtype=dtype)
    else:
        out = reductions.summed_along(input, dims, dtype=dtype, widens=False)
    return out if dim is None else named(out, "SparseSumBackward0")


def softmax(input, dim: int, *, dtype=None):
    """Softmax of a COO tensor, where elements that are not specified count as -inf
    (https://pytorch.org/docs/stable/generated/torch.sparse.softmax.html)."""
    if not input._sparse or not parts.is_coo(input):
        raise parts.refuse("_sparse_softmax", (input,))
    return reductions.softmax(input, dim, dtype)


def log_softmax(input, dim: int, *, dtype=None):
    """The logarithm of ``softmax``
    (https://pytorch.org/docs/stable/generated/torch.sparse.log_softmax.html)."""
    if not input._sparse or not parts.is_coo(input):
        raise parts.refuse("_sparse_log_softmax", (input,))
    return reductions.softmax(input, dim, dtype, log=True)


# ---- diagonals ---------------------------------------------------------------------------------


def spdiags(diagonals, offsets, shape, layout=None):
    """A sparse matrix with rows of ``diagonals`` (count, length) along diagonals of it
    (https://pytorch.org/docs/stable/generated/torch.sparse.spdiags.html)."""
    if diagonals.ndim < 2:
        diagonals = diagonals.reshape(1, -1)
    if diagonals.ndim > 2:
        raise RuntimeError("Diagonals must be vector or matrix")
    offsets = offsets.reshape(1) if not offsets.ndim else offsets
    if offsets.ndim > 1:
        raise RuntimeError("Offsets must be scalar or vector")
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if offsets.dtype is not dt.int64:
        raise RuntimeError(f"Offset Tensor must have dtype Long but got {offsets.dtype}")
    count, length = diagonals.shape
    given = offsets._host()
    if count != len(given):
        raise RuntimeError(
            f"Number of diagonals ({count}) does not match the number of offsets ({len(given)})"
        )
    if layout not in (None, layouts.sparse_coo, layouts.sparse_csr, layouts.sparse_csc):
        raise RuntimeError(
            f"Only output layouts (Sparse, SparseCsc, SparseCsr) are supported, got {layout}"
        )
    if len(set(given.tolist())) != count:
        raise RuntimeError("Offset tensor contains duplicate values")
    n, m = shape
    found, taken = [], []
    for row, offset in enumerate(given.tolist()):
        columns = np.arange(max(offset, 0), min(m, n + offset, length))
        found.append(np.stack([columns - offset, columns]))
        taken.append(row * length + columns)
    found = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    taken = np.concatenate(taken) if taken else np.zeros(0, np.int64)
    values = diagonals.reshape(-1)[from_host(taken.astype(np.int64), diagonals.device)]
    out = coo(found.astype(np.int64), values, (n, m), False)
    return out if layout in (None, layouts.sparse_coo) else converted(out, layout)
