"""torch.utils.flop_counter and torchlike.summary: counts equal to PyTorch's, and nothing is run."""

import copy

import numpy as np
import pytest
import torch
from torch.utils import flop_counter as torch_counter

import torchlike
from torchlike import compiler, nn
from torchlike.utils import flop_counter
from torchlike.utils.checkpoint import checkpoint
from torchlike.utils.flop_counter import FlopCounterMode, register_flop_formula


@pytest.fixture(autouse=True)
def layers_without_their_own_kernels():
    """PyTorch counts an LSTM only where MKL-DNN does not run it."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)  # flags() sets more, and warns
    yield
    torch._C._set_mkldnn_enabled(before)


def counts(lib, counter, program):
    lib.manual_seed(0)
    with counter.FlopCounterMode(display=False) as mode:
        program(lib)
    return {m: {str(k): n for k, n in c.items()} for m, c in mode.get_flop_counts().items() if c}


def both(program):
    return counts(torch, torch_counter, program), counts(torchlike, flop_counter, program)


def layer(make, *shape, needs=True):
    def program(lib):
        out = make(lib.nn)(lib.randn(*shape, requires_grad=needs))
        (out[0] if isinstance(out, tuple) else out).sum().backward()

    return program


def listed(n):
    """A module whose children stand in a list, which is never called."""

    class Net(n.Module):
        def __init__(self):
            super().__init__()
            self.layers = n.ModuleList([n.Linear(8, 8), n.Linear(8, 2)])

        def forward(self, x):
            for part in self.layers:
                x = part(x)
            return x

    return Net()


def function(call, *shapes):
    def program(lib):
        call(lib, *[lib.randn(*s, requires_grad=True) for s in shapes]).sum().backward()

    return program


def twice(lib):
    """A second derivative: products of the gradients' products."""
    x, w = lib.randn(5, 8, requires_grad=True), lib.randn(8, 3, requires_grad=True)
    (g,) = lib.autograd.grad(((x @ w) ** 2).sum(), x, create_graph=True)
    (g**2).sum().backward()


def nested(n):
    inner = n.Sequential(n.Linear(16, 16), n.Linear(16, 4))
    return n.Sequential(n.Linear(8, 16), n.ReLU(), inner)


SAME = {
    "linear": layer(lambda n: n.Linear(8, 4), 3, 5, 8),
    "linear of data": layer(lambda n: n.Linear(8, 4), 3, 5, 8, needs=False),
    "a list of layers": layer(listed, 5, 8),
    "linear without bias": layer(lambda n: n.Linear(8, 4, bias=False), 5, 8),
    "nested": layer(nested, 5, 8),
    "conv1d": layer(lambda n: n.Conv1d(4, 6, 3, dilation=2), 2, 4, 9),
    "conv2d": layer(lambda n: n.Conv2d(4, 6, 3, stride=2, padding=1), 2, 4, 9, 9),
    "conv2d in groups": layer(lambda n: n.Conv2d(4, 6, 3, groups=2), 2, 4, 9, 9),
    "conv2d of data": layer(lambda n: n.Conv2d(4, 6, 3), 4, 9, 9, needs=False),
    "conv_transpose2d": layer(lambda n: n.ConvTranspose2d(4, 6, 3, 2, groups=2), 2, 4, 5, 5),
    "lstm": layer(lambda n: n.LSTM(8, 6, proj_size=3), 3, 5, 8),
    "gru": layer(lambda n: n.GRU(8, 6, bias=False), 3, 5, 8),
    "matmul of a vector": function(lambda lib, a, b: a @ b, (5, 8), (8,)),
    "matmul of batches": function(lambda lib, a, b: a @ b, (4, 2, 5, 8), (2, 8, 3)),
    "matmul of a matrix": function(lambda lib, a, b: a @ b, (2, 5, 8), (8, 3)),
    "einsum": function(lambda lib, *x: lib.einsum("ij,jk,kl->il", *x), (5, 8), (8, 3), (3, 4)),
    "einsum, summed first": function(lambda lib, *x: lib.einsum("ij,kj->", *x), (5, 8), (3, 8)),
    "addmm": function(lambda lib, *x: lib.addmm(*x), (3,), (5, 8), (8, 3)),
    "addbmm": function(lambda lib, *x: lib.addbmm(*x), (5, 3), (2, 5, 8), (2, 8, 3)),
    "baddbmm": function(lambda lib, *x: lib.baddbmm(*x), (2, 5, 3), (2, 5, 8), (2, 8, 3)),
    "attention with dropout": function(
        lambda lib, q: lib.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.1),
        (2, 4, 7, 16),
    ),
    "second derivative": twice,
}


@pytest.mark.parametrize("name", SAME)
def test_counts_are_pytorchs(name):
    expected, found = both(SAME[name])
    assert found == expected


# PyTorch has other kernels for these on the CPU: the sums are equal.
SAME_SUMS = {
    "lstm both ways": layer(lambda n: n.LSTM(8, 6, 2, bidirectional=True), 3, 5, 8),
    "encoder layer": layer(lambda n: n.TransformerEncoderLayer(8, 2, 16), 3, 5, 8),
    "vmap": function(lambda lib, *x: lib.vmap(lambda a, b: a @ b)(*x), (2, 5, 8), (2, 8, 3)),
}


@pytest.mark.parametrize("name", SAME_SUMS)
def test_sums_are_pytorchs(name):
    expected, found = both(SAME_SUMS[name])
    assert sum(found["Global"].values()) == sum(expected["Global"].values()) > 0


def test_attention_is_counted_as_on_gpus():
    formulas = torch_counter.flop_registry
    q = (2, 4, 7, 16)
    aten = torch.ops.aten
    forward = formulas[aten._scaled_dot_product_flash_attention](
        torch.empty(q), torch.empty(q), torch.empty(q), out_val=torch.empty(q)
    )
    back = formulas[aten._scaled_dot_product_flash_attention_backward](
        *[torch.empty(q)] * 4, out_val=(torch.empty(q),) * 3
    )
    program = function(
        lambda lib, q: lib.nn.functional.scaled_dot_product_attention(q, q, q), (2, 4, 7, 16)
    )
    found = counts(torchlike, flop_counter, program)["Global"]
    assert list(found.values()) == [forward, back]


def test_backward_of_what_was_called_before_counts():
    linear, x = nn.Linear(8, 8), torchlike.randn(5, 8)
    for _ in range(3):  # from the second time on backward is recorded in one go
        loss = linear(x).sum()
        with FlopCounterMode(display=False) as mode:
            loss.backward()
        assert mode.get_flop_counts() == {"Global": {"aten.mm": 640}}
    linear(x).sum().backward()
    assert mode.get_total_flops() == 640, "it hears nothing after its end"
    from torchlike._tensor import tape, watching
    from torchlike.nn.modules import _hooks

    assert not _hooks.ANY_GLOBAL, "plain calls are as fast as before"
    assert torchlike._tensor.dispatch.apply.__code__ is watching.plain.__code__
    assert tape.Node.derive.__qualname__ == "Node.derive"


def test_the_table(capsys):
    def program(lib, counter):
        lib.manual_seed(0)
        with counter.FlopCounterMode() as mode:
            nested(lib.nn)(lib.randn(5, 8)).sum().backward()
        return mode

    mode = program(torchlike, flop_counter)
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()[:4]] == [
        ["Module", "FLOP", "%", "Total"],
        ["------------", "-------", "-------"],
        ["Sequential", "12.160K", "100.00%"],
        ["-", "aten.addmm", "4.480K", "36.84%"],
    ]
    assert "Sequential.2.0" not in shown and "Sequential.2.0" in mode.get_table(3)
    with FlopCounterMode(display=False) as mode:
        pass
    assert mode.get_table().splitlines()[-1].split() == ["Global", "0", "0%"]


def test_formulas_of_ones_own():
    @torchlike.library.custom_op("flops::twice", mutates_args=())
    def twice(x: torchlike.Tensor) -> torchlike.Tensor:
        return x @ x

    @register_flop_formula(torchlike.ops.flops.twice)
    def twice_flop(x_shape, *args, out_shape=None, **kwargs) -> int:
        assert x_shape == out_shape == (4, 4)
        return 1000

    with FlopCounterMode(display=False) as mode:
        twice(torchlike.ones(4, 4))
    assert mode.get_flop_counts() == {"Global": {"flops.twice": 1000}}
    mapping = {"aten.mm": lambda a, b, out_shape=None: 7, "flops::twice": lambda x, out_shape: 5}
    with FlopCounterMode(display=False, custom_mapping=mapping) as mode:
        twice(torchlike.ones(4, 4)) @ torchlike.ones(4, 4)
    assert mode.get_total_flops() == 12
    with pytest.raises(RuntimeError, match=r"duplicate registrations for aten\.mm"):
        register_flop_formula("aten.mm")(twice_flop)
    with pytest.raises(ValueError, match="expected each target"):
        register_flop_formula(len)(twice_flop)


# ---- summary -----------------------------------------------------------------------------------


class Language(nn.Module):
    """Tied weights, a buffer, a tensor that is neither, and one made on the way."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        self.rnn = nn.LSTM(32, 32, 2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(32, 100)
        self.head.weight = self.embed.weight
        self.places = torchlike.arange(10)
        self.register_buffer("scale", torchlike.ones(32))

    def forward(self, x, shift=None):
        x = self.embed(x) * self.scale + self.places[None, :, None] + torchlike.zeros(10, 1)
        return self.head(self.rnn(x)[0])


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Sequential(nn.Linear(8 * 16, 6), nn.Dropout(), nn.Linear(6, 10)),
    )  # fmt: skip


MODELS = {
    "convolutional": (convolutional, lambda: torchlike.randn(4, 3, 8, 8)),
    "language": (Language, lambda: torchlike.zeros(2, 10, dtype=torchlike.int64)),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
        lambda: torchlike.randn(3, 5, 8),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_summary_agrees_with_a_run(name):
    make, inputs = MODELS[name]
    model, x = make(), inputs()
    found = torchlike.summary(model, x)
    with FlopCounterMode(display=False) as mode:
        out = model(x)
    assert found.flops == mode.get_total_flops() > 0
    assert found.output_shape == tuple(out.shape)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.rows[0].parameters == found.parameters
    assert [row.name for row in found.rows] == [name for name, _ in model.named_modules()]
    for row in found.rows:
        below = mode.get_flop_counts().get(f"{type(model).__name__}.{row.name}", {})
        assert not row.name or row.calls == 0 or row.flops == sum(below.values()), row


def test_summary_of_a_small_model():
    model = convolutional()
    model[0].requires_grad_(False)
    found = torchlike.summary(model, (4, 3, 8, 8))
    assert (found.trainable, found.frozen) == (found.parameters - 224, 224)
    assert found.parameter_bytes == 4 * found.parameters
    assert found.input_bytes == 4 * 4 * 3 * 8 * 8
    assert found.buffer_bytes == 4 * 16 + 8
    row = found["5.0"]
    assert (row.kind, row.depth, row.calls) == ("Linear", 2, 1)
    assert (row.input_shape, row.output_shape) == ((4, 128), (4, 6))
    assert (row.parameters, row.trainable, row.shared) == (774, 774, 0)
    assert row.flops == 2 * 4 * 128 * 6
    text = str(found)
    assert "  5: Sequential   [4, 128]      [4, 10]" in text.splitlines()[8]
    assert "224 frozen" in text
    assert "0: Linear" not in str(torchlike.summary(model, (4, 3, 8, 8), depth=1))
    with pytest.raises(KeyError):
        found["6"]


def test_activation_memory_is_what_backward_keeps():
    """relu's result and sigmoid's are kept, a frozen start keeps nothing, views count once."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 8), nn.Sigmoid())
    size = 4 * 2 * 8
    found = torchlike.summary(model, (2, 4))
    assert [row.activation_bytes for row in found.rows] == [2 * size, 0, size, 0, 0, size]
    model.requires_grad_(False)
    assert torchlike.summary(model, (2, 4)).activation_bytes == 0

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid())

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False).exp()

    assert torchlike.summary(Checkpointed(), (2, 4)).activation_bytes == size  # exp's result


def test_shared_parameters_count_once():
    found = torchlike.summary(Language(), ((2, 10), torchlike.int64))
    assert found["head"].parameters == 3300 and found["head"].shared == 3200
    assert found.parameters == 3200 + found["rnn"].parameters + 100


def test_summary_runs_allocates_and_changes_nothing():
    model = convolutional()
    before = copy.deepcopy(model.state_dict())
    state = torchlike.get_rng_state()
    compiler.clear_stats()
    torchlike.summary(model, (64, 3, 8, 8))
    assert (compiler.stats()["programs"], compiler.stats()["compiles"]) == (0, 0)
    assert torchlike.equal(torchlike.get_rng_state(), state)
    assert all(torchlike.equal(x, before[k]) for k, x in model.state_dict().items())
    assert all(p.device.type == "cpu" and p.grad is None for p in model.parameters())
    huge = nn.Linear(100_000, 100_000, device="meta")  # 40 GB
    assert torchlike.summary(huge, (8, 100_000)).flops == 2 * 8 * 10**10


class Two(nn.Module):
    def forward(self, a, b, flag=None):
        assert flag in (None, "yes")
        return a, b


@pytest.mark.parametrize(("spec", "shapes", "dtypes"), [
    ([(2, 3), (4,)], [(2, 3), (4,)], ["float32", "float32"]),
    ((((2, 3), torchlike.int64), [4]), [(2, 3), (4,)], ["int64", "float32"]),
    ((np.zeros((2, 3), np.int32), torchlike.zeros(4, dtype=torchlike.float64)),
     [(2, 3), (4,)], ["int32", "float64"]),
    ({"a": (2, 3), "b": ((), torchlike.bool), "flag": "yes"}, [(2, 3), ()], ["float32", "bool"]),
])  # fmt: skip
def test_input_specs(spec, shapes, dtypes):
    seen = []
    model = Two()
    model.register_forward_hook(lambda m, args, out: seen.extend(out))
    assert torchlike.summary(model, spec).output_shape == shapes
    assert [x.dtype for x in seen] == [getattr(torchlike, d) for d in dtypes]
    assert torchlike.summary(nn.Linear(2, 2).double(), (1, 2)).input_bytes == 16
    assert torchlike.summary(nn.Linear(2, 2), (1, 2), dtype=torchlike.float32).input_bytes == 8


class Asks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: torchlike.summary(Asks(), (2,)), torchlike.NotSupported, "needs the numbers"),
    (lambda: torchlike.summary(nn.LazyLinear(2), (2, 2)), torchlike.NotSupported, "lazy layers"),
    (lambda: torchlike.summary(nn.Linear(3, 4), (2, 5)), RuntimeError, "cannot be multiplied"),
    (lambda: torchlike.summary(3, (2, 5)), TypeError, r"expected an nn\.Module"),
])  # fmt: skip
def test_what_summary_refuses(call, error, match):
    with pytest.raises(error, match=match):
        call()
    assert FlopCounterMode  # and nothing of it is left on:
    assert torchlike.ones(2).sum().item() == 2
