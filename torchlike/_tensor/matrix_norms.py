"""Frontends of norms and condition numbers of vectors and matrices."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.symbolic import is_whole
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, into
from torchlike._tensor.forms import FUNCTIONS, function, input_named
from torchlike._tensor.linear_algebra import _need_square, svdvals
from torchlike._tensor.products import need_tensor
from torchlike._tensor.shapes import movedim, wrap_dim
from torchlike._tensor.tape import barred

_INF = float("inf")


@input_named
def vector_norm(x, ord=2, dim=None, keepdim: bool = False, *, dtype=None, out=None):
    """The norm of vectors (https://pytorch.org/docs/stable/generated/torch.linalg.vector_norm.html)."""
    need_tensor("linalg_vector_norm", "x", 1, x)
    if isinstance(ord, str) or not hasattr(ord, "__float__"):
        raise TypeError(
            "linalg_vector_norm(): argument 'ord' (position 2) must be Number, not "
            f"{type(ord).__name__}"
        )
    dim = tuple(dim) if isinstance(dim, list) else dim
    result = apply(TABLE["norm"], (x,), (float(ord), dim, keepdim, dtype))
    return into(out, result if ord else barred(result), exact=True)


_OUT = "linalg.matrix_norm expected out tensor dtype {want} but got: {got}"


@input_named
def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim: bool = False, *, dtype=None, out=None):
    """The norm of matrices (https://pytorch.org/docs/stable/generated/torch.linalg.matrix_norm.html)."""
    need_tensor("linalg_matrix_norm", "A", 1, A)
    if A.ndim < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."
        )
    if is_whole(dim):
        raise TypeError("linalg_matrix_norm(): argument 'dim' must be tuple of ints, not int")
    dim = tuple(dim)
    if len(dim) != 2:
        raise RuntimeError(
            f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dim))}"
        )
    rows, columns = (wrap_dim(d, A.ndim) for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({rows}, {columns})")
    if A.dtype.category < dt.FLOATING:
        raise RuntimeError(
            "linalg.matrix_norm: Expected a floating point or complex tensor as input. Got "
            f"{dt.SCALAR_NAMES[A.dtype]}"
        )
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim, dtype=dtype, out=out)
    if ord != "nuc" and (isinstance(ord, str) or abs(ord) not in (1, 2, _INF)):
        shown = f"{ord:g}" if isinstance(ord, (int, float)) else ord
        raise RuntimeError(f"linalg.matrix_norm: Order {shown} not supported.")
    if dtype is not None:
        A = A.to(dtype)
    if ord == "nuc" or abs(ord) == 2:
        values = svdvals(movedim(A, (rows, columns), (-2, -1)))
        if ord == "nuc":
            result = values.sum(-1)
        else:
            result = _extreme(values, ord, -1, False)
        if keepdim:
            for d in sorted((rows, columns)):
                result = result.unsqueeze(d)
        return into(out, result, _OUT)
    summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, summed, keepdim)
    if not keepdim and chosen > summed:
        chosen -= 1
    return into(out, _extreme(sums, ord, chosen, keepdim), _OUT)


def _extreme(sizes, ord, dim, keepdim):
    """The largest or, for a negative order, the smallest; the largest of none is 0."""
    if ord > 0 and not sizes.shape[dim]:
        return sizes.sum(dim, keepdim)
    return apply(TABLE["amax" if ord > 0 else "amin"], (sizes,), (dim, keepdim))


@input_named
def norm(A, ord=None, dim=None, keepdim: bool = False, *, out=None, dtype=None):
    """The norm of vectors or of matrices (https://pytorch.org/docs/stable/generated/torch.linalg.norm.html)."""
    need_tensor("linalg_norm", "A", 1, A)
    if is_whole(dim):
        dim = (dim,)
    if dim is not None:
        dim = tuple(dim)
        if len(dim) not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}"
            )
    elif ord is not None and A.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{A.ndim}D."
        )
    if ord is not None and (A.ndim == 2 if dim is None else len(dim) == 2):
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    if isinstance(ord, str):
        if dim is None:  # PyTorch takes a vector for a matrix here, and finds that it is none
            return matrix_norm(A, ord, (0,) if A.ndim > 1 else (0, 1), keepdim, dtype=dtype)
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype, out=out)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


@input_named
def cond(A, p=None, *, out=None):
    """The condition number (https://pytorch.org/docs/stable/generated/torch.linalg.cond.html)."""
    need_tensor("linalg_cond", "A", 1, A)
    if A.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor A must have at least 2 dimensions.")
    if p is None or (not isinstance(p, str) and abs(p) == 2):
        if A.numel() == 0:
            empty = FUNCTIONS["zeros"](tuple(A.shape[:-2]), dtype=A.dtype.to_real())
            return into(out, empty)
        values = svdvals(A)
        ends = values.select(-1, 0), values.select(-1, -1)
        return into(out, ends[1] / ends[0] if p == -2 else ends[0] / ends[1])
    if p not in ("fro", "nuc", 1, -1, _INF, -_INF):
        shown = p if isinstance(p, str) else f"{p:g}"
        raise RuntimeError(f"linalg.cond got an invalid norm type: {shown}")
    _need_square(f"linalg.cond(ord={p if isinstance(p, str) else f'{p:g}'})", A)
    if A.numel() == 0:
        return into(out, FUNCTIONS["zeros"](tuple(A.shape[:-2]), dtype=A.dtype.to_real()))
    inverse, info = apply(TABLE["linalg_inv_ex"], (A,), (False,))
    singular = info > 0
    inverse = FUNCTIONS["where"](singular[..., None, None], 0, inverse)
    product = matrix_norm(A, p) * matrix_norm(inverse, p)
    return into(out, FUNCTIONS["where"](singular, _INF, product))


# ---- at top level ------------------------------------------------------------------------------


@function()
def frobenius_norm(input, dim, keepdim: bool = False, *, out=None):
    """The Frobenius norm over one or two dimensions."""
    dim = (dim,) if is_whole(dim) else tuple(dim)
    if len(dim) > 2:
        raise RuntimeError(f"Expected at most 2 dimensions, but got {len(dim)} dimensions instead.")
    return vector_norm(input, 2, dim or None, keepdim, out=out)


@function()
def nuclear_norm(input, dim=(-2, -1), keepdim: bool = False, *, out=None):
    """The sum of the singular values."""
    if isinstance(dim, bool):
        dim, keepdim = (-2, -1), dim
    return matrix_norm(input, "nuc", dim, keepdim, out=out)
