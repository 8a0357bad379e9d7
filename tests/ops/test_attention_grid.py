"""scaled_dot_product_attention over a grid of shapes, masks and flags, against PyTorch."""

import itertools
from unittest import mock

import numpy as np
import pytest
import torch

import torchlike
from torchlike import compiler
from torchlike._core.settings import settings
from torchlike._engine import flush

SHAPES = [  # query, key, value
    ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)),
    ((2, 3, 7, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
    ((5, 4), (5, 4), (5, 4)),
    ((2, 4, 5, 8), (2, 2, 5, 8), (2, 2, 5, 8)),
    ((1, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
    ((2, 3, 5, 4), (2, 3, 0, 4), (2, 3, 0, 4)),
    ((2, 3, 1, 4), (2, 3, 9, 4), (2, 3, 9, 4)),
    ((2, 4, 5, 8), (2, 3, 5, 8), (2, 3, 5, 8)),  # no heads that fit
    ((2, 2, 70, 4), (2, 2, 90, 4), (2, 2, 90, 4)),  # three blocks of queries
    ((150, 4), (130, 4), (130, 4)),  # four, the last ones meet all keys
    ((2, 30, 260, 4), (2, 30, 260, 4), (2, 30, 260, 4)),  # some heads at a time
]
MASKS = ["none", "bool", "dead", "float", "infinite", "row", "full"]
FLAGS = [{}, {"is_causal": True}, {"scale": 0.3, "enable_gqa": True}]


def mask_of(kind, q, k, rng):
    rows, columns = q[-2], k[-2]
    return {
        "none": lambda: None,
        "bool": lambda: rng.random((rows, columns)) < 0.6,
        "dead": lambda: (np.arange(rows)[:, None] % 2 == 0) & np.ones((1, columns), bool),
        "float": lambda: rng.normal(size=(rows, columns)).astype("float32"),
        "infinite": lambda: np.where(rng.random((rows, columns)) < 0.5, -np.inf, 0).astype("f4"),
        "row": lambda: rng.random((1, columns)) < 0.7,
        "full": lambda: rng.random((*q[:-2], rows, columns)) < 0.5,
    }[kind]()


def run(lib, arrays, mask, flags):
    tensors = [lib.tensor(a).requires_grad_() for a in arrays]
    mask = None if mask is None else lib.tensor(mask)
    out = lib.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=mask, **flags)
    grads = lib.autograd.grad((out * 1.5).sin().sum(), tensors, allow_unused=True)
    shown = [out.detach().numpy()]
    return shown + [np.zeros(t.shape) if g is None else g.numpy() for g, t in zip(grads, tensors)]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_numbers_and_gradients(shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("float32") for s in shapes]
    for kind, flags in itertools.product(MASKS, FLAGS):
        mask = mask_of(kind, *shapes[:2], rng)
        try:
            expected = run(torch, arrays, mask, flags)
        except (RuntimeError, IndexError):
            with pytest.raises((RuntimeError, IndexError)):
                run(torchlike, arrays, mask, flags)
            continue
        found = run(torchlike, arrays, mask, flags)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                a, b, rtol=2e-4, atol=2e-5, err_msg=f"{shapes} {kind} {flags}"
            )


@pytest.mark.parametrize("shapes", [SHAPES[n] for n in (0, 1, 2, 6, 8)], ids=str)
def test_numbers_by_numpy(shapes):
    """A new length compiles nothing: NumPy computes what comes once."""
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s).astype("float32") for s in shapes]
    compiler.clear_caches()
    never = mock.patch.object(flush, "worth_compiling", lambda *args: False)
    for kind, flags in itertools.product(MASKS, FLAGS):
        mask = mask_of(kind, *shapes[:2], rng)
        try:
            expected = run(torch, arrays, mask, flags)
        except (RuntimeError, IndexError):
            continue
        compiler.clear_stats()
        with never, settings.override(host=True):
            found = run(torchlike, arrays, mask, flags)
        assert compiler.stats()["host_ops"]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=f"{kind} {flags}")


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_dropout_out_of_range(p):
    q = torchlike.ones(2, 3, 5, 4)
    with pytest.raises(RuntimeError, match="dropout probability"):
        torchlike.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=p)


def test_dropout_keeps_the_expectation():
    torchlike.manual_seed(0)
    q = torchlike.ones(4, 8, 16, 4)
    f = torchlike.nn.functional.scaled_dot_product_attention
    out = f(q, q, q, dropout_p=0.5)
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)
    assert out.std().item() > 0.1
    assert f(q, q, q, dropout_p=1.0).abs().sum().item() == 0
