"""Tensors without data: what calls on the device "meta" give, and what they raise, as PyTorch."""

import pickle

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch")

CALLS = {
    "a sum": lambda m, x: (x + 1).sum(0),
    "a number": lambda m, x: x.sum().item(),
    "a condition": lambda m, x: bool(x.sum()),
    "an array": lambda m, x: x.numpy(),
    "numpy's own": lambda m, x: np.asarray(x),
    "to the CPU": lambda m, x: x.cpu(),
    "an inverse": lambda m, x: m.linalg.inv(x[:, :2]),
    "cholesky": lambda m, x: m.linalg.cholesky(x[:, :2]),
    "solve": lambda m, x: m.linalg.solve(x[:, :2], x),
    "lu": lambda m, x: m.linalg.lu_factor(x[:, :2])[1],
    "a histogram": lambda m, x: m.histc(x, 7),
    "a product": lambda m, x: x @ x.t(),
    "an index": lambda m, x: x[m.tensor([0, 1])],
    "pickled": lambda m, x: pickle.loads(pickle.dumps(x)),
    "drawn": lambda m, x: x.normal_(),
    "a copy out": lambda m, x: m.ones(2, 3).copy_(x),
    "a copy in": lambda m, x: x.copy_(m.ones(2, 3)),
    "a layer": lambda m, x: m.nn.Linear(3, 4, device="meta")(x),
    "another device": lambda m, x: x + m.ones(3),
}


def outcome(call, m):
    try:
        found = call(m, m.empty(2, 3, device="meta"))
    except Exception as error:
        kind = next(k for k in type(error).__mro__ if k.__module__ == "builtins")
        return "raised", NotImplementedError if kind is NotImplementedError else kind
    return str(found.device), str(found.dtype), tuple(found.shape), found.requires_grad


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    assert outcome(CALLS[name], torchlike) == outcome(CALLS[name], torch)


def test_a_gradient():
    def program(m):
        x = m.empty(2, 3, device="meta", requires_grad=True)
        (x * 2).sin().sum().backward()
        return x.grad.device.type, tuple(x.grad.shape)

    assert program(torchlike) == program(torch)
