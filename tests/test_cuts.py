"""Programs whose segments are cut anywhere, and whose prefixes go: their numbers are PyTorch's."""

import itertools

import pytest
import torch
import torch.utils.checkpoint

import torchlike
from torchlike._core.settings import settings
from torchlike._engine import prefix


def descent(m):
    x, seen = m.tensor(3.0, requires_grad=True), []
    for k in range(30):
        ((x - 1) ** 2).backward()
        with m.no_grad():
            x -= 0.1 * x.grad
            x.grad.zero_()
        if k % 7 == 0:
            seen.append(x.item())
    return [*seen, x]


def network(m, optimizer):
    m.manual_seed(0)
    net = m.nn.Sequential(m.nn.Linear(4, 5), m.nn.Tanh(), m.nn.Linear(5, 3))
    step = getattr(m.optim, optimizer)(net.parameters(), 1e-2)
    x, y, losses = m.randn(6, 4), m.tensor([0, 1, 2, 0, 1, 2]), []
    for _ in range(8):
        step.zero_grad()
        loss = m.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        step.step()
        losses.append(loss.detach())
    return losses


def truncated(m):
    m.manual_seed(1)
    w, b = m.randn(3, 3, requires_grad=True), m.zeros(3, requires_grad=True)
    h, total = m.ones(2, 3), 0
    for k in range(12):
        h = (h @ w + b).relu() * 0.5 + h * 0.1
        total = total + h.pow(2).mean()
        if k % 3 == 2:
            g = m.autograd.grad(total, (w, b))
            w, b = ((p - 0.1 * d).detach().requires_grad_() for p, d in zip((w, b), g, strict=True))
            h, total = h.detach(), 0
    return [w, b]


def in_place(m):
    x = m.arange(12.0).reshape(3, 4).requires_grad_()
    y = x * 2
    y[0] = y[1] * 3
    z = y.clone()
    z += 1
    z[:, 1].mul_(2)
    (z * y).sum().backward()
    (first,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    return [x.grad, *m.autograd.grad((first * x.grad).sum(), x)]


def recurrent(m):
    m.manual_seed(2)
    net, x = m.nn.GRU(3, 4), m.randn(5, 2, 3)
    step = m.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in range(4):
        step.zero_grad()
        out, h = net(x)
        (out.sum() + h.pow(2).sum()).backward()
        m.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        step.step()
    return net.parameters()


def retained(m):
    m.manual_seed(3)
    a, seen = m.randn(4, 4, requires_grad=True), []
    for k in range(10):
        i = k % 4
        loss = (a[i] * a[:, i]).sum() + a[i:, i:].exp().mean() * 0.01
        loss.backward(retain_graph=k % 2 == 0)
        if k % 3 == 0:
            seen.append(a.grad[i, 0].item())
    return [*seen, a.grad]


def layers(m):
    m.manual_seed(4)
    norm, linear = m.nn.BatchNorm1d(3), m.nn.Linear(3, 3, bias=False)
    table, drop = m.nn.Embedding(5, 3), m.nn.Dropout(0.5)
    params = [*norm.parameters(), *linear.parameters(), *table.parameters()]
    step = m.optim.AdamW(params, 1e-2)
    for k in range(6):
        drop(norm(linear(table(m.tensor([0, 1, 2, k % 5]))))).pow(2).sum().backward()
        if k % 2:
            step.step()
            step.zero_grad()
    return [*params, norm.running_mean]


def functions(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = m.linspace(-1, 1, 5).requires_grad_()
    x.register_hook(lambda g: g * 2)
    for _ in range(6):
        again = m.utils.checkpoint.checkpoint(lambda t: (t.sin() * t).sum(), x, use_reentrant=False)
        (Square.apply(x).sum() + again).backward()
    return [x.grad]


PROGRAMS = {f.__name__: f for f in (descent, truncated, in_place, recurrent, retained, layers)} | {
    "functions": functions,
    **{n: lambda m, n=n: network(m, n) for n in ("SGD", "Adam", "RMSprop")},
}


def numbers(m, program):
    found = []
    for x in program(m):
        found += x.detach().reshape(-1).tolist() if isinstance(x, m.Tensor) else [x]
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_wherever_a_segment_is_cut_the_numbers_are_pytorchs(name):
    program = PROGRAMS[name]
    expected = numbers(torch, program)
    for cut in range(2, 40):
        with settings.override(max_ops=cut):
            for _ in range(3):  # recorded, then recorded again in other ways
                assert numbers(torchlike, program) == pytest.approx(expected, 2e-4, 1e-5), cut


@pytest.mark.parametrize("limit", ["max_prefixes", "max_programs", "max_bytes"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_wherever_something_is_forgotten_too(name, limit):
    program = PROGRAMS[name]
    expected = numbers(torch, program)
    for bound in (1, 7, 100):
        with settings.override(**{limit: bound, "small_on_host": True}):
            for _ in range(3):
                assert numbers(torchlike, program) == pytest.approx(expected, 2e-4, 1e-5), bound


def test_a_prefix_is_counted_once():
    """Derivatives hang in the tree by two keys each: a walk by both would double with each."""
    prefix.tree.clear()
    x = torchlike.ones(3, requires_grad=True)
    for _ in range(3):
        y = x
        for _ in range(60):
            y = (y * 1.01).sin()
        y.sum().backward()
        x.grad = None
    torchlike.compiler.flush()
    found = list(itertools.islice(prefix.walk(prefix.tree.root), 10_000))
    assert len(found) == len(set(found)) <= 1000
