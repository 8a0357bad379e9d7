"""torch.export: programs give what PyTorch's eager gives, at other sizes than the example's."""

import collections
import copy
import dataclasses
import io
import math
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

import torchlike
from torchlike import export as tx
from torchlike._core.errors import UserError
from torchlike.export import Dim


def twins(build):
    """The same module in torchlike and in PyTorch, with the same weights."""
    ours, theirs = build(torchlike), build(torch)
    state = {k: torchlike.tensor(v.numpy()) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    return ours, theirs


def module(call, *parts):
    """A builder of a module: ``call(lib, self, *inputs)``, with submodules made of ``parts``."""

    def build(lib):
        class Made(lib.nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = lib.nn.ModuleList([part(lib) for part in parts])

            def forward(self, *xs):
                return call(lib, self.parts, *xs)

        lib.manual_seed(0)
        return Made()

    return build


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def integers(high, *shape):
    return np.random.default_rng(shape).integers(0, high, shape)


def attend(lib, p, x):
    y = p[0](x + p[1](lib.arange(x.shape[1])))
    q, k, v = y.view(x.shape[0], x.size(1), 2, 12).transpose(1, 2).chunk(3, -1)
    y = lib.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(x.shape[0], -1, 8).softmax(-1).mean(1)


def shapes(lib, p, x):
    """Sizes in sums, quotients, constructors, slices and views."""
    n = x.shape[0]
    y = lib.cat([lib.zeros(n, 1), x, x.new_ones((n, 2))], 1) / n
    y = y.reshape(n * 3, -1).view(-1, 2)[1:, :1] + lib.linspace(0, 1, n * 6)[n:, None].mean()
    z = lib.where(x > 0, x, lib.zeros_like(x)).std(0)
    return y.flatten().sum() * z + lib.arange(n, 0, -1).float().sum(), n


def filled_up(lib, p, x):
    """Open sizes that add up to a number."""
    rest = 20 - x.shape[0]
    y = lib.nn.functional.pad(x, (1, 0, 0, rest), value=2.0)
    z = lib.cat([x[:1].expand(rest, 3), x])
    return y[:, 1:] * z, lib.nn.functional.pad(x, (0, 0, x.shape[0], 1))


B, T = Dim("b"), Dim("t", max=64)
CASES = {
    "cnn": (
        module(
            lambda lib, p, x: p[3](lib.max_pool2d(p[2](p[1](p[0](x)).relu()), 2).flatten(1)),
            lambda lib: lib.nn.Conv2d(3, 8, 3, padding=1), lambda lib: lib.nn.BatchNorm2d(8),
            lambda lib: lib.nn.Conv2d(8, 4, 3, stride=2), lambda lib: lib.nn.Linear(16, 5),
        ),
        lambda b: (numbers(b, 3, 10, 10),), ({0: B},),
    ),
    "images of any size": (
        module(
            lambda lib, p, x: lib.nn.functional.adaptive_avg_pool2d(
                lib.max_pool2d(p[0](x), 3, 2, 1), 1
            ),
            lambda lib: lib.nn.Conv2d(3, 4, 3, padding=1),
        ),
        lambda b: (numbers(b, 3, b + 5, b + 8),), ({0: B, 2: Dim("h"), 3: Dim("w")},),
    ),
    "attention": (
        module(attend, lambda lib: lib.nn.Linear(8, 24), lambda lib: lib.nn.Embedding(64, 8)),
        lambda b: (numbers(b, b + 2, 8),), ({0: B, 1: T},),
    ),
    "shapes": (module(shapes), lambda b: (numbers(b, 3),), ({0: B},)),
    "the largest": (
        module(
            lambda lib, p, x: x.topk(2, 0)[0] * x.kthvalue(2, 0)[0] + x.topk(3, 0, False)[0][1:]
        ),
        lambda b: (numbers(b, 3),), ({0: Dim("b", min=3)},),
    ),
    "filled up": (module(filled_up), lambda b: (numbers(b, 3),), ({0: Dim("b", max=19)},)),
    "lstm": (
        module(lambda lib, p, x: p[0](x)[1][0], lambda lib: lib.nn.LSTM(3, 4, batch_first=True)),
        lambda b: (numbers(b, b + 1, 3),), ({0: B, 1: T},),
    ),
    "loss": (
        module(lambda lib, p, i, y: lib.nn.functional.cross_entropy(p[0](i).mean(1), y),
               lambda lib: lib.nn.Embedding(9, 5)),
        lambda b: (integers(9, b, 3), integers(5, b)), ({0: B}, {0: B}),
    ),
    "norms": (
        module(lambda lib, p, x: (p[0](x) * p[1](x).amax((1, 2), keepdim=True)).cumsum(0),
               lambda lib: lib.nn.GroupNorm(2, 4), lambda lib: lib.nn.LayerNorm(6)),
        lambda b: (numbers(b, 4, 6),), ({0: B},),
    ),
    "derived": (
        module(lambda lib, p, x, y: x.view(-1, 2, 3).sum(1) + y),
        lambda b: (numbers(2 * b, 3), numbers(b, 3)), ({0: 2 * B}, {0: B}),
    ),
    "in place": (
        module(lambda lib, p, x: x.clone().mul_(2).index_fill_(1, lib.tensor([0]), 1.0)[:, :2]),
        lambda b: (numbers(b, 3),), ({0: B},),
    ),
    "ties": (module(lambda lib, p, x: x.round().amax(1) + x.maximum(x * 1).abs().sum(1)),
             lambda b: (numbers(b, 6).round() * (numbers(b, 6, seed=1) > 0),), ({0: B},)),
}  # fmt: skip


def run(lib, f, inputs, parameters):
    """(results, gradients of inputs and parameters)."""
    given = [lib.tensor(x) for x in inputs]
    for x in given:
        if x.is_floating_point():
            x.requires_grad_()
    for p in parameters:
        p.grad = None
    out = f(*given)
    out = out if isinstance(out, tuple) else (out,)
    sum(
        (o * o.detach().cos()).sum() for o in out if not isinstance(o, int) and o.requires_grad
    ).backward()
    return out, [x.grad for x in [*given, *parameters] if x.is_floating_point()]


def assert_close(ours, theirs):
    if theirs is None or isinstance(theirs, int):
        assert ours == theirs
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach(), 2e-4, 2e-5)


@pytest.mark.parametrize("name", CASES)
def test_an_open_size_gives_what_eager_gives(name):
    build, make, dynamic = CASES[name]
    ours, theirs = twins(build)
    example = tuple(map(torchlike.tensor, make(4)))
    program = tx.export(ours, example, dynamic_shapes=(dynamic,))
    assert program._runner.program.conditions == []
    call = program.module()
    inputs = make(6)
    out, grads = run(torchlike, call, inputs, list(call.parameters()))
    expected, expected_grads = run(torch, theirs, inputs, list(theirs.parameters()))
    for a, b in zip([*out, *grads], [*expected, *expected_grads], strict=True):
        assert_close(a, b)
    for (key, a), b in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert_close(a, b), key


# ---- what is refused ---------------------------------------------------------------------------


def test_what_a_program_is_not_for_is_refused_with_the_words_of_pytorch():
    class M(torchlike.nn.Module):
        def forward(self, x, scale=1.0, *, flag=None):
            return x * scale

    class D(torchlike.nn.Module):
        def forward(self, d):
            return d["a"] - d["b"]

    batch = Dim("batch", min=3, max=8)
    shapes = {"x": {0: batch}, "scale": None, "flag": None}
    program = tx.export(M(), (torchlike.ones(4, 3), 2.0), {"flag": None}, dynamic_shapes=shapes)
    call = program.module()
    x = torchlike.ones(5, 3)
    assert call(x, 2.0, flag=None).shape == (5, 3)
    ordered = tx.export(D(), ({"a": x, "b": x * 2},)).module()
    assert (ordered({"b": x, "a": x * 2}) == x).all()  # the entries of a dict in any order
    for args, kwargs, kind, text in [
        ((torchlike.ones(9, 3), 2.0), {"flag": None}, AssertionError, r"x.size\(\)\[0\] <= 8"),
        ((torchlike.ones(2, 3), 2.0), {"flag": None}, AssertionError, r"x.size\(\)\[0\] >= 3"),
        ((torchlike.ones(5, 4), 2.0), {"flag": None}, AssertionError, r"x.size\(\)\[1\] == 3"),
        ((torchlike.ones(5), 2.0), {"flag": None}, AssertionError, r"len\(x.size\(\)\) == 2"),
        ((x.double(), 2.0), {"flag": None}, AssertionError, "x.dtype == torch.float32"),
        ((x, 3.0), {"flag": None}, AssertionError, "scale == 2.0"),
        ((x, 2), {"flag": None}, AssertionError, "scale == 2.0"),
        ((x, 2.0), {"flag": 1}, AssertionError, "flag == None"),
        ((x, 2.0), {}, ValueError, "kwarg keyword mismatch"),
        ((x,), {"flag": None}, ValueError, "input tree spec"),
    ]:
        with pytest.raises(kind, match=text):
            call(*args, **kwargs)
    with pytest.raises(RuntimeError, match=r"exported_program.module\(\)"):
        program(x)
    for use in (call.train, call.eval):
        with pytest.raises(NotImplementedError):
            use()


def code(body):
    class M(torchlike.nn.Module):
        forward = staticmethod(body)

        def __call__(self, *args):
            return super().__call__(*args)

    return M()


def test_a_size_that_the_code_fixes_is_never_fixed_silently():
    x = torchlike.ones(4, 3)
    equal = code(lambda x: x + 1 if x.shape[0] == 4 else x - 1)
    above = code(lambda x: x + 1 if x.shape[0] > 3 else x - 1)
    number = code(lambda x: x * int(x.shape[0]))
    loop = code(lambda x: sum(x[i] for i in range(x.shape[0])))
    weights = code(lambda x: x @ torchlike.ones(3, 2))
    table = [
        (equal, {0: Dim("batch")}, UserError, r"(?s)violated \(batch\).*constant \(4\).*batch = 4"),
        (equal, {0: Dim.DYNAMIC}, UserError, r"L\['x'\].size\(\)\[0\] as dynamic.*Dim.AUTO"),
        (above, {0: Dim("batch")}, UserError, r"(?s)size\(\)\[0\] >= 4.*Dim\('batch', min=4\)"),
        (number, {0: Dim("batch")}, UserError, r"int\(batch\) at .*test_export.py"),
        (loop, {0: Dim("batch")}, UserError, "constant"),
        (weights, {1: Dim("batch")}, UserError, "constant"),
    ]
    for m, dims, kind, text in table:
        with pytest.raises(kind, match=text):
            tx.export(m, (x,), dynamic_shapes=(dims,))
    for m, sizes, good, bad in [
        (equal, {}, 4, 5), (above, {"s0": (4, math.inf)}, 9, 3), (number, {}, 4, 5),
        (loop, {}, 4, 5),
    ]:  # fmt: skip
        program = tx.export(m, (x,), dynamic_shapes=({0: Dim.AUTO},))
        found = {k: (v.lower, v.upper) for k, v in program.range_constraints.items()}
        assert found == sizes
        y = torchlike.arange(3.0 * good).view(good, 3)
        assert torchlike.equal(program.module()(y), m(y))
        with pytest.raises(AssertionError, match="Guard failed"):
            program.module()(torchlike.ones(bad, 3))
    below = tx.export(above, (x,), dynamic_shapes=({0: Dim("batch", min=4)},)).module()
    assert torchlike.equal(below(x), x + 1)
    # A size of 1 would have other dimensions, or take the other branch: it is refused by the call.
    for m in (code(lambda x: x.squeeze()), code(lambda x: x * (2 if x.shape[0] == 1 else 3))):
        call = tx.export(m, (x,), dynamic_shapes=({0: Dim("batch")},)).module()
        assert torchlike.equal(call(torchlike.ones(2, 3)), m(torchlike.ones(2, 3)))
        with pytest.raises(AssertionError, match=r"x.size\(\)\[0\] != 1"):
            call(torchlike.ones(1, 3))


def test_sizes_that_have_to_be_equal_become_one():
    x, y = torchlike.ones(4, 3), torchlike.ones(4, 3)
    for dims in (({0: Dim.AUTO}, {0: Dim.AUTO}), ({0: Dim("b")}, {0: Dim("c")})):
        call = tx.export(code(lambda x, y: x + y), (x, y), dynamic_shapes=dims).module()
        assert call(torchlike.ones(6, 3), torchlike.ones(6, 3)).shape == (6, 3)
        with pytest.raises(AssertionError, match=r"y.size\(\)\[0\] == x.size\(\)\[0\]"):
            call(torchlike.ones(6, 3), torchlike.ones(5, 3))
    least = Dim("b", min=4)
    for dims in (
        (Dim.DYNAMIC(max=6), Dim.AUTO(min=4)), (Dim.AUTO(max=6), least), (least, Dim("c", max=6)),
    ):  # fmt: skip
        for asked in (dims, dims[::-1]):
            shapes = [{0: d} for d in asked]
            call = tx.export(code(lambda x, y: x + y), (x, y), dynamic_shapes=shapes).module()
            assert call(*[torchlike.ones(6, 3)] * 2).shape == (6, 3)
            for size, text in ((7, "<= 6"), (3, ">= 4")):
                with pytest.raises(AssertionError, match=text):
                    call(*[torchlike.ones(size, 3)] * 2)


def test_requests_that_do_not_fit_the_inputs():
    x = torchlike.ones(4, 3)
    add = code(lambda x, y: x + y)
    for dynamic, kind, text in [
        (({0: B},), UserError, "2 elements, but `dynamic_shapes` has 1"),
        ({"x": None, "z": None}, UserError, r"\['x', 'y'\] of `inputs`"),
        (({0: 5}, None), RuntimeError, "constraint of 5 does not match input size of 4"),
        (({0: Dim("b", max=3)}, None), RuntimeError, r"4 not in range \[2, 3\]"),
        (({3: B}, None), UserError, "dimensions"),
        (({0: "b"}, None), UserError, "expected None, an int, a Dim"),
        ((3, None), UserError, "expected either a list/tuple"),
        (([B], None), UserError, "expected 2, but got 1"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=text):
            tx.export(add, (x, x), dynamic_shapes=dynamic)
    with pytest.raises(UserError, match="to be a tuple"):
        tx.export(add, [x, x])
    with pytest.raises(ValueError, match=r"instance of `torch.nn.Module`"):
        tx.export(lambda x: x, (x,))
    with pytest.raises(AssertionError, match="valid identifier"):
        Dim("2b")
    with pytest.raises(AssertionError, match="inconsistent"):
        Dim("b", min=3, max=2)
    with pytest.raises(AssertionError, match="inconsistent"):
        Dim("b", min=2, max=2)
    with pytest.raises(AssertionError, match="min must be <= max"):
        Dim.AUTO(min=3, max=2)
    with pytest.raises(TypeError, match="too many positional"):
        tx.export(add, (x, x, x))
    with torchlike.autocast("cpu"):  # it is of the call, not of the program
        assert tx.export(code(lambda x: x @ x.T), (x,)).module()(x).dtype is torchlike.float32
    assert repr((Dim("b"), Dim("b", min=2), 2 * Dim("b") + 1, Dim.AUTO)) == (
        "(Dim('b', min=0), Dim('b'), 2*b + 1, DimHint(AUTO))"
    )


def test_a_copy_of_a_program_has_weights_of_its_own():
    program = tx.export(torchlike.nn.Linear(3, 2), (torchlike.ones(3),))
    other = copy.deepcopy(program)
    with torchlike.no_grad():
        program.module().weight.zero_()
    assert other.module().weight.abs().sum() > 0
    assert other.module()(torchlike.ones(3)).shape == (2,)


def test_what_needs_a_number_of_a_tensor_is_refused_with_its_line():
    x = torchlike.ones(4, 3)
    for m in (
        code(lambda x: x if x.sum() > 0 else -x), code(lambda x: x * x.sum().item()),
        code(lambda x: x[x > 0]), code(lambda x: x.nonzero()),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"data-dependent.*test_export\.py"):
            tx.export(m, (x,))


def test_an_index_out_of_range_raises_as_in_eager():
    call = tx.export(
        torchlike.nn.Embedding(5, 2), (torchlike.tensor([1, 2]),), dynamic_shapes=({0: B},)
    ).module()
    assert call(torchlike.tensor([4, 0, 1])).shape == (3, 2)
    with pytest.raises(IndexError, match="index 7 is out of bounds for dimension with size 5"):
        call(torchlike.tensor([0, 7])).detach().numpy()


def test_second_derivatives_and_changed_inputs_that_need_gradients_are_refused():
    call = tx.export(code(lambda x: x * x), (torchlike.ones(3),)).module()
    x = torchlike.ones(3, requires_grad=True)
    (g,) = torchlike.autograd.grad(call(x).sum(), x, create_graph=True)
    assert g.tolist() == [2.0] * 3
    with pytest.raises(torchlike.NotSupported, match="second derivatives"):
        g.sum().backward()
    changed = tx.export(code(lambda x: x.mul_(2)), (torchlike.ones(3),)).module()
    y = torchlike.ones(3)
    assert changed(y) is y and y.tolist() == [2.0] * 3
    with pytest.raises(torchlike.NotSupported, match="in place"):
        changed(x * 1)


# ---- state -------------------------------------------------------------------------------------


def stateful(lib):
    class M(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin, self.norm = lib.nn.Linear(3, 2), lib.nn.BatchNorm1d(2)
            self.tied = lib.nn.Linear(3, 2)
            self.tied.weight = self.lin.weight
            self.register_buffer("count", lib.zeros(()))
            self.register_buffer("hidden", lib.ones(2), persistent=False)
            self.shift = lib.ones(2)

        def forward(self, x, *, scale=2.0):
            self.count.add_(1)
            y = self.norm(self.lin(x) + self.tied(x)) * scale + self.shift * self.hidden
            return {"y": y + self.count, "x": (x,)}

    lib.manual_seed(0)
    return M()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PyTorch's own code
def test_state_is_shared_and_written_as_pytorch_says():
    ours, theirs = twins(stateful)
    x = numbers(4, 3)
    a = tx.export(ours, (torchlike.tensor(x),), {"scale": 3.0})
    b = torch.export.export(theirs, (torch.tensor(x),), {"scale": 3.0})
    assert list(a.state_dict) == list(b.state_dict) and set(a.constants) == set(b.constants)
    assert a.dialect == b.dialect and a.example_inputs[1] == b.example_inputs[1]
    for mine, its in ((a, b), (a.run_decompositions(), b.run_decompositions())):
        mine, its = mine.graph_signature, its.graph_signature
        rows = [[(s.kind.name, s.target) for s in g.input_specs] for g in (mine, its)]
        assert sorted(rows[0], key=str) == sorted(
            (r for r in rows[1] if r[1] != "tied.weight"), key=str
        )
        kinds = [[(s.kind.name, s.target) for s in g.output_specs] for g in (mine, its)]
        assert kinds[0] == kinds[1]
        assert mine.user_inputs == its.user_inputs
        assert set(mine.buffers_to_mutate.values()) == set(its.buffers_to_mutate.values())
    call = a.module()
    y = numbers(4, 3, seed=1)
    out, expected = call(torchlike.tensor(y), scale=3.0), theirs(torch.tensor(y), scale=3.0)
    assert_close(out["y"], expected["y"])
    assert ours.count.item() == call.count.item() == 1 and a.state_dict["count"] is ours.count
    for (name, t), u in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert_close(t, u), name
    assert call.tied.weight is call.lin.weight is ours.lin.weight
    out["y"].sum().backward()
    expected["y"].sum().backward()
    assert_close(ours.lin.weight.grad, theirs.lin.weight.grad)
    ours.load_state_dict({k: v * 0 for k, v in ours.state_dict().items()})
    assert (
        call(torchlike.tensor(y), scale=3.0)["y"].tolist() == [[2.0, 2.0]] * 4
    )  # by the new state


def test_inputs_that_share_memory_with_what_is_changed_are_refused():
    x, rows = torchlike.ones(2, 3), torchlike.ones(4, 2, 3)
    writes = code(lambda x, y: x.add_(1) * y)
    call = tx.export(writes, (x, x.clone())).module()
    assert call(rows[0], rows[1]).sum() == 12 and rows[0].sum() == 12
    for pair in ((x, x), (x, x.view(2, 3)), (rows[0], rows.view(8, 3)[1:3])):
        with pytest.raises(torchlike.NotSupported, match="shares memory"):
            call(*pair)
    assert x.sum() == 6


def test_what_is_neither_state_nor_input_is_left_alone():
    outside = torchlike.zeros(2)

    class Assigns(torchlike.nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.held = torchlike.ones(2), [torchlike.ones(2)]
            self.turns, self.notes = 1, {"turns": 1}

        def forward(self, x, how):
            if how == "assigned":
                self.cache, self.own = x * 2, self.own + 1
                self.held[0] = x
            elif how == "plain":
                self.turns += 1
                self.notes["turns"] += 1
            elif how == "outside":
                outside.add_(x)
            elif how == "held":
                self.held[0][0] = x[1]
            elif how == "made here":
                made = torchlike.tensor([1.0, 2.0])
                return made.add_(x)
            return x + self.own * self.turns

    x, m = torchlike.ones(2), Assigns()
    with pytest.warns(UserWarning, match=r"attributes self\.cache, self\.held, self\.own were"):
        call = tx.export(m, (x, "assigned")).module()
    assert call(x, "assigned").tolist() == call(x, "assigned").tolist() == [3, 3]
    assert tx.export(m, (x, "plain")).module()(x, "plain").tolist() == [3, 3]
    assert tx.export(m, (x, "made here")).module()(x, "made here").tolist() == [2, 3]
    for how in ("outside", "held"):
        with pytest.raises(torchlike.NotSupported, match="neither an input nor"):
            tx.export(m, (x, how))
    assert outside.tolist() == [0, 0] and m.held[0].tolist() == m.own.tolist() == [1, 1]
    assert (m.turns, m.notes) == (1, {"turns": 1}) and not hasattr(m, "cache")


def test_random_numbers_are_those_of_eager():
    def build(lib):
        return lib.nn.Sequential(lib.nn.Dropout(0.4), lib.nn.Flatten())

    ours, theirs = twins(build)
    call = tx.export(ours, (torchlike.ones(4, 5, 5),), dynamic_shapes=({0: B},)).module()
    x = numbers(7, 5, 5)
    for _ in range(2):
        torchlike.manual_seed(3)
        torch.manual_seed(3)
        for _ in range(2):
            assert_close(call(torchlike.tensor(x)), theirs(torch.tensor(x)))
    draws = code(lambda x: (
        torchlike.rand_like(x), torchlike.randint(0, 9, (x.shape[0],)),
        torchlike.randn(x.shape[0], 20), torchlike.randperm(x.shape[0]),
    ))  # fmt: skip
    call = tx.export(draws, (torchlike.ones(4, 5),), dynamic_shapes=({0: B},)).module()
    y = torchlike.ones(6, 5)
    results = []
    for f in (call, draws):
        torchlike.manual_seed(5)
        results.append([t.tolist() for t in f(y)])
    assert results[0] == results[1]


Pair = collections.namedtuple("Pair", ["a", "b"])


@dataclasses.dataclass
class Box:
    value: object
    extra: object = None


tx.register_dataclass(Box, serialized_type_name="tests.Box")


def test_structures_of_inputs_and_outputs():
    def forward(x, more, *rest, **named):
        return Box(x["k"][0] + more.a), Pair(rest[0], 3), [named["z"] * 2, None, x["k"][1]]

    class M(torchlike.nn.Module):
        def forward(self, x, more, *rest, **named):
            return forward(x, more, *rest, **named)

    one = torchlike.ones(2)
    args = ({"k": [one, one * 2]}, Pair(one * 3, "text"), one * 4)
    asked = {"x": {"k": [{0: B}, None]}, "more": ({0: B}, None), "rest": (None,), "z": None}
    program = tx.export(M(), args, {"z": one * 5}, dynamic_shapes=asked)
    five = torchlike.ones(5)
    given = ({"k": [five, one * 2]}, Pair(five, "text"), one)
    buffer = io.BytesIO()
    tx.save(program, buffer)
    for p in (program, tx.load(io.BytesIO(buffer.getvalue()))):
        box, pair, rest = p.module()(*given, z=one)
        assert type(box) is Box and box.value.tolist() == [2.0] * 5 and box.extra is None
        assert type(pair) is Pair and pair.a is given[2] and pair.b == 3
        assert rest[0].tolist() == [2.0, 2.0] and rest[1] is None and rest[2] is given[0]["k"][1]
        with pytest.raises(AssertionError, match=r"more\.b == 'text'"):
            p.module()(given[0], Pair(five, "other"), one, z=one)
    with pytest.raises(AssertionError, match="dataclasses"):
        tx.register_dataclass(int)


def test_other_ways_to_ask():
    x = torchlike.ones(4, 3)
    add = code(lambda x, y: x + y)
    shapes = tx.ShapesCollection()
    shapes[x] = {0: Dim("b")}
    one = code(lambda x: x * 2)
    assert tx.export(one, (x,), dynamic_shapes=shapes).module()(torchlike.ones(7, 3)).shape == (
        7,
        3,
    )
    more = tx.AdditionalInputs()
    more.add((torchlike.ones(5, 3), torchlike.ones(5, 3)))
    program = tx.export(add, (x, x + 1), dynamic_shapes=more)
    more.verify(program)
    for far, kind, text in [
        ((torchlike.ones(1, 3), torchlike.ones(1, 3)), RuntimeError, "additional input"),
        ((torchlike.ones(6, 3), torchlike.ones(7, 3)), RuntimeError, "additional input"),
        ((torchlike.ones(5, 3), 2.0), ValueError, "structure|differing types"),
    ]:
        more.add(far)
        with pytest.raises(kind, match=text):
            tx.export(code(lambda x, y: (x + y)[:2]), (x, x + 1), dynamic_shapes=more)
        more._examples.pop()
    numbers = tx.AdditionalInputs()
    numbers.add((x, 3.0))
    with pytest.raises(ValueError, match="differing values"):
        numbers.dynamic_shapes(add, (x, 2.0))
    assert program.module()(torchlike.ones(9, 3), torchlike.ones(9, 3)).shape == (9, 3)
    equal = code(lambda x: x if x.shape[0] == 4 else -x)
    with pytest.warns(UserWarning, match="less open"):
        draft = tx.draft_export(equal, (x,), dynamic_shapes=({0: Dim("b")},))
    assert draft.range_constraints == {}
    with pytest.raises(UserError) as error:
        tx.export(code(lambda x: x[:4]), (x,), dynamic_shapes=({0: Dim("b")},))
    fixed = tx.dynamic_shapes.refine_dynamic_shapes_from_suggested_fixes(
        str(error.value), ({0: Dim("b")},)
    )
    assert repr(fixed) == "({0: Dim('b', min=4)},)"
    moved = tx.passes.move_to_device_pass(program, "cpu")
    assert moved.module()(x, x).shape == (4, 3)
    seen = []

    def forward(x):
        seen.append((torchlike.compiler.is_exporting(), isinstance(x.shape[0], torchlike.SymInt)))
        return x

    tx.export(code(forward), (x,), dynamic_shapes=({0: B},))
    assert set(seen) == {(True, True)}
    assert not torchlike.compiler.is_exporting() and "stablehlo" in str(program.graph)
    for use in (
        lambda: tx.unflatten(program),
        lambda: program.graph.nodes,
        lambda: program.verifier,
    ):
        with pytest.raises(torchlike.NotSupported):
            use()


# ---- files -------------------------------------------------------------------------------------

OTHER = """
import sys
import torch
files = {"note": ""}
program = torch.export.load(sys.argv[1], extra_files=files)
assert files["note"] == "kept", files
x, expected, grad, count = torch.load(sys.argv[2])
module = program.module()
torch.manual_seed(7)
out = module(x, scale=3.0)["y"]
out.sum().backward()
assert torch.allclose(out, expected, atol=1e-5), (out - expected)
assert torch.allclose(module.lin.weight.grad, grad, atol=1e-5)
assert module.count == count and program.state_dict["count"] is module.count
assert module.tied.weight is module.lin.weight
jit = torch.jit.load(sys.argv[3], map_location="cpu").eval()
images, expected = torch.load(sys.argv[4])
assert isinstance(jit, torch.jit.ScriptModule) and jit.original_name == "Made"
assert torch.allclose(jit(images), expected, atol=1e-5)
print("done")
"""


def test_another_process_without_the_source(tmp_path):
    ours, theirs = twins(stateful)
    example = torchlike.tensor(numbers(4, 3))
    program = tx.export(
        ours, (example,), {"scale": 3.0}, dynamic_shapes={"x": {0: Dim("n")}, "scale": None}
    )
    paths = [str(tmp_path / name) for name in ("p.pt2", "r.pt", "j.pt", "i.pt")]
    tx.save(program, paths[0], extra_files={"note": "kept"})
    assert os.listdir(tmp_path) == ["p.pt2"]
    x = torch.tensor(numbers(9, 3, seed=2))
    out = theirs(x, scale=3.0)["y"]
    out.sum().backward()
    torch.save((x, out.detach(), theirs.lin.weight.grad, theirs.count), paths[1])
    net, its = twins(CASES["cnn"][0])
    traced = torchlike.jit.trace(net.eval(), torchlike.tensor(numbers(1, 3, 10, 10)))
    torchlike.jit.save(traced, paths[2])
    images = torch.tensor(numbers(5, 3, 10, 10))
    torch.save((images, its.eval()(images).detach()), paths[3])
    script = tmp_path / "other.py"
    script.write_text(OTHER)
    done = subprocess.run(
        [sys.executable, "-m", "torchlike", str(script), *paths], capture_output=True, text=True,
        timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.endswith("done\n"), done.stderr


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    path, other = tmp_path / "p.pt2", tmp_path / "q.pt2"
    program = tx.export(
        torchlike.nn.Linear(3, 2), (torchlike.ones(4, 3),), dynamic_shapes=({0: B},)
    )
    tx.save(program, path)
    whole = path.read_bytes()
    again = tx.load(path)
    assert again.example_inputs[0][0].shape == (4, 3) and again.range_constraints.keys() == {"b"}
    assert again.module()(torchlike.ones(2, 3)).shape == (2, 2)
    tx.save(again, other)  # a loaded program can be saved
    assert tx.load(other).module()(torchlike.ones(2, 3)).shape == (2, 2)
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        other.write_bytes(whole[:cut])
        with pytest.raises(RuntimeError, match="broken"):
            tx.load(other)
    weights = whole.index(np.float32(program.state_dict["weight"].detach().numpy()[0, 0]).tobytes())
    other.write_bytes(whole[:weights] + bytes([whole[weights] ^ 1]) + whole[weights + 1 :])
    with pytest.raises(RuntimeError, match="broken"):
        tx.load(other)
    torch.save({"a": torch.ones(2)}, other)
    with pytest.raises(RuntimeError, match=r"torch\.load"):
        tx.load(other)
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), str(other))
    for read in (tx.load, torchlike.jit.load):
        with pytest.raises(torchlike.NotSupported, match="TorchScript"):
            read(str(other))
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("p/archive_format", "pt2")
    with pytest.raises(torchlike.NotSupported, match="PyTorch wrote"):
        tx.load(other)
    torchlike.jit.save(torchlike.jit.trace(torchlike.nn.ReLU(), torchlike.ones(2)), other)
    with pytest.raises(RuntimeError, match=r"torch\.jit\.load"):
        tx.load(other)
    with pytest.raises(RuntimeError, match=r"torch\.export\.load"):
        torchlike.jit.load(path)
    with pytest.raises(FileNotFoundError):
        tx.load(tmp_path / "none.pt2")


@pytest.mark.parametrize("chosen", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("stored", [False, True])
def test_gradients_of_some_of_the_results(chosen, stored):
    """The derivative of a result that gets no gradient is left out: infinity times zero is nan."""
    start, grads = [[0.0, 1.0], [4.0, 0.0]], []
    build = module(lambda lib, parts, x: (x * 2, x.sqrt(), x.detach()))
    for lib in (torch, torchlike):
        run = build(lib)
        if lib is torchlike:
            program = tx.export(run, (lib.ones(2, 2),))
            if stored:
                file = io.BytesIO()
                tx.save(program, file)
                file.seek(0)
                program = tx.load(file)
            run = program.module()
        x = lib.tensor(start, requires_grad=True)
        results = run(x)
        sum(results[n].sum() for n in chosen).backward()
        grads.append(x.grad.tolist())
    assert grads[1] == grads[0]
