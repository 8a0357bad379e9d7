"""Learning-rate schedules: PyTorch's numbers, step by step, and PyTorch's state dicts."""

import copy
import math
import warnings
from dataclasses import dataclass, field

import pytest

import torchlike

torch = pytest.importorskip("torch")
BOTH = (torch, torchlike)


@dataclass
class Case:
    """A schedule with arguments, and the optimizer under it."""

    name: str
    args: dict = field(default_factory=dict)
    optimizer: str = "SGD"
    metrics: bool = False

    def __str__(self):
        shown = ",".join(f"{k}={_shown(v)}" for k, v in self.args.items())
        return f"{self.name}({shown})-{self.optimizer}"

    def build(self, m, lr=(0.1, 0.02), rate=lambda m, x: x):
        optimizer = make_optimizer(m, self.optimizer, lr, rate)
        return optimizer, getattr(m.optim.lr_scheduler, self.name)(optimizer, **self.args)


def _shown(value):
    """A value as it stands in a test's name: the same in every process."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(str(_shown(v)) for v in value) + "]"
    return getattr(value, "__name__", value)


def make_optimizer(m, kind="SGD", lr=(0.1, 0.02), rate=lambda m, x: x):
    groups = [{"params": [m.ones(2, requires_grad=True)], "lr": rate(m, x)} for x in lr]
    options = {"momentum": 0.5} if kind == "SGD" else {}
    return getattr(m.optim, kind)(groups, lr=rate(m, 0.5), **options)


def half(epoch):
    return 0.95**epoch


def wave(epoch):
    return 1 + math.sin(epoch) / 2


class Counting:
    """A callable whose attributes belong to the state of a schedule."""

    def __init__(self):
        self.calls = 0

    def __call__(self, epoch):
        self.calls += 1
        return 0.9 ** (epoch + self.calls / 100)


CASES = [
    Case("LambdaLR", {"lr_lambda": half}),
    Case("LambdaLR", {"lr_lambda": [half, wave]}, "Adam"),
    Case("MultiplicativeLR", {"lr_lambda": wave}),
    Case("MultiplicativeLR", {"lr_lambda": (half, wave)}),
    Case("StepLR", {"step_size": 7}),
    Case("StepLR", {"step_size": 1, "gamma": 0.97}, "AdamW"),
    Case("MultiStepLR", {"milestones": [3, 10, 10, 30], "gamma": 0.3}),
    Case("ConstantLR"),
    Case("ConstantLR", {"factor": 0.7, "total_iters": 13}),
    Case("LinearLR"),
    Case("LinearLR", {"start_factor": 0.1, "end_factor": 0.6, "total_iters": 33}),
    Case("ExponentialLR", {"gamma": 0.93}),
    Case("PolynomialLR"),
    Case("PolynomialLR", {"total_iters": 40, "power": 1.7}),
    Case("CosineAnnealingLR", {"T_max": 10}),
    Case("CosineAnnealingLR", {"T_max": 50, "eta_min": 1e-3}),
    Case("CosineAnnealingWarmRestarts", {"T_0": 7}),
    Case("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7}),
    Case("CyclicLR", {"base_lr": [0.01, 0.2], "max_lr": [0.1, 0.4], "step_size_up": 3,
                      "step_size_down": 8, "mode": "triangular2"}, "Adam"),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "mode": "exp_range",
                      "gamma": 0.98, "cycle_momentum": False}, "RMSprop"),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "scale_fn": half,
                      "scale_mode": "iterations"}),
    Case("OneCycleLR", {"max_lr": 0.3, "total_steps": 51}),
    Case("OneCycleLR", {"max_lr": [0.3, 0.1], "epochs": 10, "steps_per_epoch": 6,
                        "anneal_strategy": "linear", "three_phase": True}, "AdamW"),
    Case("OneCycleLR", {"max_lr": 0.3, "total_steps": 60, "pct_start": 0.1, "div_factor": 3.0,
                        "cycle_momentum": False}),
    Case("ReduceLROnPlateau", metrics=True),
    Case("ReduceLROnPlateau", {"mode": "max", "factor": 0.5, "patience": 2, "cooldown": 3,
                               "min_lr": [0.01, 0.001]}, metrics=True),
    Case("ReduceLROnPlateau", {"patience": 1, "threshold": 0.2, "threshold_mode": "abs"},
         metrics=True),
    Case("ReduceLROnPlateau", {"mode": "max", "patience": 0, "threshold_mode": "abs",
                               "eps": 0.01}, metrics=True),
]  # fmt: skip
PLAIN = [case for case in CASES if not case.metrics]


def snapshot(optimizer):
    """All that a schedule may change, as plain numbers."""
    skip = ("params", "foreach", "fused", "capturable", "differentiable")
    return [{k: numbers(v) for k, v in g.items() if k not in skip} for g in optimizer.param_groups]


def numbers(value):
    return value.item() if hasattr(value, "item") else value


def advance(case, optimizer, scheduler, steps, start=0):
    seen = []
    for i in range(start, start + steps):
        optimizer.step()
        scheduler.step(*([math.cos(i / 5)] if case.metrics else []))
        seen.append(([numbers(x) for x in scheduler.get_last_lr()], snapshot(optimizer)))
    return seen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fifty_steps_give_exactly_pytorchs_rates(case):
    runs = []
    for m in BOTH:
        optimizer, scheduler = case.build(m)
        first = snapshot(optimizer)
        runs.append([first, *advance(case, optimizer, scheduler, 50)])
    assert runs[1] == runs[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_dicts_have_pytorchs_keys_and_values(case):
    states = []
    for m in BOTH:
        optimizer, scheduler = case.build(m)
        advance(case, optimizer, scheduler, 9)
        state = scheduler.state_dict()
        states.append({k: v for k, v in state.items() if k != "_scale_fn_ref"})
    assert list(states[1].items()) == list(states[0].items())


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("source", [torchlike, torch], ids=["ours", "pytorchs"])
def test_resumes_from_a_state_dict(case, source):
    optimizer, scheduler = case.build(source)
    advance(case, optimizer, scheduler, 20)
    state = copy.deepcopy(scheduler.state_dict())
    groups = snapshot(optimizer)
    rest = advance(case, optimizer, scheduler, 30, start=20)

    optimizer, scheduler = case.build(torchlike)
    scheduler.load_state_dict(state)
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        group.update(saved)
    assert advance(case, optimizer, scheduler, 30, start=20) == rest


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_starts_from_last_epoch(case):
    runs = []
    for m in BOTH:
        optimizer, scheduler = case.build(m)
        advance(case, optimizer, scheduler, 12)
        again = getattr(m.optim.lr_scheduler, case.name)(optimizer, **case.args, last_epoch=12)
        runs.append([snapshot(optimizer), *advance(case, optimizer, again, 20)])
    assert runs[1] == runs[0]


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_step_to_an_epoch(case):
    """With an epoch the closed form is used where there is one; PyTorch warns, and so do we."""
    runs = []
    for m in BOTH:
        optimizer, scheduler = case.build(m)
        optimizer.step()
        seen = []
        for epoch in (3, 4, 10, 2, 25):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scheduler.step(epoch)
            seen.append((snapshot(optimizer), [str(w.message) for w in caught]))
        runs.append(seen)
    assert runs[1] == runs[0]


def test_warm_restarts_take_fractions_of_epochs():
    runs = []
    for m in BOTH:
        optimizer = make_optimizer(m)
        scheduler = m.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, 2)
        seen = []
        for i in range(60):
            scheduler.step(i / 3)
            seen.append((scheduler.get_last_lr(), scheduler.T_cur, scheduler.T_i))
        runs.append(seen)
    assert runs[1] == runs[0]


TENSOR_CASES = [case for case in PLAIN if case.name not in ("CyclicLR", "OneCycleLR")]


@pytest.mark.parametrize("case", TENSOR_CASES, ids=str)
def test_a_tensor_stays_the_learning_rate(case):
    runs = []
    for m in BOTH:
        optimizer, scheduler = case.build(m, rate=lambda m, x: m.tensor(x))
        held = [group["lr"] for group in optimizer.param_groups]
        seen = [rates for rates, _ in advance(case, optimizer, scheduler, 15)]
        assert all(g["lr"] is t for g, t in zip(optimizer.param_groups, held, strict=True))
        assert scheduler.get_last_lr()[0] is not held[0]
        runs.append(seen)
    for ours, theirs in zip(runs[1], runs[0], strict=True):
        assert ours == pytest.approx(theirs, rel=3e-7)


# ---- schedules of schedules --------------------------------------------------------------------


def chained(m, optimizer):
    s = m.optim.lr_scheduler
    return s.ChainedScheduler([s.ConstantLR(optimizer, 0.1, 3), s.ExponentialLR(optimizer, 0.9)])


def chained_given(m, optimizer):
    s = m.optim.lr_scheduler
    parts = [s.StepLR(optimizer, 5, 0.5), s.LinearLR(optimizer), s.PolynomialLR(optimizer, 30)]
    return s.ChainedScheduler(parts, optimizer=optimizer)


def sequential(m, optimizer):
    s = m.optim.lr_scheduler
    parts = [s.LinearLR(optimizer, 0.1, total_iters=5), s.CosineAnnealingLR(optimizer, 40)]
    return s.SequentialLR(optimizer, parts, [5])


def sequential_three(m, optimizer):
    s = m.optim.lr_scheduler
    parts = [
        s.ConstantLR(optimizer, 0.5, 4),
        s.ExponentialLR(optimizer, 0.9),
        s.StepLR(optimizer, 3),
    ]
    return s.SequentialLR(optimizer, parts, milestones=[4, 20])


def nested(m, optimizer):
    s = m.optim.lr_scheduler
    inner = [s.MultiStepLR(optimizer, [10, 20]), s.StepLR(optimizer, 2)]
    parts = [s.SequentialLR(optimizer, inner, [15]), s.PolynomialLR(optimizer, 9)]
    return s.SequentialLR(optimizer, parts, [30])


@pytest.mark.filterwarnings("ignore:Detected call of")  # PyTorch's own, where they are nested
@pytest.mark.parametrize("make", [chained, chained_given, sequential, sequential_three, nested])
def test_composed_schedules(make):
    case, runs = Case(""), []
    for m in BOTH:
        optimizer = make_optimizer(m)
        scheduler = make(m, optimizer)
        seen = [snapshot(optimizer), *advance(case, optimizer, scheduler, 40)]
        runs.append((seen, scheduler.state_dict()))
    assert runs[1] == runs[0]

    state = copy.deepcopy(runs[0][1])
    optimizer = make_optimizer(torchlike)
    scheduler = make(torchlike, optimizer)
    scheduler.load_state_dict(state)
    assert scheduler.state_dict() == runs[0][1]


def test_functions_with_attributes_are_state():
    for name, option in (("LambdaLR", "lr_lambda"), ("CyclicLR", "scale_fn")):
        states = []
        for m in BOTH:
            optimizer = make_optimizer(m)
            args = {"base_lr": 0.1, "max_lr": 0.2} if name == "CyclicLR" else {}
            make = getattr(m.optim.lr_scheduler, name)
            scheduler = make(optimizer, **args, **{option: Counting()})
            advance(Case(name), optimizer, scheduler, 5)
            state = copy.deepcopy(scheduler.state_dict())
            again = make(make_optimizer(m), **args, **{option: Counting()})
            again.load_state_dict(dict(state))
            assert "_scale_fn_custom" in state or "lr_lambdas" in state
            states.append((state, again.state_dict()))
        assert states[1] == states[0]


def test_a_state_of_before_the_annealing_had_a_name():
    rates = []
    for m in BOTH:
        optimizer = make_optimizer(m)
        schedules = m.optim.lr_scheduler
        scheduler = schedules.OneCycleLR(optimizer, 0.3, total_steps=9, anneal_strategy="linear")
        del scheduler._anneal_func_type
        state = scheduler.state_dict()
        state["anneal_func"] = schedules.OneCycleLR._annealing_cos
        scheduler.load_state_dict(state)
        seen = advance(Case("OneCycleLR"), optimizer, scheduler, 5)
        rates.append((seen, schedules.EPOCH_DEPRECATION_WARNING))
    assert rates[1] == rates[0]


# ---- words -------------------------------------------------------------------------------------


def said(action):
    """(error type, text, warnings) of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action()
            error = None
        except Exception as e:
            error = (type(e), str(e))
    return error, [(w.category, str(w.message)) for w in caught]


def step_early(m):
    m.optim.lr_scheduler.StepLR(make_optimizer(m), 3).step()


def step_overridden(m):
    optimizer = make_optimizer(m)
    scheduler = m.optim.lr_scheduler.StepLR(optimizer, 3)
    optimizer.step = lambda: None
    scheduler.step()


def ask_get_lr(m):
    m.optim.lr_scheduler.ExponentialLR(make_optimizer(m), 0.5).get_lr()


def beyond_the_cycle(m):
    optimizer = make_optimizer(m)
    scheduler = m.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    for _ in range(4):
        optimizer.step()
        scheduler.step()


def plateau_with_epoch(m):
    m.optim.lr_scheduler.ReduceLROnPlateau(make_optimizer(m)).step(1.0, 5)


def plateau_with_new_group(m):
    optimizer = make_optimizer(m)
    scheduler = m.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0, 0])
    optimizer.add_param_group({"params": [m.ones(1, requires_grad=True)]})
    scheduler.step(1.0)
    scheduler.step(2.0)


def plateau_in_sequence(m):
    optimizer = make_optimizer(m)
    s = m.optim.lr_scheduler
    s.SequentialLR(optimizer, [s.ReduceLROnPlateau(optimizer)], [])


def other_optimizer(m):
    s = m.optim.lr_scheduler
    s.ChainedScheduler([s.StepLR(make_optimizer(m), 3)], optimizer=make_optimizer(m))


def bad(name, *args, last_epoch=-1, **options):
    def action(m):
        if last_epoch != -1:
            options["last_epoch"] = last_epoch
        getattr(m.optim.lr_scheduler, name)(make_optimizer(m), *args, **options)

    shown = [str(_shown(v)) for v in args] + [f"{k}={_shown(v)}" for k, v in options.items()]
    action.__name__ = f"{name}({','.join(shown)})"
    return action


def not_an_optimizer(m):
    m.optim.lr_scheduler.StepLR([1], 3)


@pytest.mark.parametrize(
    "action",
    [
        step_early,
        step_overridden,
        ask_get_lr,
        beyond_the_cycle,
        plateau_with_epoch,
        plateau_with_new_group,
        plateau_in_sequence,
        other_optimizer,
        not_an_optimizer,
        bad("LambdaLR", [half]),
        bad("MultiplicativeLR", 3),
        bad("StepLR", 3, last_epoch=4),
        bad("ConstantLR", 1.5),
        bad("LinearLR", 0.0),
        bad("LinearLR", 0.5, 2.0),
        bad("CyclicLR", [0.1], 0.2),
        bad("CyclicLR", 0.1, 0.2, mode="no"),
        bad("OneCycleLR", 0.1),
        bad("OneCycleLR", 0.1, total_steps=-1),
        bad("OneCycleLR", 0.1, epochs=0, steps_per_epoch=3),
        bad("OneCycleLR", 0.1, total_steps=5, pct_start=2.0),
        bad("OneCycleLR", 0.1, total_steps=5, anneal_strategy="no"),
        bad("CosineAnnealingWarmRestarts", 0),
        bad("CosineAnnealingWarmRestarts", 3, 0),
        bad("CosineAnnealingWarmRestarts", 3, 1, "x"),
        bad("ReduceLROnPlateau", "middle"),
        bad("ReduceLROnPlateau", factor=1.0),
        bad("ReduceLROnPlateau", threshold_mode="no"),
        bad("ReduceLROnPlateau", min_lr=[1]),
        bad("SequentialLR", [], []),
    ],
    ids=lambda action: action.__name__,
)
def test_pytorchs_words(action):
    theirs = said(lambda: action(torch))
    assert said(lambda: action(torchlike)) == theirs
    assert theirs != (None, [])


def test_a_schedule_of_ones_own():
    class Inverse(torchlike.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base / (1 + self.last_epoch) for base in self.base_lrs]

    optimizer = make_optimizer(torchlike)
    scheduler = Inverse(optimizer)
    assert scheduler.get_last_lr() == [0.1, 0.02]
    advance(Case(""), optimizer, scheduler, 3)
    assert scheduler.get_last_lr() == [0.1 / 4, 0.02 / 4]


def test_a_new_rate_compiles_nothing():
    weight = torchlike.ones(3, requires_grad=True)
    optimizer = torchlike.optim.Adam([weight], lr=0.1)
    scheduler = torchlike.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step():
        (weight * weight).sum().backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()

    for _ in range(4):
        step()
    torchlike.compiler.clear_stats()
    for _ in range(10):
        step()
    stats = torchlike.compiler.stats()
    assert stats["compiles"] == 0 and stats["syncs"] == 0, stats
