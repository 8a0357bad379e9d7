"""LDL factorization of symmetric and Hermitian matrices, with LAPACK's Bunch-Kaufman pivots."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from torchlike._ops import loops
from torchlike._ops.derivatives import NO_DERIVATIVE
from torchlike._ops.linalg import check_floating, check_kernel, check_square, op, together
from torchlike._ops.matmul import scalar_name

_ALPHA = (1 + 17**0.5) / 8


def _size(x):
    """LAPACK's cheap absolute value."""
    return jnp.abs(x.real) + jnp.abs(x.imag) if jnp.iscomplexobj(x) else jnp.abs(x)


def _exchange(x, i, j):
    """Rows i and j exchanged."""
    at = jnp.arange(x.shape[0])
    return x[jnp.where(at == i, j, jnp.where(at == j, i, at))]


def _pivot(a, k):
    """(row to exchange, whether the block is 2 by 2, whether the column is zero) at step k."""
    at = jnp.arange(a.shape[0])
    here, below = _size(a[k, k]), jnp.where(at > k, _size(a[:, k]), 0)
    largest = jnp.argmax(below)
    column = below[largest]
    row = jnp.where((at >= k) & (at != largest), _size(a[largest]), 0).max()
    stay = here >= _ALPHA * column
    stay |= here * row >= _ALPHA * column * column
    zero = jnp.maximum(here, column) == 0
    alone = _size(a[largest, largest]) >= _ALPHA * row
    return jnp.where(stay | zero, k, largest), ~(stay | zero | alone), zero


def _factor(a, hermitian: bool):
    """(LD, pivots, info) of one matrix, whose lower triangle is read."""
    n = a.shape[0]
    flip = (lambda x: x.conj()) if hermitian and jnp.iscomplexobj(a) else (lambda x: x)
    low = jnp.tril(a, -1)
    d = jnp.diagonal(a)
    a = low + flip(low.T) + jnp.diag(d.real.astype(a.dtype) if hermitian else d)
    at = jnp.arange(n)

    def step(state):
        a, pivots, k, info = state
        other, double, zero = _pivot(a, k)
        first = k + double
        # Only what is not yet eliminated is exchanged: LAPACK leaves the columns of L as they are.
        rows = jnp.where(at == first, other, jnp.where(at == other, first, at))
        left = (at < k)[None, :]
        a = jnp.where(left, a, a[rows][:, rows])
        rest = at >= first + 1
        one = jnp.where(rest, a[:, k], 0) / jnp.where(zero, 1, a[k, k])
        single = a - jnp.where(zero, 0, one[:, None] * flip(jnp.where(rest, a[:, k], 0))[None, :])
        single = single.at[:, k].set(jnp.where(rest & ~zero, one, a[:, k]))
        second = jnp.minimum(k + 1, n - 1)
        p, q, r = a[k, k], a[second, k], a[second, second]
        w, v = jnp.where(rest, a[:, k], 0), jnp.where(rest, a[:, second], 0)
        safe = jnp.where(double, p * r - q * flip(q), 1)
        x, y = (w * r - v * q) / safe, (v * p - w * flip(q)) / safe
        pair = a - x[:, None] * flip(w)[None, :] - y[:, None] * flip(v)[None, :]
        pair = pair.at[:, k].set(jnp.where(rest, x, a[:, k]))
        pair = pair.at[:, second].set(jnp.where(rest, y, a[:, second]))
        a = jnp.where(double, pair, single)
        entry = jnp.where(double, -(other + 1), other + 1).astype(np.int32)
        pivots = jnp.where((at == k) | (at == first), entry, pivots)
        info = jnp.where(zero & (info == 0), k + 1, info).astype(np.int32)
        return a, pivots, k + 1 + double, info

    start = (a, jnp.zeros(n, np.int32), jnp.int32(0), jnp.int32(0))
    a, pivots, _, info = loops.while_loop(lambda state: state[2] < n, step, start)
    return jnp.tril(a), pivots, info


def _solve(ld, pivots, b, hermitian: bool):
    """X of one system, from its factorization."""
    n = ld.shape[0]
    flip = (lambda x: x.conj()) if hermitian and jnp.iscomplexobj(ld) else (lambda x: x)
    at = jnp.arange(n)

    def below(column, k):
        return jnp.where(at > k, ld[:, column], 0)

    def forward(state):
        b, k = state
        double = pivots[k] < 0
        last = k + double
        second = jnp.minimum(k + 1, n - 1)
        b = _exchange(b, last, jnp.abs(pivots[k]) - 1)
        more = jnp.where(double, below(second, last), 0)
        b = b - below(k, last)[:, None] * b[k] - more[:, None] * b[second]
        p, q, r = ld[k, k], ld[second, k], ld[second, second]
        safe = jnp.where(double, p * r - q * flip(q), 1)
        x, y = (r * b[k] - flip(q) * b[second]) / safe, (p * b[second] - q * b[k]) / safe
        pair = b.at[k].set(x).at[second].set(y)
        return jnp.where(double, pair, b.at[k].set(b[k] / jnp.where(double, 1, p))), last + 1

    def backward(state):
        b, k = state
        double = pivots[k] < 0
        j = jnp.maximum(k - 1, 0)
        x = b[k] - (flip(below(k, k))[:, None] * b).sum(0)
        y = b[j] - (flip(below(j, k))[:, None] * b).sum(0)
        b = jnp.where(double, b.at[j].set(y), b).at[k].set(x)
        return _exchange(b, k, jnp.abs(pivots[k]) - 1), k - 1 - double

    b, _ = loops.while_loop(lambda s: s[1] < n, forward, (b, jnp.int32(0)))
    return loops.while_loop(lambda s: s[1] >= 0, backward, (b, jnp.int32(n - 1)))[0]


@op("linalg_ldl_factor_ex", vjp=NO_DERIVATIVE, grad_name="NotImplemented")
def linalg_ldl_factor_ex(input, hermitian: bool = False, check_errors: bool = False):
    """Packed L and D of A = L D L^T or L D L^H, pivots, and where D is singular."""
    check_square("torch.linalg.ldl_factor_ex", input)
    check_floating("torch.linalg.ldl_factor_ex", input, low_precision=True)
    check_kernel("ldl_factor_kernel_cpu", input)
    batch, n = input.shape[:-2], input.shape[-1]
    if input.size == 0:
        return input, jnp.zeros((*batch, n), np.int32), jnp.zeros(batch, np.int32)
    parts = loops.map(partial(_factor, hermitian=hermitian), input.reshape(-1, n, n))
    return tuple(x.reshape((*batch, *x.shape[1:])) for x in parts)


@op("linalg_ldl_solve", vjp=NO_DERIVATIVE, grad_name="NotImplemented")
def linalg_ldl_solve(LD, pivots, B, hermitian: bool = False):
    """The solutions of systems whose matrix is given by its LDL factorization."""
    name = "torch.linalg.ldl_solve"
    check_square(name, LD)
    if B.ndim < 2:
        raise RuntimeError(
            f"{name}: Expected B to have at least 2 dimensions, but it has {B.ndim} dimensions "
            "instead"
        )
    if jnp.issubdtype(pivots.dtype, jnp.inexact):
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {scalar_name(pivots)}")
    n, (k, r) = LD.shape[-1], B.shape[-2:]
    if n != k:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {n} by {n} but each b matrix "
            f"is {k} by {r}"
        )
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with "
            f"shape {list(pivots.shape)} instead"
        )
    LD, B = together(LD, B)
    if B.size == 0 or n == 0:
        return B
    pivots = jnp.broadcast_to(pivots, B.shape[:-1]).astype(np.int32)
    flat = LD.reshape(-1, n, n), pivots.reshape(-1, n), B.reshape(-1, n, r)
    return loops.map(lambda x: _solve(*x, hermitian=hermitian), flat).reshape(B.shape)
