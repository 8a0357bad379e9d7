"""Rows of the pointwise ops."""

import pytest

from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

M, V, N = T((3, 4)), T((4,)), T()
ALL = ("method", "inplace", "out")

ROWS = [
    Row(
        "add",
        [S(M, V), S(M, 2), S(M, 2.5, alpha=3), S(T((2, 0)), 1), S(T((3,), "int64"), T((3,), "int32")),
         S(T((3,), "int64"), 1.5), S(N, M), S(T((3,), "bfloat16"), T((3,), "bfloat16"))],
        forms=ALL,
        errors=[S(T((3,)), T((4,)))],
    ),
    Row("mul", [S(M, V), S(M, 2.5), S(T((3,), "complex64"), T((3,))), S(T((3,), "bool"), 2)], forms=ALL),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)
