"""Ops whose formulation depends on the sizes, at sizes that the op tables do not reach."""

import numpy as np
import pytest
import torch

import torchlike

CONVOLUTIONS = {
    "depthwise": ("conv2d", (5, 8, 30, 32), (8, 1, 3, 3), {"padding": 1, "groups": 8}),
    "depthwise, long kernel": (
        "conv2d", (18, 8, 20, 14), (8, 1, 5, 3),
        {"padding": (2, 0), "stride": (2, 1), "dilation": (1, 2), "groups": 8},
    ),
    "depthwise, several a channel": (
        "conv1d", (40, 8, 110), (16, 1, 11), {"padding": 5, "stride": 3, "groups": 8},
    ),
    "depthwise, transposed": (
        "conv_transpose2d", (5, 8, 30, 32), (8, 1, 3, 3),
        {"padding": 1, "stride": 2, "output_padding": 1, "groups": 8},
    ),
    "kernel of one, by image": ("conv2d", (3, 4, 20, 20), (6, 4, 1, 1), {"stride": (1, 2)}),
    "kernel of one, at once": ("conv2d", (3, 64, 3, 4), (32, 64, 1, 1), {}),
    "phases of the stride": (
        "conv2d", (2, 20, 27, 24), (12, 20, 9, 8), {"stride": (2, 3), "padding": (4, 0)},
    ),
    "phases, kernel narrower than the stride": (
        "conv2d", (2, 16, 40, 19), (3, 16, 26, 2), {"stride": (2, 3)},
    ),
    "phases, transposed": (
        "conv_transpose2d", (2, 8, 6, 5), (8, 16, 8, 9),
        {"stride": 3, "padding": (1, 3), "output_padding": 2},
    ),
    "phases, three by three": (
        "conv2d", (2, 20, 15, 12), (6, 20, 3, 3), {"stride": 2, "padding": 1},
    ),
    "phases at once": (
        "conv_transpose2d", (2, 8, 6, 5), (8, 9, 4, 4), {"stride": 2, "padding": 1},
    ),
    "phases at once, few channels": (
        "conv2d", (2, 9, 14, 13), (5, 9, 3, 5), {"stride": (2, 3), "padding": (1, 0)},
    ),
    "a convolution a group": (
        "conv2d", (2, 36, 9, 8), (8, 9, 3, 2), {"groups": 4, "padding": 1},
    ),
    "a convolution a group, one dimension": (
        "conv1d", (2, 45, 30), (10, 9, 5), {"groups": 5, "stride": 2},
    ),
    "groups as one dense kernel": (
        "conv2d", (2, 8, 9, 8), (6, 4, 3, 3), {"groups": 2, "stride": 2, "dilation": (1, 2)},
    ),
    "an edge that nobody sees": ("conv2d", (8, 16, 40, 36), (32, 16, 3, 4), {}),
    "an edge, strided": ("conv2d", (8, 16, 51, 60), (32, 16, 3, 5), {"stride": (1, 3)}),
    "volume": (
        "conv3d", (2, 3, 9, 8, 7), (4, 3, 3, 2, 3), {"stride": (2, 1, 2), "padding": (1, 0, 2)},
    ),
    "volume, dilated": ("conv3d", (2, 3, 9, 8, 7), (4, 3, 3, 2, 1), {"dilation": (3, 2, 1)}),
    "volume, transposed": (
        "conv_transpose3d", (2, 3, 4, 3, 5), (3, 4, 4, 3, 2),
        {"stride": (2, 3, 3), "padding": 1, "output_padding": (1, 0, 2)},
    ),
    "batch in parts": ("conv2d", (10, 6, 40, 40), (80, 6, 3, 3), {"padding": 1, "stride": 1}),
}  # fmt: skip


def results(lib, function, arrays, gradient, second):
    """The result, all gradients, and the gradients of a product with those."""
    operands = [lib.tensor(a).requires_grad_() for a in arrays]
    out = function(lib, *operands)
    grads = lib.autograd.grad(out, operands, lib.tensor(gradient(out)), create_graph=second)
    found = [out, *grads]
    if second:
        weights = [np.cos(np.arange(g.numel(), dtype="float32")).reshape(g.shape) for g in grads]
        total = sum((g * lib.tensor(w)).sum() for g, w in zip(grads, weights))
        found += lib.autograd.grad(total, operands, allow_unused=True)
    return [None if y is None else y.detach().numpy() for y in found]


def agree(function, shapes, second=True):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, np.float32) for s in shapes]
    weights = {}

    def gradient(out):
        return weights.setdefault("out", rng.standard_normal(tuple(out.shape), np.float32))

    want = results(torch, function, arrays, gradient, second)
    got = results(torchlike, function, arrays, gradient, second)
    for a, b in zip(want, got, strict=True):
        if a is not None:
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=2e-5 * np.abs(a).max())


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case):
    name, shape, kernel, options = CONVOLUTIONS[case]
    call = lambda lib, x, w: getattr(lib.nn.functional, name)(x, w, **options)  # noqa: E731
    agree(call, [shape, kernel], second=case != "batch in parts")


def test_an_output_of_a_transposed_convolution_that_would_be_empty():
    errors = []
    for lib in (torch, torchlike):
        with pytest.raises(RuntimeError) as found:
            lib.nn.functional.conv_transpose2d(
                lib.ones(1, 1, 2, 3), lib.ones(1, 1, 1, 1), padding=3
            )
        errors.append(str(found.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("shape", "dim"), [((256, 100), 1), ((70, 300), 0), ((8, 3000), 1), ((2, 90, 13, 9), 1)]
)
def test_running_sums(shape, dim):
    agree(lambda lib, x: x.cumsum(dim), [shape], second=False)


def test_running_sums_of_what_is_not_finite_leave_the_sums_before_alone():
    data = np.random.default_rng(0).standard_normal((40, 512)).astype("float32")
    data[3, 100], data[5, 7], data[9, 50:] = np.inf, np.nan, 1e38
    want, got = (lib.tensor(data).cumsum(1).numpy() for lib in (torch, torchlike))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
    ones = []
    for lib in (torch, torchlike):
        x = lib.ones(40, 512).requires_grad_()
        ones.append(lib.autograd.grad(x.cumsum(1), x, lib.tensor(data))[0].numpy())
    np.testing.assert_allclose(ones[1], ones[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["causal", "masked", "dropped"])
def test_attention_over_more_keys_than_a_head_is_wide(kind):
    seen = np.random.default_rng(1).random((40, 48)) < 0.7
    seen[4] = False

    def call(lib, q, k, v):
        options = {
            "causal": lambda: {"is_causal": True},
            "masked": lambda: {"attn_mask": lib.tensor(seen)},
            "dropped": lambda: {"dropout_p": 0.4},
        }[kind]()
        lib.manual_seed(0)
        return lib.nn.functional.scaled_dot_product_attention(q, k, v, **options)

    agree(call, [(2, 3, 40, 8), (2, 3, 48, 8), (2, 3, 48, 5)], second=kind == "dropped")
