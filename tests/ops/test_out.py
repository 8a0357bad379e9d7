"""``out=`` of the functions that are written by hand, against PyTorch's."""

import pytest

import torchlike
from tests.ops.table import to_numpy, torch

CALLS = {
    "linear": lambda lib, x, **k: lib.nn.functional.linear(x, x[:2], **k),
    "gelu": lambda lib, x, **k: lib.nn.functional.gelu(x, approximate="tanh", **k),
    "softplus": lambda lib, x, **k: lib.nn.functional.softplus(x, **k),
    "softshrink": lambda lib, x, **k: lib.nn.functional.softshrink(x, 0.1, **k),
    "hardshrink": lambda lib, x, **k: lib.nn.functional.hardshrink(x, **k),
    "logsigmoid": lambda lib, x, **k: lib.nn.functional.logsigmoid(x, **k),
    "avg_pool2d": lambda lib, x, **k: lib.nn.functional.avg_pool2d(x[None], 2, **k),
    "avg_pool3d": lambda lib, x, **k: lib.nn.functional.avg_pool3d(x[None, None], (1, 2, 2), **k),
    "torch.hardshrink": lambda lib, x, **k: lib.hardshrink(x, **k),
    "torch.threshold": lambda lib, x, **k: lib.threshold(x, 0.2, -1, **k),
}


def operand(lib):
    return lib.linspace(-1, 1, 16).reshape(4, 4)


@pytest.mark.parametrize("name", CALLS)
def test_out(name):
    call = CALLS[name]
    expected = call(torch, operand(torch), out=torch.empty(0))
    out = torchlike.empty(tuple(expected.shape))
    assert call(torchlike, operand(torchlike), out=out) is out
    assert abs(to_numpy(out) - to_numpy(expected)).max() < 1e-6


@pytest.mark.parametrize("name", [n for n in CALLS if not n.startswith("torch.")])
def test_out_of_another_dtype_is_refused(name):
    for lib in (torch, torchlike):
        shape = tuple(CALLS[name](lib, operand(lib)).shape)
        with pytest.raises(RuntimeError):
            CALLS[name](lib, operand(lib), out=lib.empty(shape, dtype=lib.float64))


@pytest.mark.parametrize("name", ["linear", "gelu", "avg_pool2d"])
def test_out_has_no_gradient(name):
    for lib in (torch, torchlike):
        x = operand(lib).requires_grad_()
        shape = tuple(CALLS[name](lib, x).shape)
        with pytest.raises(RuntimeError, match="automatic differentiation"):
            CALLS[name](lib, x, out=lib.empty(shape))
