"""nn.init: a seed gives PyTorch's numbers, and bad calls its errors and warnings."""

import warnings

import numpy as np
import pytest

import torchlike
from torchlike import nn

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")

# name, shape, arguments; normal numbers agree to two units in the last place
EXACT = [
    ("uniform_", (3, 5), ()),
    ("uniform_", (40,), (-2.0, 3.0)),
    ("constant_", (3, 5), (2.5,)),
    ("ones_", (3, 5), ()),
    ("zeros_", (3, 5), ()),
    ("eye_", (3, 5), ()),
    ("dirac_", (6, 3, 5), ()),
    ("dirac_", (6, 2, 3, 4), (2,)),
    ("dirac_", (2, 4, 3, 3, 2), ()),
    ("xavier_uniform_", (5, 4), ()),
    ("xavier_uniform_", (5, 4, 3), (2.0,)),
    ("kaiming_uniform_", (5, 4), ()),
    ("kaiming_uniform_", (5, 4, 3, 3), (0.1, "fan_out", "relu")),
    ("kaiming_uniform_", (5, 4), (0, "FAN_OUT", "tanh")),
]
CLOSE = [
    ("normal_", (3, 4), ()),
    ("normal_", (40,), (1.0, 3.0)),
    ("xavier_normal_", (5, 4), (0.5,)),
    ("kaiming_normal_", (5, 4, 3), ()),
    ("kaiming_normal_", (50, 4), (0.2, "fan_out")),
    ("trunc_normal_", (50,), ()),
    ("trunc_normal_", (50, 4), (0.5, 2.0, -1.0, 1.0)),
    ("trunc_normal_", (50,), (0.0, 1.0, 1.5, 2.5)),  # the tail: by rejection
    ("trunc_normal_", (300,), (0.0, 1.0, -0.1, 0.1)),
    ("sparse_", (9, 4), (0.3,)),
    ("sparse_", (9, 4), (0.5, 2.0)),
]
ORTHOGONAL = [
    ("orthogonal_", (5, 3), ()),
    ("orthogonal_", (3, 5), (2.0,)),
    ("orthogonal_", (4, 4), ()),
    ("orthogonal_", (4, 2, 3), ()),
]


def drawn(lib, name, shape, args, dtype="float32", **kwargs):
    lib.manual_seed(7)
    t = lib.zeros(shape, dtype=getattr(lib, dtype)).requires_grad_()
    out = getattr(lib.nn.init, name)(t, *args, **kwargs)
    assert out is t and t.requires_grad and t.is_leaf
    follows = lib.rand(1).item()  # as many numbers were drawn
    return t.detach(), follows


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(("name", "shape", "args"), EXACT)
def test_exact(name, shape, args, dtype):
    (a, x), (b, y) = (drawn(lib, name, shape, args, dtype) for lib in (torchlike, torch))
    assert x == y and str(a.dtype) == str(b.dtype)
    np.testing.assert_array_equal(a.float().numpy(), b.float().numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "shape", "args"), CLOSE)
def test_normal(name, shape, args, dtype):
    (a, x), (b, y) = (drawn(lib, name, shape, args, dtype) for lib in (torchlike, torch))
    assert x == y
    # Two units in the last place of the normal numbers, before they are scaled and moved.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=4 * eps, atol=4 * eps)


@pytest.mark.parametrize(("name", "shape", "args"), ORTHOGONAL)
def test_orthogonal(name, shape, args):
    (a, x), (b, y) = (drawn(lib, name, shape, args) for lib in (torchlike, torch))
    assert x == y
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-6)  # another LAPACK's rounding


@pytest.mark.parametrize("name", ["uniform_", "normal_", "xavier_normal_", "kaiming_uniform_",
                                  "trunc_normal_", "orthogonal_"])  # fmt: skip
def test_generator(name):
    found = []
    for lib in (torchlike, torch):
        lib.manual_seed(0)
        t = lib.zeros(4, 5)
        generator = lib.Generator().manual_seed(11)
        getattr(lib.nn.init, name)(t, generator=generator)
        found.append((t.numpy(), lib.rand(1).item()))  # the default stream is untouched
    np.testing.assert_allclose(found[0][0], found[1][0], atol=2e-6)
    assert found[0][1] == found[1][1]


def test_views_are_written_through():
    for lib in (torchlike, torch):
        t = lib.zeros(2, 3)
        nn_init = lib.nn.init
        nn_init.ones_(t[0])
        nn_init.constant_(t[:, 2], 5.0)
        assert t.tolist() == [[1, 1, 5], [0, 0, 5]]


def test_it_counts_as_an_in_place_change():
    """What autograd saved before must not be used after."""
    w = torchlike.ones(2, requires_grad=True)
    y = (w * w).sum()
    nn.init.zeros_(w)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("args", [("linear",), ("conv2d",), ("conv_transpose3d",), ("sigmoid",),
                                  ("tanh",), ("relu",), ("leaky_relu",), ("leaky_relu", 0.3),
                                  ("leaky_relu", 2), ("selu",)])  # fmt: skip
def test_gain(args):
    ours, theirs = nn.init.calculate_gain(*args), torch.nn.init.calculate_gain(*args)
    assert ours == theirs and type(ours) is type(theirs)


BAD = [
    ("calculate_gain", None, ("gelu",)),
    ("calculate_gain", None, ("leaky_relu", True)),
    ("calculate_gain", None, ("leaky_relu", "x")),
    ("eye_", (3,), ()),
    ("dirac_", (3, 3), ()),
    ("dirac_", (5, 3, 3), (2,)),
    ("xavier_uniform_", (3,), ()),
    ("xavier_normal_", (), ()),
    ("kaiming_uniform_", (3,), ()),
    ("kaiming_normal_", (3, 4), (0, "fan")),
    ("kaiming_normal_", (3, 4), (0, "fan_in", "swish")),
    ("orthogonal_", (3,), ()),
    ("sparse_", (3, 4, 5), (0.1,)),
]


@pytest.mark.parametrize(("name", "shape", "args"), BAD)
def test_error(name, shape, args):
    told = []
    for lib in (torchlike, torch):
        given = () if shape is None else (lib.zeros(shape),)
        with pytest.raises(Exception) as caught:
            getattr(lib.nn.init, name)(*given, *args)
        told.append((caught.type, str(caught.value)))
    assert told[0] == told[1]


WARNS = [
    ("kaiming_uniform_", (0, 3), ()),
    ("kaiming_normal_", (0, 3), ()),
    ("trunc_normal_", (5,), (5.0,)),
    *((name, (3, 4), ()) for name in ("uniform", "normal", "eye", "xavier_uniform",
                                      "xavier_normal", "kaiming_uniform", "kaiming_normal",
                                      "orthogonal")),
    ("constant", (3, 4), (1.0,)),
    ("dirac", (3, 4, 3), ()),
    ("sparse", (3, 4), (0.1,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "args"), WARNS)
def test_warning(name, shape, args):
    told = []
    for lib in (torchlike, torch):
        t = lib.zeros(shape)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            getattr(lib.nn.init, name)(t, *args)
        told.append([(w.category, str(w.message)) for w in found])
        assert lib is torch or [w.filename for w in found] == [__file__]
    assert told[0] == told[1]


def test_meta_tensors_draw_nothing():
    for lib in (torchlike, torch):
        lib.manual_seed(0)
        first = lib.rand(1).item()
        lib.manual_seed(0)
        t = lib.empty(4, 4, device="meta")
        for name in ("uniform_", "normal_", "trunc_normal_", "orthogonal_", "ones_", "eye_"):
            getattr(lib.nn.init, name)(t)
        lib.nn.init.sparse_(t, 0.5)
        assert lib.rand(1).item() == first
