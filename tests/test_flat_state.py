"""Flat state: compiled steps keep small tensors in one array, and nobody can tell."""

import copy
import io

import pytest

import torchlike as torch
import torchlike.nn.functional as F
from torchlike import nn


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.Softplus(),
        nn.Linear(3, 3),
    )  # fmt: skip


class Training:
    """A network, its optimizer, and a step; what a program may hold between steps in ``kept``."""

    def __init__(self, compiled: bool):
        self.net, self.kept = network(), []
        self.opt = torch.optim.Adam(self.net.parameters(), lr=0.05)

        def step(x, y):
            self.opt.zero_grad()
            loss = F.cross_entropy(self.net(x), y)
            loss.backward()
            self.opt.step()
            return loss

        self.step = torch.compile(step) if compiled else step

    def flat(self):
        fast = self.step.compiled.replays[0].fast
        return fast and fast.state

    def numbers(self) -> list:
        """All that can be seen of the run."""
        state = [x for s in self.opt.state_dict()["state"].values() for x in s.values()]
        grads = [p.grad for p in self.net.parameters() if p.grad is not None]
        seen = [*self.net.state_dict().values(), *state, *grads, *self.kept]
        return [torch.as_tensor(x).detach().clone() for x in seen]


def saved(run):
    file = io.BytesIO()
    torch.save(run.net.state_dict(), file)
    file.seek(0)
    run.kept += torch.load(file).values()


@torch.no_grad()
def clamp(run):
    for p in run.net.parameters():
        p.clamp_(-0.2, 0.2)


@torch.no_grad()
def average(run):
    if not run.kept:
        run.kept += [p.clone() for p in run.net.parameters()]
    for a, p in zip(run.kept, run.net.parameters(), strict=True):
        a.lerp_(p, 0.1)


def reload(run):
    if not run.kept:
        run.kept += [{k: v.clone() for k, v in run.net.state_dict().items()}]
    run.net.load_state_dict(run.kept[0])


def forget_the_optimizer(run):
    run.opt.load_state_dict(run.opt.state_dict())


def change_a_state(run):
    for slot in run.opt.state.values():
        slot["exp_avg"] = slot["exp_avg"] * 0.5


def graph(run):
    run.graphs = [*getattr(run, "graphs", ()), (run.net[0].weight * run.net[0].weight).sum()]


def derive(run):
    for y in getattr(run, "graphs", ()):
        run.kept.append(y)
    y = (run.net[3].weight ** 2).sum()
    run.kept += torch.autograd.grad(y, [run.net[3].weight])


def in_eager(run):
    """A step without compile() in between."""
    loss = run.net(torch.ones(5, 4)).sum()
    run.opt.zero_grad()
    loss.backward()
    run.opt.step()


def new_memory(run):
    for p in run.net.parameters():
        p.data = p.data * 0.9


BETWEEN = {
    "nothing": lambda run: None,
    "numbers": lambda run: run.kept.append(run.net[0].weight.sum().item()),
    "clones": lambda run: run.kept.extend(p.clone() for p in run.net.parameters()),
    "arrays that are copied": lambda run: run.kept.append(run.net[3].bias.detach().numpy().copy()),
    "views": lambda run: run.kept.append(run.net[0].weight.detach()[1:, 2]),
    "handles of the same memory": lambda run: run.kept.append(run.net[3].bias.data),
    "gradients": lambda run: run.kept.append(run.net[0].weight.grad),
    "gradients changed": lambda run: run.net[0].weight.grad.mul_(3),
    "state dicts": lambda run: run.kept.extend(run.net.state_dict().values()),
    "copies of the model": lambda run: run.kept.extend(copy.deepcopy(run.net).parameters()),
    "evaluation": lambda run: run.kept.append(run.net.eval()(torch.ones(2, 4)).detach())
    or run.net.train(),
    "graphs": graph,
    "gradients of parameters": derive,
    "a file": saved,
    "clamping": clamp,
    "averages": average,
    "loading": reload,
    "a new state of the optimizer": forget_the_optimizer,
    "another tensor in the state": change_a_state,
    "a step in eager": in_eager,
    "new data": new_memory,
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN)
def test_what_stands_between_steps(name):
    torch.manual_seed(1)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    runs = [Training(False), Training(True)]
    for n in range(12):
        for run in runs:
            run.kept.append(run.step(x, y).item()) if name == "nothing" else run.step(x, y)
            if n % 3 != 1:
                BETWEEN[name](run)
    kept = [[k for k in run.kept if not isinstance(k, dict)] for run in runs]
    for run, only in zip(runs, kept, strict=True):
        run.kept = only
    eager, compiled = (run.numbers() for run in runs)
    torch.testing.assert_close(compiled, eager, rtol=1e-5, atol=1e-6)
    if name == "nothing":
        assert runs[1].flat() is not None


@pytest.mark.parametrize(
    "look, stays",
    [(lambda p: p.sum().item(), False), (lambda p: p.grad, True), (lambda p: p.shape, True)],
)
def test_tensors_that_are_looked_at_after_each_step_get_arrays_again(look, stays):
    torch.manual_seed(1)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    run = Training(True)
    for n in range(30):
        run.step(x, y)
        for slot in run.opt.state_dict()["state"].values() if not stays else ():
            look(slot["exp_avg"])
        for p in run.net.parameters():
            look(p)
        if n == 5:
            assert run.flat() is not None
    assert (run.flat() is not None) is stays


def test_a_call_that_raises_leaves_what_was_there():
    run = Training(True)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    for _ in range(6):
        run.step(x, y)
    before = run.numbers()
    with pytest.raises((IndexError, RuntimeError)):
        run.step(x, y + 7).item()
    assert len(run.numbers()) == len(before)
    assert torch.isfinite(run.step(x, y))
