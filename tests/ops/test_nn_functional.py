"""Rows of torch.nn.functional: layers, pools, normalizations, activations, embeddings, pixels."""

import numpy as np
import pytest

import torchlike
import torchlike.nn.functional as F
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, same

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the op tables")

M, V = T((3, 4)), T((4,))
INT = T((3,), "int64")
# Positive, so that sums in half precision do not cancel down to their rounding.
HALF = T((3, 4), "bfloat16", 0.5)
EDGES = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0], "float32")
TIED = np.array(
    [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 5.0], [3.0, 3.0, 0, 0], [3, 3, 0, 0]]]], "float32"
)


def nn(name, samples, errors=(), **more):
    return Row("nn.functional." + name, samples, errors=list(errors), **more)


def pointwise(name, *samples, errors=(INT,), **more):
    """An activation: a matrix, a vector of its edges, nothing; and bad dtypes."""
    plain = [S(M), S(T((2, 0))), S(T()), S(T((8,), "float64")), S(EDGES)]
    return nn(name, plain + list(samples), [S(e) for e in errors], **more)


ACTIVATIONS = [
    pointwise("relu", S(INT), errors=()),
    pointwise("relu6", S(INT), errors=()),
    pointwise("hardtanh", S(M, -0.5, 0.7), S(INT, 0, 3), S(M, min_val=-1.5, max_val=0.0),
              errors=()),
    pointwise("leaky_relu", S(M, 0.2), S(M, negative_slope=-0.5)),
    pointwise("elu", S(M, 0.7), S(M, alpha=2.0), S(T((3,), low=80, high=100))),
    pointwise("celu", S(M, 0.7), S(M, 2.0)),
    pointwise("selu"),
    pointwise("gelu", S(M, approximate="tanh"), tol=5e-5),
    pointwise("silu"),
    pointwise("mish", S(T((3,), low=20, high=50))),
    pointwise("hardswish"),
    pointwise("hardsigmoid", second=False),
    pointwise("softplus", S(M, 2.0), S(M, beta=0.5, threshold=0.1), S(T((3,), low=90, high=200))),
    pointwise("softsign", S(INT), errors=()),
    pointwise("softshrink", S(M, 0.3)),
    pointwise("hardshrink", S(M, 0.3)),
    pointwise("tanhshrink", S(INT), errors=()),
    pointwise("logsigmoid", S(T((3,), low=-100, high=100))),
    pointwise("sigmoid", errors=()),
    pointwise("tanh", errors=()),
    nn("threshold", [S(M, 0.1, 20), S(INT, 0, 5), S(M, threshold=-1.0, value=0.5)]),
    nn("prelu", [S(M, T((1,))), S(M, V), S(T((2, 4, 3)), V), S(V, T((1,))), S(M, T())],
       [S(M, T((3,))), S(M, T((4, 1))), S(M, T((4,), "float64"))]),
    nn("rrelu", [S(M), S(M, 0.1, 0.3)], [S(M, 0.3, 0.1)]),
    nn("glu", [S(M), S(T((4, 3)), 0), S(T((4, 2)), dim=-2)], [S(T((3, 3))), S(T()), S(M, 5)]),
    nn("softmax", [S(M, 1), S(M, dim=0), S(V, -1, dtype="torch.float64")], [S(M, 3)]),
    nn("softmin", [S(M, 1)]),
    nn("log_softmax", [S(M, 1), S(M, dim=0)]),
]  # fmt: skip

# In place on operands off the tape; half precision, whose second derivatives PyTorch rounds in
# other places.
INPLACE = [
    nn(name, [S(M, inplace=True), S(HALF, inplace=True)], grad=False)
    for name in ("relu", "relu6", "hardtanh", "leaky_relu", "elu", "celu", "selu", "silu", "mish",
                 "hardswish", "hardsigmoid", "rrelu")
] + [nn("threshold", [S(M, 0.1, 2.0, inplace=True)], grad=False)]  # fmt: skip
ROUNDED = [
    nn(name, [S(HALF)], second=False)
    for name in ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish",
                 "softplus", "tanhshrink", "logsigmoid", "sigmoid")
]  # fmt: skip

X1, X2, X3 = T((2, 4, 9)), T((2, 4, 7, 8)), T((1, 4, 5, 6, 5))
LAYERS = [
    nn("linear",
       [S(M, T((5, 4)), T((5,))), S(M, T((5, 4))), S(T((2, 3, 4)), T((5, 4)), T((5,))),
        S(V, T((5, 4)), T((5,))), S(V, V), S(M, V), S(M, T((5, 4)), T((1,))), S(M, T((5, 4)), T()),
        S(T((0, 4)), T((5, 4)), T((5,))), S(T((2, 0, 4)), T((5, 4)), T((5,))),
        S(T((3, 0)), T((5, 0)), T((5,))),
        S(HALF, T((5, 4), "bfloat16", 0.5), T((5,), "bfloat16", 0.5)),
        S(T((3, 4), "int64"), T((5, 4), "int64")),
        S(T((3, 4), "complex64"), T((5, 4), "complex64")),
        S(M, T((5, 4), grad=False), T((5,))), S(T((3, 4), grad=False), T((5, 4)), T((5,)))],
       [S(T((32, 5)), T((4, 16))), S(M, T((5, 4)), T((3,))), S(M, T((5, 4), "float64")),
        S(M, 3.0), S([1.0], T((5, 4)))]),
    nn("bilinear", [S(M, T((3, 5)), T((6, 4, 5)), T((6,))), S(M, T((3, 5)), T((6, 4, 5)))],
       [S(M, T((2, 5)), T((6, 4, 5)))]),
    nn("conv1d",
       [S(X1, T((6, 4, 3)), T((6,))), S(X1, T((6, 4, 3)), None, 2, 1), S(T((4, 9)), T((6, 4, 2))),
        S(X1, T((6, 4, 3)), padding="same", dilation=2), S(X1, T((6, 4, 4)), padding="same"),
        S(X1, T((6, 2, 3)), T((6,)), groups=2), S(X1, T((8, 1, 3)), None, (2,), (1,), (2,), 4)]),
    nn("conv2d",
       [S(X2, T((6, 4, 3, 3)), T((6,))), S(X2, T((6, 4, 3, 2)), None, (2, 1), (1, 0), (1, 2)),
        S(T((4, 7, 8)), T((6, 4, 3, 3)), T((6,)), padding="valid"),
        S(X2, T((6, 4, 3, 3)), padding="same"), S(X2, T((4, 1, 3, 3)), T((4,)), 2, 1, groups=4),
        S(X2, T((6, 2, 3, 3)), T((6,)), 2, 1, 1, 2), S(X2, T((8, 1, 3, 2)), None, 1, 1, 2, 4),
        S(T((0, 4, 7, 8)), T((6, 4, 3, 3)), T((6,))),
        S(T((1, 4, 5, 5), "bfloat16"), T((6, 4, 3, 3), "bfloat16")),
        S(T((1, 2, 5, 5), "float64"), T((3, 2, 3, 3), "float64")),
        S(X2, T((6, 4, 1, 1)), T((6,))), S(X2, T((6, 4, 3, 3)), None, [2, 2], [1, 1])],
       [S(T((1, 4, 8, 8)), T((8, 3, 3, 3))), S(T((4, 8)), T((8, 3, 3, 3))),
        S(T((1, 3, 1, 1)), T((8, 3, 3, 3))), S(X2, T((6, 4, 3, 3)), T((7,))),
        S(X2, T((6, 4, 3, 3), "float64")), S(X2, T((6, 4, 3, 3)), stride=0),
        S(X2, T((6, 4, 3, 3)), stride=(1, 2, 3)), S(X2, T((6, 4, 3, 3)), padding="foo"),
        S(X2, T((6, 4, 3, 3)), padding="same", stride=2), S(X2, T((6, 4, 3, 3)), padding=-1),
        S(X2, T((7, 2, 3, 3)), groups=2)], tol=1e-4),
    nn("conv3d", [S(X3, T((2, 4, 3, 2, 3)), T((2,))), S(X3, T((4, 1, 2, 2, 2)), None, 2, 1, 1, 4),
                  S(T((4, 5, 6, 5)), T((2, 4, 3, 3, 3)), padding=1)], tol=1e-4),
    nn("conv_transpose1d", [S(X1, T((4, 3, 3)), T((3,))),
                            S(T((4, 9)), T((4, 3, 2)), None, 3, 1, 2)]),
    nn("conv_transpose2d",
       [S(X2, T((4, 3, 3, 3)), T((3,))), S(X2, T((4, 3, 3, 2)), None, (2, 1), 1, (1, 0)),
        S(X2, T((4, 3, 3, 3)), T((6,)), 2, 1, 1, 2), S(X2, T((4, 3, 3, 3)), dilation=2),
        S(X2, T((4, 3, 2, 2)), stride=2), S(X2, T((4, 1, 3, 3)), stride=2, padding=3, groups=4)],
       [S(T((1, 3, 5, 5)), T((3, 8, 3, 3)), output_padding=1), S(X2, T((3, 8, 3, 3))),
        S(X2, T((4, 8, 3, 3)), T((3,)))], tol=1e-4),
    nn("conv_transpose3d", [S(T((1, 2, 3, 3, 3)), T((2, 3, 2, 2, 2)), T((3,)), 2)], tol=1e-4),
    nn("unfold", [S(X2, 3), S(X2, (2, 3), 2, 1, (2, 1)), S(T((4, 7, 8)), 2)],
       [S(T((1, 3, 4, 4)), 5)]),
    nn("fold", [S(T((1, 12, 9)), (4, 4), 2), S(T((12, 4)), 4, 2, stride=2),
                S(T((2, 12, 9)), (4, 5), (2, 3), padding=1, stride=2)],
       [S(T((1, 12, 8)), (4, 4), 2), S(T((1, 11, 9)), (4, 4), 2)]),
]  # fmt: skip

PLACES = np.array([[[[0, 3], [8, 15]]]])
POOLS = [
    nn("max_pool1d", [S(X1, 3), S(X1, 2, 1, 1), S(T((4, 9)), 3), S(X1, 2, ceil_mode=True)],
       [S(V, 2)]),
    nn("max_pool2d",
       [S(T((2, 3, 8, 8)), 2), S(X2, 2), S(X2, 3, 2, 1), S(X2, (2, 3), ceil_mode=True),
        S(X2, 2, 1, dilation=2), S(T((3, 8, 6)), 2), S(TIED, 2), S(TIED, 2, return_indices=True),
        S(TIED, 3, 1, 1, return_indices=True), S(X2, 3, 2, 1, 1, True, True),
        S(T((1, 2, 12, 12)), 9, 2), S(T((1, 2, 12, 12)), 9, 2, 4, return_indices=True),
        S(T((1, 1, 4, 4), "int64"), 2), S(X2, (7, 8)), S(T((1, 2, 4, 4), "bfloat16"), 2),
        S(T((0, 3, 4, 4)), 2)],
       [S(X2, (2, 2, 2)), S(X2, 2, padding=2), S(T((1, 3, 1, 1)), 2), S(T((5, 5)), 2),
        S(X2, 2, stride=0)]),
    nn("max_pool3d", [S(T((1, 2, 4, 4, 4)), 2), S(X3, 2, 1, 1)]),
    nn("avg_pool1d", [S(X1, 3), S(X1, 2, 1, 1), S(T((4, 9)), 3, ceil_mode=True)]),
    nn("avg_pool2d",
       [S(T((2, 3, 8, 8)), 2), S(X2, 3, 2, 1), S(X2, 3, 2, 1, count_include_pad=False),
        S(X2, 2, ceil_mode=True), S(X2, 3, 2, 1, True, True), S(X2, 2, divisor_override=3),
        S(T((3, 8, 6)), (2, 3)), S(T((1, 2, 4, 4), "bfloat16"), 2), S(T((1, 1, 4, 4), "int64"), 2)],
       [S(X2, 2, padding=2), S(X2, 2, divisor_override=0)]),
    nn("avg_pool3d", [S(T((1, 2, 4, 4, 4)), 2), S(X3, 3, 2, 1, True, False)]),
    nn("adaptive_avg_pool1d", [S(X1, 3), S(X1, 4)]),
    nn("adaptive_avg_pool2d",
       [S(X2, 1), S(X2, (1, 1)), S(X2, (None, 2)), S(X2, (3, 5)), S(T((4, 7, 8)), 9),
        S(X2, [2, 3])],
       [S(T((5, 5)), 2)]),
    nn("adaptive_avg_pool3d", [S(X3, 2), S(X3, (1, 3, 2))]),
    nn("adaptive_max_pool1d", [S(X1, 3), S(X1, 4, return_indices=True)]),
    nn("adaptive_max_pool2d", [S(X2, 1), S(X2, (3, 5)), S(X2, (None, 2), return_indices=True),
                               S(TIED, 3, True)]),
    nn("adaptive_max_pool3d", [S(X3, 2)]),
    nn("lp_pool1d", [S(T((2, 4, 9), low=0.5), 2, 3)]),
    nn("lp_pool2d", [S(T((1, 2, 6, 6), low=0.5), 2, 2, 2), S(T((1, 2, 6, 6), low=0.5), 3, (2, 3))],
       tol=1e-4),
    nn("max_unpool2d", [S(T((1, 1, 2, 2)), PLACES, 2),
                        S(T((1, 1, 2, 2)), PLACES, 2, output_size=(5, 5))]),
]  # fmt: skip

NORMS = [
    nn("batch_norm",
       [S(M, None, None, training=True), S(X2, None, None, V, V, True),
        S(X1, T((4,), grad=False), T((4,), low=0.5, grad=False), V, V, True, 0.3),
        S(X2, T((4,), grad=False), T((4,), low=0.5, grad=False), V, V),
        S(X2, T((4,), grad=False), T((4,), low=0.5, grad=False), eps=0.1),
        ],
       [S(T((1, 3)), None, None, training=True), S(M, None, None), S(M, T((3,)), T((3,))),
        S(M, T((4,)), T((4,)), T((3,)))], tol=1e-4),
    nn("instance_norm",
       [S(X2), S(X1, T((4,), grad=False), T((4,), low=0.5, grad=False), V, V, momentum=0.4),
        S(X1, T((4,), grad=False), T((4,), low=0.5, grad=False), V, V, False)],
       [S(T((2, 3, 1)))], tol=1e-4),
    nn("layer_norm",
       [S(M, (4,), V, V), S(M, [4]), S(X2, (7, 8), T((7, 8)), T((7, 8))), S(M, (4,), V, None, 0.1),
        S(T((0, 4)), (4,), V, V)],
       [S(M, (3,)), S(M, 4), S(M, (4,), T((3,))), S(M, ()), S(T((3, 4), "int64"), (4,))], tol=1e-4),
    nn("rms_norm", [S(M, (4,), V), S(X2, (7, 8)), S(M, (4,), eps=0.1)], [S(M, (3,))], tol=1e-4),
    nn("group_norm", [S(X2, 2, V, V), S(M, 2), S(X1, 4, V), S(X1, 1, eps=0.1)],
       [S(M, 3), S(V, 1), S(X1, 2, T((3,)))], tol=1e-4),
    nn("local_response_norm", [S(X2, 3), S(X1, 2, 0.1, 0.5, 2.0)], [S(M, 2)]),
    nn("normalize", [S(M), S(M, dim=0), S(M, 1.0), S(M, p=3, dim=-1), S(M, float("inf")),
                     S(np.zeros((2, 3), "float32")), S(V, dim=0)], [S(INT, dim=0)]),
]  # fmt: skip

IDS = np.array([[1, 2, 0], [3, 3, 1]])
SQUARE = np.array([1.0, 2.0], "float32")
OTHERS = [
    nn("embedding",
       [S(IDS, T((5, 3))), S(IDS, T((5, 3)), 3), S(IDS, T((5, 3)), padding_idx=-2),
        S(IDS, T((5, 3)), scale_grad_by_freq=True), S(np.array(2), T((5, 3))),
        S(np.zeros((0, 2), "int64"), T((5, 3))), S(IDS.astype("int32"), T((5, 3))),
        S(IDS, T((5, 3), grad=False), max_norm=0.5)],
       [S(np.array([1, 9]), T((4, 3))), S(np.array([-1]), T((4, 3))), S(SQUARE, T((4, 3))),
        S(IDS, T((5, 3)), padding_idx=5), S(IDS, T((5, 3, 2)))]),
    nn("embedding_bag",
       [S(IDS, T((5, 3))), S(IDS, T((5, 3)), mode="sum"), S(IDS, T((5, 3)), mode="max"),
        S(np.array([1, 2, 4, 4, 3]), T((5, 3)), np.array([0, 2, 2])),
        S(np.array([1, 2, 4, 4, 3]), T((5, 3)), np.array([0, 2, 5]), include_last_offset=True),
        S(IDS, T((5, 3)), padding_idx=3),
        ],
       [S(IDS, T((5, 3)), np.array([0])), S(np.array([1]), T((5, 3))),
        S(IDS, T((5, 3)), mode="x")]),
    nn("one_hot", [S(IDS), S(IDS, 6), S(np.array(2), 3)],
       [S(np.array([1, 5]), 3), S(np.array([-1, 5])), S(SQUARE), S(np.zeros(0, "int64"))]),
    nn("pad",
       [S(M, (1, 2)), S(M, (1, 2, 0, 3), value=2.5), S(M, (-1, 1)), S(INT, (1, 1), "constant", 7),
        S(X2, (1, 2, 3, 1), "reflect"), S(X2, (1, 2, 3, 1), mode="replicate"),
        S(X2, (1, 2, 3, 1), mode="circular"), S(X1, (9, 2), "circular"), S(M, [2, 1], "reflect"),
        S(T((2,), "bool"), (1, 1)), S(X3, (1, 1, 2, 0, 0, 1), "replicate")],
       [S(V, (1, 2, 3)), S(V, (1, 2, 3, 4)), S(V, (-2, -3)), S(T((1, 3)), (4, 2), "reflect"),
        S(V, (1, 2), "reflect"), S(T((1, 1, 3)), (4, 2), "circular"), S(X1, (1, 2), "foo"),
        S(X1, (1, 2), "reflect", 5)]),
    nn("pixel_shuffle", [S(T((1, 8, 2, 3)), 2), S(T((8, 2, 3)), 2)], [S(T((1, 3, 4, 4)), 2)]),
    nn("pixel_unshuffle", [S(T((1, 2, 4, 6)), 2)], [S(T((1, 3, 5, 4)), 2)]),
    nn("channel_shuffle", [S(T((2, 6, 3, 2)), 3)], [S(T((2, 6, 3, 2)), 4)]),
    nn("interpolate",
       [S(X1, 5), S(X2, scale_factor=2), S(X2, (3, 11)), S(X2, scale_factor=(1.5, 0.7)),
        S(X2, (3, 11), mode="nearest-exact"), S(X1, 13, mode="linear"),
        S(X2, (14, 5), mode="bilinear"), S(X2, (14, 5), mode="bilinear", align_corners=True),
        S(X2, scale_factor=1.7, mode="bilinear"), S(X2, (9, 5), mode="bicubic"),
        S(X2, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
        S(X2, (9, 5), mode="bicubic", align_corners=True), S(X2, (3, 4), mode="area"),
        S(X3, (3, 7, 5), mode="trilinear"), S(X2, (3, 4), mode="bilinear", antialias=True),
        S(X2, (3, 4), mode="bicubic", antialias=True), S(X3, 3), S(X2, (1, 1), mode="bilinear"),
        S(T((1, 1, 300, 2)), (400, 2), mode="bilinear")],
       [S(X1, scale_factor=2, mode="bilinear"), S(X1), S(X1, 2, 2), S(X1, 2, mode="foo"),
        S(X2, (2, 2, 2)), S(X2, 3, align_corners=True)], tol=1e-4),
    nn("affine_grid", [S(T((2, 2, 3)), (2, 3, 4, 5), align_corners=False),
                       S(T((2, 2, 3)), (2, 3, 4, 5), align_corners=True),
                       S(T((1, 3, 4)), (1, 2, 3, 4, 5), align_corners=False)],
       [S(T((2, 3, 3)), (2, 3, 4, 5), align_corners=False)]),
    nn("grid_sample",
       [S(X2, T((2, 3, 5, 2), low=-1.2, high=1.2), align_corners=False),
        S(X2, T((2, 3, 5, 2), low=-1.2, high=1.2), padding_mode="border", align_corners=True),
        S(X2, T((2, 3, 5, 2), low=-3, high=3), padding_mode="reflection", align_corners=False),
        S(X2, T((2, 3, 5, 2), low=-1.2, high=1.2, grad=False), "nearest", align_corners=False),
        S(X3, T((1, 2, 3, 2, 3), low=-1.2, high=1.2), align_corners=True)],
       [S(X2, T((1, 3, 5, 2)), align_corners=False)], tol=1e-4, second=False),
    nn("pairwise_distance", [S(M, T((3, 4))), S(M, V, keepdim=True), S(M, M, 3.0)],
       tol=1e-4),
    nn("cosine_similarity", [S(M, T((3, 4))), S(M, T((3, 4)), 0), S(M, T((1, 4)), dim=-1)],
       [S(INT, INT, 0), S(M, M, 4)]),
    nn("pdist", [S(M), S(M, 1)], second=False),
    nn("embedding_bag", [S(IDS, T((5, 3)), mode="sum", per_sample_weights=T((2, 3)))],
       second=False),
]  # fmt: skip

Q, K = T((2, 3, 5, 4)), T((2, 3, 6, 4))
ATTENTION = [
    nn("scaled_dot_product_attention",
       [S(Q, K, K), S(Q, K, T((2, 3, 6, 2)), is_causal=True), S(Q, K, K, T((5, 6))),
        S(Q, K, K, T((2, 1, 5, 6), "bool")), S(M, M, M, scale=0.3), S(Q, Q, Q, scale=2.0),
        S(T((2, 6, 5, 4)), K, K, enable_gqa=True), S(Q, K, K, np.zeros((5, 6), bool)),
        ],
       [S(Q, T((2, 3, 6, 5)), K)], tol=1e-4, second=False),
    # Where PyTorch takes no fused kernel it has second derivatives.
    nn("scaled_dot_product_attention", [S(M, M, M), S(T((2, 5, 4)), T((2, 6, 4)), T((2, 6, 3)))],
       tol=1e-4),
]  # fmt: skip

ROWS = ACTIVATIONS + INPLACE + ROUNDED + LAYERS + POOLS + NORMS + OTHERS + ATTENTION


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


# ---- dropout: the same seed drops the same elements --------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "kwargs"),
    [
        ("dropout", (7, 9), {}),
        ("dropout", (40,), {"p": 0.2}),
        ("dropout", (5,), {"p": 1.0}),
        ("dropout1d", (2, 6, 3), {"p": 0.4}),
        ("dropout1d", (6, 3), {"p": 0.4}),
        ("dropout2d", (2, 6, 3, 3), {}),
        ("dropout3d", (2, 6, 2, 2, 2), {}),
        ("alpha_dropout", (7, 9), {"p": 0.3, "training": True}),
        ("feature_alpha_dropout", (4, 9, 2), {"p": 0.3, "training": True}),
    ],
)
@pytest.mark.parametrize("inplace", [False, True])
def test_dropout(name, shape, kwargs, inplace):
    data = np.random.default_rng(0).normal(size=shape).astype("float32")
    results, grads = [], []
    for lib in (torchlike, torch):
        functional = F if lib is torchlike else torch.nn.functional
        lib.manual_seed(3)
        x = lib.tensor(data).requires_grad_()
        y = getattr(functional, name)(x * 1, **kwargs, inplace=inplace)
        y.sum().backward()
        results.append(y.detach())
        grads.append(x.grad)
    same(results[0], results[1], 1e-6, name)
    same(grads[0], grads[1], 1e-6, name)


def test_dropout_outside_training_is_the_tensor_itself():
    x = torchlike.ones(3)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    with pytest.raises(ValueError, match="between 0 and 1, but got 2"):
        F.dropout(x, 2)


# ---- state -------------------------------------------------------------------------------------


def test_batch_norm_moves_the_running_statistics():
    data = np.random.default_rng(0).normal(2, 3, (8, 3, 4)).astype("float32")
    pairs = []
    for lib in (torchlike, torch):
        functional = F if lib is torchlike else torch.nn.functional
        mean, var = lib.zeros(3), lib.ones(3)
        for _ in range(3):
            functional.batch_norm(lib.tensor(data), mean, var, training=True, momentum=0.2)
        pairs.append((mean, var))
    same(pairs[0][0], pairs[1][0], 1e-5, "running_mean")
    same(pairs[0][1], pairs[1][1], 1e-5, "running_var")


def test_relu_in_place_after_a_norm_and_a_convolution_keeps_their_gradients():
    data = np.random.default_rng(0).normal(size=(4, 2, 6, 6)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(3, 2, 3, 3)).astype("float32")
    grads = []
    for lib in (torchlike, torch):
        functional = F if lib is torchlike else torch.nn.functional
        w = lib.tensor(kernel).requires_grad_()
        x = functional.conv2d(lib.tensor(data), w)
        x = functional.batch_norm(x, None, None, training=True)
        x = functional.max_pool2d(functional.relu(x, inplace=True), 2)
        (x * x).sum().backward()
        grads.append(w.grad)
    same(grads[0], grads[1], 1e-3, "weight.grad")


@pytest.mark.parametrize("kind", ["self", "cross", "masked", "averaged", "unbatched", "biased"])
def test_multi_head_attention(kind):
    rng = np.random.default_rng(0)
    make = lambda *shape: (0.5 * rng.normal(size=shape)).astype("float32")  # noqa: E731
    width, heads = 8, 2
    q, kv = make(5, 3, width), make(7, 3, width)
    w, b, ow, ob = make(3 * width, width), make(3 * width), make(width, width), make(width)
    bk = make(1, 1, width)
    results = []
    for lib in (torchlike, torch):
        functional = F if lib is torchlike else torch.nn.functional
        t = lib.tensor
        wt = t(w).requires_grad_()
        query = t(q)
        key = query if kind != "cross" else t(kv)
        extra = {"need_weights": kind in ("averaged", "biased")}
        args = [t(bk), t(bk), True] if kind == "biased" else [None, None, False]
        if kind == "masked":
            extra["attn_mask"] = t(np.triu(np.ones((5, 5), bool), 1))
            extra["key_padding_mask"] = t(np.arange(5) > np.array([[3], [4], [5]]))
        if kind == "unbatched":
            query = key = t(q[:, 0])
        out, weights = functional.multi_head_attention_forward(
            query, key, key, width, heads, wt, t(b), *args, 0.0, t(ow), t(ob), **extra
        )
        (out * out).sum().backward()
        results.append((out.detach(), wt.grad, None if weights is None else weights.detach()))
    for mine, theirs in zip(*results, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            same(mine, theirs, 1e-4, kind)


def test_gumbel_softmax_draws_from_the_same_stream():
    data = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    for hard in (False, True):
        results = []
        for lib in (torchlike, torch):
            functional = F if lib is torchlike else torch.nn.functional
            lib.manual_seed(5)
            results.append(functional.gumbel_softmax(lib.tensor(data), 0.7, hard))
        same(results[0], results[1], 1e-4, "gumbel_softmax")


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "silu", "hardtanh", "relu6"])
def test_in_place_activations_pass_gradients(name):
    data = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    grads = []
    for lib in (torchlike, torch):
        functional = F if lib is torchlike else torch.nn.functional
        leaf = lib.tensor(data).requires_grad_()
        x = leaf * 2
        assert getattr(functional, name)(x, inplace=True) is x
        (x * x).sum().backward()
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            getattr(functional, name)(leaf, inplace=True)
        grads.append(leaf.grad)
    same(grads[0], grads[1], 1e-5, name)


def test_a_causal_mask_beside_another_is_refused():
    q = torchlike.ones(2, 3, 4)
    with pytest.raises(RuntimeError, match="Explicit attn_mask should not be set"):
        F.scaled_dot_product_attention(q, q, q, torchlike.ones(3, 3), is_causal=True)


def test_an_index_known_only_to_the_device_raises_at_the_next_sync():
    table = torchlike.ones(4, 2)
    out = F.embedding(torchlike.tensor([1, 2]) * 3, table)
    with pytest.raises(IndexError, match="index 6 is out of bounds"):
        out.tolist()
