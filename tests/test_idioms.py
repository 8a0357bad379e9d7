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

class Tagged(L.Tensor):
    @staticmethod
    def __new__(cls, data):
        out = L.Tensor._make_subclass(cls, data)
        out.tag = 3
        return out

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs)
        out.tag = args[0].tag + 1
        return out

x = L.ones(2)
w = L.ones(2, requires_grad=True)
model = L.nn.Linear(2, 2)
"""


def outcome(library, code, prelude=PRELUDE):
    """The text of what an expression gives or raises, and the warnings: class, words and line."""
    scope = {"L": library}
    exec(compile(prelude, "prelude", "exec"), scope)
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
    # A class hears of its calls, not of its own making.
    "(Tagged(x) + 1).tag", "Tagged(Tagged(x)).tag", "type(Tagged(w)).__name__",
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
    *(f"type(A(L.ones(2, 2) + 0j).{name}).__name__" for name in (
        "T", "mT", "H", "mH", "data", "real", "imag",
    )), "Tagged(L.ones(2, 2)).T.tag", "Tagged(x).data.tag", "type(L.nn.Parameter(x).data).__name__",
    # Shapes of no dimensions.
    "L.ones(1).view_as(L.tensor(3.0))", "L.tensor(3.0).view_as(x[:1])",
    # What hooks give back.
    "(w.register_post_accumulate_grad_hook(lambda p: p + 1), w.sum().backward())",
    "(w.register_post_accumulate_grad_hook(lambda p: (p,)), w.sum().backward())",
    "(w.register_post_accumulate_grad_hook(lambda p: p), w.sum().backward())[1:]",
    "(w.register_post_accumulate_grad_hook(lambda p: None), w.sum().backward(), w.grad)[1:]",
    # NumPy's names, and arguments that are mostly given by their places.
    "x.unsqueeze(axis=1)", "L.unsqueeze(x, axis=0)", "x.unsqueeze()", "x[None].squeeze(axis=0)",
    "x.chunk(2, axis=0)", "x.unbind(axis=0)", "x.select(axis=0, index=1)", "x.size(axis=0)",
    "x.narrow(axis=0, start=1, length=1)", "L.index_select(x, axis=0, index=L.tensor([1]))",
    "L.gather(x, axis=0, index=L.tensor([1]))", "x.repeat_interleave(2, axis=0)",
    "L.take_along_dim(x, L.tensor([1]), axis=0)", "L.linalg.norm(x, axis=0, keepdims=True)",
    "L.linalg.vector_norm(input=x)", "L.linalg.pinv(input=L.eye(2))", "L.fft.fft(x, axis=0)",
    "x.scatter(axis=0, index=L.tensor([1]), src=x)", "x.index_add(0, L.tensor([1]), source=x[:1])",
    "x.view(size=(2, 1))", "x.expand(size=(2, 2))", "x.repeat(repeats=(2,))", "x.tile(dims=(2,))",
    # Questions to tensors, types and contexts.
    "L.typename(L.nn.Parameter)", "L.typename(3)", "L.typename(model)", "L.set_grad_enabled(True)",
    "L.ones(1, 2).dim_order(ambiguity_check=[L.contiguous_format])", "L.pow.__name__",
    "L.ones(1, 2).dim_order(ambiguity_check=True)", "x.dim_order(ambiguity_check='all')",
    "__import__('pickle').loads(__import__('pickle').dumps(L.pow)) is L.pow",
    "L.TypedStorage([1.0, 2.0])", "L.UntypedStorage(3).nbytes()", "L.TypedStorage(4).size()",
    "(lambda a: L.asarray(a).data_ptr() == a.ctypes.data)(__import__('numpy').ones(3))",
    "L.masked._ops.logaddexp(x, x)", "L.Tag.inplace", "x._is_view()", "x[0]._is_view()",
    "x.detach()._is_view()", "x.data._is_view()", "L.ones(4).view(2, 2).requires_grad_().add_(1)",
    "L.ones(2).requires_grad_().add_(1)",
    *(f"L.finfo(L.{d})" for d in ("float32", "float16", "bfloat16", "float8_e5m2")),
    # What needs no gradient, and conjugates.
    "(L.set_grad_enabled(False), w.numpy(), L.set_grad_enabled(True))[1]", "w.numpy()",
    *(f"L.tensor([1 + 2j]).conj(){call}" for call in (
        "", ".is_conj()", ".resolve_conj().is_conj()", ".conj().is_conj()", ".numpy()",
        ".numpy(force=True)", ".imag.is_neg()", ".imag.numpy()", ".real.is_neg()", "[0].is_conj()",
        ".clone().is_conj()", ".imag.resolve_neg()",
    )), "L.view_as_real(L.tensor([1 + 2j]).conj())",
]  # fmt: skip


@pytest.mark.parametrize("code", VALUES)
def test_values(code):
    assert outcome(torchlike, code)[0] == outcome(torch, code)[0]


# Each with a warning, which names the user's line.
WARNINGS = [
    "(w * 2).grad",
    "w.grad",
    "type(L.no_grad()(type('C', (), {}))).__name__",
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
    "L.range(1, 3)",
    "L.add(x, x, out=L.zeros(3))",
    "x[L.tensor([1, 0], dtype=L.uint8)]",
    "L.masked.MaskedTensor(x, x > 0)",
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
    "L.cholesky(L.eye(2))": "torch.cholesky is deprecated in favor of torch.linalg.cholesky",
    "L.qr(L.eye(2))": "torch.qr is deprecated in favor of torch.linalg.qr",
    "L.lu(L.eye(2))": "torch.lu is deprecated in favor of torch.linalg.lu_factor",
    "L.chain_matmul(L.eye(2))": "torch.chain_matmul is deprecated",
    "L.cross(L.ones(3), L.ones(3))": "Using torch.cross without specifying the dim arg",
    "L.set_default_tensor_type(L.FloatTensor)": "torch.set_default_tensor_type() is deprecated",
    "L.asarray(w)": "torch.asarray: unspecified requires_grad now defaults to obj.requires_grad",
    "x.storage()": "TypedStorage is deprecated.",
    "L.where(x.byte(), x, x)": "where received a uint8 condition tensor.",
    "L.stft(L.ones(8), 4, return_complex=True)": "A window was not provided.",
    "x.index_reduce(0, L.tensor([0]), x[:1], 'prod')": "index_reduce() is in beta",
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


# ---- the names of nodes ------------------------------------------------------------------------

# What a printed result of a layer names: often the last of the steps that PyTorch composes it of.
NODES = [
    "F.linear(r(4), r(3, 4))", "F.linear(r(2, 4), r(3, 4))", "F.linear(r(5, 2, 4), r(3, 4))",
    "F.linear(r(4), r(3, 4), r(3))", "F.linear(r(5, 2, 4), r(3, 4), r(3))",
    "F.bilinear(r(5, 4), r(5, 3), r(2, 4, 3), r(2))", "F.conv1d(r(2, 4), r(3, 2, 2))",
    "F.conv_transpose1d(r(2, 4), r(2, 3, 2))", "F.instance_norm(r(2, 3, 4))",
    "F.rms_norm(r(2, 4), (4,))", "F.max_pool1d(r(2, 4), 2)", "F.max_pool3d(r(1, 4, 4, 4), 2)",
    "F.avg_pool1d(r(2, 4), 2)", "F.avg_pool3d(r(1, 4, 4, 4), 2)",
    "F.adaptive_avg_pool2d(r(2, 4, 4), 1)", "F.adaptive_avg_pool3d(r(1, 4, 4, 4), 2)",
    "F.interpolate(r(1, 2, 3), scale_factor=2)",
    "F.interpolate(r(1, 2, 3, 3), size=5, mode='bicubic')",
    "F.interpolate(r(1, 2, 3, 3), size=5, mode='nearest-exact')", "F.fold(r(1, 12, 9), 4, 2)",
    "F.interpolate(r(1, 2, 3, 3), size=5, mode='bilinear', antialias=True)",
    "F.unfold(r(1, 3, 4, 4), 2)", "F.pad(r(2, 4), (1, 1), mode='reflect')",
    "F.pad(r(1, 2, 4, 4), (1, 1, 1, 1), mode='replicate')",
    "F.grid_sample(r(1, 2, 3, 3), r(1, 3, 3, 2), align_corners=False)",
    "F.scaled_dot_product_attention(*[r(1, 2, 3, 4)] * 3)",
    "F.cross_entropy(r(4, 5), t(4), label_smoothing=0.1)", "F.cross_entropy(r(4, 5), r(4, 5))",
    "F.cross_entropy(r(2, 5, 3, 3), t(2, 3, 3))",
    "F.cross_entropy(r(2, 5, 3), t(2, 3), reduction='none')", "F.nll_loss(r(4, 5), t(4))",
    "F.nll_loss(r(2, 5, 3), t(2, 3))", "F.ctc_loss(r(9, 2, 5), 1 + t(2, 3), l(9), l(3))",
    "F.l1_loss(r(4), r(4), reduction='sum')", "F.mse_loss(r(4), r(4), weight=t(4) + 0.5)",
    "F.mse_loss(r(4), r(4))", "F.kl_div(r(4, 2), r(4, 2), reduction='batchmean')",
    "F.kl_div(r(4), r(4), reduction='sum')", "F.smooth_l1_loss(r(4), r(4), beta=0.0)",
    "F.smooth_l1_loss(r(4), r(4))",
    "F.triplet_margin_loss(r(4, 2), r(4, 2), r(4, 2), reduction='none')",
    "F.poisson_nll_loss(r(4), r(4), reduction='none')", "L.nn.GRU(4, 3)(r(5, 2, 4))[0]",
    "L.nn.LSTM(4, 3)(r(5, 2, 4))[0]", "L.nn.RNN(4, 3, batch_first=True)(r(5, 2, 4))[0]",
    "L.nn.LSTM(4, 3)(r(5, 2, 4))[1][1]", "L.nn.GRUCell(4, 3)(r(2, 4))",
    "L.nn.LSTMCell(4, 3)(r(2, 4))[0]",
]  # fmt: skip


def node_name(L, code):
    scope = {
        "L": L, "F": L.nn.functional, "t": lambda *s: L.zeros(s, dtype=L.int64),
        "r": lambda *s: L.full(s, 0.5, requires_grad=True), "l": lambda n: L.tensor([n, n]),
    }  # fmt: skip
    return eval(code, scope).grad_fn.name()


@pytest.mark.parametrize("code", NODES)
def test_nodes(code):
    assert node_name(torchlike, code) == node_name(torch, code)
