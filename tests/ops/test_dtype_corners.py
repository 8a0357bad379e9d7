"""Corners of dtypes against PyTorch: arithmetic of integers, `out=` in another dtype, missing
numbers that may neither be lost nor spread."""

import pytest

import torchlike
from tests.ops.table import torch
from tests.ops.test_corners import PRELUDE
from tests.test_idioms import outcome

inf = float("inf")
PRELUDE += """
b = T([1, 200, 255], dtype=L.uint8)
h = T([60000.0, 1.5, 60000.0]).half()
f = T([1.5, 2.5, -3.0])
k = b.char()

def into(dtype, function, *args, **kwargs):
    out = L.zeros(0, dtype=dtype)
    return function(*args, out=out, **kwargs) is out, out

def rounded(function, *shapes):
    # whether rounding explains the largest difference from the result in float64
    L.manual_seed(0)
    for kind in (L.bfloat16, L.float16):
        xs = [L.randn(shape).to(kind) for shape in shapes]
        exact = function(*(x.double() for x in xs))
        error = (function(*xs).double() - exact).abs().max()
        yield error.item() <= 1.01 * (exact.to(kind).double() - exact).abs().max().item()

def cast(function, *args):
    with L.autocast("cpu", L.bfloat16):
        return function(*args)

def spoiled(x, *shape):
    image = a(*shape) / 8
    image[(0,) * (len(shape) - 2) + (2, 3)] = x
    return image
"""

CASES = [
    # Sums that einsum makes of integers are of int64; products are not.
    *(f"L.einsum('{e}', {x})" for e, x in (
        ("i->", "b"), ("ij->i", "b[None]"), ("ij->i", "b[None] > 3"), ("ij,j->i", "b[None], b"),
        ("ij,k->i", "b[None], b"), ("ij,j->ij", "b[None], b"), ("i,j->j", "b, b"),
        ("ij,jk->k", "b[None], b[:, None]"), ("i->", "b.short()"), ("ii->i", "b[:1, None]"),
    )),
    "F.l1_loss(b, b.flip(0), reduction='sum')", "F.l1_loss(k, k.flip(0), reduction='sum')",
    # Integers wrap before they are halved, and before they meet a floating number.
    "L.trapezoid(b, b)", "L.cumulative_trapezoid(b, b)", "L.trapezoid(b, b.float())",
    "L.trapezoid(b.float(), b)", "L.trapezoid(b)", "L.trapezoid(b, dx=0.5)",
    "L.cumulative_trapezoid(b, dx=3)", "L.trapezoid(k, k)",
    "L.trapezoid(f, dx=0.0)", "L.trapezoid(L.tensor([1, 2j]))",
    "F.pairwise_distance(b[None], b[None].flip(1))", "F.pairwise_distance(b[None], k[None])",
    "F.pairwise_distance(b[None], f[None])",
    # Except where they are compared.
    "L.isclose(b, b.flip(0), rtol=0.5)", "L.isclose(k, k.flip(0), rtol=0.5)",
    "L.isclose(b > 3, b < 300)", "L.allclose(b, b.flip(0), rtol=1e3)",
    "L.unravel_index(b, (300, 2))", "L.unravel_index(T(7, dtype=L.int8), (3, 4))",
    *(f"F.hardtanh({x}, {low}, {high})" for x in "bk" for low, high in (
        (-0.5, 0.5), (0.5, 3.9), (-1, 1), (0, 300), (0.0, inf), (-1.7, 2.9))),
    # Weights in another dtype than the observations.
    *(f"L.cov(T([[1.0, 2, 4], [2, 2, 5]], dtype=L.{x}), aweights=T([0.5, 0.25, 0.75], dtype=L.{w}))"
      for x, w in (("float16", "float32"), ("float32", "float64"), ("float64", "float32"),
                   ("complex64", "float64"))),
    # Reductions and running ones compute in the dtype of `out=`.
    *(f"into(L.{d}, L.{name}, {x}, 0)" for name in ("sum", "prod", "cumsum", "cumprod", "nansum")
      for d, x in (("float32", "h"), ("float64", "f"), ("float64", "b"))),
    *(f"into(L.{d}, L.{name}, {x}, 0)" for name in ("sum", "prod", "cumsum", "cumprod")
      for d, x in (("int64", "f"), ("uint8", "f"), ("uint8", "h"), ("int8", "b"))),
    "into(L.float32, L.mean, h, 0)", "into(L.float64, L.nanmean, h, 0)",
    *(f"into(L.{d}, L.{name}, f, 0)" for name in ("argmax", "argmin", "amax", "amin", "softmax",
      "log_softmax", "logcumsumexp") for d in ("float32", "float64", "int64")),
    *(f"into(L.float64, L.{name}, f, 0, dtype=L.float32)" for name in ("sum", "cumsum", "softmax")),
    "f.sum(dtype=L.uint8)", "h.cumsum(0, dtype=L.uint8)", "(f * 1e3).prod(dtype=L.int16)",
    # Half precision is rounded once.
    *(f"list(rounded({call}))" for call in (
        "lambda x: L.zeros_like(x[:3]).index_add(0, L.arange(600) % 3, x), (600, 64)",
        "lambda x: L.zeros_like(x[:3, 0]).scatter_add(0, L.arange(600) % 3, x[:, 0]), (600, 64)",
        "lambda x: L.ones_like(x[:3, 0]).scatter_reduce(0, L.arange(600) % 3, x[:, 0], 'sum'),"
        " (600, 64)",
        "lambda x: F.embedding_bag(L.arange(600).reshape(3, 200), x, mode='sum'), (600, 64)",
        "lambda x, w, b: F.linear(x, w, b), (64, 256), (32, 256), (32,)",
        "lambda c, a, b: L.addmm(c, a, b, beta=-0.7, alpha=0.3), (8, 9), (8, 16), (16, 9)",
        "lambda c, a, b: L.addmm(c, a, b), (9,), (8, 16), (16, 9)",
        "lambda c, a, b: L.baddbmm(c, a, b, alpha=0.3), (2, 8, 9), (2, 8, 16), (2, 16, 9)",
        "lambda c, a, b: L.addbmm(c, a, b), (8, 9), (1, 8, 16), (1, 16, 9)",
        "lambda c, a, b: c.addmv_(a, b), (8,), (8, 16), (16,)",
        "lambda x: x.sum(0), (600, 64)",
    )),
    # Quotients, too, where the divisor is the smaller: 49 / 49 is 1.
    *(f"[({quotient}).floor().sum() for x in [L.arange(2700.0).reshape(300, 9) * 0 + {n}]]"
      for n, quotient in (
        (41, "x / 41"), (41, "x / T(41.0)"), (49, "x.double() / 49"), (49, "x.double() / T(49)"),
        (49, "x.double() / x.double()[:, :1]"), (41, "L.addcdiv(0 * x, x, T(41.0))"),
        (41, "F.normalize(x, p=inf)"), (1, "x.reshape(-1)[:2665].reshape(65, 41).mean(1)"),
        *((7, f"({average} == 7).float()") for average in (
            "F.avg_pool1d(x[:, :7], 7)", "F.adaptive_avg_pool1d(x[:, :7], 1)", "x[0, :7].mean()",
            "F.l1_loss(x[:, :7], 0 * x[:, :7])", "F.mse_loss(x[:, :7], 0 * x[:, :7]) / 7",
            "(x[:, :7] * L.tensor([1.0, 0, 0, 0, 0, 0, 0])).var(1, correction=0) / 6 * 7")),
    )),
    # What autocast casts.
    "cast(L.inner, f, f)", "cast(L.inner, m.float(), f)", "cast(L.inner, f[0], f)",
    "cast(lin.lstsq, m.float(), m.float())[0].round(decimals=4) + 0",
    "cast(lin.lstsq, m.bfloat16(), f[:, None].bfloat16())[0].dtype",
    # What may be the tensor itself, or must be a copy.
    "f.conj_physical() is f", "L.conj_physical(k) is k", "L.conj_physical(f + 1j) is f",
    "L.conj_physical(f + 1j)", "into(L.float32, L.conj_physical, f)",
    "(L.tensor([1 + 2j])).conj_physical_()", "L.view_copy(a(2, 3).T, (6,))",
    # What is missing stays missing.
    *(f"F.normalize(T([[nan, 1.0, 2.0], [3, 0, 4]]), p={p})" for p in (1, 2, 3, inf, -1)),
    "F.cosine_similarity(T([[nan, 1.0]]), T([[1.0, 1.0]]))",
    "F.margin_ranking_loss(T([nan, 1, inf]), T([1, nan, inf]), T([1, -1, 1]), reduction='none')",
    *(f"F.triplet_margin_loss(T([[nan, 1.0], [1, 2]]), a(2, 2).float(), T([[2, 1], [1, nan]]), "
      f"reduction='none', swap={swap})" for swap in (True, False)),
    "F.cosine_embedding_loss(T([[nan, 1.0], [1, 2]]), a(2, 2).float(), T([1, -1]),"
    " reduction='none')",
    "F.hinge_embedding_loss(T([nan, 1, inf, 3]), T([1.0, -1, -1, nan]), reduction='none')",
    "G(lambda x: F.margin_ranking_loss(x, T([0.0, 0, 0]), T([1.0, 1, 1])), T([0, 1, -1]))",
    "G(lambda x: F.normalize(x, dim=0), T([0, 1e-13, 0]))",
    "G(lambda x: x.logsumexp(1), T([[-inf, -inf], [-inf, 1], [nan, 1], [inf, 1]]))",
    # And does not spread.
    *(f"F.interpolate(spoiled({x}, 1, 1, 6, 6), size=({s}, {s}), mode='{mode}'{more})"
      for x in ("nan", "inf") for s in (3, 4, 9) for mode, more in (
        ("bilinear", ""), ("bilinear", ", align_corners=True"), ("bicubic", ""), ("area", ""),
        ("bilinear", ", antialias=True"), ("bicubic", ", antialias=True"))),
    "F.interpolate(spoiled(nan, 1, 6, 6), size=4, mode='linear')",
    "F.interpolate(spoiled(inf, 1, 1, 6, 6, 6), size=4, mode='trilinear')",
    *(f"F.adaptive_avg_pool2d(spoiled({x}, 1, 1, 6, 6), ({s}, 5))" for x in ("nan", "inf")
      for s in (1, 4, 9)),
    *(f"G(lambda x: F.interpolate(x, size=({s}, 5), mode='{mode}'), spoiled(0.5, 1, 1, 6, 6))"
      for s in (4, 9) for mode in ("bilinear", "bicubic", "area")),
    "G(lambda x: F.interpolate(x, size=(4, 9), mode='bicubic', antialias=True),"
    " spoiled(0.5, 1, 1, 6, 6))",
]  # fmt: skip


@pytest.mark.parametrize("code", CASES)
def test_it_is_as_in_pytorch(code):
    found = [outcome(library, code, PRELUDE)[0] for library in (torchlike, torch)]
    ours, theirs = (text.split(" - got (")[0] for text in found)
    if "Error" in theirs:  # the class counts
        ours, theirs = ours.split(":")[0], theirs.split(":")[0]
    assert ours == theirs
