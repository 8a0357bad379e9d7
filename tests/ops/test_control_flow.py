"""Control flow over functions of tensors: numbers and gradients as PyTorch's, and no recompiles."""

import warnings

import jax
import numpy as np
import pytest
import torch
import torch._higher_order_ops as theirs
from torch._higher_order_ops.associative_scan import associative_scan as their_associative_scan

import torchlike
from torchlike import _higher_order_ops as ours
from torchlike import nn
from torchlike._core.settings import settings

A = np.arange(6, dtype="float32").reshape(3, 2) / 4 + 0.25
W = np.array([0.5, -1.5], "float32")


class Both:
    """One library: its tensors, and its control flow."""

    def __init__(self, lib, hop):
        self.lib, self.hop = lib, hop
        self.cond, self.while_loop = lib.cond, lib.while_loop

    def t(self, x, grad=False):
        t = self.lib.tensor(x)
        return t.requires_grad_() if grad else t


OURS, THEIRS = Both(torchlike, ours), Both(torch, theirs)
OURS.associative_scan, THEIRS.associative_scan = ours.associative_scan, their_associative_scan


def numbers(x):
    if isinstance(x, (tuple, list)):
        return [n for y in x for n in numbers(y)]
    if isinstance(x, dict):
        return [n for y in x.values() for n in numbers(y)]
    return [x.detach().numpy() if hasattr(x, "detach") else x]


def same(program, tol=1e-6):
    """The same numbers from both libraries; here in both engine modes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = numbers(program(THEIRS))
    for immediate in (False, True):
        with settings.override(immediate=immediate):
            found = numbers(program(OURS))
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


# ---- the same numbers --------------------------------------------------------------------------


def branches(pred):
    def program(b):
        x, w = b.t(A, True), b.t(W, True)
        y = b.cond(b.t(pred), lambda x: (x * w, x.sum()), lambda x: (x.sin() + 1, x.prod()), (x,))
        grads = b.lib.autograd.grad(y[0].sum() * y[1], [x, w], allow_unused=True)
        return [*y, *[b.lib.zeros(2) if g is None else g for g in grads]]

    return program


def carry(b):
    x, w, h = b.t(A, True), b.t(W, True), b.t(W, True)
    last, ys = b.hop.scan(lambda h, x: ((h * x + w).tanh(), (h * 2, {"k": x + h})), h, x)
    grads = b.lib.autograd.grad((last.sum() + ys[0].sin().sum() + ys[1]["k"].prod()), [x, w, h])
    return last, ys, list(grads)


def backwards(b):
    return b.hop.scan(lambda c, x: (c + x, c * x), b.t(A[:, 0]), b.t(A), dim=-1, reverse=True)


def trees_of_sequences(b):
    def step(c, x):
        return {"a": c["a"] + x[0] * x[1]}, [x[1].clone(), c["a"] + 1]

    return b.hop.scan(step, {"a": b.t(W)}, (b.t(A), b.t(A + 1)))


def prefixes(b):
    x = b.t(A, True)
    y = b.associative_scan(lambda a, c: a * c + 0 * a, x, 0, combine_mode="generic")
    return y, b.lib.autograd.grad(y.sin().sum(), x)[0]


def prefixes_of_a_tree(b):
    def combine(a, c):
        return {"p": a["p"] * c["p"], "q": c["p"] * a["q"] + c["q"]}

    xs = {"p": b.t(A), "q": b.t(A + 1)}
    return b.associative_scan(combine, xs, 1, reverse=True, combine_mode="generic")


def each(b):
    x, w = b.t(A, True), b.t(W, True)
    y = b.hop.map(lambda x, w: (x * w).cumsum(0) + x[0], x, w)
    pairs = b.hop.map(lambda x: {"y": x * 2, "none": None}, x.detach())
    nothing = b.hop.map(lambda x: None, x.detach())
    return y, list(b.lib.autograd.grad(y.sin().sum(), [x, w])), pairs["y"], pairs["none"] is nothing


def of_another_structure(b):
    """A list for the pair, and a tuple for what began as a list."""
    step = lambda c, x: [(c[0] + x, c[1] * x), c[0] - c[1]]  # noqa: E731
    last, ys = b.hop.scan(step, [b.t(A[0]), b.t(A[1])], b.t(A))
    return type(last).__name__ == "tuple", last, ys


def counted(b):
    return b.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, x * 1.5 + i), (b.t(0), b.t(A)))


def counted_by_an_int(b):
    return b.while_loop(lambda i, x: x.sum() < 40, lambda i, x: (i + 1, x * 2), (0, b.t(A)))


def not_at_all(b):
    return b.while_loop(lambda x: x.sum() < 0, lambda x: (x * 2,), (b.t(A),))


def as_the_body_returns_it(b):
    listed = b.while_loop(lambda i, x: i < 3, lambda i, x: [i + 1, x * 2], [b.t(0), b.t(A)])
    bare = b.while_loop(lambda i: i < 3, lambda i: i + 1, (b.t(0),))
    return isinstance(listed, list), listed, isinstance(bare, b.lib.Tensor), bare


@pytest.mark.parametrize(
    "program",
    [branches(True), branches(False), branches(3), carry, backwards, trees_of_sequences, prefixes,
     prefixes_of_a_tree, each, of_another_structure, counted,
     counted_by_an_int, not_at_all, as_the_body_returns_it],
)  # fmt: skip
def test_numbers_and_gradients(program):
    same(program)


def test_the_gradient_of_a_loop_counts_every_turn():
    """PyTorch 2.13 forgets all turns but the last for what the function captured."""
    w = torchlike.tensor(2.0, requires_grad=True)
    x = torchlike.tensor(A, requires_grad=True)
    turns, y = torchlike.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, y * w), (torchlike.tensor(0), x)
    )
    gx, gw = torchlike.autograd.grad(y.sum(), [x, w], create_graph=True)
    assert (turns.item(), gw.item()) == (3, pytest.approx(3 * 4 * A.sum()))
    np.testing.assert_allclose(gx.detach().numpy(), 8.0)
    assert torchlike.autograd.grad(gw, w)[0].item() == pytest.approx(6 * 2 * A.sum())


@pytest.mark.parametrize("kind", ["scan", "map", "cond"])
def test_what_autograd_does_not_see_is_constant(kind):
    """The derivative is the tape's: detach() and no_grad() hold inside a body, twice over."""

    def step(x):
        with torchlike.no_grad():
            y = x.sin()
        return x.detach() * x**2 + y * x

    def run(x):
        if kind == "scan":
            return ours.scan(lambda c, x: (c + x, step(x)), torchlike.zeros(2), x)[1]
        if kind == "map":
            return ours.map(step, x)
        return torchlike.cond(torchlike.tensor(True), step, lambda x: x.exp(), (x,))

    found = []
    for f in (run, step):
        x = torchlike.tensor(A, requires_grad=True)
        (g,) = torchlike.autograd.grad(f(x).sum(), x, create_graph=True)
        found.append([g.detach().numpy(), torchlike.autograd.grad(g.sum(), x)[0].numpy()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_second_derivatives():
    def double(b):
        x, w = b.t(A, True), b.t(W, True)
        step = lambda c, x: ((c * x).sin() + w, c * w)  # noqa: E731
        if b is OURS:
            last, ys = ours.scan(step, w, x)
        else:  # PyTorch's scan has no second derivative: the same loop in Python
            last, ys = w, []
            for row in x:
                last, y = step(last, row)
                ys.append(y)
            ys = torch.stack(ys)
        (g,) = b.lib.autograd.grad(last.sum() + (ys**2).sum(), w, create_graph=True)
        return [g, *b.lib.autograd.grad(g.prod(), [x, w])]

    same(double, 1e-5)


# ---- inside transformations --------------------------------------------------------------------


def test_under_vmap():
    x = torchlike.tensor(np.stack([A, A + 1, A - 2, A * 3]))
    pred = torchlike.tensor([True, False, True, False])

    def one(p, x):
        y = torchlike.cond(p, lambda x: x + 1, lambda x: x.sin(), (x,))
        last, ys = ours.scan(lambda c, x: (c + x, c * x), x[0], y)
        n, z = torchlike.while_loop(
            lambda i, z: z.abs().sum() < 30, lambda i, z: (i + 1, z * 2 + 1),
            (torchlike.tensor(0), ys),
        )  # fmt: skip
        s = ours.associative_scan(lambda a, b: a * b, x, 0)
        return last, ours.map(lambda r: r.cumsum(0), z), n, s

    found = torchlike.func.vmap(one)(pred, x)
    for i in range(4):
        for a, b in zip(found, one(pred[i], x[i]), strict=True):
            np.testing.assert_allclose(a[i].numpy(), b.numpy(), rtol=1e-5)


def test_vmap_inside_a_body_and_outside_of_it():
    w = torchlike.tensor(W, requires_grad=True)
    rows = torchlike.tensor(A)

    def step(c, x):
        return c + torchlike.func.vmap(lambda r: (r * w).sum() * x.sum())(rows).sum(), x * 2

    last, _ = ours.scan(step, torchlike.tensor(0.0), rows)
    (g,) = torchlike.autograd.grad(last, w)
    np.testing.assert_allclose(g.numpy(), A.sum(0) * A.sum(), rtol=1e-5)

    def of(w):
        return ours.scan(lambda c, x: (c * w + x, c), torchlike.zeros(2), rows)[0].sum()

    each = torchlike.func.vmap(torchlike.func.grad(of))(torchlike.stack([w, w * 2]).detach())
    for i in range(2):
        one = torchlike.func.grad(of)((w * (i + 1)).detach())
        np.testing.assert_allclose(each[i].numpy(), one.numpy(), rtol=1e-5)


def test_under_jit_the_predicate_is_not_read():
    """A traced predicate stays a lax.cond; a loop under jax.jit becomes lax's own."""

    def program(p, x):
        x = torchlike.cond(p, lambda x: x + 1, lambda x: x - 1, (x,))
        _, x = torchlike.while_loop(
            lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torchlike.tensor(0), x)
        )
        return ours.scan(lambda c, r: (c + r, c), x[0], x)[1]

    x = torchlike.tensor(A)
    jaxpr = str(jax.make_jaxpr(program)(torchlike.tensor(True), x))
    assert all(f"= {name}[" in jaxpr for name in ("cond", "while", "scan"))
    for p in (True, False):
        p = torchlike.tensor(p)
        np.testing.assert_allclose(jax.jit(program)(p, x).numpy(), program(p, x).numpy())


def test_bodies_in_bodies():
    w = torchlike.tensor(W, requires_grad=True)
    x = torchlike.tensor(A)

    def outer(c, row):
        inner, _ = ours.scan(lambda d, y: (d * y + w.sum(), d), row[0], row)
        flipped = torchlike.cond(inner > 1, lambda v: v * w, lambda v: v - w, (row,))
        return c + flipped, inner

    def plain():
        c, found = torchlike.zeros(2), []
        for row in x:
            d = row[0]
            for y in row:
                d = d * y + w.sum()
            c = c + (row * w if d.item() > 1 else row - w)
            found.append(d)
        return c, torchlike.stack(found)

    for a, b in zip(ours.scan(outer, torchlike.zeros(2), x), plain(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)
        ga, gb = (torchlike.autograd.grad(y.sum(), w, retain_graph=True)[0] for y in (a, b))
        np.testing.assert_allclose(ga.numpy(), gb.numpy(), rtol=1e-6)


# ---- cost, and what must not go wrong quietly --------------------------------------------------


def test_a_loop_compiles_once_whatever_its_numbers():
    cell = nn.GRUCell(2, 4)
    h = torchlike.zeros(4)

    def step(scale):
        cell.zero_grad()
        _, ys = ours.scan(lambda h, x: (cell(x * scale, h), h.tanh()), h, torchlike.tensor(A))
        ys.sum().backward()
        return cell.weight_ih.grad.sum().item()

    first = [step(1.0) for _ in range(3)]
    assert step(1.0) == pytest.approx(first[0], rel=1e-5)
    assert step(2.0) != first[0]
    with torchlike.no_grad():
        cell.weight_ih.neg_()
    torchlike.compiler.flush()
    torchlike.compiler.clear_stats()
    step(0.5)
    assert torchlike.compiler.stats()["compiles"] == 0


def test_captured_parameters_get_their_gradients():
    lin = nn.Linear(2, 2)
    x = torchlike.tensor(A)
    ours.map(lambda r: lin(r).sin(), x).sum().backward()
    found = [p.grad.numpy().copy() for p in lin.parameters()]
    lin.zero_grad()
    lin(x).sin().sum().backward()
    for a, p in zip(found, lin.parameters(), strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-5)


def test_what_cannot_be_recorded_runs_as_a_python_loop():
    """Random numbers, numbers read, functions with their own backward: as the loop written out."""
    x = torchlike.tensor(A, requires_grad=True)
    torchlike.manual_seed(0)
    drawn = ours.map(lambda r: r * torchlike.rand(2), x)
    torchlike.manual_seed(0)
    expected = torchlike.stack([r * torchlike.rand(2) for r in x])
    assert torchlike.equal(drawn, expected)
    _, ys = ours.scan(lambda c, r: (c + r, r * 2 if r.sum().item() > 1 else r), x[0], x)
    assert ys.shape == (3, 2)

    class Straight(torchlike.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, g):
            return g * 3

    y = torchlike.cond(torchlike.tensor(True), Straight.apply, lambda x: x + 1, (x,))
    assert torchlike.autograd.grad(y.sum(), x)[0].unique().tolist() == [3.0]


def test_what_cannot_be_recorded_raises_where_it_cannot_be_read():
    x = torchlike.tensor(A)
    with pytest.raises(torchlike.NotSupported, match="random"):
        torchlike.func.vmap(
            lambda x: ours.map(lambda r: r * torchlike.rand(2), x), randomness="same"
        )(x[None])
    w = torchlike.tensor(W, requires_grad=True)
    with pytest.raises(torchlike.NotSupported, match="turns"):
        torchlike.func.vmap(
            lambda x: torchlike.while_loop(lambda x: x.sum() < 9, lambda x: (x * w,), (x,))
        )(x)


def test_an_index_out_of_range_inside_a_body_is_reported():
    table = torchlike.arange(4.0)
    index = torchlike.tensor([0, 3, 4, 1]) + 0
    for run in (
        lambda: ours.map(lambda i: table.index_select(0, i[None]), index),
        lambda: ours.scan(lambda c, i: (c + table.gather(0, i[None])[0], i + 1), table[0], index),
        lambda: torchlike.cond(
            index[0] < 1, lambda i: table.gather(0, i), lambda i: i * 1.0, (index,)
        ),
        lambda: torchlike.while_loop(
            lambda i, s: i < 9, lambda i, s: (i + 1, s + table.gather(0, i[None])[0]),
            (index[0], table[0]),
        ),
    ):  # fmt: skip
        with pytest.raises(IndexError, match=r"index [4-9] is out of bounds"):
            [y.tolist() for y in _leaves(run())]


def _leaves(x):
    return [x] if isinstance(x, torchlike.Tensor) else list(x)


X = torchlike.tensor(A)
TRUE = torchlike.tensor(True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: torchlike.cond("a", abs, abs, (X,)), RuntimeError, "bool or tensor"),
        (lambda: torchlike.cond(X, abs, abs, (X,)), RuntimeError, "single-element"),
        (lambda: torchlike.cond(TRUE, 3, abs, (X,)), RuntimeError, "callable"),
        (lambda: torchlike.cond(TRUE, abs, abs, X), RuntimeError, "tensor leaves"),
        (lambda: torchlike.cond(TRUE, abs, lambda x: x.double(), (X,)), RuntimeError, "dtype"),
        (lambda: torchlike.cond(TRUE, abs, lambda x: (x,), (X,)), RuntimeError, "spec"),
        (lambda: torchlike.cond(TRUE, lambda x: x.add_(1), abs, (X,)), RuntimeError, "in place"),
        (lambda: ours.scan(3, X, X), RuntimeError, "callable"),
        (lambda: ours.scan(lambda c, x: (c, x), [], X), RuntimeError, "init leaves"),
        (lambda: ours.scan(lambda c, x: (c, x), X, X, dim=2), IndexError, "range"),
        (lambda: ours.scan(lambda c, x: (c[:1], x), X, X), RuntimeError, "same metadata"),
        (lambda: ours.associative_scan(max, X, 0, combine_mode="x"), ValueError, "Combine_mode"),
        (lambda: ours.associative_scan(lambda a, b: (a, b), X, 0), AssertionError, "number"),
        (lambda: ours.map(abs, (X, X[:2])), RuntimeError, "Leading dimensions"),
        (lambda: torchlike.while_loop(1, abs, (X,)), RuntimeError, "callable"),
        (lambda: torchlike.while_loop(lambda x: x > 0, abs, (X,)), RuntimeError, "scalar"),
        (lambda: torchlike.while_loop(lambda x: True, abs, (X,)), RuntimeError, "cannot end"),
        (lambda: torchlike.while_loop(lambda x: x.any(), lambda x: x.sum(), (X,)),
         RuntimeError, "metadata"),
    ],
)  # fmt: skip
def test_bad_calls(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_python_predicate_chooses_at_once():
    with pytest.warns(UserWarning, match="Pred is a Python constant"):
        assert torchlike.equal(torchlike.cond(False, abs, lambda x: x + 1, (X,)), X + 1)


def test_writes_to_captured_tensors_happen_every_turn():
    total, x = torchlike.zeros(2), torchlike.tensor(A)
    norm = nn.BatchNorm1d(2)

    def step(c, r):
        total.add_(r)
        return c + norm(r.expand(3, 2)).sum(), total.sum()

    _, ys = ours.scan(step, torchlike.tensor(0.0), x)
    np.testing.assert_allclose(total.numpy(), A.sum(0), rtol=1e-6)
    np.testing.assert_allclose(ys.numpy(), A.cumsum(0).sum(1), rtol=1e-6)
    assert norm.num_batches_tracked.item() == 3
    with pytest.raises(torchlike.NotSupported, match="in place"):
        torchlike.func.vmap(lambda x: ours.map(lambda r: total.add_(1) + r, x))(x[None])
    np.testing.assert_allclose(total.numpy(), A.sum(0), rtol=1e-6)


def test_captured_views_and_pending_values():
    """What is captured may be a view whose base has moved on, or wait for its own program."""
    base = torchlike.zeros(4, requires_grad=True) * 1
    view = base[1:3]
    base.add_(2)
    pending = torchlike.ones(2) * 3
    y = ours.map(lambda r: r * view + pending, torchlike.tensor(A))
    np.testing.assert_allclose(y.detach().numpy(), A * 2 + 3)
    assert view.tolist() == [2.0, 2.0] and pending.tolist() == [3.0, 3.0]
    out = torchlike.zeros(3)

    def fill(c, r):
        made = torchlike.tensor([0.0, 0.0])
        made[0] = r[1]
        made[1:] += r[:1] * 2
        return c, made

    _, ys = ours.scan(fill, out, torchlike.tensor(A))
    np.testing.assert_allclose(ys.numpy(), A[:, ::-1] * np.array([1, 2]), rtol=1e-6)


def test_backward_inside_a_body_is_refused_and_grad_is_not():
    w = torchlike.tensor(W, requires_grad=True)

    def slope(r):
        r = r.detach().requires_grad_()
        return torchlike.autograd.grad((r * w).sin().sum(), r, create_graph=True)[0]

    y = ours.map(slope, torchlike.tensor(A))
    np.testing.assert_allclose(y.detach().numpy(), np.cos(A * W) * W, rtol=1e-6)
    (g,) = torchlike.autograd.grad(y.sum(), w)
    np.testing.assert_allclose(g.numpy(), (np.cos(A * W) - A * W * np.sin(A * W)).sum(0), rtol=1e-5)
    grads = ours.map(torchlike.func.grad(lambda r: (r * w).sin().sum()), torchlike.tensor(A))
    np.testing.assert_allclose(grads.detach().numpy(), np.cos(A * W) * W, rtol=1e-6)
