"""Spellings that programs and tutorials use and an op table has not, each against PyTorch: dtypes
given as Python types, legacy tensor types, subclasses, warnings and the lines they name."""

import warnings

import pytest

import torchlike
from tests.ops.table import torch

PRELUDE = """
class A(L.Tensor):
    pass

class Leaf(L.Tensor):
    @staticmethod
    def __new__(cls, data, wants):
        return L.Tensor._make_subclass(cls, data, wants)

class P(L.nn.Parameter):
    pass

x = L.ones(2)
w = L.ones(2, requires_grad=True)
model = L.nn.Linear(2, 2)
"""


def outcome(library, code):
    """The text of what an expression gives or raises, and the warnings: class, words and line."""
    scope = {"L": library}
    exec(compile(PRELUDE, "prelude", "exec"), scope)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = repr(eval(compile(code, "program.py", "eval"), scope))
        except Exception as error:
            text = str(error).split(", but expected")[0].split("(JAX finds")[0].strip()
            found = f"{type(error).__name__}: {text}"
    noted = [
        (w.category.__name__, str(w.message).split(" (Triggered")[0], w.filename == "program.py")
        for w in caught
    ]
    return found.replace("torchlike.", "torch."), noted


VALUES = [
    # Python's types stand for the widest dtype of their kind.
    *(f"x.to({kind})" for kind in ("float", "int", "bool", "complex")),
    "x.to(dtype=float)", "x.sum(dtype=int)", "x.mean(dtype=float)", "x.softmax(0, dtype=float)",
    "L.cumsum(x, 0, dtype=int)", "L.zeros_like(x, dtype=bool)", "x.new_zeros(2, dtype=int)",
    "L.randn(2, dtype=float).dtype", "L.rand(2, dtype=float).dtype",
    "L.randint(3, (2,), dtype=float).dtype", "L.randperm(3, dtype=int).dtype", "x.view(int).dtype",
    "L.ones(4, dtype=float).view(complex).shape", "model.to(float).weight.dtype",
    "L.nn.Linear(2, 2, dtype=float).weight.dtype", "L.nn.LazyLinear(2, dtype=float).bias.dtype",
    "L.nn.BatchNorm1d(2, dtype=float).running_mean.dtype",
    # The legacy types, as classes and by name.
    "x.type()", "x.type(L.LongTensor)", "x.type(L.FloatTensor)", "x.type(L.Tensor)",
    "x.type('torch.DoubleTensor')", "x.type(L.int8)", "x.type('torch.ComplexFloatTensor')",
    "x.to(L.complex64).type()", "model.type(L.DoubleTensor).weight.dtype", "x.type('torch.Foo')",
    "x.type('float')", "x.type(float)", "x.type(3)", "isinstance(x, L.cuda.FloatTensor)",
    "isinstance(x, L.FloatTensor)", "isinstance(x, L.DoubleTensor)",
    # Subclasses.
    "A([1.0, 2.0])", "A(2, 3).shape", "A(x)", "A()", "A(x)[0]", "A([[1.0], [2.0]]) * 2",
    "x.as_subclass(A)", "Leaf(x, True)", "Leaf(x, False).requires_grad",
    "(lambda t: ((t * 2).sum().backward(), t.grad))(Leaf(x, True))",
    "(lambda t: (A(t).zero_(), t))(L.ones(2))", "L.nn.Parameter(x)", "A(L.ones(2, device='meta'))",
    # Shapes of no dimensions.
    "L.ones(1).view_as(L.tensor(3.0))", "L.tensor(3.0).view_as(x[:1])",
    # What hooks give back.
    "(w.register_post_accumulate_grad_hook(lambda p: p + 1), w.sum().backward())",
    "(w.register_post_accumulate_grad_hook(lambda p: p), w.sum().backward())[1:]",
    "(w.register_post_accumulate_grad_hook(lambda p: None), w.sum().backward(), w.grad)[1:]",
]  # fmt: skip


@pytest.mark.parametrize("code", VALUES)
def test_values(code):
    assert outcome(torchlike, code)[0] == outcome(torch, code)[0]


# Each with a warning, which names the user's line.
WARNINGS = [
    "(w * 2).grad",
    "w.grad",
    "(lambda y: (y.retain_grad(), y.grad))(w * 2)",
    "L.tensor(x)",
    "x.new_tensor(x)",
    "L.as_tensor(x)",
    "L.ones(1).std()",
    "L.ones(2, 1).var(1)",
    "x.std()",
    "L.ones(0, 3).std(0)",
    "L.std_mean(L.ones(1))",
    "x.std(unbiased=False)",
    "L.nn.functional.mse_loss(L.ones(2, 1), x)",
    "L.nn.functional.kl_div(x.log(), x)",
    "(lambda o: L.optim.lr_scheduler.StepLR(o, 1).step())(L.optim.SGD([w], lr=1.0))",
    "(lambda o: (o.step(), L.optim.lr_scheduler.ExponentialLR(o, 0.5).step(3)))"
    "(L.optim.SGD([w], lr=1.0))",
    "L.utils.data.DataLoader([1], num_workers=1)",
]


@pytest.mark.parametrize("code", WARNINGS)
def test_warnings(code):
    (ours, noted), (theirs, expected) = outcome(torchlike, code), outcome(torch, code)
    assert noted == expected
    assert "at 0x" in ours or ours == theirs


# PyTorch gives these once in a process, so here only ours are listened to.
ONCE = {
    "L.ones(2, dtype=L.complex64).float()": "Casting complex values to real discards",
    "L.meshgrid(x, x)": "torch.meshgrid: in an upcoming release",
    "L.ones(1, 2, 3).T": "The use of `x.T` on tensors of dimension other than 2",
    "float(w[0])": "Converting a tensor with requires_grad=True to a scalar",
}


@pytest.mark.parametrize("code", ONCE)
def test_warnings_given_once(code, monkeypatch):
    monkeypatch.setattr(torchlike._core.errors, "_given", set())
    ((category, message, at_line),) = outcome(torchlike, code)[1]
    assert category == "UserWarning" and message.startswith(ONCE[code]) and at_line
    assert outcome(torchlike, code)[1] == []


def test_more_workers_than_processors():
    ((category, message, at_line),) = outcome(
        torchlike, "L.utils.data.DataLoader([1], num_workers=9999)"
    )[1]
    assert category == "UserWarning" and at_line
    assert message.startswith("This DataLoader will create 9999 worker processes in total.")
