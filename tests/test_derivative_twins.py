"""Twins of derivatives: PyTorch's gradients, and no trace for a new shape."""

import numpy as np
import pytest
import torch

import torchlike
from torchlike._core.settings import settings
from torchlike._engine import flush, host, inference

pytestmark = pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0")
SHAPES = [(3, 4), (5, 2), (1, 3), (4, 1)]
ODD = np.array([np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3.0], "float32")


def index(m, x):
    return m.arange(x.shape[0]) % 2


def losses(name, reduction):
    return lambda m, x, y: getattr(m.nn.functional, name)(x, y, reduction=reduction)


# Functions of a module, a matrix and another one of its shape.
CALLS = {
    "sum": lambda m, x, y: x.sum(), "sum 1": lambda m, x, y: x.sum(1),
    "sum keep": lambda m, x, y: x.sum((0, 1), keepdim=True),
    "mean": lambda m, x, y: x.mean(), "mean 0": lambda m, x, y: x.mean(0, keepdim=True),
    "var": lambda m, x, y: x.var(1, correction=0), "var all": lambda m, x, y: (x * y).var(),
    "std": lambda m, x, y: x.std(0, correction=0, keepdim=True),
    "norm": lambda m, x, y: x.norm(), "norm 1": lambda m, x, y: x.norm(dim=1),
    "logsumexp": lambda m, x, y: x.logsumexp(1), "both": lambda m, x, y: x.logsumexp((0, 1)),
    "softmax": lambda m, x, y: x.softmax(1), "log_softmax": lambda m, x, y: x.log_softmax(0),
    "cumsum": lambda m, x, y: x.cumsum(-2), "max": lambda m, x, y: x.max(1)[0],
    "min": lambda m, x, y: x.min(0, keepdim=True)[0], "sort": lambda m, x, y: x.sort(1)[0],
    "topk": lambda m, x, y: x.topk(1, 0, largest=False)[0],
    "gather": lambda m, x, y: x.gather(0, index(m, x)[:, None].clamp(max=x.shape[0] - 1)),
    "select": lambda m, x, y: x.index_select(0, index(m, x).clamp(max=x.shape[0] - 1)),
    "rows": lambda m, x, y: x[index(m, x)], "mask": lambda m, x, y: x[y > 0],
    "cells": lambda m, x, y: x[index(m, x), index(m, x) * 0],
    "part": lambda m, x, y: x[1:, ::2], "row": lambda m, x, y: x[-1],
    "cell": lambda m, x, y: x[0, 0],
    "new": lambda m, x, y: x[None, :, None], "expand": lambda m, x, y: x[:, :1].expand(2, -1, 5),
    "clone": lambda m, x, y: x.clone(), "flip": lambda m, x, y: x.flip((0, 1)),
    "tril": lambda m, x, y: x.tril(-1), "triu": lambda m, x, y: x.triu(1),
    "fill": lambda m, x, y: x.masked_fill(y > 0, 2.0),
    "stack": lambda m, x, y: m.stack((x, y, x), 1),
    "split": lambda m, x, y: x.split(1, 0)[0],
    "chunks": lambda m, x, y: m.cat(x.chunk(2, 1)[::-1], 1),
    "mm": lambda m, x, y: x @ y.T, "bmm": lambda m, x, y: m.bmm(x[None], y.T[None]),
    "matmul": lambda m, x, y: x[None] @ y.T, "batches": lambda m, x, y: m.stack((x, y)) @ y.T[None],
    "same": lambda m, x, y: m.stack((x, y)) @ m.stack((x, y)).mT, "mv": lambda m, x, y: x @ y[0],
    "dot": lambda m, x, y: x[0] @ y[-1], "outer": lambda m, x, y: m.outer(x[0], y[0]),
    "one side": lambda m, x, y: x @ y.detach().T, "other": lambda m, x, y: x.detach() @ y.T,
} | {
    f"{name} {r}": losses(name, r)
    for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
    for r in ("mean", "sum", "none")
}  # fmt: skip


@pytest.fixture
def by_numpy(monkeypatch):
    monkeypatch.setattr(flush, "worth_compiling", lambda *args: False)
    with settings.override(host=True, immediate=False):
        yield


def gradients(m, call, x, y):
    x, y = (m.tensor(a, requires_grad=True) for a in (x, y))
    out = call(m, x, y)
    g = m.arange(1, out.numel() + 1, dtype=x.dtype).reshape(out.shape) / 7
    found = m.autograd.grad(out, (x, y), g, allow_unused=True)
    return [None if t is None else t.numpy() for t in found]


def matrices(kind, shape):
    rng = np.random.default_rng(sum(shape))
    if kind == "odd":
        return rng.choice(ODD, shape).astype("float32"), rng.choice(ODD, shape).astype("float32")
    if kind == "ties":
        return tuple(rng.integers(-1, 2, shape).astype("float32") for _ in range(2))
    return tuple(rng.standard_normal(shape).astype(kind) for _ in range(2))


@pytest.mark.parametrize("kind", ["float32", "float64", "ties", "odd"])
def test_by_numpy_they_are_pytorchs(by_numpy, kind):
    for shape in SHAPES:
        x, y = matrices(kind, shape)
        for name, call in CALLS.items():
            if kind in ("ties", "odd") and name.split()[0] in ("sort", "topk", "max", "min"):
                continue  # PyTorch chooses among equals as it likes
            ours, theirs = (gradients(m, call, x, y) for m in (torchlike, torch))
            for a, b in zip(ours, theirs, strict=True):
                assert (a is None) is (b is None), (name, shape)
                if b is not None:
                    assert a.dtype == b.dtype
                    np.testing.assert_allclose(a, b, 2e-5, 1e-6, err_msg=f"{name} {shape}")


def test_new_shapes_are_not_traced(by_numpy, monkeypatch):
    plain = {n: c for n, c in CALLS.items() if n not in ("cells", "gather")}
    for call in plain.values():  # pointwise calls are traced once for all shapes
        gradients(torchlike, call, *matrices("float32", (7, 3)))
    real = inference.traced

    def refuse(op, statics, in_avals, keep=False):
        if keep:  # to learn the shapes of a forward call
            return real(op, statics, in_avals, keep)
        raise AssertionError(f"{op.name} is traced")

    monkeypatch.setattr(host, "traced", refuse)
    for call in plain.values():
        gradients(torchlike, call, *matrices("float32", (8, 4)))
