"""Corners of single ops against PyTorch: infinite and missing numbers, degenerate input, errors."""

import pytest

import torchlike
from tests.ops.table import torch
from tests.test_idioms import outcome

inf = float("inf")
PRELUDE = """
import operator as o
T, F, lin, inf, nan = L.tensor, L.nn.functional, L.linalg, L.inf, L.nan
a = lambda *s: L.arange(1.0, 1.0 + L.Size(s).numel()).double().reshape(s)
m = a(3, 3) + 5 * L.eye(3)
c = m + 1j * a(3, 3).mT
w = T(2.0, requires_grad=True)
u = lambda *s: (L.arange(L.Size(s).numel()) ** 2 * 7 % 256).byte().reshape(s)

def G(function, *leaves):
    leaves = [x.clone().requires_grad_() for x in leaves]
    result = function(*leaves)
    weights = L.arange(1, result.numel() + 1).reshape(result.shape)
    (result * weights).sum().abs().backward()
    return [x.grad for x in leaves]

def G2(function, x):
    return L.autograd.grad(function(x).sum(), x, create_graph=True)[0]
"""

CASES = [
    # Gradients of quotients whose divisor has no square.
    *(f"[x.log10().round() for x in G(lambda x, y: x / y, T([{n}]), T([-{n}]))]"
      for n in (1e25, 1e-25)),
    "G(lambda x, y: x / y, a(3), a(3) + 1)", "G(lambda x: 1 / (x / x.flip(0)), a(3))",
    "G(lambda x: x**-2, T([1e12]))[0] * 1e30", "G(lambda x: -(x**-2), T([1e-12]))[0] / 1e36",
    # Gradients at infinite and missing numbers.
    *(f"G(L.{name}, T([1, inf, -inf, inf, 1e3]), T([inf, 1, 1, inf, -1e3]))"
      for name in ("logaddexp", "logaddexp2")),
    "G(lambda x: L.logcumsumexp(x, 0), T([1, inf, 2]))[0][::2]",
    "G(F.hardswish, T([inf, -inf, 0, 3, -3, 1, 100]).double())",
    "G(F.hardsigmoid, T([inf, -inf, nan, 0, 3, -3, 1, 100]))",
    "G(F.hardsigmoid, T([0, 1]).double())[0].tolist()",
    "G(lambda x: x.abs(), T([0, nan, inf, -inf]))",
    "G(lambda x: x.clamp(0, 1), T([0, 1, nan, inf]))", "G(lambda x: x.angle(), T([nan, 1, -1]))",
    "G(lambda x, y: x.clamp(min=y), T([0, 1, nan, inf]), T([0, 1, 0, nan]))",
    *(f"G(F.{name}, T([0, nan, -inf, inf, -1]).double())" for name in ("elu", "celu", "selu")),
    *(f"G(lambda x: G2({f}, x), T([0, -0.5, 0.25]).double())[0]"
      for f in ("F.elu", "F.celu", "F.selu", "F.softsign", "F.softplus")),
    "G(lambda x: G2(L.atanh, x), T([1, -1, 0.5]).double())",
    # Numbers of 64 bits without a sign.
    "T([1, 2]) * (2**63 + 5)", "(2**64 - 1) & T([6])", "T([1.5]) + 2**63", "T([3]) / 2**63",
    "T([True]) + 2**63", "2**64 - T([1.0])", "T([1]) < 2**64", "T([1, 2]).add_(2**63)",
    "L.full((2,), 2**63, dtype=L.float32)", "L.full((1,), 2**63, dtype=L.uint64)",
    "L.zeros(1).fill_(2**63).clamp(max=2**63)", "T([1]) ** 2**63",
    "T([1]).add(T([1]), alpha=2**63)", "G(lambda x: x * 2**63, T([1]))",
    "L.round(T([1.5]), decimals=400)", "L.polygamma(L.ones(2), 1)",
    # Random integers from a number on; permutations in the dtype of ``out``.
    *(f"[L.manual_seed(3), L.zeros(6, dtype=L.{d}).random_({args})][1]"
      for d in ("uint8", "int64", "float16", "bfloat16", "float32", "bool")
      for args in ("0, None", "1, None", "1, to=None", "-2**63, None", "2.5", "to=2")),
    "[L.manual_seed(1), L.ones(1).expand(3).normal_()]",
    "[L.manual_seed(0), L.zeros(3).double().uniform_(-8e307, 8e307) / 1e307][1]",
    "[L.manual_seed(0), L.zeros(3).double().normal_(8e307, 1e307) / 1e307][1]",
    *(f"L.randperm({n}, out=L.zeros(0, dtype=L.{d})).shape"
      for n, d in ((256, "uint8"), (257, "uint8"), (2050, "float16"), (258, "bfloat16"))),
    # Ranges: what is written keeps its shape if it is as long, and numbers that do not fit.
    *(f"[L.{call}, out=(x := L.zeros(2, 3)).narrow(1, 1, 2)), x]" for call in (
        "arange(4", "range(0, 3", "linspace(0, 3, 4", "logspace(0, 3, 4", "arange(3")),
    "L.arange(6, out=L.zeros(2, 3))", "L.linspace(0, 1j, 3, dtype=L.float32)",
    "L.linspace(1, 2, 2, dtype=L.bool)", "L.logspace(1, 2, 1, dtype=L.bool)",
    "L.linspace(-0.1, 3, 4, dtype=L.uint8)", "L.linspace(0, 255, 4, dtype=L.int8)",
    "L.logspace(0, nan, 2, dtype=L.int32)", "L.arange(1j)", "L.range(0, inf)",
    "L.arange(0, 10, 1e30, dtype=L.uint8)", "L.tril_indices(2, 2, dtype=L.float32)",
    "L.tensor(2**70, dtype=L.bfloat16)", "T([1, 0j, 2j], dtype=L.bool)",
    "L.full((2,), 1j, dtype=L.bool)", "L.cat([L.zeros(0)] * 2, 1)",
    "L.Tensor(u(3)[2].numpy()[()]).shape",
    # Values at infinite and missing numbers, and at zeros with a sign.
    "F.hardswish(T([inf, -inf, nan, 3, -3]))", "L.frexp(T([inf, -inf, nan, 3, -0.1, 0]))",
    "G(lambda x: L.frexp(x)[0], T([3, -0.1]))", "1 / T([0.0, -0.0]).sign()",
    "1 / T([0.0, -0.0]).half().sgn()", "T([complex(-0.0, 0.0), complex(-0.0, -0.0), 0j]).angle()",
    "G(lambda x: x.angle(), T([complex(-0.0, 0.0), 0j, 1 + 1j]))[0] + 0",
    "F.hardtanh(T([1], dtype=L.uint8))",
    # Powers of integers whose exponent has more than six bits; exponents beyond a float.
    "T([2]) ** 64", "T([3]) ** 100", "L.pow(3, T([100, 3, 0]))", "T([2]).pow_(65)",
    "T([3, -1, -2, 0]) ** T([100, 65, 63, 0])", "T([7], dtype=L.int16) ** T([90], dtype=L.int16)",
    "T([3, 1, -1, 2], dtype=L.int8) ** T([-1, -2, -3, -1], dtype=L.int8)",
    "L.func.vmap(lambda x, y: x**y)(L.arange(4), T([70, 1, 2, 3]))",
    "L.ldexp(T([1e-30]), T([140]))", "L.ldexp(T([1, 2, 0.5]).half(), T([1, -3, 20]))",
    "L.ldexp(T(1.5).double(), T([2]))", "L.ldexp(T([1.0]), T([2.5]))",
    "T([1.0, 2.0]).ldexp_(T([3, 4]))",
    "T([-inf, 4, 0]) ** -0.5", "T([4.0]).half() ** -0.5", "T([0j, 2j]) ** T([0j, 0j])",
    "L.pow(T([0j]), 0j)", "L.pow(T([0, 2]), 0j)", "L.pow(0j, T([0.0, 1])).isnan()", "T([0j]) ** 0",
    "L.ldexp(T([1.0]), T([True]))", "L.ldexp(T([1]), T([True]))",
    "L.lerp(a(2), a(2), 1j)", "L.lerp(T([1.0]).half(), T([1.0]).half(), 1j)",
    # NumPy's numbers and arrays.
    *(f"T([2, 3]) {op} T(True).numpy()[()]" for op in ("+", "-", "*", "<", "&")),
    "L.full((1,), T(True).numpy()[()])", "T([1]).masked_fill(T([True]), T(True).numpy()[()])",
    *(f"[x := {x}, y := x, y := getattr(o, 'i{op}')(x, T({v}).numpy()), x is y]"
      for x in ("T([1.5, 2])", "T([1, 2])") for v in ("[1, 2]", "[1.5, 2]")
      for op in ("add", "truediv", "pow")),
    *(f"T([True, False]).to(L.{d}) {op} T([1, 2]).to(L.{e}).numpy()"
      for d in ("int32", "float16", "float32", "bool") for e in ("int64", "int8", "float32")
      for op in "+/"),
    "L.take_along_dim(a(3), T([2, 0]).int(), 0)", "L.take_along_dim(a(3), T([2, 0]).int())",
    # Numbers that a dtype cannot hold.
    *(f"L.clamp(T([1, 2], dtype=L.{d}), {limits})" for d, limits in (
        ("uint8", "-1, 3"), ("uint8", "max=300"), ("int8", "max=128"), ("int32", "max=2**31"),
        ("uint8", "-1, 2.5"), ("float16", "-1e6, 1e6"), ("float32", "max=1e60"),
        ("bfloat16", "max=1e60"), ("float16", "max=inf"), ("float64", "max=1e60"),
    )),
    "T([1, 2], dtype=L.uint8).clamp_min(-1)", "T([1], dtype=L.uint8).clamp_(max=300)",
    *(f"L.where(T([{yes}]), T([1], dtype=L.{d}), {number})" for yes in (True, False)
      for d, number in (("uint8", 300), ("uint8", -1), ("int32", 2**40), ("float16", 1e6),
                        ("float32", 1e60), ("float64", 1e60), ("float32", inf))),
    *(f"{call}" for d, number in (("half", -1e9), ("half", -inf), ("float", 1e39),
                                  ("half", 65504.5),
                                  ("bfloat16", -1e9), ("bfloat16", 1e39), ("double", 1e60))
      for call in (
        f"L.full((2,), {number}, dtype=L.{d})", f"L.ones(2).{d}().fill_({number})",
        f"L.ones(2).{d}().masked_fill(T([True, False]), {number})",
        f"L.ones(2).{d}().index_fill(0, T([0]), {number})",
        f"L.ones(2).{d}().scatter(0, T([0]), {number})",
        f"F.pad(L.ones(2).{d}(), (1, 0), value={number})",
        f"(lambda x: (x.__setitem__(0, {number}), x))(L.ones(2).{d}())",
        f"(lambda x: (x.__setitem__(T([True, False]), {number}), x))(L.ones(2).{d}())",
    )),
    *(f"F.pad(L.ones(1, dtype=L.uint8), (1, 1), value={number})" for number in (300, -1, 2, 2.5)),
    # Gradients of factorizations.
    "G(lin.cholesky, m @ m.mT)", "G(lambda x: lin.cholesky(x @ x.mH), c)",
    "G(lin.cholesky, c @ c.mH)", "G(lambda x: lin.cholesky(x, upper=True), c @ c.mH)",
    "G(lambda x: lin.eigh(x)[1].abs(), m + m.mT)",
    "G(lambda x: lin.eigh(x)[1].abs(), c + c.mH)[0].abs()",
    "G(lambda x: lin.pinv(x, hermitian=True), m + m.mT)",
    *(f"G(lambda x: lin.qr(x, '{mode}')[1], a{shape} ** 2)"
      for mode, shape in (("r", (3, 2)), ("complete", (3, 2)), ("complete", (2, 3)))),
    # Runs of elements: by their edges, and with what is no number among them.
    *(f"L.segment_reduce(a(6), 'sum', {runs})" for runs in (
        "offsets=T([1, 3, 6])", "offsets=T([0, 2, 5])", "lengths=T([1, 5]), offsets=T([0, 3, 6])",
        "lengths=T([2, 2]), unsafe=True",
    )),
    *(f"G(lambda x: L.segment_reduce(x, '{how}', lengths=T([1, 2, 3, 0]), initial=2), T({x}))"
      for how in ("prod", "max", "mean")
      for x in ("[1, nan, 3, 4, 5, 5.0]", "[0, nan, nan, 0, 2, 3.0]", "[1, 0, 2, 0, nan, 0.0]")),
    # Norms, conditions and least squares of degenerate matrices.
    *(f"lin.norm(L.empty{shape}, {p})" for shape in ((0, 3), (3, 0))
      for p in ("1", "2", "inf", "'nuc'", "-1")),
    "lin.matrix_norm(L.empty(2, 3, 0), 1, keepdim=True)",
    *(f"lin.cond(T([[1.0, 0], [0, 0]]), {p})" for p in ("1", "inf", "'fro'", "'nuc'")),
    "lin.lstsq(m[:, :2], m[:, 2:], rcond=0.9, driver='gels')[:2]",
    # Images of bytes.
    *(f"F.interpolate(u(1, 2, 9, 11), size={size}, mode='{mode}', antialias={antialias}{more})"
      ".tolist()"
      for size in ((5, 7), (20, 31), (9, 4), (9, 11), (2, 30)) for mode in ("bilinear", "bicubic")
      for antialias in (False, True) for more in ("", ", align_corners=True")),
    *(f"F.interpolate(u(1, 5, 9, 11), scale_factor={scale}, mode='{mode}').tolist()"
      for scale in (0.3, 1.7, 2) for mode in ("bilinear", "bicubic")),
    "L.kron(T([1], dtype=L.uint8), T(1, dtype=L.int16))", "L.kron(T([1.0]), T(1.0).double())",
    # Quotients by one number, which XLA would rather multiply by its reciprocal.
    *(f"(lambda x: {call})(L.arange(1.0, 20001)).tolist()" for call in (
        "x.div(47, rounding_mode='trunc')", "x.div(T(47.0), rounding_mode='trunc')",
        "(x / 10).round(decimals=1)", "(x / 16).histc(49, 0, 490)",
        "F.hardswish(x / 5000)", "F.hardsigmoid(x / 5000)", "G(F.hardswish, x / 5000 - 2)[0]",
        "F.smooth_l1_loss(x, x.flip(0) / 7, reduction='none', beta=9000)",
        *(f"F.grid_sample(x[None, None, :2, None] ** 2 + x[:{n}] ** 2, L.stack([x[:20] - 10, "
          f"L.zeros(20)], -1)[None, None], '{mode}', 'reflection', {n % 2 == 0})"
          for n in (41, 42, 83) for mode in ("bilinear", "nearest")),
        "G(lambda y: x.double().fmod(y), T([49.0]).double())[0]",
        "L.gradient(x.remainder(13) * x, spacing=0.7)[0]",
    )),
    *(f"L.linspace({ends}, dtype=L.{d}).tolist()" for d in ("float64", "int64") for ends in (
        "-3, 7, 7", "0, 1, 77", "-3, 7.5, 10", "1, 49, 5000", "1e-270, 9e-270, 50",
        "-1e18, 1e18, 14",
    )),
    *(f"L.linspace(0, {end}, {steps}, dtype=L.{dtype})" for steps in (1, 3) for end, dtype in (
        ("1e39", "float32"), ("-1e39", "bfloat16"), ("7e4", "float16"), ("1e39", "complex64"),
        ("inf", "float16"),
    )),
    "L.linspace(0, inf, 4, dtype=L.float64)",
    "L.linspace(-1e308, 1e308, 5, dtype=L.float64)",
    # What is refused.
    "L.from_dlpack(w)", "L.from_dlpack(w.detach())",
    "lin.inv(m, out=L.empty(3, 3))", "lin.vector_norm(m, out=L.empty(()))",
    "L.cdist(T([[1]]), T([[2]]))", "L.cdist(m, m, compute_mode='x')",
    "L.zeros(3, 2).index_copy(0, T(0), L.ones(2))", "L.zeros(3).index_fill(0, T([0]), 3j)",
    "L.clamp(m, a(3), 3)", "L.clamp(m, 0, a(3))", "L.clamp(m, T(5.0), 9)",
    *(f"T([True, False]).{call}" for call in ("clamp(True)", "clip(None, True)", "clamp(0)",
      "clamp(False, True)", "clamp_min(True)", "clamp_max_(False)", "clamp(T(True))")),
    "L.full((2,), w)", "L.full((2,), w.detach())", "F.elu(w.detach(), w.detach())",
]  # fmt: skip


@pytest.mark.parametrize("code", [
    "m.float().add(m.float(), alpha=w).sum().backward()", "F.elu(m, w)", "L.arange(w)",
    "lin.lstsq(L.ones(2, 4, 3), L.ones(4, 2))",
])  # fmt: skip
def test_both_refuse(code):
    ours, theirs = (outcome(lib, code, PRELUDE)[0].split(":")[0] for lib in (torchlike, torch))
    assert ours == theirs and "Error" in ours


@pytest.mark.parametrize("name", ["maximum_", "minimum_", "fmax_", "fmin_", "logaddexp_"])
def test_what_pytorch_has_not_in_place(name):
    assert hasattr(torch.Tensor, name) is hasattr(torchlike.Tensor, name) is False


def test_a_covariance_of_too_few_observations_warns():
    code = "L.cov(L.ones(2, 3), correction=3)"
    ours, theirs = (outcome(library, code, PRELUDE) for library in (torchlike, torch))
    assert ours[0] == theirs[0]
    assert [w[:2] for w in ours[1]] == [(k, text) for k, text, _ in theirs[1]] != []


@pytest.mark.parametrize("code", CASES)
def test_it_is_as_in_pytorch(code):
    found = [outcome(library, code, PRELUDE)[0] for library in (torchlike, torch)]
    ours, theirs = (text.split(" - got (")[0] for text in found)
    assert ours == theirs
