"""Rows of CTC and of fractional max pools."""

import numpy as np
import pytest

from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

LP, ONE = T((6, 3, 5)), T((6, 5))
PADDED = np.array([[1, 2], [3, 3], [4, 0]])
OTHERS = np.array([[1, 2], [0, 3], [4, 0]])
FLAT = np.array([1, 2, 3, 3, 4])
SHORT = [6, 2, 0]  # the second is too short for its targets, the third silent

CTC = [
    Row("nn.functional.ctc_loss",
        [S(LP, PADDED, [6, 6, 6], [2, 2, 1]),
         S(LP, FLAT, np.array([6, 5, 4]), np.array([2, 2, 1]), reduction="none"),
         S(LP, PADDED, (6, 6, 6), (0, 2, 0), reduction="sum"),
         S(LP, PADDED, SHORT, [2, 2, 0], reduction="none"),
         S(LP, PADDED, SHORT, [2, 2, 0], 0, "mean", True),
         S(LP, OTHERS, [6, 5, 6], [2, 1, 2], blank=3),
         S(ONE, np.array([1, 2]), np.array(6), np.array(2)),
         S(ONE, np.array([1, 2]), (6,), (2,), reduction="none"),
         S(T((4, 2, 3), "float64"), np.array([[1.0], [2.0]], "float32"), [4, 4], [1, 1])],
        second=False, tol=1e-4,
        errors=[S(LP, FLAT, [6, 5], [2, 2, 1]), S(LP, FLAT, [6, 5, 7], [2, 2, 1]),
                S(LP, FLAT[:4], [6, 5, 6], [2, 2, 1]), S(LP, PADDED, [6, 6, 6], [2, 3, 1]),
                S(LP, PADDED, [6, 6, 6], [2, 2, 1], blank=9),
                S(T((6, 3, 5), "bfloat16"), PADDED, [6, 6, 6], [2, 2, 1])]),
    Row("ctc_loss", [S(LP, PADDED, [6, 6, 6], [2, 2, 1]), S(LP, PADDED, [6] * 3, [2, 2, 1], 0, 1)],
        second=False, tol=1e-4),
]  # fmt: skip

X2, R2 = T((1, 2, 7, 9)), T((1, 2, 2), low=0.0, high=1.0, grad=False)
X3, R3 = T((2, 4, 5, 4)), T((1, 2, 3), low=0.0, high=1.0, grad=False)

POOLS = [
    Row("nn.functional.fractional_max_pool2d",
        [S(X2, 3, (3, 4), _random_samples=R2),
         S(X2, (2, 3), 1, None, True, _random_samples=R2),
         S(T((2, 7, 9)), 2, output_ratio=(0.5, 0.5), _random_samples=R2)], second=False,
        errors=[S(X2, 3), S(X2, 3, 9, _random_samples=R2), S(X2, 3, output_ratio=0.5),
                S(X2, (2, 3, 3), 2, _random_samples=R2), S(T((7, 9)), 3, 2, _random_samples=R2)]),
    Row("nn.functional.fractional_max_pool3d_with_indices",
        [S(X3, 2, (2, 3, 2), _random_samples=R3)], second=False),
]  # fmt: skip
ROWS = CTC + POOLS


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_sequences(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_bad_calls(row, sample):
    check_error(row, sample)
