"""Linear algebra: what its ops check, determinants, inverses, linear systems, matrix functions."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import expm

from torchlike._core import dtypes as dt
from torchlike._ops import table
from torchlike._ops.dims import along
from torchlike._ops.matmul import product, scalar_name
from torchlike._ops.table import Dim, torch_dtype

op = partial(table.op, numbers=())  # matrices are tensors, never Python numbers


# ---- what PyTorch checks -----------------------------------------------------------------------


# The solvers that get as far as their kernel, which then is not there for half precision.
_KERNELS = {
    "linalg.det": "lu_cpu",
    "linalg.solve": "lu_cpu",
    "linalg.cholesky": "cholesky_cpu",
    "linalg.qr": "geqrf_cpu",
    "linalg.svd": "linalg_svd_cpu",
    "linalg.eig": "linalg_eig_out_cpu",
    "linalg.eigvals": "linalg_eig_out_cpu",
}


def check_floating(name: str, x, low_precision: bool = False) -> None:
    """Raise PyTorch's error unless the dtype is one that its solvers take."""
    given = torch_dtype(x)
    if given.category < dt.FLOATING:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {scalar_name(x)}"
        )
    if not low_precision and given in dt.HALF and name in _KERNELS:
        check_kernel(_KERNELS[name], x)
    if not low_precision and given in dt.HALF:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {scalar_name(x)}")


def check_kernel(kernel: str, x, half: bool = False) -> None:
    """Raise PyTorch's error for a dtype that the kernel was not written for."""
    given = torch_dtype(x)
    if given.category < dt.FLOATING or (given in dt.HALF and not half):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(x)}'")


def check_matrix(name: str, x, operand: str = "A") -> None:
    """Raise PyTorch's error unless ``x`` is a matrix or a batch of them."""
    if x.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {operand} must have at least 2 dimensions.")


def check_square(name: str, x, operand: str = "A") -> None:
    """Raise PyTorch's error unless ``x`` is a square matrix or a batch of them."""
    check_matrix(name, x, operand)
    m, n = x.shape[-2:]
    if m != n:
        lead = f"{name}: " if name else ""
        raise RuntimeError(
            f"{lead}{operand} must be batches of square matrices, but they are {m} by {n} matrices"
        )


def check_alike(name: str, a, b, names=("A", "B")) -> None:
    """Raise PyTorch's error unless both have one dtype."""
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name}: Expected {names[0]} and {names[1]} to have the same dtype, but found "
            f"{names[0]} of type {scalar_name(a)} and {names[1]} of type {scalar_name(b)} instead"
        )


def check_operands(b, a) -> None:
    """Raise PyTorch's error of its older solvers unless both have one dtype."""
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"Expected b and A to have the same dtype, but found b of type {scalar_name(b)} and A "
            f"of type {scalar_name(a)} instead."
        )


def check_system(name: str, a, b, left: bool = True) -> None:
    """Raise PyTorch's errors unless AX = B, or XA = B, is a system."""
    check_alike(name, a, b)
    check_square(name, a)
    check_matrix(name, b, "B")
    if a.shape[-1] != b.shape[-2 if left else -1]:
        (m, n), (k, r) = a.shape[-2:], b.shape[-2:]
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX' if left else 'XA'} = B ({m}x{n} and {k}x{r})"
        )


# ---- small parts -------------------------------------------------------------------------------


def adjoint(x):
    """The conjugate transposes of a batch of matrices."""
    x = jnp.swapaxes(x, -1, -2)
    return x.conj() if jnp.iscomplexobj(x) else x


def diagonal(x):
    """The main diagonals of a batch of matrices."""
    return jnp.diagonal(x, axis1=-2, axis2=-1)


def embed(d):
    """Diagonal matrices with these diagonals."""
    n = d.shape[-1]
    return jnp.where(jnp.eye(n, dtype=bool), d[..., None, :], jnp.zeros((), d.dtype))


def identity(x):
    """The identity of the size of a square matrix, as a matrix of its batch."""
    n = x.shape[-1]
    return jnp.broadcast_to(jnp.eye(n, dtype=x.dtype), (*x.shape[:-1], n))


def together(a, b):
    """Two batches of matrices with one batch shape."""
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (
        jnp.broadcast_to(a, (*batch, *a.shape[-2:])),
        jnp.broadcast_to(b, (*batch, *b.shape[-2:])),
    )


def triangular(a, b, upper: bool, left: bool = True, unit: bool = False, adjoint=False):
    """The solution of a triangular system whose batches broadcast."""
    a, b = together(a, b)
    if a.size == 0 or b.size == 0:
        return jnp.zeros(b.shape, b.dtype) + 0 * a.sum() + 0 * b.sum()
    return lax.linalg.triangular_solve(
        a, b, left_side=left, lower=not upper, unit_diagonal=unit, transpose_a=adjoint,
        conjugate_a=adjoint,
    )  # fmt: skip


def factor(a):
    """(LU, pivots from 1, permutation) of LAPACK's getrf, empty matrices included."""
    if a.size == 0:
        (m, n), batch = a.shape[-2:], a.shape[:-2]
        k = min(m, n)
        ones = jnp.broadcast_to(jnp.arange(1, k + 1, dtype=np.int32), (*batch, k))
        rows = jnp.broadcast_to(jnp.arange(m, dtype=np.int32), (*batch, m))
        return a, ones, rows
    lu, pivots, rows = lax.linalg.lu(a)
    return lu, (pivots + 1).astype(np.int32), rows.astype(np.int32)


def zero_pivot(lu):
    """LAPACK's info of a factorization: the place, from 1, of the first zero of U's diagonal."""
    d = diagonal(lu)
    n = d.shape[-1]
    if n == 0:
        return jnp.zeros(d.shape[:-1], np.int32)
    number = ~jnp.isnan(lu).any((-2, -1))[..., None]  # what is none has no zeros to speak of
    at = jnp.where((d == 0) & number, jnp.arange(1, n + 1, dtype=np.int32), np.int32(n + 1)).min(-1)
    return jnp.where(at > n, np.int32(0), at)


def solve_factored(lu, rows, b):
    """X of PLU X = B, from a packed factorization and its permutation of rows."""
    lu, b = together(lu, b)
    rows = jnp.broadcast_to(rows, b.shape[:-1])
    b = jnp.take_along_axis(b, rows[..., None], -2)
    return triangular(lu, triangular(lu, b, upper=False, unit=True), upper=True)


def solved(a, b, left: bool = True):
    """(X, info) of AX = B, or of XA = B."""
    if not left:
        x, info = solved(adjoint(a), adjoint(b))
        return adjoint(x), info
    lu, _, rows = factor(a)
    return solve_factored(lu, rows, b), zero_pivot(lu)


# ---- determinants ------------------------------------------------------------------------------


@op("linalg_det", grad_name="LinalgDetBackward0")
def linalg_det(input):
    """The determinants of a batch of matrices."""
    check_square("linalg.det", input)
    check_floating("linalg.det", input)
    if input.shape[-1] == 0:
        return jnp.ones(input.shape[:-2], input.dtype)
    if input.size == 0:
        return jnp.zeros(input.shape[:-2], input.dtype)
    return jnp.linalg.det(input)


def _slogdet(name, input):
    check_square(name, input)
    check_floating(name, input)
    real = jnp.finfo(input.dtype).dtype
    if input.size == 0:
        batch = input.shape[:-2]
        return jnp.ones(batch, input.dtype), jnp.zeros(batch, real)
    sign, size = jnp.linalg.slogdet(input)
    return sign.astype(input.dtype), size.astype(real)


@op("linalg_slogdet", grad_name="LinalgSlogdetBackward0")
def linalg_slogdet(input):
    """The signs and the logarithms of the absolute values of determinants."""
    return _slogdet("linalg.slogdet", input)


@op(
    "logdet", forms=("function", "method"),
    grad_name=lambda c: "AddBackward0" if c.input.dtype.is_complex else "WhereBackward0",
)  # fmt: skip
def logdet(input):
    """The logarithms of the determinants of a batch of matrices."""
    sign, size = _slogdet("logdet", input)
    if jnp.iscomplexobj(sign):
        return jnp.log(sign) + size
    return jnp.where(sign == -1, jnp.full((), jnp.nan, size.dtype), size)


# ---- systems and inverses ----------------------------------------------------------------------


def _inverse_rule(c, g, _=None):
    back = adjoint(c.results[0])
    return -product(back, product(g, back))


@op("linalg_inv_ex", saves="result", vjp=_inverse_rule, grad_name="LinalgInvExBackward0")
def linalg_inv_ex(input, check_errors: bool = False):
    """The inverses of a batch of matrices, and where their factorization met a zero."""
    check_square("linalg.inv", input)
    check_floating("linalg.inv", input)
    return solved(input, identity(input))


def is_vector(a, b) -> bool:
    """Whether the right side of a system is a batch of vectors, as PyTorch tells them apart."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape)


def _solve_rule(c, g, _=None):
    a, left, x = c.operands[0], c.statics["left"], c.results[0]
    if is_vector(c.shapes[0], c.shapes[1]):
        g, x = (y[..., None] for y in (g, x))
    grad_b = solved(adjoint(a), g, left)[0]
    grad_a = None
    if c.need[0]:
        grad_a = -(product(grad_b, adjoint(x)) if left else product(adjoint(x), grad_b))
    if is_vector(c.shapes[0], c.shapes[1]):
        grad_b = grad_b[..., 0]
    return grad_a, grad_b


@op(
    "linalg_solve_ex", saves="both", needs={"A": ("A",), "B": ("A",)}, vjp=_solve_rule,
    grad_name="LinalgSolveExBackward0",
)  # fmt: skip
def linalg_solve_ex(A, B, left: bool = True, check_errors: bool = False):
    """The solutions of linear systems, and where the factorization met a zero."""
    check_floating("linalg.solve", A)
    check_square("linalg.solve", A)
    vector = is_vector(A, B)
    if vector:
        B = B[..., None]
    check_system("linalg.solve", A, B, left)
    x, info = solved(*together(A, B), left)
    if vector:
        x = x[..., 0]
    return x, jnp.broadcast_to(info, x.shape[: info.ndim]) if info.ndim else info


def _triangular_rule(c, g):
    (a, _), x = c.operands, c.result
    upper, left, unit = c.statics["upper"], c.statics["left"], c.statics["unitriangular"]
    grad_b = triangular(a, g, upper, left, unit, adjoint=True)
    if not c.need[0]:
        return None, grad_b
    grad_a = -(product(grad_b, adjoint(x)) if left else product(adjoint(x), grad_b))
    off = int(unit)
    return jnp.triu(grad_a, off) if upper else jnp.tril(grad_a, -off), grad_b


@op("linalg_solve_triangular", saves="both", needs={"A": ("A",), "B": ("A",)}, vjp=_triangular_rule)
def linalg_solve_triangular(
    A, B, *, upper: bool, left: bool = True, unitriangular: bool = False
):  # fmt: skip
    """The solutions of triangular systems."""
    check_system("linalg.solve_triangular", A, B, left)
    check_kernel("triangular_solve_cpu", A)
    return triangular(A, B, upper, left, unitriangular)


def _older_triangular_rule(c, g, g_used):
    (_, a), x = c.operands, c.results[0]
    upper, transpose, unit = (c.statics[k] for k in ("upper", "transpose", "unitriangular"))
    grad_a, grad_b = None, None
    if g is not None:
        used = jnp.swapaxes(a, -1, -2) if transpose else a
        grad_b = triangular(used, g, upper is not transpose, unit=unit, adjoint=True)
        if c.need[1]:
            grad_a = -product(grad_b, adjoint(x))
            grad_a = jnp.swapaxes(grad_a, -1, -2) if transpose else grad_a
            grad_a = jnp.triu(grad_a, int(unit)) if upper else jnp.tril(grad_a, -int(unit))
    if g_used is not None:
        grad_a = g_used if grad_a is None else grad_a + g_used
    return grad_b, grad_a


@op(
    "triangular_solve", saves="both", vjp=_older_triangular_rule,
    forms=("function", "method", "out", ("solution", "cloned_coefficient")),
)  # fmt: skip
def triangular_solve(
    input, A, upper: bool = True, transpose: bool = False, unitriangular: bool = False
):
    """The solutions of triangular systems, and the matrices as they were used."""
    for x, name in ((input, "b"), (A, "A")):
        if x.ndim < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it "
                f"has {x.ndim} dimensions instead"
            )
    check_square("", A)
    if A.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for triangular_solve: each A matrix is {A.shape[-1]} by "
            f"{A.shape[-1]} but each b matrix is {input.shape[-2]} by {input.shape[-1]}"
        )
    check_operands(input, A)
    a, b = together(A, input)
    used = jnp.swapaxes(a, -1, -2) if transpose else a
    used_upper = upper is not transpose
    return triangular(used, b, used_upper, unit=unitriangular), a


# ---- functions of matrices ---------------------------------------------------------------------


@op("linalg_matrix_exp", grad_name="LinalgMatrixExpBackward0")
def linalg_matrix_exp(input):
    """The exponentials of a batch of matrices."""
    check_square("linalg.matrix_exp", input)
    check_floating("linalg.matrix_exp", input, low_precision=True)
    if input.size == 0:
        return input
    if input.shape[-1] == 1:
        return jnp.exp(input)
    wide = input.astype(jnp.promote_types(input.dtype, np.float32))
    flat = wide.reshape((-1, *input.shape[-2:]))
    one = partial(expm, max_squarings=32)
    out = one(flat[0])[None] if flat.shape[0] == 1 else jax.vmap(one)(flat)
    return out.reshape(input.shape).astype(input.dtype)


@op(
    "linalg_vecdot", multilinear=True,
    grad_name=lambda c: "VdotBackward0" if c.x.ndim == c.y.ndim == 1 else "SumBackward1",
)  # fmt: skip
def linalg_vecdot(x, y, dim: Dim = -1):
    """The inner products of batches of vectors, the first one conjugated."""
    check_floating("linalg.vecdot", x, low_precision=True)
    check_alike("linalg.vecdot", x, y, ("x", "y"))
    if x.ndim == y.ndim == 1 and x.size != y.size:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{x.size}] and src [{y.size}] to have the "
            f"same number of elements, but got {x.size} and {y.size} elements respectively"
        )
    table.check_broadcast([x, y])
    products, at = along(x.conj() * y, dim)
    return products.sum(at, dtype=x.dtype)
