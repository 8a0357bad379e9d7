"""Rows of joining, splitting, repeating and rearranging."""

import pytest

from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

M, V, X = T((2, 3)), T((3,)), T((2, 3, 4))
INT = T((2, 3), "int64")
HALF = T((2, 3), "bfloat16")

ROWS = [
    Row(
        "cat",
        [
            S([M, M]),
            S([M, T((4, 3))]),
            S([M, T((2, 1))], 1),
            S([M, M], dim=-1),
            S((V, T((0,)), V)),
            S([T((0,)), M]),
            S([T((0,)), T((0,))]),
            S([M, INT]),
            S([HALF, M]),
            S([M]),
            S([INT, INT], axis=1),
            S(tensors=[M, M], dim=1),
            S([T((2, 0)), M], 1),
            S([T((2,), "bool"), T((3,), "int32")]),
        ],
        forms=("out",),
        errors=[
            S([M, T((2, 4))]),
            S([M, X]),
            S([]),
            S([T()]),
            S([V, T()]),
            S(M),
            S([V, 3]),
            S([M], 2),
        ],
    ),
    Row("concat", [S([M, M], 1)]),
    Row("concatenate", [S([M, M], -1)]),
    Row(
        "stack",
        [
            S([V, V]),
            S([M, M], 1),
            S([M, M], dim=-1),
            S([T(), T()]),
            S([V, T((3,), "int64")]),
            S([T((0,))] * 2),
        ],
        forms=("out",),
        errors=[S([V, T((4,))]), S([]), S([V], 2), S(3)],
    ),
    Row(
        "hstack", [S([V, V]), S([M, M]), S([T(), V]), S([X, X])], errors=[S([]), S([M, T((3, 3))])]
    ),
    Row("vstack", [S([V, V]), S([M, V]), S([T(), T()]), S([X, X])], errors=[S([M, T((2,))])]),
    Row("row_stack", [S([V, V])]),
    Row("dstack", [S([V, V]), S([M, M]), S([T(), T()]), S([X, X])]),
    Row("column_stack", [S([V, V]), S([V, T((3, 2))]), S([T(), T()])]),
    Row("block_diag", [S(M, V, T()), S(M, T((1, 4))), S(T((0, 2)), M)], errors=[S(X)]),
    Row("atleast_1d", [S(T()), S(V), S(T(), M), S([T(), V])]),
    Row("atleast_2d", [S(T()), S(V), S(X), S((T(), V, M))]),
    Row("atleast_3d", [S(T()), S(V), S(M), S(T((1, 2, 3, 4))), S((T(), V))]),
    Row(
        "Tensor.repeat",
        [S(M, 2, 3), S(M, (2, 1, 2)), S(V, 0), S(T(), 3), S(T(), ()), S(INT, [1, 2])],
        errors=[S(M, 2), S(V, -1), S(T())],
    ),
    Row("tile", [S(M, (2,)), S(M, (2, 1, 2)), S(V, (0,)), S(T(), (3,)), S(M, ())]),
    Row("Tensor.tile", [S(M, 2), S(M, 2, 3, 1)]),
    Row(
        "repeat_interleave",
        [
            S(V, 2),
            S(M, 2),
            S(M, 2, 1),
            S(M, 3, dim=-1),
            S(V, 0),
            S(M, T((2,), "int64", 0, 4), dim=0),
            S(V, T((1,), "int64", 0, 4)),
            S(T((3,), "int64", 0, 4)),
            S(T(), 3),
            S(M, T((), "int64", 1, 4), 0),
        ],
        forms=("method",),
        errors=[S(V, -1), S(V, T((2,), "int64", 0, 4)), S(V, T((3,)))],
    ),
    Row(
        "flip",
        [
            S(M, (0,)),
            S(M, [0, 1]),
            S(M, dims=(-1,)),
            S(V, (0,)),
            S(T((0, 2)), (1,)),
            S(INT, (0,)),
            S(M, ()),
        ],
        forms=("method",),
        errors=[S(M, (0, 0)), S(M, (2,))],
    ),
    Row("Tensor.flip", [S(M, 0), S(M, 0, 1), S(M, (0, 1))]),
    Row("fliplr", [S(M), S(X)], forms=("method",), errors=[S(V)]),
    Row("flipud", [S(M), S(V)], forms=("method",), errors=[S(T())]),
    Row(
        "rot90",
        [
            S(M),
            S(M, 1, (0, 1)),
            S(M, 2),
            S(M, 3, [1, 0]),
            S(X, -1, [1, 2]),
            S(X, k=4, dims=[0, -1]),
        ],
        forms=("method",),
        errors=[S(V), S(M, 1, (0, 0)), S(M, 1, (0, 4)), S(M, 1, (0,))],
    ),
    Row(
        "roll",
        [
            S(M, 1),
            S(M, 1, 0),
            S(M, -4, -1),
            S(M, (1, 2), (0, 1)),
            S(T((0, 2)), 1, 0),
            S(INT, shifts=2, dims=1),
            S(M, (1, 1), (0, 0)),
        ],
        forms=("method",),
        errors=[S(M, (1, 2), (0,)), S(M, (1, 2)), S(M, 1, 4)],
    ),
    Row(
        "tril",
        [S(M), S(M, 1), S(X, diagonal=-1), S(T((0, 3))), S(T((2, 2), "bool")), S(INT, -5)],
        forms=("method", "inplace", "out"),
        errors=[S(V)],
    ),
    Row(
        "triu",
        [S(M), S(M, 1), S(X, diagonal=-1), S(T((3, 3), "complex64"), 2)],
        forms=("method", "inplace", "out"),
        errors=[S(V)],
    ),
    Row(
        "diag",
        [S(V), S(V, 1), S(V, -2), S(M), S(M, 1), S(M, diagonal=-1), S(M, 9), S(T((0,)))],
        forms=("method", "out"),
        errors=[S(X), S(T())],
    ),
    Row(
        "diag_embed",
        [S(V), S(M), S(M, 1), S(M, -1, 0, 2), S(M, offset=2, dim1=0, dim2=1), S(X, 0, -1, 1)],
        forms=("method",),
        errors=[S(V, 0, 1, 1), S(V, 0, 3, 1), S(T())],
    ),
    Row("diagflat", [S(V), S(M), S(M, -1), S(T())], forms=("method",)),
    Row("diagonal_copy", [S(M), S(X, 1, -1, 0)]),
    Row(
        "meshgrid",
        [
            S(V, T((2,)), indexing="ij"),
            S(V, T((2,)), indexing="xy"),
            S([V, T((2,))], indexing="ij"),
            S(V, T(), T((4,)), indexing="xy"),
            S(V, indexing="ij"),
            S(V, T((2,))),
        ],
        errors=[
            S(V, M, indexing="ij"),
            S(V, V, indexing="zz"),
            S(V, T((3,), "int64"), indexing="ij"),
        ],
    ),
    Row("cartesian_prod", [S(V, T((2,))), S(V), S(V, T((2,)), V)], errors=[S(V, M)]),
    Row(
        "combinations",
        [S(V), S(V, 3), S(V, r=2, with_replacement=True), S(V, 1), S(V, 4)],
        errors=[S(M), S(V, -1)],
    ),
    Row(
        "hsplit",
        [S(T((4, 6)), 2), S(T((6,)), 3), S(T((4, 6)), [1, 3])],
        forms=("method",),
        errors=[S(T(), 2), S(V, 2), S(T((3, 3)), 2)],
    ),
    Row(
        "vsplit",
        [S(T((4, 6)), 2), S(T((4, 6)), (1, 3))],
        forms=("method",),
        errors=[S(V, 1), S(T((3, 3)), 2)],
    ),
    Row(
        "select_scatter",
        [S(M, V, 0, 1), S(M, T((2,)), dim=1, index=-1)],
        forms=("method",),
        errors=[S(M, M, 0, 1), S(M, V, 0, 5)],
    ),
    Row(
        "slice_scatter",
        [S(M, T((1, 3)), 0, 1), S(M, T((2, 2)), dim=1, start=0, end=3, step=2)],
        forms=("method",),
        errors=[S(M, V, 0, 0, 1)],
    ),
    Row("diagonal_scatter", [S(M, T((2,))), S(M, T((2,)), 1)], forms=("method",), errors=[S(M, V)]),
    # PyTorch's gradient goes to the elements that were replaced instead of the others.
    Row(
        "as_strided_scatter",
        [S(M, T((2, 2)), (2, 2), (3, 1)), S(M, T((2,)), (2,), (2,), 1)],
        grad=False,
        forms=("method",),
    ),
    Row("narrow_copy", [S(M, 1, 1, 2)], forms=("method",), errors=[S(M, 1, 2, 2)]),
    Row("unsafe_split", [S(M, 2, 1)], forms=("method",)),
    Row("unsafe_chunk", [S(M, 2, 1)], forms=("method",)),
    Row(
        "Tensor.fill_diagonal_",
        [S(T((3, 4)), 2.0), S(T((7, 3)), 2.0, wrap=True), S(T((7, 3)), 1), S(T((2, 2, 2)), 5)],
        grad=False,
        errors=[S(V, 1.0), S(X, 1.0)],
    ),
    Row("dsplit", [S(X, 2), S(X, [1, 3])], forms=("method",), errors=[S(M, 1)]),
]


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)
