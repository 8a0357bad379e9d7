"""Rows of sorting, selection, scans, searches, counts."""

import numpy as np
import pytest

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, same, torch

M, V, N = T((3, 4)), T((6,)), T()
C = T((2, 5, 3))
K, B = T((3, 4), "int64"), T((3, 4), "bool")
Z, E0, E2 = T((3, 4), "complex64"), T((0,)), T((2, 0))
H, HF = T((3, 7), "bfloat16"), T((3, 7), "float16")
D, L = T((3, 4), "float64"), T((40,), "int64", 0, 5)
U8, I32, I8 = T((20,), "uint8", 0, 4), T((20,), "int32", -3, 3), T((3, 9), "int8", -128, 127)
NAN, INF = float("nan"), float("inf")
HOLES = np.array([[1, NAN, 3, -1], [NAN, NAN, NAN, NAN], [0, 2, INF, -INF]], "float32")
ZEROES = np.array([0.0, -0.0, 1, -0.0, 0.0, -1], "float32")
RUNS = np.array([1, 1, 2, 2, 3, 1, 1, 2])
BIG = np.array([2**40, -(2**40), 2**63 - 1, -(2**63), 0, 5])
EDGES = np.array([-1.0, 0, 0.5, 2], "float32")
UNORDERED = [
    np.array([3, 1, 2, 5, 4, 0, 2]),
    np.array([-1, 0, INF, NAN, NAN], "float32"),
    np.array([[2, NAN, 1], [NAN, 0, 3]], "float32"),
]
ALL = ("method", "out")

ROWS = [
    # ---- order ----
    Row(
        "sort",
        [S(M), S(M, 0), S(M, -1, True), S(C, dim=1, descending=True), S(M, stable=True, dim=0),
         S(L, stable=True), S(U8, stable=True), S(U8, stable=True, descending=True),
         S(I32, stable=True), S(I8, 1, True), S(B),
         S(B, 0, True), S(HOLES), S(HOLES, 1, True), S(HOLES.astype("float64"), 1),
         S(HOLES.astype("float64"), 1, True), S(ZEROES), S(ZEROES, 0, True), S(N), S(N, 0), S(E0),
         S(E2, 0), S(H), S(H, 1, True), S(HF), S(D, 0), S(BIG), S(BIG, 0, True),
         S(L, stable=True, descending=True)],
        forms=("method",),
        errors=[S(Z), S(M, 2), S(M, (0,)), S(1.0)],
    ),
    Row("argsort", [S(M), S(M, 0), S(M, -1, True), S(L, stable=True), S(HOLES, 1, True), S(N), S(H),
                    S(C, dim=1, descending=True, stable=True)],
        forms=("method",), errors=[S(M, 2), S(Z)]),
    Row("msort", [S(M), S(C), S(K), S(N), S(E0)], forms=ALL, errors=[S(1.0)]),
    Row(
        "topk",
        [S(M, 2), S(M, 1, 0), S(M, 4), S(C, 2, 1, False), S(T((3, 40)), 5),
         S(T((3, 40)), 5, 1, False),
         S(T((40, 3)), k=5, dim=0), S(M, 0), S(N, 1), S(T((16,), "float64"), 3),
         S(M, 2, sorted=False),
         S(np.array([1, NAN, 3, -INF, 5, 6, 7, 8], "float32"), 2),
         S(np.array([1, NAN, 3, -INF, 5, 6, 7, 8], "float32"), 2, largest=False),
         S(np.arange(30, dtype="int32") * 7 % 31, 4), S(np.arange(30) * 7 % 31, 4, 0, False),
         S(np.arange(9).astype("uint8") * 7 % 11, 9)],
        forms=("method",),
        errors=[S(M, 5), S(M, -1), S(B, 1), S(Z, 1), S(N, 2), S(M, 1, 2)],
    ),
    Row("kthvalue", [S(M, 1), S(M, 2, 0), S(C, 3, 1, True), S(V, 6), S(N, 1), S(K, 1),
                     S(np.array([1, NAN, 3], "float32"), 2), S(T((2, 3, 0)), 1, 1), S(H, 3)],
        forms=("method",), errors=[S(M, 5), S(M, 0), S(E0, 1), S(B, 1), S(M, 1, 2)]),
    *[
        Row(
            name,
            [S(M), S(V), S(M, 0), S(M, 1, True), S(M, dim=-1, keepdim=True), S(C, 1), S(K),
             S(HOLES),
             S(HOLES[[0, 2]], 1), S(HOLES[[0, 2]], 0), S(N), S(N, 0), S(E0), S(E2, 0), S(H),
             S(H, 1),
             S(T((2, 3), low=1, high=1)), S(T((2, 3), low=1, high=1), 1)],
            forms=("method",),
            errors=[S(E2, 1), S(B), S(Z), S(M, 2), S(M, (0, 1))],
        )
        for name in ("median", "nanmedian")
    ],
    Row("mode", [S(M), S(K), S(K, 0), S(T((4, 9), "int64", 0, 3), 1, True), S(N), S(B), S(E2, 0),
                 S(np.array([2, 1, 2, 1])), S(T((2, 3), low=1, high=1)), S(H)],
        forms=("method",), errors=[S(E0), S(Z), S(M, 2)]),
    *[
        Row(
            name,
            [S(M, 0.5), S(M, 0.3, 1), S(M, 0.25, 0, True), S(M, 0.0), S(M, 1.0, 1), S(M, 1),
             S(M, np.array([0.1, 0.5, 0.9], "float32")),
             S(C, np.array([0.2, 0.7], "float32"), 1, True),
             S(C, np.array(0.2, "float32"), 1, True), S(M, 0.4, keepdim=True), S(HOLES, 0.5),
             S(HOLES, 0.4, 1), S(HOLES, 0.4, 0), S(N, 0.5), S(N, 0.5, 0),
             S(D, np.array([0.1], "float64"), dim=-1),
             *[S(M, 0.4, 1, interpolation=i) for i in ("lower", "higher", "midpoint", "nearest")]],
            forms=ALL,
            errors=[S(M, 1.5), S(M, -0.1), S(M, np.array([0.5, 1.5], "float32")),
                    S(M, np.array([0.5])), S(K, 0.5), S(H, 0.5), S(E0, 0.5),
                    S(M, T((1, 1), low=0, high=1)),
                    S(M, 0.5, interpolation="foo"), S(M, [0.5]), S(M, 0.5, 2)],
        )
        for name in ("quantile", "nanquantile")
    ],
    # ---- scans ----
    Row("cumsum", [S(M, 0), S(C, -2), S(M, axis=1), S(K, 1), S(B, 0), S(N, 0), S(E0, 0), S(E2, 1),
                   S(Z, 1), S(H, 1), S(I32, 0, dtype="torch.int32"),
                   S(M, 1, dtype="torch.float64")],
        forms=(*ALL, "inplace"), errors=[S(M, 2), S(M), S(N, 1)]),
    Row("cumprod", [S(M, 0), S(C, -2), S(M, dim=1), S(K, 1), S(B, 0), S(N, 0), S(E0, 0), S(Z, 1),
                    S(T((4,), low=0, high=0), 0), S(M, 1, dtype="torch.float64")],
        forms=(*ALL, "inplace"), tol=1e-4, errors=[S(M, 2), S(M)]),
    # The second derivative of half precision is a sum of products, each rounded to 8 bits.
    Row("cumprod", [S(H, 1)], second=False),
    Row("logcumsumexp", [S(M, 0), S(C, -2), S(M, dim=1), S(N, 0), S(E0, 0),
                         S(np.array([-INF, -INF, 1, 300, 301], "float32"), 0)],
        forms=ALL, tol=1e-4, errors=[S(K, 0), S(M, 2)]),
    *[
        Row(name, [S(M, 0), S(C, 1), S(M, dim=-1), S(K, 1), S(L, 0), S(B, 1), S(HOLES, 1),
                   S(N, 0), S(E0, 0),
                   S(np.array([1, 1, NAN, 2, NAN, 3], "float32"), 0), S(H, 1),
                   S(T((4,), low=1, high=1), 0)],
            forms=("method",), errors=[S(Z, 0), S(M, 2), S(M)])
        for name in ("cummax", "cummin")
    ],
    Row("diff", [S(M), S(V, 2), S(C, 1, 1), S(B), S(K, dim=0), S(M, 0), S(M, 10), S(E0),
                 S(M, prepend=T((3, 1)), append=T((3, 2))), S(K, prepend=T((3, 1))), S(Z)],
        forms=ALL, errors=[S(M, -1), S(N), S(M, prepend=T((4,))), S(M, 1, 2),
                           S(M, prepend=T((2, 1)))]),
    Row("trapezoid", [S(M), S(V), S(M, dx=2), S(M, dx=0.5, dim=0), S(M, M), S(M, T((4,)), dim=1),
                      S(M, T((3,)), dim=0), S(K), S(K, K), S(np.zeros(0, "float32")),
                      S(C, T((5, 1)), dim=1),
                      S(D, M)],
        tol=1e-4, errors=[S(N), S(B), S(M, T((3,))), S(M, M, dx=2), S(M, 2), S(M, dim=2)]),
    Row("trapz", [S(M, T((4,))), S(M, dx=2), S(M, dim=0)], tol=1e-4),
    Row("cumulative_trapezoid", [S(M), S(M, dim=0), S(M, T((4,))), S(M, dx=0.5)], tol=1e-4,
        errors=[S(N), S(B)]),
    # ---- places ----
    Row("nonzero", [S(K), S(B), S(N), S(np.array(0.0)), S(E0), S(M, as_tuple=True),
                    S(N, as_tuple=True),
                    S(C), S(np.eye(3, dtype="float32")), S(T((4,), "bfloat16"))],
        forms=("method",), grad=False, errors=[S(1.0)]),
    Row("argwhere", [S(K), S(B), S(N)], forms=("method",), grad=False),
    Row(
        "searchsorted",
        [S(EDGES, V), S(EDGES, V, right=True), S(EDGES, EDGES), S(EDGES, EDGES, right=True),
         S(EDGES, EDGES, side="right"), S(EDGES, 0.5), S(np.array([1, 3, 5]), 3, right=True),
         S(np.array([1, 3, 5]), T((2, 2))), S(EDGES, np.array([NAN, INF, -INF], "float32")),
         S(np.array([[1, 3, 5], [2, 4, 6]]), np.array([[3, 9], [3, 1]])),
         S(EDGES, V, out_int32=True),
         S(np.array([5, 1, 3]), np.array([3, 4]), sorter=np.array([1, 2, 0])), S(E0, V),
         *[S(x, np.sort(x), right=r) for x in UNORDERED for r in (False, True)]],
        grad=False,
        errors=[S(EDGES, V, side="left", right=True), S(EDGES, V, side="x"), S(N, V),
                S(np.array([[1, 3]]), V), S(np.array([[1, 3]]), 2),
                S(np.array([5, 1]), np.array([3]), sorter=np.array([1, 2, 0])),
                S(np.array([5, 1]), np.array([3]), sorter=np.array([1, 7])),
                S(np.array([5, 1]), np.array([3]), sorter=np.array([1.0, 0]))],
    ),
    Row("bucketize", [S(V, EDGES), S(M, EDGES, right=True), S(0.5, EDGES),
                      S(3, np.array([1, 3, 5])),
                      S(V, EDGES, out_int32=True)],
        grad=False, errors=[S(V, M), S(V, 3)]),
    Row("isin", [S(K, np.array([1, 2, -3])), S(K, 1), S(1, K), S(K, V, invert=True), S(L, L),
                 S(E0, E0),
                 S(L, np.array([1, 4]), assume_unique=True),
                 S(T((3, 4), "int32"), T((9,), "int64")),
                 S(np.array([NAN], "float32"), np.array([NAN], "float32"))],
        grad=False, errors=[S(B, B), S(Z, Z), S(1, 1)]),
    # ---- distinct elements ----
    Row(
        "unique",
        [S(L), S(RUNS, True, True, True), S(RUNS, sorted=True, return_counts=True),
         S(K, return_inverse=True),
         S(M), S(T((6, 2), "int64", 0, 2), dim=0, return_inverse=True, return_counts=True),
         S(T((2, 6), "int64", 0, 2), dim=1),
         S(T((2, 6), "int64", 0, 2), dim=-1, return_counts=True),
         S(np.array([NAN, NAN, 1], "float32"), return_counts=True), S(E0),
         S(N, return_inverse=True), S(B),
         S(T((30,), "bfloat16")), S(U8, return_counts=True)],
        forms=("method",), grad=False, errors=[S(Z), S(E2, dim=0), S(M, dim=2)],
    ),
    Row("unique_consecutive",
        [S(RUNS), S(RUNS, True, True), S(T((6, 2), "int64", 0, 2), dim=0, return_counts=True),
         S(T((2, 6), "int64", 0, 2), dim=1, return_inverse=True), S(E0), S(K, return_inverse=True),
         S(N)],
        forms=("method",), grad=False, errors=[S(M, dim=2)]),
    # ---- counts ----
    Row("bincount", [S(L), S(RUNS, minlength=6), S(L, T((40,))), S(L, T((40,), "float64")),
                     S(L, T((40,), "int64")), S(U8), S(I32 ._replace(low=0, high=5)),
                     S(np.zeros(0, "int64"), minlength=3), S(np.zeros(0, "int64"))],
        forms=("method",), grad=False,
        errors=[S(np.array([-1])), S(V), S(K), S(T((3,), "bool")), S(L, minlength=-1), S(L, V)]),
    Row("histc", [S(V, 4, -2, 2), S(M, bins=3, min=-1, max=1), S(M),
                  S(T((3,), low=1, high=1), 3), S(E0, 3),
                  S(M, 4, 0, 0), S(np.array([1, NAN, 1], "float32"), 3, 0, 2), S(D, 5, -1.5, 1.5)],
        forms=ALL, grad=False,
        errors=[S(K, 4, 0, 3), S(V, 0), S(V, 3, 2, 1), S(np.array([NAN], "float32"), 3), S(B, 3)]),
    Row("histogram",
        [S(M, 3), S(M, 4, range=(0.0, 2.0), density=True), S(M, EDGES),
         S(M, 3, weight=T((3, 4), low=0)),
         S(T((3,), low=1, high=1), 3), S(D, 5)],
        forms=("method",), grad=False, errors=[S(K, 3), S(M, 0)]),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int16", "uint8", "bfloat16"])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable(dtype, descending):
    """Equal elements keep their order, in the packed sort and in the sort of pairs."""
    data = np.random.default_rng(3).integers(0, 5, (4, 300))
    a, b = (lib.tensor(data).to(getattr(lib, dtype)) for lib in (torchlike, torch))
    same(a.sort(1, descending), b.sort(dim=1, descending=descending, stable=True), 0, "stable sort")


@pytest.mark.parametrize(
    "name", ["max", "min", "median", "sort", "topk", "cummax", "mode", "aminmax"]
)
def test_named_results(name):
    """Results with names print and unpack as PyTorch's, and fill a pair of tensors."""
    args = {"sort": (), "topk": (2,), "aminmax": ()}.get(name, (0,))
    data = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    ours = getattr(torchlike, name)(torchlike.tensor(data), *args)
    theirs = getattr(torch, name)(torch.tensor(data), *args)
    assert repr(ours).startswith(f"torch.return_types.{name}(")
    first, second = ours
    assert first is ours[0]
    out = tuple(torchlike.empty(0, dtype=t.dtype) for t in ours)
    got = getattr(torchlike, name)(torchlike.tensor(data), *args, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    same(out, tuple(theirs), 1e-6, name)
    same(second, theirs[1], 1e-6, name)
