"""Factorizations of matrices, triangular systems and Fourier transforms.

JAX calls the LAPACK that SciPy brings on the CPU, and so does this: the same routines with the same
sizes of workspace give the same bits. A compile of one of them takes 40 to 190 ms for each shape,
the routine a few microseconds.
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from torchlike._engine.primitives.registry import Unsupported, builder

_KINDS = frozenset(("float32", "float64", "complex64", "complex128"))


@cache
def _routine(name: str, dtype):
    """SciPy's LAPACK or BLAS routine for a dtype; the first one imports scipy.linalg."""
    from scipy.linalg import blas, lapack

    if dtype.kind == "c":  # of unitary and Hermitian matrices they have other names
        name = name.replace("orgqr", "ungqr").replace("syevd", "heevd")
    name = {"f4": "s", "f8": "d", "c8": "c", "c16": "z"}[dtype.str[1:]] + name
    return getattr(lapack, name, None) or getattr(blas, name)


def _workspace(name: str, dtype, *sizes, **options) -> list[int]:
    """The sizes of workspace that a routine asks for: they decide upon its blocks."""
    *needed, _ = _routine(f"{name}_lwork", dtype)(*sizes, **options)
    return [int(np.real(n)) for n in needed]


def _factorization(name: str):
    """Register what builds, from (parameters, dtype, operand avals, result avals), the function of
    one matrix: a tuple of results. It is called for each of a stack."""

    def put(build):
        @builder(name)
        def built(params, ins, outs):
            dtype = np.dtype(ins[0].dtype)
            if dtype.name not in _KINDS:
                raise Unsupported("a dtype without LAPACK")
            if not all(prod(a.shape) for a in ins):
                raise Unsupported("LAPACK of empty matrices")
            if any(params.get(k) is not None for k in _OTHER_WAYS) or params.get("pivoting"):
                raise Unsupported("another algorithm")
            return _over_stack(build(params, dtype, ins, outs), ins, outs)

        return build

    return put


_OTHER_WAYS = ("algorithm", "implementation", "subset_by_index")


def _over_stack(one, ins, outs):
    batch = ins[0].shape[:-2]
    count = prod(batch)

    def run(*xs):
        if not batch:
            return [np.asarray(r, o.dtype, order="C") for r, o in zip(one(*xs), outs, strict=True)]
        results = [np.empty(o.shape, o.dtype) for o in outs]
        flat = [x.reshape(count, *x.shape[len(batch) :]) for x in xs]
        rows = [r.reshape(count, *r.shape[len(batch) :]) for r in results]
        for n in range(count):
            for row, r in zip(rows, one(*[x[n] for x in flat]), strict=True):
                row[n] = r
        return results

    return run if len(outs) > 1 else lambda *xs: run(*xs)[0]


def _or_nan(info: int, *results) -> tuple:
    """What a routine found, or nan where it did not succeed."""
    if not info:
        return results
    nan = complex(np.nan, np.nan)
    return tuple([np.full_like(r, nan if r.dtype.kind == "c" else np.nan) for r in results])


@_factorization("cholesky")
def _cholesky(params, dtype, ins, outs):
    potrf = _routine("potrf", dtype)

    def one(x):
        factor, info = potrf(x, lower=1, clean=0)
        return _or_nan(info, factor)

    return one


@_factorization("lu")
def _lu(params, dtype, ins, outs):
    getrf = _routine("getrf", dtype)
    rows = ins[0].shape[-2]

    def one(x):
        factors, pivots, _ = getrf(x)
        order = np.arange(rows)
        for i, p in enumerate(pivots):
            order[i], order[p] = order[p], order[i]
        return factors, pivots, order

    return one


@_factorization("triangular_solve")
def _triangular_solve(params, dtype, ins, outs):
    trsm = _routine("trsm", dtype)
    conjugated = params["conjugate_a"]
    options = {
        "side": int(not params["left_side"]), "lower": int(params["lower"]),
        "diag": int(params["unit_diagonal"]),
        "trans_a": (2 if conjugated else 1) if params["transpose_a"] else 0,
    }  # fmt: skip

    def one(a, b):
        if conjugated and not params["transpose_a"]:
            a = a.conj()
        return (trsm(1, a, b, **options),)

    return one


def _reflections(dtype, rows: int, columns: int):
    """The product of a factorization's reflections, as a function of those and their factors."""
    orgqr = _routine("orgqr", dtype)

    def product(reflections, taus):
        a = np.zeros((rows, columns), dtype, order="F")
        a[:, : reflections.shape[1]] = reflections[:, :columns]
        size = int(orgqr(a, taus, lwork=-1)[1][0].real)
        return orgqr(a, taus, lwork=size, overwrite_a=1)[0]

    return product


@_factorization("qr")
def _qr(params, dtype, ins, outs):
    m, n = ins[0].shape[-2:]
    geqrf, (size,) = _routine("geqrf", dtype), _workspace("geqrf", dtype, m, n)
    columns = m if m < n or params["full_matrices"] else n
    product = _reflections(dtype, m, columns)

    def one(x):
        r, taus, _, _ = geqrf(x, lwork=size)
        return product(r, taus), np.triu(r[:columns])

    return one


@_factorization("householder_product")
def _householder_product(params, dtype, ins, outs):
    product = _reflections(dtype, *ins[0].shape[-2:])
    return lambda a, taus: (product(a, taus),)


@_factorization("svd")
def _svd(params, dtype, ins, outs):
    options = {k: int(params[k]) for k in ("compute_uv", "full_matrices")}
    (size,) = _workspace("gesdd", dtype, *ins[0].shape[-2:], **options)
    gesdd = _routine("gesdd", dtype)

    def one(x):
        u, s, vt, info = gesdd(x, lwork=size, **options)
        results = (s, u, vt) if params["compute_uv"] else (s,)
        return _or_nan(info, *results)

    return one


@_factorization("eigh")
def _eigh(params, dtype, ins, outs):
    lower = int(params["lower"])
    sizes = _workspace("syevd", dtype, ins[0].shape[-1], lower=lower)
    named = dict(zip(("lwork", "liwork", "lrwork"), sizes, strict=False))
    syevd = _routine("syevd", dtype)

    def one(x):
        w, v, info = syevd(x, lower=lower, **named)
        return _or_nan(info, v, w)

    return one


@_factorization("eig")
def _eig(params, dtype, ins, outs):
    left, right = params["compute_left_eigenvectors"], params["compute_right_eigenvectors"]
    options = {"compute_vl": int(left), "compute_vr": int(right)}
    (size,) = _workspace("geev", dtype, ins[0].shape[-1], **options)
    geev = _routine("geev", dtype)

    def one(x):
        *w, vl, vr, info = geev(x, lwork=size, **options)
        vectors = [v for v, asked in ((vl, left), (vr, right)) if asked]
        if dtype.kind == "f":
            vectors = [_of_pairs(v, w[1]) for v in vectors]
            w = [w[0] + w[1] * np.array(1j, outs[0].dtype)]
        results = (*w, *vectors)
        return _or_nan(info, *results)

    return one


def _of_pairs(v, imaginary):
    """Eigenvectors of a real matrix: of a conjugate pair LAPACK gives real and imaginary part."""
    out = v.astype(np.result_type(v, np.complex64))
    for n in np.flatnonzero(imaginary > 0):
        out[:, n] = v[:, n] + 1j * v[:, n + 1]
        out[:, n + 1] = out[:, n].conj()
    return out


@builder("fft")
def _fft(params, ins, outs):
    if not prod(ins[0].shape):
        raise Unsupported("a transform of nothing")
    name = ("fftn", "ifftn", "rfftn", "irfftn")[int(params["fft_type"])]
    sizes, dtype = tuple(params["fft_lengths"]), np.dtype(outs[0].dtype)
    function, axes = getattr(np.fft, name), tuple(range(-len(sizes), 0))
    return lambda x: function(x, sizes, axes).astype(dtype, copy=False)
