"""Rows of the losses of torch.nn.functional."""

import numpy as np
import pytest

import torchlike
import torchlike.nn.functional as F
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the op tables")

M, N, V = T((3, 5)), T((3, 5)), T((5,))
INT = T((3, 5), "int64")
PROB = T((3, 5), low=0.05, high=0.95)
POSITIVE = T((3, 5), low=0.3, high=2.0)
WEIGHT = T((5,), low=0.2, grad=False)
GIVEN = T((3, 5), low=0.2, grad=False)
HALF = T((3, 5), "bfloat16", 0.5)
SIGNS = np.array([1.0, -1.0, 1.0], "float32")
CLASSES = np.array([1, 0, 4])
IGNORED = np.array([1, -100, 4])
NONE = np.array([-100, -100, -100])
GRID, IMAGE = np.array([[1, 0], [4, 4], [2, 3]]), T((3, 5, 2))
SIGN_GRID = np.array([[1, -1, 1, 1, -1], [-1, -1, 1, -1, 1], [1, 1, 1, -1, -1]], "float32")
SUM, EACH = {"reduction": "sum"}, {"reduction": "none"}


def nn(name, samples, errors=(), **more):
    return Row("nn.functional." + name, samples, errors=list(errors), **more)


def reductions(*args, **kwargs):
    """A call with each reduction."""
    return [S(*args, **kwargs), S(*args, **kwargs, **SUM), S(*args, **kwargs, **EACH)]


ROWS = [
    nn("mse_loss",
       [*reductions(M, N), S(M, V), S(M, INT), S(M, T((3, 5), "float64")), S(T(), T()),
        S(M, N, weight=GIVEN), S(M, N, reduce=False), S(M, N, size_average=False),
        S(T((0, 2)), T((0, 2)), **SUM)],
       [S(T((3,)), T((4,))), S(INT, INT), S(M, N, reduction="foo")]),
    nn("l1_loss", [*reductions(M, N), S(M, M), S(M, V), S(M, N, weight=GIVEN), S(INT, INT, **SUM)],
       [S(INT, INT), S(M, T((4,)))]),
    nn("smooth_l1_loss", [*reductions(M, N), S(M, N, beta=0.3), S(M, N, beta=0)],
       [S(M, N, beta=-1)]),
    nn("huber_loss", [*reductions(M, N), S(M, N, delta=0.3), S(M, N, weight=GIVEN)],
       [S(M, N, delta=0)]),
    nn("mse_loss", [S(HALF, HALF)], second=False),
    nn("poisson_nll_loss",
       [*reductions(M, POSITIVE), S(POSITIVE, POSITIVE, False),
        S(M, T((3, 5), low=0.2, high=5), full=True)],
       [S(M, N, reduction="x")]),
    nn("gaussian_nll_loss",
       [*reductions(M, N, POSITIVE), S(M, N, T((3, 1), low=0.3)), S(M, N, T((3,), low=0.3)),
        S(M, N, POSITIVE, True), S(M, N, T((3, 5), low=0, high=0.1), eps=0.05), S(M, N, 0.5)],
       [S(M, N, T((3, 5), low=-2, high=-1)), S(M, N, T((2,), low=0.3)), S(M, N, -1.0)]),
    nn("binary_cross_entropy",
       [*reductions(PROB, T((3, 5), low=0, high=1, grad=False)), S(PROB, PROB, GIVEN),
        S(PROB, T((3, 5), low=0, high=1, grad=False), WEIGHT),
        S(np.array([0.0, 1.0, 0.5], "float32"), np.array([1.0, 1.0, 0.0], "float32"))],
       [S(PROB, T((4,))), S(T((3,), low=2, high=3), T((3,))), S(PROB, INT)],
       tol=1e-4, second=False),
    nn("binary_cross_entropy_with_logits",
       [*reductions(M, PROB), S(M, PROB, GIVEN), S(M, PROB, pos_weight=WEIGHT),
        S(T((4,), low=-150, high=150), T((4,), low=0, high=1)),
        S(M, PROB, WEIGHT, pos_weight=WEIGHT)],
       [S(M, V), S(M, INT)]),
    nn("kl_div",
       [*reductions(M, POSITIVE), S(M, POSITIVE, reduction="batchmean"), S(M, N, log_target=True),
        S(M, np.zeros((3, 5), "float32"))],
       [S(M, N, reduction="foo")]),
    nn("nll_loss",
       [*reductions(M, CLASSES), *reductions(M, IGNORED, WEIGHT), S(M, CLASSES, ignore_index=4),
        S(V, np.array(1)), S(M, NONE, **SUM),
        *reductions(IMAGE, GRID), S(IMAGE, GRID, WEIGHT, ignore_index=4), S(M, NONE),
        S(M, CLASSES.astype("uint8")), S(T((0, 5)), np.zeros(0, "int64"), **EACH)],
       [S(M, np.array([1, 2])), S(M, np.array([1, 2, 7])), S(M, np.array([1, -1, 2])),
        S(M, SIGNS), S(M, CLASSES.astype("int32")), S(M, CLASSES, T((4,))), S(T(), np.array([1])),
        S(IMAGE, CLASSES), S(IMAGE, np.ones((3, 4), "int64")), S(M, np.ones((3, 4), "int64"))]),
    # PyTorch's own backward fails for this shape.
    nn("nll_loss", [S(V, np.array([1])), S(V, np.array([1]), **EACH)], grad=False),
    nn("cross_entropy", [S(V, np.array([1])), S(V, np.array([1]), **EACH)], grad=False),
    nn("cross_entropy",
       [*reductions(M, CLASSES), *reductions(M, IGNORED, WEIGHT), S(M, CLASSES, ignore_index=4),
        *reductions(M, CLASSES, label_smoothing=0.1), S(M, NONE, label_smoothing=0.1),
        *reductions(M, IGNORED, WEIGHT, label_smoothing=0.2), S(V, np.array(1)),
        *reductions(IMAGE, GRID), S(IMAGE, GRID, WEIGHT, ignore_index=4, label_smoothing=0.3),
        *reductions(M, POSITIVE), S(M, POSITIVE, WEIGHT), S(V, T((5,), low=0)),
        S(M, POSITIVE, label_smoothing=0.1), S(IMAGE, T((3, 5, 2), low=0), WEIGHT),
        S(M, T((3, 5), "float64", 0.1)), S(T((3, 5), low=-500, high=500), CLASSES),
        S(np.array([[0.0, -np.inf], [1.0, 2.0]], "float32"), np.array([0, 1]))],
       [S(M, np.array([1, 2])), S(M, np.array([1, 2, 7])), S(M, SIGNS), S(M, T((3, 4))),
        S(M, CLASSES.astype("int32")), S(M, INT), S(M, CLASSES, T((4,))),
        S(M, CLASSES, label_smoothing=2.0), S(INT, CLASSES), S(T(), np.array(1)),
        S(M, CLASSES, reduction="foo"), S(M, POSITIVE, ignore_index=1)]),
    nn("cross_entropy", [S(HALF, CLASSES)], second=False),
    nn("hinge_embedding_loss", reductions(M, SIGN_GRID) + [S(M, SIGN_GRID, 0.3)]),
    nn("margin_ranking_loss", reductions(T((3,)), T((3,)), SIGNS) + [S(M, N, SIGN_GRID, 0.5)],
       [S(T((3,)), T((3,)), T((3, 1)))]),
    nn("soft_margin_loss", reductions(M, SIGN_GRID), [S(T((3,)), T((4,)))]),
    nn("cosine_embedding_loss",
       [*reductions(M, N, SIGNS, 0.1), S(V, V, np.array(1.0, "float32"))],
       [S(M, N, T((3, 1))), S(V, V, SIGNS), S(M, N, np.array(1.0, "float32"))]),
    nn("triplet_margin_loss",
       [*reductions(M, N, T((3, 5))), S(M, N, T((3, 5)), 0.5, 1, swap=True), S(V, V, V)],
       [S(M, N, V), S(M, N, N, margin=0)], tol=1e-4),
    nn("triplet_margin_with_distance_loss",
       [S(M, N, T((3, 5))), S(M, N, T((3, 5)), margin=0.5, swap=True, reduction="sum")], tol=1e-4),
    nn("multi_margin_loss",
       [*reductions(M, CLASSES), S(M, CLASSES, 2, 0.7), S(M, CLASSES, weight=WEIGHT),
        S(V, np.array(1))],
       [S(M, np.array([1, 2, 9])), S(M, CLASSES, 3), S(M, np.array([1, 2]))], second=False),
    nn("multilabel_margin_loss",
       [*reductions(M, np.array([[3, 0, -1, 1, 2], [1, 2, 3, 4, 0], [-1, 0, 0, 0, 0]])),
        S(V, np.array([3, 0, -1, 1, 1]))],
       [S(M, np.array([[9, 0, -1, 1, 2]] * 3)), S(M, CLASSES)], second=False),
    nn("multilabel_soft_margin_loss",
       [*reductions(M, T((3, 5), low=0, high=1, grad=False)), S(M, PROB, WEIGHT)]),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


def test_a_class_out_of_range_has_pytorchs_words():
    with pytest.raises(IndexError, match=r"^Target 7 is out of bounds\.$"):
        F.cross_entropy(torchlike.ones(2, 3), torchlike.tensor([1, 7]))


def test_a_class_known_only_to_the_device_raises_at_the_next_sync():
    loss = F.cross_entropy(torchlike.ones(2, 3), torchlike.tensor([1, 2]) * 3)
    with pytest.raises(IndexError, match=r"Target 3 is out of bounds\."):
        loss.item()


def test_a_mean_over_another_size_warns():
    with pytest.warns(UserWarning, match="different to the input size"):
        F.mse_loss(torchlike.ones(3, 1), torchlike.ones(3))
    with pytest.warns(UserWarning, match="reduction='sum' instead"):
        F.mse_loss(torchlike.ones(3), torchlike.ones(3), size_average=False)
