"""Rows of the products: matmul and relatives, einsum, tensordot, cross."""

import pytest

from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

M, N, V = T((2, 3)), T((3, 4)), T((3,))
B, C = T((5, 2, 3)), T((5, 3, 4))
HALF = S(T((3, 8), "bfloat16"), T((8, 2), "bfloat16"))
FORMS = ("method", "out")
ADDED = ("method", "inplace", "out")


def cplx(*shape):
    return T(shape, "complex64")


ROWS = [
    Row(
        "matmul",
        [
            S(M, N),
            S(V, V),
            S(M, V),
            S(T((2,)), M),
            S(B, C),
            S(B, N),
            S(B, V),
            S(V, C),
            S(M, C),
            S(T((2, 1, 2, 3)), T((5, 3, 4))),
            S(T((1, 2, 3)), C),
            S(B, T((1, 3, 4))),
            S(T((2, 5, 2, 3)), T((1, 3, 4))),
            S(T((0, 3)), N),
            S(T((2, 0)), T((0, 4))),
            S(T((0, 2, 3)), N),
            S(T((2, 5, 0)), T((0,))),
            S(cplx(2, 3), cplx(3, 2)),
            S(T((2, 3), "int64"), T((3, 2), "int64")),
            HALF,
            S(T((2, 3), "float64"), T((3,), "float64")),
            S(M, other=N),
            S(T((0, 2, 3)), T((0, 3, 4))),
            S(T((3, 0)), T((5, 0, 4))),
        ],
        forms=FORMS,
        errors=[
            S(M, T((4, 5))),
            S(M, T((4,))),
            S(T((4,)), M),
            S(V, T((4,))),
            S(B, T((5, 4, 5))),
            S(B, T((4, 5))),
            S(B, T((4,))),
            S(B, T((3, 3, 5))),
            S(T(), M),
            S(V, T()),
            S(M, T((3, 4), "float64")),
            S(V, T((3,), "float64")),
            S(B, T((5, 3, 4), "float64")),
            S(M, T((3,), "float64")),
            S(T((2, 3), "bool"), T((3, 2), "bool")),
            S(M, 3),
        ],
    ),
    Row(
        "mm",
        [S(M, N), S(T((0, 3)), N), S(cplx(2, 3), cplx(3, 2)), HALF, S(M, mat2=N)],
        forms=FORMS,
        errors=[S(M, V), S(V, M), S(M, M), S(M, 3), S(M, B)],
    ),
    Row(
        "bmm",
        [S(B, C), S(T((0, 2, 3)), T((0, 3, 4))), S(T((2, 2, 3), "int32"), T((2, 3, 1), "int32"))],
        forms=FORMS,
        errors=[S(M, N), S(B, N), S(B, T((4, 3, 4))), S(B, T((5, 4, 4)))],
    ),
    Row(
        "mv",
        [S(M, V), S(T((0, 3)), V), S(T((2, 0)), T((0,)))],
        forms=FORMS,
        errors=[S(M, T((4,))), S(M, N), S(V, V)],
    ),
    Row(
        "dot",
        [S(V, V), S(T((0,)), T((0,))), S(cplx(3), cplx(3)), S(T((3,), "int64"), T((3,), "int64"))],
        forms=FORMS,
        errors=[S(V, T((4,))), S(M, V), S(V, T((3,), "float64"))],
    ),
    Row("vdot", [S(V, V), S(cplx(3), cplx(3))], forms=FORMS, errors=[S(V, T((4,))), S(M, V)]),
    Row(
        "inner",
        [S(V, V), S(M, V), S(B, M), S(T(), M), S(M, T()), S(B, T((4, 3))), S(M, T((), "int64"))],
        forms=FORMS,
        errors=[S(M, T((2, 4)))],
    ),
    Row(
        "outer",
        [S(V, T((2,))), S(T((3,), "int64"), T((2,))), S(T((0,)), V), S(cplx(2), cplx(3))],
        forms=FORMS,
        errors=[S(M, V), S(V, M)],
    ),
    Row("ger", [S(V, T((2,)))], forms=FORMS, errors=[S(M, V)]),
    Row(
        "addmm",
        [
            S(T((2, 4)), M, N),
            S(T((4,)), M, N),
            S(T(), M, N),
            S(T((2, 1)), M, N, beta=0.5, alpha=2),
            S(T((2, 4)), M, N, beta=0),
            S(T((2, 4), "int64"), T((2, 3), "int64"), T((3, 4), "int64"), alpha=3),
            S(T((2, 4), "bfloat16"), T((2, 3), "bfloat16"), T((3, 4), "bfloat16"), beta=0.5),
        ],
        forms=ADDED,
        errors=[S(T((3,)), M, N), S(T((4,)), M, M), S(T((4,)), V, N)],
    ),
    Row(
        "addmv",
        [S(T((2,)), M, V), S(T((2,)), M, V, beta=0.5, alpha=2), S(T((1,)), M, V)],
        forms=ADDED,
        errors=[S(T((7,)), M, V), S(T((2,)), M, T((4,)))],
    ),
    Row(
        "addbmm",
        [S(T((2, 4)), B, C), S(T((2, 4)), B, C, beta=0.5, alpha=2)],
        forms=ADDED,
        errors=[S(T((2, 4)), B, T((5, 4, 4))), S(T((2, 4)), B, T((3, 3, 4)))],
    ),
    Row(
        "baddbmm",
        [S(T((5, 2, 4)), B, C), S(T((4,)), B, C, beta=0.5, alpha=2)],
        forms=ADDED,
        errors=[S(T((9, 4)), B, C), S(T((2, 4)), B, T((5, 4, 4)))],
    ),
    Row(
        "addr",
        [S(T((3, 2)), V, T((2,))), S(T((2,)), V, T((2,)), beta=0.5, alpha=2)],
        forms=ADDED,
        errors=[S(T((3, 3)), V, T((2,)))],
    ),
    Row(
        "einsum",
        [
            S("ij,jk->ik", M, N),
            S("ij,jk", M, N),
            S("bij,bjk->bik", B, C),
            S("ii->i", T((3, 3))),
            S("ii", T((3, 3))),
            S("ij->ji", M),
            S("ij->", M),
            S("i,j->ij", V, T((2,))),
            S("...ij,...jk->...ik", B, C),
            S("b...->...b", B),
            S("...", M),
            S("ij,j", M, T((1,))),
            S("bn,anm,bm->ba", T((2, 3)), T((5, 3, 4)), T((2, 4))),
            S("i j, j k -> k i", M, N),
            S("i...,i...->...", T((3, 2)), T((3, 1))),
            S("Aj,jB->BA", M, N),
            S("zY,Ya", M, N),
            S(M, [0, 1], N, [1, 2], [2, 0]),
            S(B, [0, 1, 2], [1, 0, 2]),
            S(B, [..., 0, 1], [..., 1, 0]),
            S("ij,jk->ik", [M, N]),
            S("ij,jk->ik", cplx(2, 3), cplx(3, 2)),
            S("i,i->i", V, T((3,), "float64")),
            S("a,b,c,d->abcd", V, T((2,)), V, T((2,))),
            S("iij->j", T((2, 2, 3))),
            S("ij,ij->ij", T((2, 3), "int64"), T((2, 3), "int64")),
            S(",i->i", T(), V),
        ],
        errors=[
            S("ij,jk", M, T((4, 5))),
            S("ij", V),
            S("ij->iz", M),
            S("ij->ii", M),
            S("ij,jk", M),
            S("i!j", M),
            S("ii", M),
            S("..ij", M),
            S("ij", M, N),
            S("ij"),
        ],
    ),
    Row(
        "tensordot",
        [
            S(M, N, 1),
            S(M, N, dims=1),
            S(B, T((2, 3, 4)), 2),
            S(B, T((3, 2, 4)), ([1, 2], [1, 0])),
            S(V, V, 1),
            S(M, N, 0),
            S(B, T((4, 3)), ([-1], [-1])),
            S(B, T((1, 4)), ([2], [0])),
        ],
        errors=[S(M, T((4, 5)), 1), S(M, N, 3), S(M, N, ([1], [0, 1])), S(M, N, -1)],
    ),
    Row(
        "kron",
        [S(M, T((2, 2))), S(V, M), S(T(), M), S(T((2,), "int64"), V), S(T((0, 2)), M)],
        forms=FORMS,
    ),
    Row("chain_matmul", [S(M, N), S(M, N, T((4, 2)), T((2, 6))), S(M)], errors=[S(M, M)]),
    Row(
        "cross",
        [
            S(T((2, 3)), T((2, 3))),
            S(T((3, 3)), T((3, 3))),
            S(T((2, 3)), T((2, 3)), dim=1),
            S(T((2, 3)), T((1, 3)), dim=-1),
            S(cplx(2, 3), cplx(2, 3)),
        ],
        forms=FORMS,
        errors=[S(T((2, 4)), T((2, 4))), S(T((3, 3)), T((2, 3)), dim=0), S(M, M, 5)],
    ),
    Row(
        "cdist",
        [
            S(T((4, 3)), T((5, 3))),
            S(T((2, 4, 3)), T((2, 5, 3)), p=1),
            S(M, T((4, 3)), 3.0),
            S(M, T((4, 3)), p=float("inf")),
        ],
        second=False,
        errors=[S(V, M), S(T((3, 2)), T((3, 3))), S(M, M, -1.0)],
    ),
]


@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated", "ignore:Using torch.cross")
@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)
