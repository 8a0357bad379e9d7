"""Factorizations by elimination and reflection: Cholesky, LU, QR and Householder products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._ops import loops
from torchlike._ops.derivatives import NO_DERIVATIVE
from torchlike._ops.linalg import (
    adjoint,
    check_floating,
    check_kernel,
    check_matrix,
    check_operands,
    check_square,
    check_system,
    diagonal,
    embed,
    factor,
    identity,
    op,
    solve_factored,
    together,
    triangular,
    zero_pivot,
)
from torchlike._ops.matmul import product, scalar_name

# ---- Cholesky ----------------------------------------------------------------------------------


def _halved(x):
    """A Hermitian matrix's lower triangle with half of its (real) diagonal."""
    d = diagonal(x)
    d = d.real.astype(x.dtype) if jnp.iscomplexobj(x) else d
    return jnp.tril(x, -1) + embed(d / 2)


def _cholesky_rule(c, g, _=None):
    lower = c.results[0]
    if c.statics["upper"]:
        lower, g = adjoint(lower), adjoint(g)
    phi = product(adjoint(lower), jnp.tril(g))
    phi = (jnp.tril(phi) + adjoint(jnp.tril(phi, -1))) / 2  # a complex diagonal stays as it is
    left = triangular(lower, phi, upper=False, adjoint=True)
    return triangular(lower, left, upper=False, left=False)


def _first_bad_minor(a):
    """The order of the first leading minor of a Hermitian matrix that is not positive, or 0."""
    n = a.shape[-1]

    def step(k, state):
        a, info = state
        pivot = a[..., k, k].real
        bad = (info == 0) & ~(pivot > 0)
        info = jnp.where(bad, (k + 1).astype(np.int32), info)
        column = a[..., :, k] / jnp.where(pivot > 0, pivot, 1).astype(a.dtype)[..., None]
        return a - column[..., :, None] * a[..., :, k].conj()[..., None, :], info

    start = jnp.zeros(a.shape[:-2], np.int32)
    return loops.fori_loop(0, n, step, (a, start))[1]


def _cholesky(a, upper):
    """(factor, info): LAPACK reads one triangle, and so must this."""
    if a.size == 0:
        return a, jnp.zeros(a.shape[:-2], np.int32)
    if upper:
        a = adjoint(a)
    lower = jnp.tril(lax.linalg.cholesky(a, symmetrize_input=False))
    failed = ~jnp.isfinite(diagonal(lower).real).all(-1)
    half = _halved(a)
    info = loops.cond(
        failed.any(), _first_bad_minor, lambda x: jnp.zeros(x.shape[:-2], np.int32),
        half + adjoint(half),
    )  # fmt: skip
    # It rounds in another order than LAPACK, whose verdict on an almost singular matrix holds.
    info = jnp.where(failed, jnp.where(info == 0, a.shape[-1], info), 0).astype(np.int32)
    return (adjoint(lower) if upper else lower), info


@op("linalg_cholesky_ex", saves="result", vjp=_cholesky_rule, grad_name="LinalgCholeskyExBackward0")
def linalg_cholesky_ex(input, upper: bool = False, check_errors: bool = False):
    """Cholesky factors, and the order of the first leading minor that is not positive."""
    check_square("linalg.cholesky", input)
    check_floating("linalg.cholesky", input)
    return _cholesky(input, upper)


def _cholesky_solve_rule(c, g):
    (_, factor), x, upper = c.operands, c.result, c.statics["upper"]
    grad_b = cholesky_solve(g, factor, upper)
    if not c.need[1]:
        return grad_b, None
    both = product(grad_b, adjoint(x))
    both = both + adjoint(both)
    return grad_b, -(product(factor, both) if upper else product(both, factor))


@op("cholesky_solve", saves="both", vjp=_cholesky_solve_rule, forms=("function", "method", "out"))
def cholesky_solve(input, input2, upper: bool = False):
    """The solutions of systems whose matrix is given by its Cholesky factor."""
    for x, name in ((input, "b"), (input2, "u")):
        if x.ndim < 2:
            raise RuntimeError(
                f"{name} should have at least 2 dimensions, but has {x.ndim} dimensions instead"
            )
    check_square("", input2)
    n, (k, r) = input2.shape[-1], input.shape[-2:]
    if n != k:
        raise RuntimeError(
            f"Incompatible matrix sizes for cholesky_solve: each A matrix is {n} by {n} but each b "
            f"matrix is {k} by {r}"
        )
    check_operands(input, input2)
    first = triangular(input2, input, upper, adjoint=upper)
    return triangular(input2, first, upper, adjoint=not upper)


def _cholesky_inverse_rule(c, g):
    factor, result = c.operands[0], c.result
    both = product(result, product(g + adjoint(g), result))
    return -(product(factor, both) if c.statics["upper"] else product(both, factor))


@op(
    "cholesky_inverse",
    saves="both",
    vjp=_cholesky_inverse_rule,
    forms=("function", "method", "out"),
)
def cholesky_inverse(input, upper: bool = False):
    """The inverses of matrices given by their Cholesky factors."""
    check_square("cholesky_inverse", input)
    first = triangular(input, identity(input), upper, adjoint=upper)
    return triangular(input, first, upper, adjoint=not upper)


# ---- LU ----------------------------------------------------------------------------------------


def _check_sizes(name, x):
    if x.ndim < 2:
        raise RuntimeError(
            f"{name}: Expected tensor with 2 or more dimensions. Got size: {list(x.shape)} instead"
        )


def _check_pivoting(pivot):
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")


@op("linalg_lu_factor_ex", grad_name="LinalgLuFactorExBackward0")
def linalg_lu_factor_ex(A, pivot: bool = True, check_errors: bool = False):
    """Packed LU factors, pivots, and where the first zero of U's diagonal stands."""
    _check_sizes("torch.lu_factor", A)
    check_kernel("lu_cpu", A)
    _check_pivoting(pivot)
    lu, pivots, _ = factor(A)
    return lu, pivots, zero_pivot(lu)


def _unpacked(lu):
    m, n = lu.shape[-2:]
    k = min(m, n)
    lower = jnp.tril(lu[..., :, :k], -1) + jnp.eye(m, k, dtype=lu.dtype)
    return lower, jnp.triu(lu[..., :k, :])


def _permutation(rows, dtype):
    """The matrix P of A = PLU, from the permutation that elimination applies to A's rows."""
    m = rows.shape[-1]
    return (rows[..., None, :] == jnp.arange(m, dtype=rows.dtype)[:, None]).astype(dtype)


@op("linalg_lu", grad_name="LinalgLuBackward0")
def linalg_lu(A, pivot: bool = True):
    """The permutation, the lower and the upper factor of matrices."""
    _check_sizes("linalg.lu", A)
    check_kernel("lu_cpu", A)
    _check_pivoting(pivot)
    lu, _, rows = factor(A)
    return _permutation(rows, A.dtype), *_unpacked(lu)


def _rows_of(pivots, m: int):
    """LAPACK's pivots, exchanges of rows in turn, as a permutation."""
    rows = jnp.broadcast_to(jnp.arange(m, dtype=np.int32), (*pivots.shape[:-1], m))

    def step(k, rows):
        other = pivots[..., k] - 1
        at = jnp.arange(m, dtype=np.int32)
        a = rows[..., k]
        b = jnp.take_along_axis(rows, other[..., None], -1)[..., 0]
        rows = jnp.where(at == other[..., None], a[..., None], rows)
        return jnp.where(at == k, b[..., None], rows)

    return loops.fori_loop(0, pivots.shape[-1], step, rows) if pivots.shape[-1] else rows


@op("lu_unpack_parts", grad_name="LuUnpackBackward0")
def lu_unpack_parts(LU_data, LU_pivots, unpack_data: bool, unpack_pivots: bool):
    """P, L and U of a packed factorization; what is not asked for is empty."""
    if LU_pivots.dtype != np.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            "dtype.\nNote: this function is intended to be used with the output produced by "
            "torch.linalg.lu_factor"
        )
    check_matrix("torch.lu_unpack", LU_data, "LU_data")
    empty = jnp.zeros((0,), LU_data.dtype)
    lower, upper = _unpacked(LU_data) if unpack_data else (empty, empty)
    m = LU_data.shape[-2]
    p = _permutation(_rows_of(LU_pivots, m), LU_data.dtype) if unpack_pivots else empty
    return p, lower, upper


@op("linalg_lu_solve", grad_name="LinalgLuSolveBackward0")
def linalg_lu_solve(LU, pivots, B, *, left: bool = True, adjoint: bool = False):
    """The solutions of systems whose matrix is given by its LU factors."""
    check_floating("torch.linalg.lu_solve", LU)
    if pivots.dtype != np.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    check_system("linalg.lu_solve", LU, B, left)
    if pivots.shape != LU.shape[:-1]:
        raise RuntimeError(
            "linalg.lu_solve: Number of pivots per batch should be same as the dimension of the "
            "matrix"
        )
    rows = _rows_of(pivots, LU.shape[-1])
    flip = _adjoint
    if left is adjoint:  # XA = B is A^H X^H = B^H, and so are the other two
        out = _solve_adjoint(LU, rows, B if left else flip(B))
    else:
        out = solve_factored(LU, rows, B if left else flip(B))
    return out if left else flip(out)


_adjoint = adjoint


def _solve_adjoint(lu, rows, b):
    """X of (PLU)^H X = B."""
    lu, b = together(lu, b)
    rows = jnp.broadcast_to(rows, b.shape[:-1])
    x = triangular(lu, b, upper=True, adjoint=True)
    x = triangular(lu, x, upper=False, unit=True, adjoint=True)
    return jnp.take_along_axis(x, jnp.argsort(rows, -1)[..., None], -2)


# ---- QR ----------------------------------------------------------------------------------------


def _square_qr_rule(q, r, gq, gr):
    """The gradient of A = QR for a matrix that is not wide."""
    x = product(gr, adjoint(r)) if gr is not None else 0
    if gq is not None:
        x = x - product(adjoint(q), gq)
    x = jnp.triu(x)
    d = diagonal(x)
    x = x + adjoint(x) - embed(d.real.astype(d.dtype) if jnp.iscomplexobj(d) else d)
    x = product(q, x)
    if gq is not None:
        x = x + gq
    return triangular(r, x, upper=True, left=False, adjoint=True)


def _refuse_qr(statics, in_avals):
    """The shape of the gradient, where there is one: else an error at ``backward``."""
    spec = statics[0]
    (a,), mode = spec.avals, spec.statics[0]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please "
            "use linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr."
        )
    if mode == "complete" and a.shape[-2] > a.shape[-1]:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols."
        )
    return [(a.shape, a.dtype)]


def _qr_rule(c, gq, gr):
    m, n = c.shapes[0].shape[-2:]
    q, r = c.results
    if m >= n:
        return _square_qr_rule(q, r, gq, gr)
    left, right = (None, None) if gr is None else (gr[..., :, :m], gr[..., :, m:])
    if gr is not None:
        more = product(q, product(r[..., :, m:], adjoint(right)))
        gq = more if gq is None else gq + more
    first = _square_qr_rule(q, r[..., :, :m], gq, left)
    rest = jnp.zeros_like(r[..., :, m:]) if gr is None else product(q, right)
    return jnp.concatenate([first, rest], -1)


_qr_rule.refuse = _refuse_qr


@op("linalg_qr", saves="result", vjp=_qr_rule, grad_name="LinalgQrBackward0")
def linalg_qr(A, mode: str = "reduced"):
    """Orthonormal and upper triangular factors."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    check_matrix("linalg.qr", A)
    check_floating("linalg.qr", A)
    (m, n), batch = A.shape[-2:], A.shape[:-2]
    k = m if mode == "complete" else min(m, n)
    if A.size == 0:
        eye = jnp.broadcast_to(jnp.eye(m, k, dtype=A.dtype), (*batch, m, k))
        q, r = eye, jnp.zeros((*batch, k, n), A.dtype)
    elif mode == "r":
        q, r = None, jnp.linalg.qr(A, mode="r")
    else:
        q, r = jnp.linalg.qr(A, mode=mode)
    return (jnp.zeros((0,), A.dtype) if mode == "r" else q), r


@op("geqrf", vjp=NO_DERIVATIVE, forms=("function", "method", "out", ("a", "tau")))
def geqrf(input):
    """The reflections and factors of LAPACK's QR factorization."""
    if input.ndim < 2:
        raise RuntimeError("torch.geqrf: input must have at least 2 dimensions.")
    check_kernel("geqrf_cpu", input)
    if input.size == 0:
        return input, jnp.zeros((*input.shape[:-2], min(input.shape[-2:])), input.dtype)
    packed, tau = jnp.linalg.qr(input, mode="raw")
    return jnp.swapaxes(packed, -1, -2), tau


def _reflected(input, tau, x, reverse: bool, conjugate: bool):
    """Reflections I - tau v v^H applied to ``x`` one after the other, the last one first or not."""
    k = tau.shape[-1]
    if k == 0 or x.size == 0:
        return x + 0 * input.sum() + 0 * tau.sum()
    m = input.shape[-2]
    v = jnp.tril(input[..., :, :k], -1) + jnp.eye(m, k, dtype=input.dtype)
    factors = tau.conj() if conjugate else tau

    def step(x, part):
        w, t = part
        along = product(w.conj()[..., None, :], x)
        return x - t[..., None, None] * w[..., :, None] * along, None

    parts = (jnp.moveaxis(v, -1, 0), jnp.moveaxis(factors, -1, 0))
    return loops.scan(step, x, parts, reverse=reverse)[0]


def _householder(input, tau):
    m, n = input.shape[-2:]
    eye = jnp.broadcast_to(jnp.eye(m, n, dtype=input.dtype), input.shape)
    return _reflected(input, tau, eye, reverse=True, conjugate=False)


def _householder_rule(c, g):
    _, pull = jax.vjp(_householder, *c.operands)
    g_input, g_tau = pull(g.conj() if jnp.iscomplexobj(g) else g)
    if jnp.iscomplexobj(g):
        return g_input.conj(), g_tau.conj()
    return g_input, g_tau


@op(
    "linalg_householder_product", vjp=_householder_rule,
    grad_name="LinalgHouseholderProductBackward0",
)  # fmt: skip
def linalg_householder_product(input, tau):
    """The first columns of products of Householder reflections."""
    name = "torch.linalg.householder_product"
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    (m, n), k = input.shape[-2:], tau.shape[-1] if tau.ndim else 0
    if m < n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if n < k:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if input.ndim - tau.ndim != 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal "
            f"to {tau.ndim} and input.ndim is equal to {input.ndim}"
        )
    if input.shape[:-2] != tau.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.shape[:-1])}"
        )
    if tau.dtype != input.dtype:
        raise RuntimeError(
            f"{name}: tau dtype {scalar_name(tau)} does not match input dtype {scalar_name(input)}"
        )
    check_kernel("orgqr_cpu", input)
    if input.size == 0 or k == 0:
        return _householder(input, tau)
    return lax.linalg.householder_product(input, tau)


@op("ormqr", forms=("function", "method", "out"), grad_name="OrmqrBackward0")
def ormqr(input, tau, other, left: bool = True, transpose: bool = False):
    """The product of a matrix with the orthogonal matrix of Householder reflections."""
    for x, name in ((input, "input"), (other, "other")):
        if x.ndim < 2:
            raise RuntimeError(f"torch.ormqr: {name} must have at least 2 dimensions.")
    if other.ndim != input.ndim:
        raise RuntimeError(
            "torch.ormqr: Expected other to have the same number of dimensions as input, but got "
            f"other.ndim equal to {other.ndim} and input.ndim is equal to {input.ndim}"
        )
    side = -2 if left else -1
    if other.shape[side] < tau.shape[-1]:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{side}] must be greater than or equal to tau.shape[-1]"
        )
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
    if tau.shape[-1] != min(other.shape[-2 if left else -1], input.shape[-1]):
        raise RuntimeError(
            "torch.ormqr: tau.shape[-1] must be equal to min(other.shape[-2], input.shape[-1])"
        )
    for name, batch in (("tau", tau.shape[:-1]), ("other", other.shape[:-2])):
        if batch != input.shape[:-2]:
            raise RuntimeError(
                f"torch.ormqr: Expected batch dimensions of {name} to be equal to input.shape[:-2]"
                f", but got {list(batch)}"
            )
    if tau.dtype != input.dtype or other.dtype != input.dtype:
        wrong, name = (tau, "tau") if tau.dtype != input.dtype else (other, "other")
        raise RuntimeError(
            f"torch.ormqr: Expected input and {name} to have the same dtype, but input has dtype "
            f"{scalar_name(input)} and {name} has dtype {scalar_name(wrong)}"
        )
    x = other if left else adjoint(other)
    back = transpose if left else not transpose  # whether Q^H is applied rather than Q
    out = _reflected(input, tau, x, reverse=not back, conjugate=back)
    return out if left else adjoint(out)
