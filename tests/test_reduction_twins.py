"""Twins of reductions, orders and rearrangements: PyTorch's results, no trace, rules as traced."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch

import torchlike
from torchlike._core.settings import settings
from torchlike._engine import flush, host, inference

from .shape_rules import said_as_traced

pytestmark = pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0")
RULES = [n for n, r in inference.shape_rules.items() if r.__module__.endswith("reduction_twins")]
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3.0], "float32")
SHAPES = [(), (1,), (5,), (0,), (3, 4), (0, 3), (3, 0), (2, 3, 4)]


def numbers(kind, shape):
    rng = np.random.default_rng(len(shape))
    if kind == "odd":
        return rng.choice(ODD, shape).astype("float32")
    if kind in ("bool", "uint8", "int64"):
        return rng.integers(0, 2 if kind == "bool" else 5, shape).astype(kind)
    if kind == "ties":
        return rng.integers(-2, 3, shape).astype("float32")
    return rng.standard_normal(shape).astype(kind)


def made():
    """Calls by name: functions of a module and a tensor."""
    calls = {}
    for name, dim, keep in itertools.product(
        ("amax", "amin", "all", "any", "std", "var", "norm", "logsumexp", "prod"),
        (0, -1, 1, (0, 1)), (False, True),
    ):  # fmt: skip
        if name == "prod" and dim.__class__ is tuple:
            continue
        calls[f"{name} {dim} {keep}"] = lambda m, x, n=name, d=dim, k=keep: getattr(x, n)(
            dim=d, keepdim=k
        )
    for name in ("max", "min", "amax", "all", "any", "std", "var", "norm", "prod", "count_nonzero"):
        calls[name] = lambda m, x, n=name: getattr(x, n)()
    for dim, down in itertools.product((0, -1, 1), (False, True)):
        calls |= {
            f"sort {dim} {down}": lambda m, x, d=dim, k=down: x.sort(
                stable=True, dim=d, descending=k
            ),
            f"argsort {dim} {down}": lambda m, x, d=dim, k=down: x.argsort(
                dim=d, descending=k, stable=True
            ),
            f"topk {dim} {down}": lambda m, x, d=dim, k=down: x.topk(1, d, largest=k)[0],
            f"search {dim} {down}": lambda m, x, d=dim, k=down: m.searchsorted(
                x.reshape(-1), x, right=k, out_int32=d == 0
            ),
        }
    for dim in (0, -1, 1):
        for name in ("cumsum", "cumprod", "flip", "count_nonzero", "max", "min"):
            calls[f"{name} {dim}"] = lambda m, x, n=name, d=dim: getattr(x, n)(d)
        calls[f"var {dim} 5"] = lambda m, x, d=dim: x.var(d, correction=5)
        calls[f"roll {dim}"] = lambda m, x, d=dim: x.roll(2, d)
    calls |= {
        "roll": lambda m, x: x.roll((1, 2), (0, -1)), "flip": lambda m, x: x.flip(()),
        "repeat": lambda m, x: x.repeat(2, 1, 3), "repeat 0": lambda m, x: x.repeat(0, 1, 1),
        "tril": lambda m, x: x.tril(-1), "triu": lambda m, x: x.triu(1),
        "dot": lambda m, x: x.dot(x), "outer": lambda m, x: x.outer(x),
        "fill": lambda m, x: x.masked_fill(x > 0, 2.5),
        "fill some": lambda m, x: x.masked_fill((x > 0)[..., :1], -1),
        "mse": lambda m, x: m.nn.functional.mse_loss(x, x * 2),
        "l1": lambda m, x: m.nn.functional.l1_loss(x * 2, x, reduction="none"),
        "dtype": lambda m, x: x.cumsum(0, dtype=m.float64),
        "arange": lambda m, x: m.arange(7, 1, -2) + len(x.shape),
    }  # fmt: skip
    return calls


CALLS = made()


@pytest.fixture
def by_numpy(monkeypatch):
    monkeypatch.setattr(flush, "worth_compiling", lambda *args: False)
    with settings.override(host=True, immediate=False):
        yield


def outcome(m, call, array):
    x = m.from_numpy(array.copy()) if array.ndim else m.tensor(array)
    try:
        found = call(m, x)
        found = found if isinstance(found, tuple) else (found,)
        return [(str(t.dtype), t.numpy()) for t in found]
    except (RuntimeError, IndexError, NotImplementedError, TypeError) as error:
        return error


@pytest.mark.parametrize("kind", ["float32", "odd", "ties", "int64", "bool", "uint8"])
def test_by_numpy_they_are_pytorchs(by_numpy, kind):
    for shape in SHAPES:
        array = numbers(kind, shape)
        for name, call in CALLS.items():
            theirs, ours = outcome(torch, call, array), outcome(torchlike, call, array)
            if isinstance(theirs, Exception):
                # PyTorch has no kernel of some for bool; a few of these are here
                assert isinstance(ours, Exception) or kind == "bool", (name, shape, theirs)
                continue
            if name.startswith("search") and kind == "bool":
                continue  # of no elements PyTorch looks no further
            assert not isinstance(ours, Exception), (name, shape, ours)
            for (dtype, a), (d, b) in zip(theirs, ours, strict=True):
                assert d == dtype and a.shape == b.shape, (name, shape)
                np.testing.assert_allclose(b, a, 1e-5, 1e-6, err_msg=f"{name} {shape}")


def test_new_shapes_are_not_traced(by_numpy, monkeypatch):
    plain = {n: c for n, c in CALLS.items() if n not in ("var 0 5", "var -1 5", "var 1 5", "dtype")}
    plain = {n: c for n, c in plain.items() if not n.startswith(("all", "any", "dot", "outer"))}
    x = numbers("float32", (7, 3, 6))
    for call in plain.values():  # pointwise calls are traced once for all shapes
        outcome(torchlike, call, x)

    def refuse(op, *rest):
        raise AssertionError(f"{op.name} is traced")

    monkeypatch.setattr(inference, "traced", refuse)
    monkeypatch.setattr(host, "traced", refuse)
    y = numbers("float32", (8, 4, 7))
    for name, call in plain.items():
        found = outcome(torchlike, call, y)
        assert not isinstance(found, Exception), (name, found)


def test_rules_agree_with_tracing(monkeypatch):
    assert len(RULES) > 20
    torchlike.compiler.clear_caches()
    arrays = [numbers(k, s) for k in ("float32", "int64", "bool", "uint8") for s in SHAPES]
    calls = [partial(outcome, torchlike, c, a) for a in arrays for c in CALLS.values()]
    said_as_traced(monkeypatch, RULES, calls)
