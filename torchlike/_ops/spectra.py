"""Eigenvalues and singular values, and what PyTorch computes from them: pinv, ranks, lstsq."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.linalg import (
    adjoint,
    check_floating,
    check_kernel,
    check_matrix,
    check_square,
    diagonal,
    embed,
    op,
    solved,
)
from torchlike._ops.matmul import product
from torchlike._ops.table import report_bad_index, torch_dtype

# ---- eigenvalues -------------------------------------------------------------------------------


def _gaps(values):
    """Differences of eigenvalues, with ones on the diagonal."""
    e = values[..., None, :] - values[..., :, None]
    return jnp.where(jnp.eye(e.shape[-1], dtype=bool), jnp.ones((), e.dtype), e)


def _eigh_rule(c, gl, gv=None):
    values, v = c.results
    d = embed(gl.astype(v.dtype)) if gl is not None else 0
    if gv is not None:
        x = product(adjoint(v), gv)
        # Unit vectors can only turn: what would stretch them is no part of the gradient.
        d = _off((x - adjoint(x)) / 2 / _gaps(values).astype(v.dtype)) + d
    return product(product(v, d), adjoint(v))


def _report(bad) -> None:
    """Let the program say whether a matrix has elements that the algorithm does not take."""
    report_bad_index(bad.any().reshape(1).astype(np.int64), 1)


@op("linalg_eigh", saves="result", vjp=_eigh_rule, grad_name="LinalgEighBackward0")
def linalg_eigh(A, UPLO: str = "L"):
    """Eigenvalues, in ascending order, and eigenvectors of Hermitian matrices."""
    check_square("linalg.eigh", A)
    check_kernel("linalg_eigh_cpu", A)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    if A.size == 0:
        return jnp.zeros(A.shape[:-1], jnp.finfo(A.dtype).dtype), A
    # LAPACK reads one triangle, and of a complex diagonal the real part.
    if UPLO.upper() == "U":
        A = adjoint(A)
    v, values = lax.linalg.eigh(A, lower=True, symmetrize_input=False)
    return values, v


def _eig_rule(c, gl, gv=None):
    values, v = c.results
    d = embed(gl) if gl is not None else 0
    if gv is not None:
        vh = adjoint(v)
        x = product(vh, gv)
        x = x - product(product(vh, v), embed(diagonal(x).real.astype(x.dtype)))
        x = x / _gaps(values).conj()
        d = jnp.where(jnp.eye(x.shape[-1], dtype=bool), jnp.zeros((), x.dtype), x) + d
    return solved(adjoint(v), product(d, adjoint(v)))[0]


@op("linalg_eig", checks=True, saves="both", vjp=_eig_rule, grad_name="LinalgEigBackward0")
def linalg_eig(A):
    """Eigenvalues and eigenvectors of square matrices, complex."""
    check_square("linalg.eig", A)
    check_floating("linalg.eig", A)
    kind = jnp.promote_types(A.dtype, np.complex64)
    if A.size == 0:
        return jnp.zeros(A.shape[:-1], kind), jnp.zeros(A.shape, kind)
    _report(~jnp.isfinite(A))
    values, v = jnp.linalg.eig(jnp.where(jnp.isfinite(A), A, 0))  # which says so by itself
    return values.astype(kind), v.astype(kind)


# ---- singular values ---------------------------------------------------------------------------


def _svd_rule(c, gu, gs, gvh):
    u, s, vh = c.results
    k = s.shape[-1]
    m, n = c.shapes[0].shape[-2:]
    u, vh = u[..., :, :k], vh[..., :k, :]
    if gu is None and gvh is None:
        return product(u, gs[..., :, None].astype(u.dtype) * vh)
    gu = None if gu is None else gu[..., :, :k]
    gvh = None if gvh is None else gvh[..., :k, :]
    kind = u.dtype
    row, column = s[..., None, :].astype(kind), s[..., :, None].astype(kind)
    squares = _gaps(s * s).astype(kind)
    inner = embed(gs.astype(kind)) if gs is not None else 0
    if gu is not None:
        x = product(adjoint(u), gu)
        skew_u = x - adjoint(x)
        inner = inner + _off(skew_u / squares) * row
        if gvh is not None and jnp.iscomplexobj(u):  # the phases of U and V move together
            inner = inner + embed(diagonal(skew_u) / (2 * s).astype(kind))
    if gvh is not None:
        y = product(vh, adjoint(gvh))
        skew_v = y - adjoint(y)
        inner = inner + column * _off(skew_v / squares)
    out = product(u, product(inner, vh))
    if m > k and gu is not None:
        rest = gu - product(u, product(adjoint(u), gu))
        out = out + product(rest / row, vh)
    if n > k and gvh is not None:
        rest = gvh - product(product(gvh, adjoint(vh)), vh)
        out = out + product(u / row, rest)
    return out


def _off(x):
    """A matrix without its diagonal."""
    return jnp.where(jnp.eye(x.shape[-1], dtype=bool), jnp.zeros((), x.dtype), x)


@op("linalg_svd", checks=True, saves="result", vjp=_svd_rule, grad_name="LinalgSvdBackward0")
def linalg_svd(A, full_matrices: bool = True):
    """Singular values in descending order, and singular vectors."""
    check_matrix("linalg.svd", A)
    check_floating("linalg.svd", A)
    (m, n), batch = A.shape[-2:], A.shape[:-2]
    k = min(m, n)
    if A.size == 0:
        kind = jnp.finfo(A.dtype).dtype
        p, q = (m, n) if full_matrices else (k, k)
        u = jnp.broadcast_to(jnp.eye(m, p, dtype=A.dtype), (*batch, m, p))
        vh = jnp.broadcast_to(jnp.eye(q, n, dtype=A.dtype), (*batch, q, n))
        return u, jnp.zeros((*batch, k), kind), vh
    _report(jnp.isnan(A))
    return tuple(jnp.linalg.svd(A, full_matrices=full_matrices))


# ---- pseudo-inverses ---------------------------------------------------------------------------


def _pinv_rule(c, g):
    return _pinv_gradient(c.operands[0], c.result, g), None, None


def _pinv_gradient(a, p, g):
    """The gradient of a pseudo-inverse whose rank stays: its three terms, for any shape."""
    ph = adjoint(p)
    along = -product(ph, product(g, ph))
    pph, php = product(p, ph), product(ph, p)
    gh = adjoint(g)
    rows = product(php, gh) - product(php, product(gh, product(p, a)))
    columns = product(gh, pph) - product(a, product(p, product(gh, pph)))
    return along + rows + columns


@op(
    "linalg_pinv",
    checks=True,
    numbers=None,
    saves="both",
    vjp=_pinv_rule,
    grad_name="LinalgPinvBackward0",
)
def linalg_pinv(input, rtol, atol, hermitian: bool = False):
    """Moore-Penrose inverses; singular values at or below the tolerance count as zero."""
    name = "linalg.pinv"
    check_matrix(name, input)
    m, n = input.shape[-2:]
    if hermitian:
        check_square(name, input)
    if input.size == 0:
        return jnp.zeros((*input.shape[:-2], n, m), input.dtype)
    if hermitian:
        v, s = lax.linalg.eigh(input, lower=True, symmetrize_input=False)
        size = jnp.abs(s)
        u = v
    else:
        _report(jnp.isnan(input))
        u, s, vh = jnp.linalg.svd(input, full_matrices=False)
        size, v = s, adjoint(vh)
    keep = size > limit(size, rtol, atol, max(m, n))[..., None]
    inverse = jnp.where(keep, 1 / jnp.where(keep, s, 1), 0).astype(input.dtype)
    return product(v * inverse[..., None, :], adjoint(u))


def _real(tolerance, sizes):
    return tolerance.real.astype(sizes.dtype)


def limit(sizes, rtol, atol, n: int):
    """The size up to which PyTorch takes a singular value for zero."""
    largest = sizes.max(-1)
    eps = jnp.finfo(sizes.dtype).eps * n
    absolute = jnp.zeros((), sizes.dtype) if atol is None else _real(atol, sizes)
    if rtol is None:
        relative = jnp.full((), eps, sizes.dtype)
        if atol is not None:
            relative = jnp.where(absolute > 0, jnp.zeros((), sizes.dtype), relative)
    else:
        relative = _real(rtol, sizes)
    return jnp.maximum(absolute, relative * largest)


@op("linalg_matrix_rank", checks=True, numbers=None, differentiable=False)
def linalg_matrix_rank(input, rtol, atol, hermitian: bool = False):
    """How many singular values exceed the tolerance."""
    check_matrix("torch.linalg.matrix_rank", input, "input")
    if torch_dtype(input).category < dt.FLOATING or torch_dtype(input) in dt.HALF:
        raise RuntimeError("This function doesn't handle types other than float and double")
    if hermitian:
        check_square("linalg.eigh", input)
    batch = input.shape[:-2]
    if input.size == 0:
        return jnp.zeros(batch, np.int64)
    if hermitian:
        sizes = jnp.abs(lax.linalg.eigh(input, lower=True, symmetrize_input=False)[1])
    else:
        _report(jnp.isnan(input))
        sizes = jnp.linalg.svd(input, compute_uv=False)
    least = limit(sizes, rtol, atol, max(input.shape[-2:]))
    return (sizes > least[..., None]).sum(-1, dtype=np.int64)


@op("linalg_svdvals", checks=True, differentiable=False)
def linalg_svdvals(A):
    """Singular values alone, in descending order."""
    check_matrix("linalg.svd", A)
    check_floating("linalg.svd", A)
    if A.size == 0:
        return jnp.zeros((*A.shape[:-2], min(A.shape[-2:])), jnp.finfo(A.dtype).dtype)
    _report(jnp.isnan(A))
    return jnp.linalg.svd(A, compute_uv=False)


@op("linalg_eigvals", differentiable=False)
def linalg_eigvals(A):
    """Eigenvalues alone, complex."""
    check_square("linalg.eigvals", A)
    check_floating("linalg.eigvals", A)
    kind = jnp.promote_types(A.dtype, np.complex64)
    if A.size == 0:
        return jnp.zeros(A.shape[:-1], kind)
    # LAPACK refuses what is not finite, and leaves anything.
    finite = jnp.isfinite(A).all((-1, -2), keepdims=True)
    values = jnp.linalg.eigvals(jnp.where(finite, A, 0)).astype(kind)
    return jnp.where(finite[..., 0], values, np.array(complex(np.nan, np.nan), kind))
