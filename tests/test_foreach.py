"""Functions of lists of tensors, ``torch._foreach_*``, against PyTorch's."""

import pytest

import torchlike
from tests.ops.table import torch
from tests.test_idioms import outcome

PRELUDE = """
T = L.tensor
xs = lambda: [T([1.0, -2.0, 3.0]), T([[0.5, 0.25], [-1.5, 2.5]]), L.empty(0), T(2.5)]
ys = lambda: [T([2.0, 3.0, -1.0]), T([[1.5, 2.0], [0.5, 4.0]]), L.empty(0), T(3.0)]
f = lambda name: getattr(L, '_foreach_' + name)

def changed(name, *args, **kwargs):
    tensors = xs()
    given = f(name)(tensors, *args, **kwargs)
    return given is tensors, tensors

def gradients(function, *leaves):
    leaves = [x.requires_grad_() for x in leaves]
    L.stack([y.sum() for y in function(*leaves)]).sum().backward()
    return [x.grad for x in leaves]
"""

UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor",
    "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_max", "clamp_min", "pow")

CASES = [
    *(f"f('{name}')(xs())" for name in (*UNARY, "clone", "norm", "powsum")),
    *(f"changed('{name}_')" for name in (*UNARY, "zero")),
    *(
        call
        for name in BINARY
        for other in ("ys()", "2.5", "2", "[1, 2, 3.0, 4]")
        for call in (f"f('{name}')(xs(), {other})", f"changed('{name}_', {other})")
    ),
    *(f"f('{name}')(xs(), T(2.0))" for name in ("add", "sub", "mul", "div", "pow")),
    "f('add')(xs(), ys(), alpha=2)", "f('add')(xs(), T(3.0), alpha=2)",
    "changed('sub_', ys(), alpha=0.5)", "f('add')(self=xs(), scalar=1)",
    "f('add')(self=xs(), other=ys())", "f('mul')(xs(), scalars=[1, 2, 3, 4])",
    "f('pow')(2.0, xs())", "f('pow')(T(2.0), xs())", "f('pow')(xs(), exponent=2)",
    *(f"f('{name}')(xs(), xs(), ys(){value})" for name in ("addcmul", "addcdiv") for value in (
        "", ", 2", ", value=2.5", ", [1, 2, 3, 4]", ", T([1.0, 2, 3, 4])", ", scalars=[4, 3, 2, 1]",
    )),
    "changed('addcmul_', xs(), ys(), 0.5)", "changed('addcdiv_', xs(), ys(), [1, 2, 3, 4])",
    *(f"f('lerp')(xs(), ys(), {weight})" for weight in (".3", "ys()", "[0.1, 0.2, 0.3, 0.4]")),
    "f('lerp')(xs(), tensors1=ys(), weights=ys())", "changed('lerp_', ys(), 0.3)",
    "f('norm')(xs()[:2], 1)", "f('norm')(xs()[:2], L.inf)",
    "f('norm')(xs(), ord=2, dtype=L.double)",
    "f('max')(xs()[:2])", "f('mm')([L.ones(1, 2)], [L.ones(2, 3)])", "changed('copy_', ys())",
    "changed('copy_', [y.double() for y in ys()])",
    # Dtypes, and numbers beside float64.
    *(f"f('{name}')([T([1, 2])], 2.5)" for name in BINARY), "f('div')([T([1, 2])], 2)",
    "f('maximum')([T([0.3], dtype=L.double)], 0.7)", "f('mul')([T([1.0])], 2j)",
    "f('sqrt')([T([1, 4])])", "f('add')([T([True])], [T([2.0])])",
    # Gradients, tensors named twice, views.
    "gradients(lambda x, y: f('mul')([x, x], [y, 2 * y]), T([1.0, 2.0]), T([3.0, 4.0]))",
    "gradients(lambda x: f('norm')([x, x * 2]), T([1.0, 2.0]))",
    "gradients(lambda x, y: f('add_')([x * 1], [y]), T([1.0, 2.0]), T([3.0, 4.0]))",
    "(lambda x: (f('add_')([x, x], 1), x))(L.ones(2))[1]",
    "(lambda x: (f('add_')([x[:1], x[1:]], [T([1.0]), T([2.0])]), x))(L.ones(2))[1]",
    # Errors.
    *(f"f('{name}')([])" for name in ("abs", "abs_", "norm", "max", "zero_")),
    "f('add')([], 2)", "f('add')([], [])", "f('copy_')([], [])", "f('addcmul')([], [], [])",
    "f('add')(T([1.0]), 2)", "f('add')([1.0], 2)", "f('add')(xs(), None)", "f('add')(xs())",
    "f('add')(xs(), 2.0, alpha=2)", "f('add')(xs(), xs()[:1])", "f('add')(xs(), [1.0])",
    "f('add')(xs(), T([1.0]))", "f('add')(xs(), [xs()[0], 1.0, 2, 3])", "f('add')(iter(xs()), 1)",
    "f('addcmul')(xs(), xs()[:1], xs())", "f('addcmul')(xs(), xs(), xs(), T([1.0]))",
    "f('addcmul')(xs(), xs(), xs(), T([[1.0]]))", "f('norm')(xs(), 'fro')", "f('norm')([T([1])])",
    "f('norm')(xs(), L.inf)", "f('max')(xs())", "f('copy_')(xs(), xs()[:1])",
    "f('add_')([T([1])], 2.5)", "f('add_')([L.ones(3).expand(3, 3)], 2.5)",
    "f('add_')([L.ones(2, requires_grad=True)], 1)", "f('sqrt_')([T([1, 4])])",
]  # fmt: skip


@pytest.mark.parametrize("code", CASES)
def test_it_is_as_in_pytorch(code):
    found = [outcome(library, code, PRELUDE)[0] for library in (torchlike, torch)]
    ours, theirs = (text.split(" - got (")[0] for text in found)
    assert ours == theirs
