"""Averaged models and their learning rates equal PyTorch's over several updates."""

import numpy as np
import pytest

import torchlike
from tests.test_optim import BOTH, array, assert_close, leaf, said

UTILS = [m.optim.swa_utils for m in BOTH]


def model(m, seed=0):
    net = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.BatchNorm1d(4))
    rng = np.random.RandomState(seed)
    with m.no_grad():
        for p in net.parameters():
            p.copy_(m.tensor(rng.randn(*p.shape).astype("float32")))
    return net


AVERAGES = {
    "plain": lambda u: {},
    "ema": lambda u: {"avg_fn": u.get_ema_avg_fn(0.9)},
    "ema of all": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    "swa": lambda u: {"avg_fn": u.get_swa_avg_fn()},
    "swa of all": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn()},
    "own": lambda u: {"avg_fn": lambda old, new, n: old + new * n},
}


@pytest.mark.parametrize("name", AVERAGES)
def test_four_updates(name):
    runs = []
    for m in BOTH:
        net = model(m)
        averaged = m.optim.swa_utils.AveragedModel(net, **AVERAGES[name](m.optim.swa_utils))
        for step in range(4):
            net(m.full((5, 3), float(step)).cumsum(0))
            averaged.update_parameters(net)
            with m.no_grad():
                for p in net.parameters():
                    p.mul_(1.5).add_(step)
        runs.append(averaged)
    theirs, ours = (r.state_dict() for r in runs)
    assert list(ours) == list(theirs)
    assert_close(ours.values(), theirs.values())
    x = np.ones((2, 3), "float32")
    assert_close([runs[1].eval()(torchlike.tensor(x))], [runs[0].eval()(BOTH[0].tensor(x))], 1e-5)


def test_a_loaded_average_goes_on():
    runs = []
    for m in BOTH:
        net, other = model(m), model(m, 1)
        averaged = m.optim.swa_utils.AveragedModel(net)
        for n in (net, other, other):
            averaged.update_parameters(n)
        again = m.optim.swa_utils.AveragedModel(net)
        again.load_state_dict(averaged.state_dict())
        again.update_parameters(net)
        runs.append(again.state_dict())
    assert int(runs[1]["n_averaged"]) == 4
    assert_close(runs[1].values(), runs[0].values())


def test_averaging_functions_on_lists():
    runs = []
    for m, utils in zip(BOTH, UTILS, strict=True):
        out = []
        for make in (utils.get_ema_multi_avg_fn, utils.get_swa_multi_avg_fn):
            for count in (3, m.tensor(3)):
                old = [m.tensor([1.0, 2.0]), m.tensor([4.0])]
                make()(old, [m.tensor([3.0, 5.0]), m.tensor([-4.0])], count)
                out += old
        whole = [m.tensor([10, 20])]
        utils.get_ema_multi_avg_fn(0.5)(whole, [m.tensor([30, 50])], 1)
        runs.append(out + whole)
    assert_close(runs[1], runs[0])


def test_update_bn():
    runs = []
    batches = [np.random.RandomState(i).randn(4, 3).astype("float32") for i in range(3)]
    for m in BOTH:
        net = model(m).eval()
        loader = [m.tensor(batches[0]), [m.tensor(batches[1]), 0], (m.tensor(batches[2]),)]
        m.optim.swa_utils.update_bn(loader, net)
        assert not net.training and net[1].momentum == 0.1
        m.optim.swa_utils.update_bn(loader, net[0], device="cpu")  # nothing to do
        runs.append(net.state_dict())
    assert_close(runs[1].values(), runs[0].values())


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 4])
def test_swalr(strategy, epochs):
    runs = []
    for m in BOTH:
        groups = [{"params": [leaf(m)]}, {"params": [leaf(m)], "lr": 0.3}]
        optimizer = m.optim.SGD(groups, lr=0.1)
        schedule = m.optim.swa_utils.SWALR(
            optimizer, [0.05, 0.6], anneal_epochs=epochs, anneal_strategy=strategy
        )
        rates = []
        for step in range(7):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr())
            if step == 2:
                other = m.optim.swa_utils.SWALR(m.optim.SGD(optimizer.param_groups), 1.0)
                other.load_state_dict(schedule.state_dict())
        runs.append((rates, sorted(schedule.state_dict()), other._anneal_strategy))
    np.testing.assert_allclose(runs[1][0], runs[0][0], rtol=1e-12)
    assert runs[1][1:] == runs[0][1:]


def swalr(m, **chosen):
    return m.optim.swa_utils.SWALR(m.optim.SGD([leaf(m)], lr=0.1), **chosen)


ERRORS = {
    "decay": lambda m: m.optim.swa_utils.get_ema_avg_fn(1.5),
    "decay of all": lambda m: m.optim.swa_utils.get_ema_multi_avg_fn(-0.5),
    "both": lambda m: m.optim.swa_utils.AveragedModel(model(m), avg_fn=len, multi_avg_fn=len),
    "strategy": lambda m: swalr(m, swa_lr=0.1, anneal_strategy="fast"),
    "epochs": lambda m: swalr(m, swa_lr=0.1, anneal_epochs=-1),
    "rates": lambda m: swalr(m, swa_lr=[0.1, 0.2]),
    "get_lr": lambda m: swalr(m, swa_lr=0.1).get_lr(),
}


@pytest.mark.parametrize("name", ERRORS)
def test_pytorchs_words(name):
    theirs, ours = (said(lambda m=m: ERRORS[name](m)) for m in BOTH)
    assert ours == theirs
    assert theirs != (None, [])


def test_an_update_waits_for_nothing():
    net = model(torchlike)
    averaged = torchlike.optim.swa_utils.AveragedModel(net)
    for _ in range(3):
        averaged.update_parameters(net)
    array(averaged.module[0].weight)
    torchlike.compiler.clear_stats()
    for _ in range(5):
        averaged.update_parameters(net)
    stats = torchlike.compiler.stats()
    assert stats["programs"] == 0, stats  # all is recorded, and nothing had to run for the count
