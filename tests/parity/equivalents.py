"""Ops with more than one right answer: what must hold where the plain comparison fails.

Each check takes (sample, PyTorch's tree, our tree) and returns None or what is wrong. Structure,
dtypes and shapes have been found equal before.
"""

from __future__ import annotations

import numpy as np
import torch

from . import compare as C


def _w(leaf):
    a = leaf.arr
    return a.astype(np.complex128 if np.iscomplexobj(a) else np.float64)


def _near(a, b, what, rtol=1e-4):
    if a.shape != b.shape:
        return f"{what}: shape {b.shape} for {a.shape}"
    if a.size == 0:
        return None
    lim = rtol * max(1.0, float(np.max(np.abs(a))))
    d = np.abs(a - b)
    if not np.all(np.isfinite(d)) or d.max() > lim:
        return f"{what}: off by {float(np.nanmax(d)):.3g}"
    return None


def _H(a):
    return np.conj(np.swapaxes(a, -1, -2))


def _orthonormal(q, what):
    g = _H(q) @ q
    return _near(
        np.broadcast_to(np.eye(g.shape[-1]), g.shape).astype(g.dtype), g, what + " not orthonormal"
    )


def _first(*results):
    for r in results:
        if r:
            return r
    return None


def _usv(U, S, Vh):
    k = S.shape[-1]
    return (U[..., :k] * S[..., None, :]) @ Vh[..., :k, :]


def eq_svd(sample, o, t):
    """Singular values, the product, and orthonormal factors."""
    linalg = "linalg" in sample.op_name
    o3, t3 = [_w(x) for x in o.kids], [_w(x) for x in t.kids]
    if not linalg:
        if o3[0].size and not o3[0].any():
            return "U, V must be zero with compute_uv=False"
        o3[2], t3[2] = _H(o3[2]), _H(t3[2])
    return _first(
        _near(o3[1], t3[1], "S"),
        _near(_usv(*o3), _usv(*t3), "U S V^H"),
        _orthonormal(t3[0], "U"),
        _orthonormal(_H(t3[2]), "V"),
    )


def eq_qr(sample, o, t):
    """The product, a triangular R and an orthonormal Q."""
    Qo, Ro = [_w(x) for x in o.kids]
    Qt, Rt = [_w(x) for x in t.kids]
    tri = _near(np.triu(Rt), Rt, "R not upper triangular")
    if Qo.size == 0 and Ro.size:  # mode='r'
        return _first(tri, _near(_H(Ro) @ Ro, _H(Rt) @ Rt, "R^H R"))
    return _first(tri, _near(Qo @ Ro, Qt @ Rt, "Q R"), _orthonormal(Qt, "Q"))


def eq_eigh(sample, o, t):
    """Eigenvalues, the product, and orthonormal vectors."""
    Lo, Qo = [_w(x) for x in o.kids]
    Lt, Qt = [_w(x) for x in t.kids]
    return _first(
        _near(Lo, Lt, "eigenvalues"),
        _near((Qo * Lo[..., None, :]) @ _H(Qo), (Qt * Lt[..., None, :]) @ _H(Qt), "Q L Q^H"),
        _orthonormal(Qt, "Q"),
    )


def _multiset(a, b, what, rtol=1e-3):
    if a.size == 0:
        return None
    a2, b2 = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    for x, y in zip(a2, b2):
        y = list(y)
        lim = rtol * max(1.0, float(np.max(np.abs(x))))
        for v in x:
            d = [abs(v - u) for u in y]
            i = int(np.argmin(d))
            if not d[i] <= lim:
                return f"{what}: no match for {v}"
            y.pop(i)
    return None


def eq_eigvals(sample, o, t):
    """The same eigenvalues in any order."""
    return _multiset(_w(o), _w(t), "eigenvalues")


def eq_eig(sample, o, t):
    """The same eigenvalues in any order, with normalized eigenvectors."""
    wo, wt, Vt = _w(o.kids[0]), _w(t.kids[0]), _w(t.kids[1])
    A = sample.input.data.astype(np.complex128)
    return _first(
        _multiset(wo, wt, "eigenvalues"),
        _near(A @ Vt, Vt * wt[..., None, :], "A V = V w", 1e-3),
        _near(
            np.ones(Vt.shape[:-2] + Vt.shape[-1:]), np.linalg.norm(Vt, axis=-2), "eigenvector norms"
        ),
    )


def eq_lowrank(sample, o, t):
    """Singular values, the product, and normalized factors."""
    Uo, So, Vo = [_w(x) for x in o.kids]
    Ut, St, Vt = [_w(x) for x in t.kids]
    return _first(
        _near(So, St, "S", 1e-3),
        _near(_usv(Uo, So, _H(Vo)), _usv(Ut, St, _H(Vt)), "U S V^H", 1e-3),
        _near(So * 0 + 1, np.linalg.norm(Ut, axis=-2)[..., : So.shape[-1]], "norms of U", 1e-3),
        _near(So * 0 + 1, np.linalg.norm(Vt, axis=-2)[..., : So.shape[-1]], "norms of V", 1e-3),
    )


def eq_ldl(sample, o, t):
    """L D L^T is not unique: let torch solve a system with ours."""
    herm = bool(sample.kwargs.get("hermitian", False))
    LDo, Po = o.kids[0].arr, o.kids[1].arr
    LDt, Pt = t.kids[0].arr, t.kids[1].arr
    for a, b in zip(o.kids[2:], t.kids[2:]):
        if not np.array_equal(a.arr, b.arr):
            return "info differs"
    n = LDo.shape[-1]
    if LDo.size == 0:
        return None if np.array_equal(Po, Pt) else "pivots differ"
    rhs = torch.eye(n, dtype=torch.from_numpy(LDo).dtype).expand(LDo.shape).contiguous()
    try:
        xo = torch.linalg.ldl_solve(
            torch.from_numpy(LDo), torch.from_numpy(Po), rhs, hermitian=herm
        )
        xt = torch.linalg.ldl_solve(
            torch.from_numpy(LDt), torch.from_numpy(Pt), rhs, hermitian=herm
        )
    except Exception as e:
        return f"torch cannot solve with the result: {e}"
    return _near(xo.numpy(), xt.numpy(), "solution with LD", 1e-3)


def _dim_of(sample, pos, default=-1):
    d = sample.kwargs.get("dim")
    if d is None and len(sample.args) > pos:
        d = sample.args[pos]
    return default if d is None else d


def _picked(sample, idx, dim):
    x = sample.input.data
    if x.ndim == 0:
        return np.broadcast_to(x, idx.shape)
    return np.take_along_axis(x, idx, axis=dim)


def _eq_indices(pos):
    """(values, indices): the values must be equal, the indices must point to
    them (and, for a full sort, be a permutation)."""

    def check(sample, o, t):
        if t.kind != "seq":
            return "plain result"
        vals, idx = t.kids[0].arr, t.kids[1].arr
        ok, text, _ = C.close(o.kids[0].arr, vals, o.kids[0].dtype, C.FORWARD_TOL)
        if not ok:
            return "values: " + text
        dim = _dim_of(sample, pos)
        x = sample.input.data
        if x.size == 0:
            return None
        n = x.shape[dim] if x.ndim else 1
        if idx.size and (idx.min() < 0 or idx.max() >= n):
            return "indices out of range"
        if idx.ndim < x.ndim:  # reduced without keepdim
            idx, vals = np.expand_dims(idx, dim), np.expand_dims(vals, dim)
        got = _picked(sample, idx, dim)
        if not np.array_equal(got, vals.astype(got.dtype), equal_nan=got.dtype.kind in "fc"):
            return "indices do not point at the values"
        if sample.op_name in ("sort", "topk") and idx.ndim:
            s = np.sort(idx, axis=dim)
            if (np.diff(s, axis=dim) == 0).any():
                return "indices repeat"
        return None

    return check


def eq_sort(sample, o, t):
    """Indices of equal numbers in any order, unless stable."""
    if sample.kwargs.get("stable"):
        return "stable sort must give the same indices"
    return _eq_indices(0)(sample, o, t)


def eq_topk(sample, o, t):
    """Indices of equal numbers in any order."""
    # sorted=False leaves the order open
    srt = sample.kwargs.get("sorted", sample.args[3] if len(sample.args) > 3 else True)
    if srt:
        return _eq_indices(1)(sample, o, t)
    dim = _dim_of(sample, 1)
    if o.kids[0].arr.ndim == 0:
        return _eq_indices(1)(sample, o, t)
    vo, vt = np.sort(o.kids[0].arr, axis=dim), np.sort(t.kids[0].arr, axis=dim)
    ok, text, _ = C.close(vo, vt, o.kids[0].dtype, C.FORWARD_TOL)
    if not ok:
        return "values: " + text
    idx = t.kids[1].arr
    if not np.array_equal(_picked(sample, idx, dim), t.kids[0].arr):
        return "indices do not point at the values"
    return None


def eq_argsort(sample, o, t):
    """A permutation that sorts."""
    if sample.kwargs.get("stable"):
        return "stable sort must give the same indices"
    dim = _dim_of(sample, 0)
    if o.arr.ndim == 0:
        return None if t.arr == 0 else "index of a scalar must be 0"
    n = sample.input.data.shape[dim]
    s = np.sort(t.arr, axis=dim)
    want = np.expand_dims(np.arange(n), tuple(i for i in range(s.ndim) if i != dim % s.ndim))
    if not np.array_equal(s, np.broadcast_to(want, s.shape)):
        return "not a permutation"
    a, b = _picked(sample, o.arr, dim), _picked(sample, t.arr, dim)
    return None if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") else "not the same order"


def eq_unique(sample, o, t):
    """Unsorted results in any order."""
    if sample.kwargs.get("sorted", True) or sample.kwargs.get("dim") is not None:
        return "sorted results must be equal"
    ok_, tk = (o.kids, t.kids) if o.kind == "seq" else ([o], [t])
    vo, vt = ok_[0].arr, tk[0].arr
    po, pt = np.argsort(vo), np.argsort(vt)
    if not np.array_equal(vo[po], vt[pt], equal_nan=vo.dtype.kind in "fc"):
        return "other values"
    rest_o, rest_t = ok_[1:], tk[1:]
    if sample.kwargs.get("return_inverse"):
        if not np.array_equal(
            vo[rest_o[0].arr], vt[rest_t[0].arr], equal_nan=vo.dtype.kind in "fc"
        ):
            return "inverse does not rebuild the input"
        rest_o, rest_t = rest_o[1:], rest_t[1:]
    if rest_o and not np.array_equal(rest_o[0].arr[po], rest_t[0].arr[pt]):
        return "other counts"
    return None


EQUIVALENT = {
    "svd": eq_svd,
    "linalg.svd": eq_svd,
    "qr": eq_qr,
    "linalg.qr": eq_qr,
    "linalg.eigh": eq_eigh,
    "linalg.eig": eq_eig,
    "linalg.eigvals": eq_eigvals,
    "svd_lowrank": eq_lowrank,
    "pca_lowrank": eq_lowrank,
    "linalg.ldl_factor": eq_ldl,
    "linalg.ldl_factor_ex": eq_ldl,
    "sort": eq_sort,
    "argsort": eq_argsort,
    "topk": eq_topk,
    "kthvalue": _eq_indices(1),
    "median": _eq_indices(0),
    "nanmedian": _eq_indices(0),
    "mode": _eq_indices(0),
    "unique": eq_unique,
}
