"""Rows of reductions: sums, means, extremes, norms, softmax, variance, covariance."""

import numpy as np
import pytest

from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

M, V, N = T((3, 4)), T((5,)), T()
C = T((2, 3, 4))
K, B = T((3, 4), "int64"), T((3, 4), "bool")
Z, E0 = T((3, 4), "complex64"), T((0,))
E2 = T((2, 0))
H, HF = T((3, 40), "bfloat16"), T((3, 40), "float16")
D = T((3, 4), "float64")
U8 = T((3, 4), "uint8", 0, 3)
NAN, INF = float("nan"), float("inf")
HOLES = np.array([[1, NAN, 3, -1], [NAN, NAN, NAN, NAN], [0, 2, INF, -INF]], "float32")
TIES = np.array([[1, 3, 3, 0], [2, 2, 2, 2], [-1, -3, -3, 5]], "float32")
ALL = ("method", "out")

# Equal numbers that require grad: their gradients show how ties are shared.
EQUAL, ZEROS = T((2, 3), low=1, high=1), T((3,), low=0, high=0)
SHORT = T((3, 6), "bfloat16")

ROWS = [
    Row(
        "sum",
        [S(M), S(M, 0), S(M, -1, True), S(C, (0, 2)), S(C, [0, -1], keepdim=True), S(M, ()),
         S(M, dim=None), S(M, axis=1), S(M, dim=1, dtype="torch.float64"), S(E0), S(E2, 1),
         S(E2, 0), S(N), S(N, 0), S(N, -1, True), S(K), S(K, 0), S(B), S(B, 1), S(U8),
         S(T((3,), "int32"), dtype="torch.int32"), S(Z), S(Z, 1), S(H), S(H, 1), S(HF, 1),
         S(D, 0)],
        forms=ALL,
        errors=[S(M, 2), S(M, -3), S(M, (0, 0)), S(M, 1.5), S(N, 1), S(3.0), S(M, "a")],
    ),
    Row(
        "nansum",
        [S(M), S(M, 1), S(C, (0, 2), True), S(HOLES), S(HOLES, 0), S(K), S(H, 1), S(E0),
         S(M, dtype="torch.float64")],
        forms=ALL,
        errors=[S(Z), S(M, 2)],
    ),
    Row(
        "mean",
        [S(M), S(M, 0), S(M, (0, 1)), S(C, [1, -1], True), S(M, ()), S(K, dtype="torch.float32"),
         S(K, 1, dtype="torch.float64"), S(Z), S(Z, 0), S(H), S(H, 1), S(HF, 1, True), S(N),
         S(N, 0), S(E0), S(E2, 0), S(D, keepdim=True, dim=1)],
        forms=ALL,
        errors=[S(K), S(B), S(M, 2), S(M, dtype="torch.int64"), S(M, (1, 1))],
    ),
    Row(
        "nanmean",
        [S(M), S(M, 0, True), S(HOLES[[0, 2]]), S(HOLES[[0, 2]], 1), S(C, (0, 2)), S(E0),
         S(H, 1)],
        forms=ALL,
        errors=[S(K), S(M, 2)],
    ),
    Row(
        "prod",
        [S(M), S(M, 0), S(M, -1, True), S(K), S(K, 1), S(B), S(N), S(N, 0), S(E0), S(E2, 1),
         S(T((4,), "complex64")), S(M, dtype="torch.float64"), S(M, 1, dtype="torch.float64"),
         S(T((3,), "bfloat16")),
         S(ZEROS), S(ZEROS, 0)],
        forms=ALL, tol=1e-4,
        errors=[S(M, (0, 1)), S(M, 2)],
    ),
    Row("trace", [S(M), S(T((3, 3))), S(K), S(Z), S(T((0, 3))),
                  S(T((3, 3), "bfloat16"))], forms=ALL,
        errors=[S(V), S(C), S(B)]),
    # ---- truth ----
    Row(
        "all",
        [S(B), S(B, 1), S(B, (0, 1)), S(M), S(M, dim=0, keepdim=True), S(U8), S(U8, 1), S(K, ()),
         S(E0), S(E2, 1), S(N), S(Z), S(M, None), S(C, [0, 2])],
        forms=ALL,
        errors=[S(M, 2), S(M, (0, 0))],
    ),
    Row(
        "any",
        [S(B), S(B, 1), S(B, (0, 1)), S(M), S(M, dim=0, keepdim=True), S(U8), S(U8, 1), S(K, ()),
         S(E0), S(E2, 1), S(N), S(Z), S(H)],
        forms=ALL,
        errors=[S(M, 2)],
    ),
    Row(
        "count_nonzero",
        [S(K), S(K, 1), S(B, (0, 1)), S(M, dim=-1), S(Z), S(E0), S(N), S(U8, ())],
        forms=("method",),
        errors=[S(M, 2)],
    ),
    # ---- extremes ----
    *[
        Row(
            name,
            [S(M), S(M, 0), S(M, (0, 1)), S(C, [0, 2], True), S(K, 1), S(B), S(B, 0), S(TIES),
             S(TIES, 1), S(N), S(N, 0), S(E2, 0), S(H, 1), S(np.array([1, NAN, 2], "float32")),
             S(EQUAL), S(EQUAL, 1, True)],
            forms=ALL,
            errors=[S(E0), S(E2, 1), S(Z), S(M, 2)],
        )
        for name in ("amax", "amin")
    ],
    *[
        Row(
            name,
            [S(M), S(M, 0), S(M, -1, True), S(M, dim=1, keepdim=True), S(K), S(K, 1), S(B), S(B, 1),
             S(TIES), S(TIES, 1), S(HOLES), S(HOLES, 1), S(N), S(N, 0), S(N, 0, keepdim=True),
             S(E2, 0), S(H, 1), S(H), S(M, T((4,))), S(M, other=N), S(K, T(())),
             S(T((3, 0, 2)), 0), S(EQUAL), S(EQUAL, 1, True), S(EQUAL, 0)],
            forms=("method",),
            errors=[S(E0), S(E2, 1), S(Z), S(Z, 0), S(M, 2), S(M, 1.5), S(M, (0, 1)), S(M, "a"),
                    S(M, T((3,))), S(1.0)],
        )
        for name in ("max", "min")
    ],
    *[
        Row(
            name,
            [S(M), S(M, 0), S(M, -1, True), S(M, keepdim=True), S(M, dim=None, keepdim=True),
             S(K, 1),
             S(TIES), S(TIES, 1), S(HOLES), S(HOLES, 1), S(N), S(N, 0), S(E2, 0), S(H, 1), S(U8, 1),
             S(C, 1, keepdim=True)],
            forms=ALL,
            errors=[S(E0), S(E2, 1), S(Z), S(B), S(M, 2), S(M, (0, 1))],
        )
        for name in ("argmax", "argmin")
    ],
    Row(
        "aminmax",
        [S(M), S(M, dim=1), S(M, dim=0, keepdim=True), S(K), S(B, dim=1), S(TIES), S(TIES, dim=1),
         S(N), S(N, dim=0), S(E2, dim=0),
         S(EQUAL), S(EQUAL, dim=1)],
        forms=("method",),
        errors=[S(E0), S(E2, dim=1), S(Z), S(M, dim=2), S(M, 1)],
    ),
    # ---- norms ----
    Row(
        "norm",
        [S(M), S(M, 2), S(M, "fro"), S(M, 1), S(M, 3), S(M, 1.5, 1), S(M, 0.5, 0), S(M, INF),
         S(M, -INF, 1), S(M, 0, 1), S(M, -1, 0), S(TIES, INF, 1), S(C, 2, (0, 2), True),
         S(C, "fro", dim=1), S(M, p=2, dim=-1, keepdim=True), S(Z), S(Z, 1), S(Z, 3, 1), S(Z, INF),
         S(H), S(M, dtype="torch.float64"), S(E0), S(E2, 3, 1), S(N), S(ZEROS, 1), S(M, 2, [0, 1])],
        forms=("method",), tol=1e-4,
        errors=[S(K), S(M, "foo"), S(E0, INF), S(E0, -1), S(E2, INF, 1), S(M, 2, 2),
                S(M, 2, (0, 0)),
                S(D, dtype="torch.float32")],
    ),
    # At zero PyTorch's second derivatives are nan where ours are 0; for p=0 they fail.
    Row("norm", [S(ZEROS), S(ZEROS, 3), S(ZEROS, INF), S(EQUAL, INF)], second=False),
    Row("dist", [S(M, M, p=0)], grad=False),
    Row("dist", [S(M, M), S(M, T((4,)), 1), S(M, M, INF), S(M, N, 3.0)],
        forms=("method",), tol=1e-4, errors=[S(M, T((3,))), S(M, 2.0)]),
    Row(
        "renorm",
        [S(M, 2, 0, 1.0), S(M, 1, 1, 2.0), S(M, INF, -1, 0.5), S(C, 2.5, 1, 1.5), S(M, 2, 0, 100)],
        forms=("method", "inplace", "out"), tol=1e-4,
        errors=[S(M, -1, 0, 1.0), S(M, 2, 0, -1.0), S(V, 2, 0, 1.0), S(M, 2, 5, 1.0),
                S(K, 2, 0, 1.0)],
    ),
    Row("Tensor.sum_to_size", [S(M, 1, 4), S(M, (4,)), S(C, 3, 1), S(M, 3, 4), S(C, (1, 1, 1))],
        errors=[S(M, 3), S(M, 1, 3, 4)]),
    # ---- softmax ----
    *[
        Row(
            name,
            [S(M, 1), S(M, 0), S(C, -2), S(C, axis=1), S(N, 0), S(E0, 0), S(T((2, 0)), 0),
             S(K, 1, dtype="torch.float64"), S(H, 1, dtype="torch.float32"),
             S(M, 1, "torch.float64"), S(np.array([-INF, 1, 2], "float32"), 0),
             S(np.array([-INF, -INF], "float32"), 0),
             S(np.array([300.0, -300, 299], "float32"), 0)],
            forms=("method",), tol=5e-5,
            errors=[S(M, 2), S(M, -3), S(K, 0), S(Z, 0), S(M), S(M, (0, 1))],
        )
        for name in ("softmax", "log_softmax")
    ],
    # Gradients are exponentials of a result of 8 bits, which may differ by its last.
    *[Row(name, [S(SHORT, 1), S(T((3, 6), "float16"), 0)], tol=3e-3)
      for name in ("softmax", "log_softmax", "logsumexp")],
    Row(
        "logsumexp",
        [S(M, 1), S(M, 0, True), S(C, (0, 2)), S(C, [0, 1, 2]), S(K, 1), S(N, 0), S(E0, 0),
         S(Z, 1), S(np.array([[-INF, 1], [-INF, -INF], [INF, 1], [300.0, 300]], "float32"), 1)],
        forms=("method",), tol=5e-5,
        errors=[S(M), S(M, 2), S(M, (0, 0))],
    ),
    # ---- variance ----
    *[
        Row(
            name,
            [S(M), S(M, 1), S(M, 0, False), S(M, True), S(M, False), S(M, 1, True, True),
             S(M, (0, 1)), S(C, [0, 2], keepdim=True), S(M, dim=1, unbiased=False),
             S(M, unbiased=False),
             S(M, correction=0), S(M, 1, correction=2, keepdim=True), S(M, (0,), correction=0.5),
             S(M, None), S(Z), S(Z, 1), S(D), S(T((6,), low=1000, high=1001)),
             S(T((3,), low=1, high=1)), S(M, axis=1)]
            + ([S(H, 1), S(HF), S(N, correction=0)]),
            forms=("method", "out") if name in ("var", "std") else (), tol=2e-4,
            errors=[S(K), S(M, 2), S(M, (0, 0)), S(M, 1, unbiased=True, correction=1)],
        )
        for name in ("var", "std", "var_mean", "std_mean")
    ],
    Row(
        "cov",
        [S(M), S(V), S(M, correction=0), S(Z), S(K), S(T((3, 6))), S(T((1, 4))),
         S(M, fweights=T((4,), "int64", 1, 5)), S(M, aweights=T((4,), low=0.5, high=2)),
         S(M, correction=0, fweights=T((4,), "int64", 1, 5), aweights=T((4,), low=0.5, high=2))],
        forms=("method",), tol=2e-4,
        errors=[S(C), S(B), S(M, fweights=T((4,))), S(M, aweights=T((4,), "int64")),
                S(M, fweights=T((3,), "int64"))],
    ),
    Row("corrcoef", [S(M), S(T((3, 6))), S(K), S(V),
                     S(Z)], forms=("method",), tol=5e-4, errors=[S(C)]),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)
