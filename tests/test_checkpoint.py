"""Checkpointing: the numbers of no checkpointing, less memory, the errors of PyTorch."""

import functools
import warnings

import numpy as np
import pytest

import torchlike as T
from torchlike._core.settings import settings
from torchlike._engine import programs
from torchlike.utils import checkpoint as ours

torch = pytest.importorskip("torch")
import torch.utils.checkpoint as theirs  # noqa: E402

SIDES = [(T, ours), (torch, theirs)]


def network(t):
    t.manual_seed(3)
    n = t.nn
    return n.Sequential(n.Linear(6, 8), n.Dropout(0.4), n.Tanh(), n.Linear(8, 3), n.Dropout(0.2))


def gradients(t, run, dtype=None):
    """Loss, gradients of input and parameters, and a number drawn afterwards."""
    model = network(t)
    x = t.linspace(-1, 1, 24).reshape(4, 6).requires_grad_()
    with t.autocast("cpu", enabled=dtype is not None):
        y = run(model, x * 1.5)
        loss = (y.float() ** 2).sum()
    loss.backward()
    after = t.rand(2)
    return [
        z.detach().numpy() for z in (loss, x.grad, *[p.grad for p in model.parameters()], after)
    ]


RUNS = {
    "plain": lambda c: lambda m, x: m(x),
    "reentrant": lambda c: lambda m, x: c.checkpoint(m, x, use_reentrant=True),
    "whole": lambda c: lambda m, x: c.checkpoint(m, x, use_reentrant=False),
    "exact": lambda c: lambda m, x: c.checkpoint(m, x, use_reentrant=False, early_stop=False),
    "pieces": lambda c: lambda m, x: c.checkpoint_sequential(m, 3, x, use_reentrant=False),
    "nested": lambda c: (
        lambda m, x: c.checkpoint(
            lambda x: m[3:](c.checkpoint(m[:3], x, use_reentrant=False)), x, use_reentrant=False
        )
    ),
    "keyword": lambda c: (
        lambda m, x: c.checkpoint(lambda *, a: m(a["x"][0]), use_reentrant=False, a={"x": [x]})
    ),
}


@functools.cache
def plain(dtype, immediate):
    return gradients(T, RUNS["plain"](ours), dtype)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("dtype", [None, "bf16"])
def test_numbers_op_by_op(name, dtype, monkeypatch):
    monkeypatch.setattr(settings, "immediate", True)
    got = gradients(T, RUNS[name](ours), dtype)
    for a, b in zip(got, plain(dtype, True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["plain", "whole", "reentrant", "nested"])
def test_numbers_are_pytorchs(name):
    got, real = gradients(T, RUNS[name](ours)), gradients(torch, RUNS[name](theirs))
    for a, b in zip(got, real, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def steps(x, weights):
    for w in weights:
        x = (x @ w).sin()
    return x


def temporaries(monkeypatch, checkpointed: bool) -> int:
    """Bytes of temporary memory of the programs of forward and backward."""
    ran = []
    arguments = programs.Program.arguments

    def spy(self, segment, arrays):
        found = arguments(self, segment, arrays)
        ran.append(self.jitted().lower(*found).compile().memory_analysis().temp_size_in_bytes)
        return found

    groups = [[T.full((32, 32), 0.1, requires_grad=True) for _ in range(6)] for _ in range(3)]
    x = T.ones(1024, 32, requires_grad=True)
    x.grad = T.zeros_like(x)
    T.compiler.flush()
    monkeypatch.setattr(programs.Program, "arguments", spy)
    for _ in range(3):  # NumPy runs what is seen for the first time
        y = x
        for group in groups:
            again = ours.checkpoint(steps, y, group, use_reentrant=False) if checkpointed else None
            y = again if checkpointed else steps(y, group)
        y.sum().backward()
        x.grad.sum().item()
    monkeypatch.undo()
    assert ran
    return max(ran)


def test_activations_are_not_kept(monkeypatch):
    import jax

    with jax.enable_x64(True):
        assert temporaries(monkeypatch, True) < 0.6 * temporaries(monkeypatch, False)


@pytest.mark.parametrize("kind", ["BatchNorm1d", "InstanceNorm1d"])
@pytest.mark.parametrize("after", [False, True])
def test_running_statistics_move_twice(kind, after):
    seen = []
    for t, c in SIDES:
        norm = getattr(t.nn, kind)(3, track_running_stats=True)
        x = t.arange(24.0).reshape(2, 3, 4).requires_grad_()
        module = t.nn.Sequential(norm, t.nn.Tanh()) if after else norm
        c.checkpoint(module, x, use_reentrant=False).sum().backward()
        seen.append([b.tolist() for b in norm.buffers()])
    for ours_, theirs_ in zip(*seen, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-5)


def test_the_function_runs_twice_and_stops_early():
    for t, c in SIDES:
        calls = []

        def f(x, calls=calls):
            calls.append("start")
            y = x.sin() * 2
            calls.append("end")
            return y

        x = t.ones(3, requires_grad=True)
        c.checkpoint(f, x, use_reentrant=False).sum().backward()
        assert calls == ["start", "end", "start"]
        with c.set_checkpoint_early_stop(False):
            y = c.checkpoint(f, x, use_reentrant=False).sum()
        y.backward(retain_graph=True)
        assert calls[3:] == ["start", "end"] * 2
        y.backward()  # a second time is computed a third time
        assert len(calls) == 9
        with pytest.raises(RuntimeError, match="a second time"):
            y.backward()


def test_second_derivative():
    grads = []
    for t, c in SIDES:
        x = t.tensor([0.3, 0.7], requires_grad=True)
        y = c.checkpoint(lambda x: (x * 2).sin().exp() * x, x, use_reentrant=False).sum()
        (g,) = t.autograd.grad(y, x, create_graph=True)
        grads.append(t.autograd.grad(g.sum(), x)[0].numpy())
    np.testing.assert_allclose(*grads, rtol=1e-5)


def test_without_the_state_of_random_numbers():
    seen = []

    def f(x):
        seen.append(T.rand(1).item())
        return x.exp() * 2

    x = T.ones(2, requires_grad=True)
    ours.checkpoint(f, x, use_reentrant=False).sum().backward()
    assert seen[0] == seen[1]
    ours.checkpoint(f, x, use_reentrant=False, preserve_rng_state=False).sum().backward()
    assert seen[2] != seen[3]


def count(change):
    """A function that does ``change`` from its second call on."""
    calls = []

    def f(x):
        calls.append(0)
        return change(x) if len(calls) > 1 else x.sin().exp()

    return f


@pytest.mark.parametrize(
    "make",
    [
        lambda t, c, x: c.checkpoint(count(lambda x: x.sin()), x, use_reentrant=False),
        lambda t, c, x: c.checkpoint(count(lambda x: x[:1].sin().exp()), x, use_reentrant=False),
        lambda t, c, x: c.checkpoint(
            count(lambda x: x.sin().exp().exp()), x, use_reentrant=False, early_stop=False
        ),
        lambda t, c, x: c.checkpoint(count(lambda x: x.sin()), x, use_reentrant=False, debug=True),
    ],
)
def test_another_second_run_is_an_error(make):
    texts = []
    for t, c in SIDES:
        y = make(t, c, t.ones(3, requires_grad=True))
        with pytest.raises(c.CheckpointError) as error:
            y.sum().backward()
        texts.append(str(error.value).split("\n")[0])
    if "An error happened" not in texts[1]:  # PyTorch's text of debug=True is about its own ops
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c, x: c.checkpoint(len, x, use_reentrant=True, foo=1), ValueError),
        (lambda c, x: c.checkpoint(len, x, use_reentrant=True, debug=True), ValueError),
        (lambda c, x: c.checkpoint(len, x, use_reentrant=False, determinism_check="x"), ValueError),
        (lambda c, x: c.detach_variable([x]), RuntimeError),
        (lambda c, x: c.checkpoint_sequential([abs], 2, x, use_reentrant=False, a=1), ValueError),
    ],
)
def test_errors(call, error):
    texts = []
    for t, c in SIDES:
        with pytest.raises(error) as caught:
            call(c, t.ones(2))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_an_argument_overwritten_in_between():
    for t, c in SIDES:
        x = t.ones(2, requires_grad=True) * 1
        y = c.checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False)
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_reentrant_refuses_grad_and_warns_without_inputs_that_want_gradients():
    for t, c in SIDES:
        x = t.ones(2, requires_grad=True)
        y = c.checkpoint(lambda x: x * 2, x, use_reentrant=True).sum()
        with pytest.raises(RuntimeError, match="is incompatible with"):
            t.autograd.grad(y, x)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            c.checkpoint(lambda x: x * 2, x.detach())
        assert [w.category for w in caught] == [UserWarning] * 2


def test_selective_checkpoint_keeps_what_it_is_told_to():
    seen = []

    def policy(ctx, op, *args, **kwargs):
        seen.append((ctx.is_recompute, op.__name__))
        save = op.__name__ == "mm"
        return ours.CheckpointPolicy.MUST_SAVE if save else ours.CheckpointPolicy.MUST_RECOMPUTE

    def f(x):
        return (x @ x).sin().exp() @ x

    def contexts():
        return ours.create_selective_checkpoint_contexts(policy)

    x = T.linspace(0, 1, 9).reshape(3, 3).requires_grad_()
    f(x).sum().backward()
    expected, x.grad = x.grad, None
    y = ours.checkpoint(f, x, use_reentrant=False, context_fn=contexts).sum()
    y.backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-6)
    assert (False, "mm") in seen and (True, "mm") in seen
    with pytest.raises(RuntimeError, match="backward an extra time"):
        y.backward()
    by_list = ours.create_selective_checkpoint_contexts([T.matmul])
    x.grad = None
    ours.checkpoint(f, x, use_reentrant=False, context_fn=lambda: by_list).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-6)


# ---- in compiled functions ---------------------------------------------------------------------


def losses_with_dropout(compiles: str, **how):
    """Losses of a network of checkpointed blocks, one inside another; how many calls replayed."""
    T.manual_seed(0)
    nn = T.nn
    blocks = nn.ModuleList(
        nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Tanh()) for _ in range(3)
    )
    head = nn.Linear(6, 1)
    optimizer = T.optim.SGD([*blocks.parameters(), *head.parameters()], 0.1)

    def two(x):
        return ours.checkpoint(blocks[1], blocks[0](x), **how)

    def forward(x):
        y = ours.checkpoint(two, x, **how)
        return head(ours.checkpoint(blocks[2], y, **how)).square().mean()

    if compiles == "forward":
        forward = T.compile(forward)

    def step(x):
        optimizer.zero_grad()
        loss = forward(x)
        loss.backward()
        optimizer.step()
        return loss

    if compiles == "step":
        step = T.compile(step)
    T.compiler.clear_stats()
    losses = [step(T.randn(4, 6)).item() for _ in range(6)]
    return losses, T.rand(1).item(), T.compiler.stats()["replays"]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("compiles", ["step", "forward"])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("preserve", [True, False])
def test_compiled_calls_replay_with_the_same_draws(compiles, reentrant, preserve):
    how = {"use_reentrant": reentrant, "preserve_rng_state": preserve}
    losses, after, _ = losses_with_dropout("", **how)
    found, then, replays = losses_with_dropout(compiles, **how)
    assert found == pytest.approx(losses, rel=1e-6) and then == after
    if compiles == "step":
        assert replays >= 3
