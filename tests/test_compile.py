"""compile(): what is replayed, what it costs, what breaks it, and what it tells of itself."""

import copy
import logging
import os
import pickle
import subprocess
import sys

import pytest

import torchlike as torch
import torchlike.nn.functional as F
from torchlike import nn
from torchlike._core.errors import FailOnRecompileLimitHit, NotSupported
from torchlike._runner.shims._dynamo.eval_frame import OptimizedModule


def model(width: int = 8, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(width, 3),
    )  # fmt: skip


def whole_step(net, opt, averages=()):
    """A step of training, with moving averages of pairs (average, parameter)."""

    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        with torch.no_grad():
            for old, new in averages:
                old.mul_(0.9).add_(new, alpha=0.1)
        return loss

    return step


class Run:
    """A training run: ``step(x, y)`` is a whole step, ``state`` all that it leaves."""

    def __init__(self, compiled, optimizer="Adam", schedule=True, dropout=0.0):
        self.net = net = model(dropout=dropout)
        self.opt = opt = getattr(torch.optim, optimizer)(net.parameters(), lr=0.05)
        self.schedule = sched = torch.optim.lr_scheduler.StepLR(opt, 7, 0.5) if schedule else None

        def step(x, y):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            if sched is not None:
                sched.step()
            return loss

        self.step = torch.compile(step) if compiled else step

    def state(self):
        return [*self.net.state_dict().values(), *(p.grad for p in self.net.parameters())]


def batch(seed: int = 0, size: int = 16):
    torch.manual_seed(seed)
    return torch.randn(size, 4), torch.randint(0, 3, (size,))


def replays(function) -> int:
    compiled = getattr(function, "compiled", None) or function._call
    return sum(replay.runs for replay in compiled.replays)


# ---- the same numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"])
def test_fifty_steps(optimizer):
    x, y = batch()
    runs = [Run(False, optimizer), Run(True, optimizer)]
    losses = [[run.step(x, y).item() for _ in range(50)] for run in runs]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-6, atol=0)
    for a, b in zip(runs[0].state(), runs[1].state(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert runs[0].schedule.get_last_lr() == runs[1].schedule.get_last_lr()
    assert replays(runs[1].step) == 48


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "NAdam"])
def test_a_step_with_scaler_averages_and_schedule(optimizer):
    """Steps with inf in their gradients are skipped inside the program, without asking for it."""

    def run(compiled: bool):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        opt = getattr(torch.optim, optimizer)(net.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.StepLR(opt, 4, 0.5)
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=3)
        average = torch.optim.swa_utils.AveragedModel(
            net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        )

        def step(x, y, factor):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            scaler.scale(loss * factor).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()
            average.update_parameters(net)
            schedule.step()
            return loss

        step = torch.compile(step, fullgraph=True) if compiled else step
        (x, y), seen = batch(), []
        for n in range(16):
            loss = step(x, y, torch.tensor(float("inf") if n in (2, 5, 9) else 1.0))
            counts = scaler.get_scale(), scaler._get_growth_tracker(), schedule.get_last_lr()
            seen.append((loss.item(), *counts))
        state = [v for s in opt.state_dict()["state"].values() for v in s.values()]
        return seen, [*net.state_dict().values(), *average.state_dict().values(), *state], step

    (seen, tensors, _), (found, others, step) = run(False), run(True)
    for a, b in zip(seen, found, strict=True):
        assert a[0] == pytest.approx(b[0], rel=1e-5) and a[1:] == b[1:]
    for a, b in zip(tensors, others, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=1e-4, atol=1e-5)
    assert replays(step) == 14 and not step.compiled.breaks


def test_dropout_draws_what_eager_draws():
    x, y = batch()
    losses, after = [], []
    for compiled in (False, True):
        run = Run(compiled, dropout=0.5)
        torch.manual_seed(1)
        losses.append([run.step(x, y).item() for _ in range(8)])
        after.append(torch.rand(2).tolist())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert after[0] == after[1]


def test_a_forward_inside_an_ordinary_loop():
    """Forward, backward and optimizer are one program, as without compile."""
    x, y = batch()
    losses = []
    for compile in (lambda f: f, torch.compile):
        net = model()
        opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        step = whole_step(compile(net), opt)
        losses.append([step(x, y).item() for _ in range(6)])
        torch.compiler.clear_stats()
        for _ in range(5):
            step(x, y)
        stats = torch.compiler.stats()
        assert (stats["programs"], stats["compiles"], stats["syncs"]) == (5, 0, 0)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert stats["replays"] == 5


def test_ema_inside_the_step():
    x, y = batch()
    found = []
    for compile in (lambda f: f, torch.compile):
        net, ema = model(), model()
        pairs = [*zip(ema.parameters(), net.parameters(), strict=True)]
        step = compile(whole_step(net, torch.optim.SGD(net.parameters(), lr=0.1), pairs))
        for _ in range(6):
            step(x, y)
        found.append([p.detach().clone() for p in ema.parameters()])
    assert replays(step) == 4
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_gradients_through_a_replay():
    @torch.compile
    def f(x, w):
        return (x @ w).tanh().sum(-1), w * 2

    for i in range(4):
        x = torch.full((2, 3), 0.1 * i, requires_grad=True)
        w = torch.ones(3, 4, requires_grad=True)
        plain = f.compiled.function(x, w)
        expected = torch.autograd.grad(plain[0].sum() + plain[1].sum(), (x, w))
        out = f(x, w)
        assert out[0].grad_fn.name() == "CompiledFunctionBackward"
        given = torch.autograd.grad(out[0].sum() + out[1].sum(), (x, w))
        for a, b in zip(expected, given, strict=True):
            torch.testing.assert_close(a, b)
    assert replays(f) == 2


def test_second_derivatives_through_a_replay():
    f = torch.compile(lambda x: (x**3).sum())
    for i in range(4):
        x = torch.tensor([1.0 + i, 2.0], requires_grad=True)
        (first,) = torch.autograd.grad(f(x), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        torch.testing.assert_close(second, 6 * x.detach())


def test_second_derivatives_through_a_function_of_ones_own_raise():
    """What its backward sees as constants no recording tells; PyTorch's compile() has none."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return 3 * x.detach() * x * gradient

    f = torch.compile(lambda x: Cube.apply(x).sum())
    for _ in range(3):
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        (first,) = torch.autograd.grad(f(x), x, create_graph=True)
        torch.testing.assert_close(first.detach(), 3 * x.detach() ** 2)
        with pytest.raises(RuntimeError, match="does not currently support double backward"):
            first.sum().backward()


# ---- what it costs -----------------------------------------------------------------------------


def test_a_replayed_step_is_one_program_and_no_op_is_recorded():
    run, (x, y) = Run(True), batch()
    for _ in range(4):
        run.step(x, y)
    torch.compiler.clear_stats()
    for _ in range(10):
        run.step(x, y)
    stats = torch.compiler.stats()
    assert (stats["programs"], stats["replays"]) == (10, 10)
    assert (stats["ops"], stats["compiles"], stats["syncs"], stats["recompiles"]) == (0, 0, 0, 0)


def test_another_learning_rate_records_nothing_again():
    run, (x, y) = Run(True, schedule=False), batch()
    for _ in range(3):
        run.step(x, y)
    torch.compiler.clear_stats()
    for i in range(5):
        run.opt.param_groups[0]["lr"] = 0.01 * i
        run.step(x, y)
    assert torch.compiler.stats()["replays"] == 5


def test_a_smaller_last_batch_costs_one_compile():
    run = Run(True)
    compiles = []
    for _ in range(3):  # epochs
        torch.compiler.clear_stats()
        for size in (16, 16, 16, 16, 5):
            run.step(*batch(size=size))
        compiles.append(torch.compiler.stats()["compiles"])
    assert compiles[1] <= 1 and compiles[2] == 0


def test_arrays_that_somebody_holds_are_not_overwritten():
    """A replay puts new arrays where the old ones were, unless those can still be seen."""
    run, (x, y) = Run(True, schedule=False), batch()
    for _ in range(4):
        run.step(x, y)
    weight = run.net[0].weight
    grad, array = weight.grad, weight.jax()
    before = [weight.detach().clone(), grad.clone(), torch.from_jax(array).clone()]
    alias = weight.detach()
    run.step(x, y)
    assert not torch.equal(before[0], weight)
    assert torch.equal(alias, weight)  # memory is shared, as in PyTorch
    assert torch.equal(before[1], grad) and weight.grad is not grad
    assert torch.equal(before[2], torch.from_jax(array))


# ---- breaks, guards, reports -------------------------------------------------------------------


def test_a_branch_on_a_value_runs_and_is_reported_once(caplog):
    @torch.compile
    def f(x):
        y = x * 2
        if y.sum().item() > 3:
            return y + 1
        return y - 1

    with caplog.at_level(logging.WARNING, "torchlike.compiler"):
        found = [f(torch.ones(3) * i).tolist() for i in (0, 1, 0, 2, 0)]
    assert found == [[-1.0] * 3, [3.0] * 3, [-1.0] * 3, [5.0] * 3, [-1.0] * 3]
    (record,) = caplog.records
    assert "a value is needed" in record.message and __file__ in record.message


def test_fullgraph_raises_with_the_line():
    @torch.compile(fullgraph=True)
    def f(x):
        return x + 1 if x.sum().item() > 3 else x

    with pytest.raises(RuntimeError, match=rf"a value is needed at {__file__}"):
        f(torch.ones(3))


def test_a_change_of_python_state_keeps_the_python_running(caplog):
    seen = []

    @torch.compile
    def f(x):
        seen.append(1)
        return x + len(seen)

    with caplog.at_level(logging.WARNING, "torchlike.compiler"):
        assert [f(torch.zeros(1)).item() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert "changes the length of seen" in caplog.text


def test_a_recompile_says_what_changed():
    net = model()
    f = torch.compile(lambda x, k: net(x) * k)
    x, _ = batch()
    for _ in range(3):
        f(x, 2)
    f(x, 3)
    net.eval()
    for _ in range(2):
        f(x, 2)
    assert "argument 1 is 3, was 2" in f.compiled.reasons[0]
    assert any("training is False, was True" in why for why in f.compiled.reasons)


def _cut_from_one_tensor(model):
    data = torch.randn(40, 3)
    return model, lambda i: (data[2 * i : 2 * i + 2],)


def _changes_its_argument(model):
    return lambda x: model(x.relu_()), lambda i: (torch.ones(2, 3, requires_grad=True) * i,)


def _returns_views(model):
    return lambda x: model(x).chunk(2, -1), lambda i: (torch.ones(2, 3),)


def _puts_into_a_dict(model):
    def run(x, state):
        state["hidden"] = model(x) + state["hidden"]
        return state["hidden"].sum()

    state = {"hidden": torch.zeros(2, 4)}
    return run, lambda i: (torch.ones(2, 3), state)


def _copies_its_model(model):
    return lambda x: copy.deepcopy(model)(x).detach(), lambda i: (torch.ones(2, 3),)


def _returns_an_object(model):
    class Output:
        def __init__(self, value):
            self.value = value

    return lambda x: Output(model(x)), lambda i: (torch.ones(2, 3),)


@pytest.mark.parametrize(
    "program",
    [
        _cut_from_one_tensor,
        _changes_its_argument,
        _returns_views,
        _puts_into_a_dict,
        _copies_its_model,
        _returns_an_object,
    ],
)
def test_what_is_recorded_once_and_stays_compiled(program):
    function, arguments = program(torch.nn.Linear(3, 4))
    run = torch.compile(function)
    compiled = run._call if isinstance(run, torch.nn.Module) else run.compiled
    for i in range(12):
        run(*arguments(i))
        if i == 1:  # where it begins, and one call to watch: from then on the same again
            recordings = compiled.recordings
    assert compiled.plain is None and compiled.full is None
    assert compiled.replays and compiled.recordings <= recordings + 1


def test_the_limit_of_recordings(caplog):
    f = torch.compile(lambda x, k: x * k)
    with caplog.at_level(logging.WARNING, "torchlike.compiler"):
        for k in range(30):
            assert f(torch.ones(2), k).tolist() == [k, k]
    assert caplog.text.count("it was recorded 8 times") == 1
    torch.compiler.clear_stats()
    assert [f(torch.ones(2), k).tolist() for k in (3, 7)] == [[3, 3], [7, 7]]
    assert torch.compiler.stats()["replays"] == 2  # what was recorded is replayed still
    config = torch._dynamo.config
    with config.patch(fail_on_recompile_limit_hit=True), pytest.raises(FailOnRecompileLimitHit):
        f(torch.ones(2), 20)
    with config.patch("cache_size_limit", 9):  # PyTorch's former name of recompile_limit
        f(torch.ones(2), 20)
    assert len(f.compiled.replays) == 9 and config.recompile_limit == 8


def test_nothing_is_half_written_when_the_step_fails():
    run, (x, y) = Run(True), batch()
    for _ in range(4):
        run.step(x, y)
    before = copy.deepcopy(run.net.state_dict())
    with pytest.raises(RuntimeError, match="shape"):
        run.step(torch.zeros(16, 5), y)
    for a, b in zip(before.values(), run.net.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    run.step(x, y)
    assert torch.compiler.stats()["replays"]


def test_explain():
    run, (x, y) = Run(True), batch()
    found = torch.compiler.explain(run.step, x, y)
    assert found.programs == 1 and not found.breaks
    assert "net.0.weight" in found.state and "net.0.weight" in found.changes
    assert "net.1.running_mean" in found.changes and "net.4.bias.grad" in found.changes
    assert found.donated > 0 and found.flops > 0 and found.memory > 0 and found.ops > 10
    assert "1 program" in str(found)

    def broken(x):
        return x.sum().item()

    found = torch.compiler.explain(broken, x)
    assert found.programs == 0 and found.breaks[0][0] == "a value is needed"
    assert "runs its Python" in str(found)


# ---- the interface -----------------------------------------------------------------------------


def test_a_compiled_module_is_the_module():
    net = model()
    call = torch.compile(net)
    assert [*call.state_dict()] == [f"_orig_mod.{name}" for name in net.state_dict()]
    assert all(a is b for a, b in zip(call.parameters(), net.parameters(), strict=True))
    assert call[0] is net[0] and len(call) == 5
    call.eval()
    assert not net.training and not call.training
    x, _ = batch()
    expected = net(x)
    for other in (call, copy.deepcopy(call), pickle.loads(pickle.dumps(call))):
        for _ in range(3):
            torch.testing.assert_close(other(x), expected)


def test_module_compile_in_place():
    net, (x, _) = model(), batch()
    expected = net(x)
    net.load_state_dict(model().state_dict())
    net.compile()
    torch.testing.assert_close(net(x), expected)
    for _ in range(3):
        net(x)
    assert net._compiled_call_impl.compiled.replays[0].runs == 2
    assert [*net.state_dict()] == [*model().state_dict()]
    assert copy.deepcopy(net)._compiled_call_impl is None


def test_arguments_of_compile():
    def f(x):
        """Adds one."""
        return x + 1

    x = torch.zeros(2)
    for options in (
        {}, {"mode": "reduce-overhead"}, {"mode": "max-autotune"}, {"dynamic": True},
        {"backend": "eager"}, {"backend": "aot_eager"}, {"disable": True}, {"fullgraph": True},
    ):  # fmt: skip
        for call in (torch.compile(f, **options), torch.compile(**options)(f)):
            assert call.__name__ == "f" and call.__doc__ == "Adds one."
            assert [call(x).tolist() for _ in range(3)] == [[1.0, 1.0]] * 3
    assert torch.compile(torch.compile(f))(x).tolist() == [1.0, 1.0]
    tuned = torch.compile(f, mode="max-autotune").compiled.tuned
    assert tuned and not torch.compile(f, options={"max_autotune": False}).compiled.tuned
    with pytest.raises(RuntimeError, match="Unrecognized mode=fast"):
        torch.compile(f, mode="fast")
    with pytest.raises(RuntimeError, match="Either mode or options"):
        torch.compile(f, mode="default", options={})
    with pytest.raises(RuntimeError, match="Invalid backend"):
        torch.compile(f, backend="mine")
    with pytest.raises(NotSupported, match="backend of your own: symbolically traced variables"):
        torch.compile(lambda x: x if x.sum() > 0 else -x, backend=lambda graph, inputs: graph)(x)
    with pytest.raises(TypeError, match="has to return a function"):
        torch.compile(f, backend=lambda graph, inputs: None)(x)
    torch._dynamo.register_backend(lambda graph, inputs: graph, name="plain")
    assert torch.compile(f, backend="plain")(x).tolist() == [1.0, 1.0]
    assert "plain" in torch.compiler.list_backends()


def test_eager_backends():
    net = torch.nn.Linear(2, 2)
    compiled = torch.compile(net, backend="eager")
    assert list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    assert copy.deepcopy(compiled)._call.plain is not None
    assert torch.compile(net, disable=True) is net
    torch.compiler.set_default_backend("eager")
    try:
        assert torch.compiler.get_default_backend() == "eager"
        calls = []
        call = torch.compile(calls.append)
        for i in range(3):
            call(i)
        assert calls == [0, 1, 2]
    finally:
        torch.compiler.set_default_backend(None)
    assert torch.compiler.get_default_backend() == "inductor"
    assert "eager" in torch.compiler.list_backends(None)
    with pytest.raises(RuntimeError, match="Invalid backend"):
        torch.compiler.set_default_backend("mine")


def test_disable_and_stances():
    x = torch.ones(2)
    calls = []

    @torch.compiler.disable
    def noted(x):
        calls.append(1)
        return x + 1

    f = torch.compile(lambda x: noted(x) * 2)
    assert [f(x).tolist() for _ in range(4)] == [[4.0, 4.0]] * 4 and len(calls) == 4
    g = torch.compile(lambda x: (x + 1, torch.compiler.is_compiling()))
    for _ in range(3):
        g(x)
    torch.compiler.clear_stats()
    with torch.compiler.set_stance("force_eager"):
        assert g(x)[1] is False
    assert g(x)[1] is True
    assert torch.compiler.stats()["replays"] == 1
    with (
        torch.compiler.set_stance("fail_on_recompile"),
        pytest.raises(RuntimeError, match="Detected recompile"),
    ):
        g(torch.ones(3))
    torch.compiler.reset()
    assert not g.compiled.replays


def test_a_compiled_function_in_another():
    inner = torch.compile(lambda x: x.sin())
    outer = torch.compile(lambda x: inner(x) + inner(x * 2))
    x = torch.ones(3)
    expected = x.sin() + (x * 2).sin()
    for _ in range(4):
        torch.testing.assert_close(outer(x), expected)
    assert replays(outer) == 2


_CACHED = """
import time, torchlike as torch
net = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(4)], torch.nn.Linear(64, 3))
opt = torch.optim.Adam(net.parameters())
x, y = torch.ones(8, 64), torch.zeros(8, dtype=torch.long)
@torch.compile
def step():
    opt.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    opt.step()
    return loss
for _ in range(4):
    step().item()
"""


@pytest.mark.slow
def policy_step():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    opt = torch.optim.SGD(net.parameters(), lr=0.1)

    def step(x, action):
        opt.zero_grad()
        out = net(x)
        policy = torch.distributions.Categorical(logits=out)
        value = torch.distributions.Normal(out[:, 0], F.softplus(out[:, 1]) + 0.1)
        loss = -policy.log_prob(action).mean() - value.log_prob(x[:, 0]).mean()
        torch._check_tensor_all(loss > -100, lambda: "the loss is too low")
        loss.backward()
        opt.step()
        return loss

    return step


def test_what_distributions_validate_is_part_of_the_program():
    x, action = torch.randn(6, 4), torch.randint(0, 3, (6,))
    eager, step = policy_step(), policy_step()
    compiled = torch.compile(step, fullgraph=True)
    want = [eager(x, action).item() for _ in range(5)]
    assert [compiled(x, action).item() for _ in range(5)] == pytest.approx(want, rel=1e-6)
    assert replays(compiled) >= 3
    bad = torch.where(torch.arange(6)[:, None] == 2, float("nan"), x)
    loss = torch.compile(policy_step(), fullgraph=True)
    for _ in range(3):
        loss(x, action).item()
    failing = loss(bad, action)
    with pytest.raises(ValueError, match=r"parameter logits of Categorical .*recorded at"):
        failing.item()
    with pytest.raises(ValueError, match=r"support|constraint IntegerInterval"):
        compiled(x, action + 3).item()


@pytest.mark.parametrize(
    "draw, weights, message",
    [
        (lambda p: torch.multinomial(p, 1), [0.0, 0.0], "sum of probabilities <= 0.*recorded at"),
        (lambda p: torch.multinomial(p, 1), [1.0, -1.0], "element < 0.*recorded at"),
        (lambda p: torch.multinomial(p, 2), [1.0, float("nan")], "`inf`, `nan`.*recorded at"),
        (torch.bernoulli, [1.0, 2.0], "p_in <= 1 to be true.*recorded at"),
    ],
)
def test_weights_that_cannot_be_drawn_by(draw, weights, message):
    compiled = torch.compile(lambda p: draw(p), fullgraph=True)
    for _ in range(4):
        compiled(torch.tensor([0.5, 0.25])).sum().item()
    assert replays(compiled) >= 2
    drawn = compiled(torch.tensor(weights))
    with pytest.raises(RuntimeError, match=message):
        drawn.sum().item()


def test_programs_know_a_compiled_module_by_its_class():
    """They ask ``torch._dynamo.eval_frame`` for it, to unwrap the module."""
    net = nn.Linear(2, 2)
    compiled = torch.compile(net)
    assert isinstance(compiled, OptimizedModule) and not isinstance(net, OptimizedModule)
    compiled._orig_mod = other = nn.Linear(2, 2)
    assert compiled._orig_mod is other


def test_a_cumulative_batch_norm_is_one_program():
    nets = [nn.BatchNorm1d(3, momentum=None) for _ in range(2)]
    compiled = torch.compile(nets[1].forward, fullgraph=True)
    for n in range(4):
        x = torch.randn(5, 3) + n
        torch.testing.assert_close(nets[0](x), compiled(x))
    for a, b in zip(*(net.buffers() for net in nets), strict=True):
        torch.testing.assert_close(a, b)
    assert replays(compiled) >= 2


def test_indices_out_of_range_are_named_in_compiled_calls():
    compiled = torch.compile(lambda x, y: F.cross_entropy(x, y) * 2)
    x = torch.randn(4, 3)
    for _ in range(3):
        compiled(x, torch.tensor([0, 1, 2, 1])).item()
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        compiled(x, torch.tensor([0, 1, 7, 1])).item()


def test_a_second_process_finds_the_programs_on_disk(tmp_path):
    """Counted, not timed: the second process writes nothing new into the cache."""
    found = []
    for _ in range(2):
        environment = {**os.environ, "TORCHLIKE_CACHE": str(tmp_path)}
        subprocess.run([sys.executable, "-c", _CACHED], env=environment, check=True, timeout=300)
        found.append({p.name for p in tmp_path.iterdir() if not p.name.endswith("-atime")})
    assert found[0] and found[0] == found[1]


FACTORED = {
    "cholesky": lambda lib, x: lib.linalg.cholesky(x),
    "inv": lambda lib, x: lib.linalg.inv(x),
    "solve": lambda lib, x: lib.linalg.solve(x, lib.ones(2, 3, 1)),
    "lu_factor": lambda lib, x: lib.linalg.lu_factor(x)[0],
    "a batch by vmap": lambda lib, x: lib.vmap(lib.linalg.inv)(x),
}


@pytest.mark.parametrize("name", FACTORED)
def test_a_matrix_that_cannot_be_factored_raises_at_the_next_value(name):
    reference = pytest.importorskip("torch")
    data = [[[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]], [[0.0] * 3] * 3]
    call = torch.compile(lambda x: FACTORED[name](torch, x), fullgraph=True)
    good = torch.tensor(data[:1] * 2)
    for _ in range(2):
        assert torch.equal(call(good), FACTORED[name](torch, good))
    with pytest.raises(RuntimeError) as theirs:
        FACTORED[name](reference, reference.tensor(data))
    with pytest.raises(RuntimeError) as ours:
        call(torch.tensor(data)).tolist()
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert str(ours.value).partition(" (recorded at")[0] == str(theirs.value)


def test_a_call_that_catches_what_a_factorization_raises_has_its_value():
    def factor(x):
        try:
            return torch.linalg.cholesky(x)
        except torch.linalg.LinAlgError:
            return torch.linalg.cholesky(x + torch.eye(2))

    call = torch.compile(factor)
    for x in (torch.eye(2), -0.5 * torch.eye(2), torch.eye(2)):
        assert torch.equal(call(x), factor(x))
