"""Rows of the top-level functions that have a twin in ``nn.functional`` under other arguments."""

import numpy as np
import pytest
import torch

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, same

X, W1, B2 = T((2, 4, 6)), T((2, 4, 3)), T((2,))
X2, W2 = T((1, 2, 5, 4)), T((3, 2, 2, 2))
C4, M4 = T((4,)), T((4,), low=0.1)
V4, V4G = T((4,), low=0.5, grad=False), T((4,), grad=False)
Y = T((3, 4))
HALF = T((2, 4, 6), "bfloat16", grad=False)
PM = np.array([[1, -1, 1, -1], [1, 1, -1, 1], [-1, 1, 1, 1]], "float32")
P = T((3, 4), low=0.1, high=0.9)
IDX = np.array([1, 2, 4, 5, 4, 3, 2, 0])
BAGS = np.array([0, 4, 4])
TABLE = T((6, 3))

TWINS = [
    Row("conv1d", [S(X, W1), S(X, W1, B2, 2, 1, 1, 1), S(X, W1, padding="same")],
        errors=[S(X, T((2, 3, 3)))]),
    Row("conv2d", [S(X2, W2, T((3,)), (1, 2), 1)]),
    Row("conv_transpose2d", [S(X2, T((2, 3, 2, 2)), None, 2, 0, 1)]),
    Row("convolution", [S(X, W1, None, [1], [0], [1], False, [0], 1),
                        S(X, T((4, 2, 3)), B2, [2], [1], [1], True, [1], 1)]),
    Row("conv_tbc", [S(T((5, 2, 3)), T((3, 3, 4)), C4, 1), S(T((5, 2, 3)), T((2, 3, 4)), C4)],
        errors=[S(T((5, 2, 3)), T((3, 4, 4)), C4), S(T((5, 2, 3)), T((3, 4)), C4)]),
    Row("avg_pool1d", [S(X, 2), S(X, 3, 2, 1)]),
    Row("adaptive_avg_pool1d", [S(X, 2)]),
    Row("adaptive_max_pool1d", [S(X, 2)], second=False),
    Row("max_pool1d", [S(X, 2), S(X, 3, 1, 1)], second=False),
    Row("max_pool2d", [S(X2, 2)], second=False),
    Row("max_pool1d_with_indices", [S(X, 2)], second=False),
    Row("batch_norm", [S(X, C4, C4, V4G, V4, True, 0.1, 1e-5, True),
                       S(X, None, None, V4G, V4, False, 0.1, 1e-5, False)], tol=1e-4,
        errors=[S(X, None, None, None, None, False, 0.1, 1e-5, True)]),
    Row("native_batch_norm", [S(X, C4, C4, V4G, V4, True, 0.1, 1e-5),
                              S(X, C4, C4, V4G, V4, False, 0.1, 1e-5),
                              S(HALF, None, None, None, None, True, 0.1, 1e-5)],
        tol=1e-4),
    Row("instance_norm", [S(X, C4, C4, None, None, True, 0.1, 1e-5, True)], tol=1e-4),
    Row("layer_norm", [S(X, (6,)), S(X, (4, 6), None, None, 1e-3, False)], tol=1e-4,
        errors=[S(X, 6)]),
    Row("native_layer_norm", [S(X, [6], T((6,)), T((6,)), 1e-5), S(X, [4, 6], None, None, 1e-3)],
        tol=1e-4),
    Row("group_norm", [S(X, 2, C4, C4), S(T((1, 1, 1)), 1)], tol=1e-4),
    Row("native_group_norm", [S(X, C4, C4, 2, 4, 6, 2, 1e-5)], tol=1e-4, second=False),
    Row("rms_norm", [S(X, (6,))], tol=1e-4),
    Row("native_channel_shuffle", [S(T((2, 4, 3), grad=False), 2)],
        errors=[S(T((2, 4, 3), grad=False), 3)]),
    Row("bilinear", [S(T((3, 2)), T((3, 4)), T((5, 2, 4)), T((5,)))]),
    Row("embedding", [S(TABLE, IDX), S(TABLE, IDX, 2), S(TABLE, IDX, -2), S(TABLE, IDX, 9)],
        second=False, errors=[S(TABLE, np.array(9))]),
    Row("embedding_bag", [S(TABLE, IDX, BAGS), S(TABLE, IDX, BAGS, False, 1),
                          S(TABLE, IDX, BAGS, mode=2),
                          S(TABLE, IDX, BAGS, False, 2, False, None, False, 2),
                          S(TABLE, IDX, np.array([0, 4, 8]), False, 1, False, None, True),
                          S(TABLE, IDX, BAGS, False, 0, False, T((8,))),
                          S(T((6, 3), "float64"), IDX.astype("int32"), BAGS.astype("int32"))],
        second=False),
    Row("rrelu", [S(Y), S(Y, 0.2, 0.4, False)]),
    Row("binary_cross_entropy_with_logits",
        [S(Y, P), S(Y, P, None, None, 1), S(Y, P, P._replace(grad=False), V4G, 2)]),
    Row("cosine_embedding_loss", [S(Y, Y, PM[:, 0]), S(Y, P, PM[:, 1], 0.1, 1)], tol=1e-4),
    Row("hinge_embedding_loss", [S(Y, PM), S(Y, PM, 0.5, 1)]),
    Row("kl_div", [S(Y, P), S(Y, P, 1), S(Y, Y, 2, log_target=True)]),
    Row("margin_ranking_loss", [S(Y, P, PM), S(Y, P, PM, 0.5, 1)]),
    Row("poisson_nll_loss", [S(Y, P, True, False, 1e-8, 1), S(P, P, False, True, 1e-8, 0)]),
    Row("triplet_margin_loss", [S(Y, P, T((3, 4))), S(Y, P, T((3, 4)), 0.5, 2.0, 1e-6, True, 1)],
        tol=1e-4),
    Row("grid_sampler", [S(T((1, 2, 4, 4)), T((1, 3, 3, 2), low=-0.9, high=0.9), 0, 0, False)],
        tol=1e-4, second=False),
    Row("grid_sampler_2d", [S(T((1, 2, 4, 4)), T((1, 3, 3, 2), low=-0.9, high=0.9), 1, 1, True)],
        tol=1e-4, second=False),
    Row("grid_sampler_3d",
        [S(T((1, 1, 2, 3, 3)), T((1, 1, 2, 2, 3), low=-0.9, high=0.9), 0, 2, True)],
        tol=1e-4, second=False),
    Row("constant_pad_nd", [S(Y, (1, 2)), S(Y, [1, 0, 0, 1], 2.5)]),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(TWINS))
def test_twins(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(TWINS))
def test_bad_calls(row, sample):
    check_error(row, sample)


# ---- what draws random numbers, or changes its operand -----------------------------------------

DRAWING = [
    ("dropout", (0.4, True)), ("dropout", (0.4, False)), ("dropout", (1.0, True)),
    ("feature_dropout", (0.5, True)), ("alpha_dropout", (0.5, True)),
    ("feature_alpha_dropout", (0.5, True)), ("native_dropout", (0.4, True)),
    ("native_dropout", (0.4, False)), ("native_dropout", (0.4, None)),
    ("rrelu", (0.1, 0.3, True)), ("dropout_", (0.4, True)), ("feature_dropout_", (0.5, True)),
    ("alpha_dropout_", (0.5, True)), ("feature_alpha_dropout_", (0.5, True)),
    ("rrelu_", (0.1, 0.3, True)), ("celu_", (0.5,)), ("selu_", ()), ("threshold_", (0.1, 20)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), DRAWING)
def test_draws_and_changes(name, args):
    data = np.random.default_rng(5).normal(size=(4, 5, 6)).astype("float32")
    results = []
    for lib in (torchlike, torch):
        lib.manual_seed(3)
        x = lib.tensor(data)
        out = getattr(lib, name)(x, *args)
        assert not name.endswith("_") or out is x
        results.append(out)
    same(*results, 1e-5, name)


def test_dropout_refuses_a_wrong_probability():
    with pytest.raises(RuntimeError, match=r"between 0 and 1, but got 1\.5"):
        torchlike.dropout(torchlike.ones(2), 1.5, True)


def test_batch_norm_moves_its_statistics():
    for training in (True, False):
        seen = []
        for lib in (torchlike, torch):
            x = lib.arange(24.0).reshape(3, 2, 4)
            mean, var = lib.zeros(2), lib.ones(2)
            lib.native_batch_norm(x, None, None, mean, var, training, 0.3, 1e-5)
            seen.append((mean, var))
        same(*seen, 1e-5, "statistics")
