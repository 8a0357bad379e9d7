"""Frontends of linear algebra: torch.linalg's functions, and the older ones at top level."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import FAILURE, failure
from torchlike._engine.prefix import local
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, into, value_of
from torchlike._tensor.forms import FUNCTIONS, input_named, numpy_named, structseq
from torchlike._tensor.levels import all_samples
from torchlike._tensor.modes import modes
from torchlike._tensor.parts import diagonal as _diagonal
from torchlike._tensor.products import (
    CHAIN_OUT,
    check_tolerances,
    multiply_chain,
    need_tensor,
    need_tensors,
)
from torchlike._tensor.shapes import movedim, wrap_dim
from torchlike._tensor.size_arguments import integer
from torchlike._tensor.tape import barred

_RESULTS = {
    name: structseq(name, fields)
    for name, fields in {
        "linalg_cholesky_ex": ("L", "info"),
        "linalg_eig": ("eigenvalues", "eigenvectors"),
        "linalg_eigh": ("eigenvalues", "eigenvectors"),
        "linalg_inv_ex": ("inverse", "info"),
        "linalg_ldl_factor": ("LD", "pivots"),
        "linalg_ldl_factor_ex": ("LD", "pivots", "info"),
        "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
        "linalg_lu": ("P", "L", "U"),
        "linalg_lu_factor": ("LU", "pivots"),
        "linalg_lu_factor_ex": ("LU", "pivots", "info"),
        "linalg_qr": ("Q", "R"),
        "linalg_slogdet": ("sign", "logabsdet"),
        "linalg_solve_ex": ("result", "info"),
        "linalg_svd": ("U", "S", "Vh"),
        "_lu_with_info": ("LU", "pivots", "info"),
        "lu_unpack": ("P", "L", "U"),
        "qr": ("Q", "R"),
        "slogdet": ("sign", "logabsdet"),
        "svd": ("U", "S", "V"),
    }.items()
}


def _named(name, result, out=None):
    """Several results under PyTorch's field names."""
    return _RESULTS[name](*into(out, tuple(result)))


def _failure(info):
    """(which matrix of a batch, code) of the first that failed, or None; waits for the numbers.

    Inside a JAX transformation there are no numbers: results are then what LAPACK leaves.
    """
    if value_of(info).is_traced() or info.device is devices.META:
        return None
    host = info._host()
    if not host.any():
        return None
    flat = host.reshape(-1)
    first = int((flat != 0).argmax())
    return (first if host.ndim else None), int(flat[first])


def _check(info, kind: str, name: str) -> None:
    """Raise for the first matrix that failed; in a recorded call, when the next value is read."""
    if modes.levels:
        if modes.bodies:
            return  # no number can be read there, and a recorded call would not know the sample
        info = all_samples(info)
    capture = local.capture
    if capture is not None and capture.broken is None and not capture.is_tried():
        apply(TABLE[FAILURE], (info,), (kind, name))
        return
    failed = _failure(info)
    if failed is not None:
        raise failure(kind, name, *failed)


# ---- determinants and inverses -----------------------------------------------------------------


def det(A, *, out=None):
    """The determinant (https://pytorch.org/docs/stable/generated/torch.linalg.det.html)."""
    need_tensor("linalg_det", "A", 1, A)
    return into(out, apply(TABLE["linalg_det"], (A,)), exact=True)


def slogdet(A, *, out=None):
    """Sign and logarithm of the determinant (https://pytorch.org/docs/stable/generated/torch.linalg.slogdet.html)."""
    need_tensor("linalg_slogdet", "A", 1, A)
    return _named("linalg_slogdet", apply(TABLE["linalg_slogdet"], (A,)), out)


def inv(A, *, out=None):
    """The inverse (https://pytorch.org/docs/stable/generated/torch.linalg.inv.html)."""
    need_tensor("linalg_inv", "A", 1, A)
    result, info = apply(TABLE["linalg_inv_ex"], (A,), (False,))
    _check(info, "inverse", "linalg.inv")
    return into(out, result, exact=True)


def inv_ex(A, *, check_errors: bool = False, out=None):
    """The inverse, and what went wrong (https://pytorch.org/docs/stable/generated/torch.linalg.inv_ex.html)."""
    need_tensor("linalg_inv_ex", "A", 1, A)
    result = apply(TABLE["linalg_inv_ex"], (A,), (False,))
    if check_errors:
        _check(result[1], "inverse", "linalg.inv_ex")
    return _named("linalg_inv_ex", result, out)


def _tolerances(atol, rtol, old, older):
    """(rtol, atol) from the two, or from the one of the older signature."""
    if old is not None:
        return (0.0, old) if older == "tol" else (old, 0.0)
    return rtol, atol


@input_named
def pinv(A, rcond=None, hermitian: bool = False, *, atol=None, rtol=None, out=None):
    """The pseudo-inverse (https://pytorch.org/docs/stable/generated/torch.linalg.pinv.html)."""
    need_tensor("linalg_pinv", "A", 1, A)
    aval = A._value.aval
    if aval.dtype.category < dt.FLOATING or aval.dtype in dt.HALF or aval.ndim < 2:
        raise RuntimeError(
            f"linalg.pinv({dt.SCALAR_NAMES[aval.dtype]}{{{list(aval.shape)}}}): expected a tensor "
            "with 2 or more dimensions of float, double, cfloat or cdouble types"
        )
    check_tolerances("pinv", rcond=rcond, atol=atol, rtol=rtol)
    tolerances = _tolerances(atol, rtol, rcond, "rcond")
    return into(out, apply(TABLE["linalg_pinv"], (A, *tolerances), (hermitian,)))


@input_named
def matrix_rank(A, tol=None, hermitian: bool = False, *, atol=None, rtol=None, out=None):
    """The rank (https://pytorch.org/docs/stable/generated/torch.linalg.matrix_rank.html)."""
    need_tensor("linalg_matrix_rank", "A", 1, A)
    check_tolerances("matrix_rank", atol=atol if tol is None else tol, rtol=rtol)
    tolerances = _tolerances(atol, rtol, tol, "tol")
    return into(out, apply(TABLE["linalg_matrix_rank"], (A, *tolerances), (hermitian,)))


# ---- systems -----------------------------------------------------------------------------------


def solve(A, B, *, left: bool = True, out=None):
    """The solution of a square system (https://pytorch.org/docs/stable/generated/torch.linalg.solve.html)."""
    need_tensor("linalg_solve", "A", 1, A)
    need_tensor("linalg_solve", "B", 2, B)
    result, info = apply(TABLE["linalg_solve_ex"], (A, B), (left, False))
    _check(info, "solution", "torch.linalg.solve")
    return into(out, result, exact=True)


def solve_ex(A, B, *, left: bool = True, check_errors: bool = False, out=None):
    """The solution, and what went wrong (https://pytorch.org/docs/stable/generated/torch.linalg.solve_ex.html)."""
    need_tensor("linalg_solve_ex", "A", 1, A)
    need_tensor("linalg_solve_ex", "B", 2, B)
    result = apply(TABLE["linalg_solve_ex"], (A, B), (left, False))
    if check_errors:
        _check(result[1], "solution", "torch.linalg.solve_ex")
    return _named("linalg_solve_ex", result, out)


def solve_triangular(
    A, B, *, upper: bool, left: bool = True, unitriangular: bool = False, out=None
):
    """The solution of a triangular system (https://pytorch.org/docs/stable/generated/torch.linalg.solve_triangular.html)."""
    need_tensor("linalg_solve_triangular", "A", 1, A)
    need_tensor("linalg_solve_triangular", "B", 2, B)
    if A.dtype is not B.dtype and A.dtype.category >= dt.FLOATING:
        B = B.to(A.dtype)  # PyTorch copies it into the result
    statics = (upper, left, unitriangular)
    solved = apply(TABLE["linalg_solve_triangular"], (A, B), statics)
    return into(out, solved, "expected scalar type {want} but found {got}")


def lu_solve(LU, pivots, B, *, left: bool = True, adjoint: bool = False, out=None):
    """The solution from LU factors (https://pytorch.org/docs/stable/generated/torch.linalg.lu_solve.html)."""
    for i, (x, name) in enumerate(((LU, "LU"), (pivots, "pivots"), (B, "B"))):
        need_tensor("linalg_lu_solve", name, i + 1, x)
    statics = (left, adjoint)
    return into(out, apply(TABLE["linalg_lu_solve"], (LU, pivots, B), statics), exact=True)


def _lstsq_in_float32(A, B, rcond, driver, out):
    """Under autocast it is one op that runs in float32, its products too."""
    A, B = (x.float() if x.dtype in dt.HALF else x for x in (A, B))
    cast, modes.cast = modes.cast, None
    try:
        return lstsq(A, B, rcond, driver=driver, out=out)
    finally:
        modes.cast = cast


@input_named
def lstsq(A, B, rcond=None, *, driver=None, out=None):
    """Least squares (https://pytorch.org/docs/stable/generated/torch.linalg.lstsq.html)."""
    name = "torch.linalg.lstsq"
    need_tensor("linalg_lstsq", "A", 1, A)
    need_tensor("linalg_lstsq", "B", 2, B)
    if modes.cast is not None:
        return _lstsq_in_float32(A, B, rcond, driver, out)
    a, b = A._value.aval, B._value.aval
    if a.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if b.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype "
            f"{dt.SCALAR_NAMES[a.dtype]} and other's dtype {dt.SCALAR_NAMES[b.dtype]}"
        )
    gap = a.ndim - b.ndim
    if gap not in (0, 1):
        raise RuntimeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - "
            "other.dim()) <= 1"
        )
    if a.dtype.category < dt.FLOATING or a.dtype in dt.HALF:
        raise RuntimeError("This function doesn't handle types other than float and double")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    driver = driver or "gelsy"
    vector = b.ndim == 1 or (gap == 1 and a.shape[:-1] == b.shape)
    if gap == 1 and not vector:
        raise RuntimeError(
            f"{name}: other of shape {list(b.shape)} holds neither one vector for each matrix of "
            f"input, of shape {list(a.shape)}, nor matrices of as many dimensions"
        )
    at = -1 if vector else -2
    if a.shape[-2] != b.shape[at]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size({at})")
    m, n = a.shape[-2:]
    right = B.unsqueeze(-1) if vector else B
    if rcond is None or driver == "gels" or (driver == "gelsd" and rcond >= 1):
        # gels takes the rank for full, and gelsd one and more for nothing given.
        rcond = _eps(a.dtype) * max(m, n)
    x = FUNCTIONS["matmul"](apply(TABLE["linalg_pinv"], (A, rcond, 0.0), (False,)), right)
    empty = FUNCTIONS["empty"]
    real = a.dtype.to_real()
    rank = apply(TABLE["linalg_matrix_rank"], (A, rcond, 0.0), (False,))
    residuals = x.reshape(-1)[:0].abs()
    if m > n and (driver == "gels" or (driver != "gelsy" and (rank._host() == n).all())):
        gaps = FUNCTIONS["matmul"](A, x) - right
        residuals = (gaps.abs() ** 2).sum(-2)
    if driver == "gels":
        rank = empty(0, dtype=dt.int64, device=A.device)
    values = empty(0, dtype=real, device=A.device)
    if driver in ("gelsd", "gelss"):
        values = svdvals(A).detach()
    result = (x.squeeze(-1) if vector else x, residuals, rank, values)
    return _named("linalg_lstsq", result, out)


def _eps(dtype) -> float:
    """The distance from 1 to the next number of a dtype."""
    return float(np.finfo(dtype.to_real().numpy).eps)


@input_named
def tensorinv(A, ind: int = 2, *, out=None):
    """The inverse of a tensor as a linear map (https://pytorch.org/docs/stable/generated/torch.linalg.tensorinv.html)."""
    need_tensor("linalg_tensorinv", "A", 1, A)
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    shape = tuple(A.shape)
    rows, columns = prod(shape[:ind]), prod(shape[ind:])
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {columns} != {rows}"
        )
    result, info = apply(TABLE["linalg_inv_ex"], (A.reshape(rows, columns),), (False,))
    _check(info, "inverse", "inv")
    return into(out, result.reshape(*shape[ind:], *shape[:ind]))


def tensorsolve(A, B, dims=None, *, out=None):
    """The solution of a system of tensors (https://pytorch.org/docs/stable/generated/torch.linalg.tensorsolve.html)."""
    need_tensor("linalg_tensorsolve", "A", 1, A)
    need_tensor("linalg_tensorsolve", "B", 2, B)
    if dims is not None:
        A = movedim(A, tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape)[B.ndim :]
    if prod(shape) != prod(A.shape[: B.ndim]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {prod(shape)} != {prod(A.shape[: B.ndim])}"
        )
    flat = A.reshape(B.numel(), prod(shape))
    return into(out, solve(flat, B.flatten()).reshape(shape))


# ---- factorizations ----------------------------------------------------------------------------


def _cholesky(A, upper, name):
    result, info = apply(TABLE["linalg_cholesky_ex"], (A,), (upper, False))
    _check(info, "cholesky", name)
    return result


def cholesky(A, *, upper: bool = False, out=None):
    """The Cholesky factor (https://pytorch.org/docs/stable/generated/torch.linalg.cholesky.html)."""
    need_tensor("linalg_cholesky", "A", 1, A)
    return into(out, _cholesky(A, upper, "linalg.cholesky"), exact=True)


def cholesky_ex(A, *, upper: bool = False, check_errors: bool = False, out=None):
    """The Cholesky factor, and what went wrong (https://pytorch.org/docs/stable/generated/torch.linalg.cholesky_ex.html)."""
    need_tensor("linalg_cholesky_ex", "A", 1, A)
    result = apply(TABLE["linalg_cholesky_ex"], (A,), (upper, False))
    if check_errors:
        _check(result[1], "cholesky", "linalg.cholesky_ex")
    return _named("linalg_cholesky_ex", result, out)


def lu(A, *, pivot: bool = True, out=None):
    """P, L and U (https://pytorch.org/docs/stable/generated/torch.linalg.lu.html)."""
    need_tensor("linalg_lu", "A", 1, A)
    p, lower, upper = apply(TABLE["linalg_lu"], (A,), (pivot,))
    return _named("linalg_lu", (p.detach(), lower, upper), out)


def lu_factor(A, *, pivot: bool = True, out=None):
    """Packed LU factors (https://pytorch.org/docs/stable/generated/torch.linalg.lu_factor.html)."""
    need_tensor("linalg_lu_factor", "A", 1, A)
    packed, pivots, info = apply(TABLE["linalg_lu_factor_ex"], (A,), (pivot, False))
    _check(info, "lu", "torch.linalg.lu_factor")
    return _named("linalg_lu_factor", (packed, pivots), out)


def lu_factor_ex(A, *, pivot: bool = True, check_errors: bool = False, out=None):
    """Packed LU factors, and what went wrong (https://pytorch.org/docs/stable/generated/torch.linalg.lu_factor_ex.html)."""
    need_tensor("linalg_lu_factor_ex", "A", 1, A)
    result = apply(TABLE["linalg_lu_factor_ex"], (A,), (pivot, False))
    if check_errors:
        _check(result[2], "lu", "torch.linalg.lu_factor_ex")
    return _named("linalg_lu_factor_ex", result, out)


def ldl_factor(A, *, hermitian: bool = False, out=None):
    """Packed LDL factors (https://pytorch.org/docs/stable/generated/torch.linalg.ldl_factor.html)."""
    need_tensor("linalg_ldl_factor", "A", 1, A)
    packed, pivots, info = apply(TABLE["linalg_ldl_factor_ex"], (A,), (hermitian, False))
    _check(info, "ldl", "torch.linalg.ldl_factor")
    return _named("linalg_ldl_factor", (packed, pivots), out)


def ldl_factor_ex(A, *, hermitian: bool = False, check_errors: bool = False, out=None):
    """Packed LDL factors, and what went wrong (https://pytorch.org/docs/stable/generated/torch.linalg.ldl_factor_ex.html)."""
    need_tensor("linalg_ldl_factor_ex", "A", 1, A)
    result = apply(TABLE["linalg_ldl_factor_ex"], (A,), (hermitian, False))
    if check_errors:
        _check(result[2], "ldl", "torch.linalg.ldl_factor_ex")
    return _named("linalg_ldl_factor_ex", result, out)


def ldl_solve(LD, pivots, B, *, hermitian: bool = False, out=None):
    """The solution from LDL factors (https://pytorch.org/docs/stable/generated/torch.linalg.ldl_solve.html)."""
    for i, (x, name) in enumerate(((LD, "LD"), (pivots, "pivots"), (B, "B"))):
        need_tensor("linalg_ldl_solve", name, i + 1, x)
    return into(out, apply(TABLE["linalg_ldl_solve"], (LD, pivots, B), (hermitian,)), exact=True)


def qr(A, mode: str = "reduced", *, out=None):
    """Q and R (https://pytorch.org/docs/stable/generated/torch.linalg.qr.html)."""
    need_tensor("linalg_qr", "A", 1, A)
    return _named("linalg_qr", apply(TABLE["linalg_qr"], (A,), (mode,)), out)


def householder_product(input, tau, *, out=None):
    """Products of reflections (https://pytorch.org/docs/stable/generated/torch.linalg.householder_product.html)."""
    need_tensor("linalg_householder_product", "input", 1, input)
    need_tensor("linalg_householder_product", "tau", 2, tau)
    result = apply(TABLE["linalg_householder_product"], (input, tau))
    return into(out, result if input.numel() else barred(result))


# ---- eigenvalues and singular values -----------------------------------------------------------


def _wants_gradient(x) -> bool:
    return modes.grad and x.requires_grad


def eig(A, *, out=None):
    """Eigenvalues and eigenvectors (https://pytorch.org/docs/stable/generated/torch.linalg.eig.html)."""
    need_tensor("linalg_eig", "A", 1, A)
    return _named("linalg_eig", apply(TABLE["linalg_eig"], (A,)), out)


def eigvals(A, *, out=None):
    """Eigenvalues (https://pytorch.org/docs/stable/generated/torch.linalg.eigvals.html)."""
    need_tensor("linalg_eigvals", "A", 1, A)
    if _wants_gradient(A):
        return into(out, apply(TABLE["linalg_eig"], (A,))[0])
    return into(out, apply(TABLE["linalg_eigvals"], (A,)))


def eigh(A, UPLO: str = "L", *, out=None):
    """Eigenvalues and eigenvectors of Hermitian matrices (https://pytorch.org/docs/stable/generated/torch.linalg.eigh.html)."""
    need_tensor("linalg_eigh", "A", 1, A)
    return _named("linalg_eigh", apply(TABLE["linalg_eigh"], (A,), (UPLO,)), out)


def eigvalsh(A, UPLO: str = "L", *, out=None):
    """Eigenvalues of Hermitian matrices (https://pytorch.org/docs/stable/generated/torch.linalg.eigvalsh.html)."""
    need_tensor("linalg_eigvalsh", "A", 1, A)
    return into(out, apply(TABLE["linalg_eigh"], (A,), (UPLO,))[0], exact=True)


def _check_driver(name, driver):
    if driver is not None:
        raise RuntimeError(
            f"torch.linalg.{name}: keyword argument `driver=` is only supported on CUDA inputs "
            "with cuSOLVER backend."
        )


def svd(A, full_matrices: bool = True, *, driver=None, out=None):
    """The singular value decomposition (https://pytorch.org/docs/stable/generated/torch.linalg.svd.html)."""
    need_tensor("linalg_svd", "A", 1, A)
    _check_driver("svd", driver)
    return _named("linalg_svd", apply(TABLE["linalg_svd"], (A,), (full_matrices,)), out)


def svdvals(A, *, driver=None, out=None):
    """Singular values (https://pytorch.org/docs/stable/generated/torch.linalg.svdvals.html)."""
    need_tensor("linalg_svdvals", "A", 1, A)
    _check_driver("svd", driver)
    if _wants_gradient(A):
        return into(out, apply(TABLE["linalg_svd"], (A,), (False,))[1], exact=True)
    return into(out, apply(TABLE["linalg_svdvals"], (A,)), exact=True)


# ---- products and functions --------------------------------------------------------------------


def matmul(input, other, *, out=None):
    """The matrix product (https://pytorch.org/docs/stable/generated/torch.linalg.matmul.html)."""
    return FUNCTIONS["matmul"](input, other, out=out)


def multi_dot(tensors, *, out=None):
    """The product of several matrices (https://pytorch.org/docs/stable/generated/torch.linalg.multi_dot.html)."""
    tensors = need_tensors("linalg_multi_dot", "tensors", tensors)
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    first, last = tensors[0], tensors[-1]
    for x, which in ((first, "first"), (last, "last")):
        if x.ndim not in (1, 2):
            raise RuntimeError(
                f"multi_dot(): the {which} tensor must be 1D or 2D but got {x.ndim}D"
            )
    for i, x in enumerate(tensors[1:-1], 1):
        if x.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {x.ndim}D")
    chain = list(tensors)
    if first.ndim == 1:
        chain[0] = first.unsqueeze(0)
    if last.ndim == 1:
        chain[-1] = last.unsqueeze(-1)
    for i, x in enumerate(chain[1:], 1):
        y = chain[i - 1]
        if x.dtype is not y.dtype:
            raise RuntimeError(
                "multi_dot(): all tensors must have be the same dtype but tensor 0 is "
                f"{dt.SCALAR_NAMES[first.dtype]} and tensor {i} {dt.SCALAR_NAMES[x.dtype]}"
            )
        if y.shape[-1] != x.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i - 1} and {i} with shapes {list(y.shape)} and "
                f"{list(x.shape)} cannot be multiplied"
            )
    result = multiply_chain(chain)
    if last.ndim == 1:
        result = result.squeeze(-1)
    return into(out, result.squeeze(0) if first.ndim == 1 else result, CHAIN_OUT)


def matrix_exp(A):
    """The matrix exponential (https://pytorch.org/docs/stable/generated/torch.linalg.matrix_exp.html)."""
    need_tensor("linalg_matrix_exp", "A", 1, A)
    return apply(TABLE["linalg_matrix_exp"], (A,))


@input_named
def matrix_power(A, n: int, *, out=None):
    """An integer power (https://pytorch.org/docs/stable/generated/torch.linalg.matrix_power.html)."""
    need_tensor("linalg_matrix_power", "A", 1, A)
    n = integer("linalg_matrix_power", "n", 2, n)
    _need_square("linalg.matrix_power", A)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        eye = FUNCTIONS["eye"](A.shape[-1], dtype=A.dtype, device=A.device)
        return into(out, A.clone().copy_(eye))
    result = None
    while True:
        if n % 2:
            result = A if result is None else FUNCTIONS["matmul"](result, A)
        n //= 2
        if not n:
            break
        A = FUNCTIONS["matmul"](A, A)
    return into(out, result.clone() if result is A else result)


def _need_square(name, A):
    shape = A._value.aval.shape
    if len(shape) < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {shape[-2]} by "
            f"{shape[-1]} matrices"
        )


@numpy_named
def cross(input, other, *, dim: int = -1, out=None):
    """The cross product (https://pytorch.org/docs/stable/generated/torch.linalg.cross.html)."""
    need_tensor("linalg_cross", "input", 1, input)
    need_tensor("linalg_cross", "other", 2, other)
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    result = apply(TABLE["cross_dim"], (input, other), (wrap_dim(dim, input.ndim),))
    return into(out, result, exact=True)


def diagonal(A, *, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """The diagonals of matrices, as a view (https://pytorch.org/docs/stable/generated/torch.linalg.diagonal.html)."""
    return _diagonal(A, offset, dim1, dim2)


def vecdot(x, y, *, dim: int = -1, out=None):
    """Inner products (https://pytorch.org/docs/stable/generated/torch.linalg.vecdot.html)."""
    need_tensor("linalg_vecdot", "x", 1, x)
    need_tensor("linalg_vecdot", "y", 2, y)
    wrong = "linalg.vecdot: Expected out of dtype{want} but found {got}"
    return into(out, apply(TABLE["linalg_vecdot"], (x, y), (dim,)), wrong)


def vander(x, N=None):
    """The matrix of powers (https://pytorch.org/docs/stable/generated/torch.linalg.vander.html)."""
    need_tensor("linalg_vander", "x", 1, x)
    if x.dtype is dt.BY_NAME["bool"]:
        raise RuntimeError(
            "linalg.vander supports floating point, complex, and integer tensors, but got Bool"
        )
    x = x if x.ndim else x.reshape(1)
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    if x.dtype.category < dt.FLOATING:
        x = x.to(dt.int64)
    powers = x.unsqueeze(-1).expand(*x.shape, n - 1)
    ones = FUNCTIONS["ones"]((*x.shape, 1), dtype=x.dtype, device=x.device)
    return FUNCTIONS["cumprod"](FUNCTIONS["cat"]((ones, powers), -1), -1)
