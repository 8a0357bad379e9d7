"""LBFGS: the points at which the closure is called are PyTorch's, one after the other."""

import numpy as np
import pytest

import torchlike
from tests.test_optim import BOTH, array, assert_close, crossed, flat, leaf, said, torch

CHOICES = [
    {"lr": 1e-3, "max_iter": 6},
    {"lr": 0.1, "history_size": 2, "max_iter": 8},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "lr": 0.2, "history_size": 3, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "max_iter": 4, "tolerance_grad": 1e-1},
    {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-2},
]


def rosenbrock(p):
    x, y = p
    return ((1 - x) ** 2 + 10 * (y - x * x) ** 2).sum()


def bowl(p):
    x, y = p
    return (x**4).sum() / 4 + (y * y).abs().sum() + x.sum()


def squares(p):
    return sum((x * x.conj()).real.sum() for x in p) * 0.1


def begin(m, chosen, dtype="float64"):
    x = m.tensor(np.array([-1.2, 1.0], dtype), requires_grad=True)
    y = m.tensor(np.array([[0.5, 2.0]], dtype)[0], requires_grad=True)
    return [x, y], m.optim.LBFGS([x, y], **chosen)


def run(m, p, optimizer, problem, steps=2):
    losses = []

    def closure():
        assert m.is_grad_enabled()
        optimizer.zero_grad()
        loss = problem(p)
        loss.backward()
        losses.append(loss.item())
        return loss

    first = [optimizer.step(closure).item() for _ in range(steps)]
    return losses, first


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_each_evaluation(chosen):
    """In double precision: these problems magnify each difference of rounding."""
    runs = []
    for m in BOTH:
        p, optimizer = begin(m, chosen)
        losses, first = run(m, p, optimizer, rosenbrock)
        runs.append((losses, first, p, flat(optimizer.state_dict())))
    theirs, ours = runs
    assert len(ours[0]) == len(theirs[0]) > 2
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-9)
    assert_close(ours[2], theirs[2], 1e-6)
    hidden = "prev_loss", "t"  # Python numbers, compared as part of the losses
    kinds = [[s for s in r[3][0] if s[0][-1] not in hidden] for r in (ours, theirs)]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_other_dtypes(dtype):
    runs = []
    for m in BOTH:
        p, optimizer = begin(m, {"line_search_fn": "strong_wolfe", "max_iter": 3}, dtype)
        losses, _ = run(m, p, optimizer, squares if dtype == "complex64" else bowl, 1)
        runs.append((losses, p))
    assert len(runs[1][0]) == len(runs[0][0])
    np.testing.assert_allclose(runs[1][0], runs[0][0], rtol=1e-4, atol=1e-6)
    assert_close(runs[1][1], runs[0][1], 1e-4)


@pytest.mark.parametrize("target", BOTH, ids=["ours to torch", "torch to ours"])
def test_a_state_dict_of_the_other_library_continues(target):
    source = torch if target is torchlike else torchlike
    chosen = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    p, optimizer = begin(source, chosen)
    run(source, p, optimizer, rosenbrock, 1)
    state = crossed(target, optimizer.state_dict())
    others = [target.tensor(array(x).copy(), requires_grad=True) for x in p]
    other = target.optim.LBFGS(others)
    other.load_state_dict(state)
    expected = run(source, p, optimizer, rosenbrock)
    np.testing.assert_allclose(
        run(target, others, other, rosenbrock)[0], expected[0], rtol=1e-6, atol=1e-9
    )
    assert_close(others, p, 1e-6)


def test_parameters_without_gradients_stay():
    runs = []
    for m in BOTH:
        p, optimizer = begin(m, {"max_iter": 3, "lr": 0.1})
        losses, _ = run(m, p, optimizer, lambda p: (p[0] ** 2).sum(), 1)
        runs.append((losses, p))
    np.testing.assert_allclose(runs[1][0], runs[0][0])
    assert_close(runs[1][1], runs[0][1])


ERRORS = {
    "lr": lambda m: m.optim.LBFGS([leaf(m)], lr=-1),
    "groups": lambda m: m.optim.LBFGS([{"params": [leaf(m)]}, {"params": [leaf(m)]}]),
    "no closure": lambda m: m.optim.LBFGS([leaf(m)]).step(),
    "search": lambda m: run(m, *begin(m, {"line_search_fn": "armijo"}), rosenbrock, 1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_pytorchs_words(name):
    theirs, ours = (said(lambda m=m: ERRORS[name](m)) for m in BOTH)
    assert ours == theirs
    assert theirs[0]


def test_a_steady_step_compiles_nothing():
    p, optimizer = begin(torchlike, {"lr": 1e-3, "history_size": 11, "max_iter": 6})
    run(torchlike, p, optimizer, rosenbrock, 2)
    torchlike.compiler.clear_stats()
    run(torchlike, p, optimizer, rosenbrock, 1)  # the memory grows no more
    assert torchlike.compiler.stats()["compiles"] <= 2
    torchlike.compiler.clear_stats()
    run(torchlike, p, optimizer, rosenbrock, 2)
    assert torchlike.compiler.stats()["compiles"] == 0
