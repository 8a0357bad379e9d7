"""The rarer optimizers: twenty steps of every option equal PyTorch's, state dicts, words, cost."""

import copy
import warnings

import numpy as np
import pytest

import torchlike
from tests.test_optim import (
    BOTH,
    SHAPES,
    assert_close,
    backward,
    bad,
    check_continuation,
    flat,
    leaf,
    make,
    said,
    start,
    train,
)

torch = BOTH[0]
DECAYS = [(0, False), (0.1, False), (0.1, True)]
CASES = [
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "eps": 1e-2, "weight_decay": 0.1, "maximize": True}),
    ("Adagrad", {"lr_decay": 0.2}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True}),
    ("Adagrad", {"weight_decay": 0.1}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.5, 0.7), "eps": 1e-2, "weight_decay": 0.1, "maximize": True}),
    ("ASGD", {"weight_decay": 0.1}),
    ("ASGD", {"lambd": 0.1, "alpha": 0.5, "t0": 3, "maximize": True}),
    *(("NAdam", {"weight_decay": w, "decoupled_weight_decay": d}) for w, d in DECAYS),
    ("NAdam", {"betas": (0.4, 0.7), "momentum_decay": 0.3, "eps": 1e-3, "maximize": True}),
    *(("RAdam", {"weight_decay": w, "decoupled_weight_decay": d}) for w, d in DECAYS),
    ("RAdam", {"betas": (0.4, 0.9), "eps": 1e-3, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (0.005, 0.05), "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"weight_decay": 0.1, "eps": (1e-2, 0.1)}),
    ("Adafactor", {"beta2_decay": -0.5, "d": 2.0, "maximize": True}),
]
IDS = [f"{name}-{','.join(f'{k}={v}' for k, v in o.items())}" for name, o in CASES]
MUON = [
    {},
    {"nesterov": False, "weight_decay": 0.0},
    {"momentum": 0.5, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
    {"adjust_lr_fn": "original", "ns_coefficients": (2.0, -1.5, 0.5), "eps": 1e-3},
]
ONE_OF_EACH = [
    ("Adadelta", {}),
    ("Adagrad", {"initial_accumulator_value": 0.1}),
    ("Adamax", {}),
    ("ASGD", {"t0": 2}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Rprop", {}),
    ("Adafactor", {}),
]
EACH = pytest.mark.parametrize(("name", "chosen"), ONE_OF_EACH, ids=[n for n, _ in ONE_OF_EACH])


@pytest.mark.parametrize(("name", "chosen"), CASES, ids=IDS)
def test_twenty_steps(name, chosen):
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        train(m, params, optimizer, 20)
        runs.append((params, optimizer.state_dict()))
    (their_params, their_state), (our_params, our_state) = runs
    assert_close(our_params, their_params, 2e-6)
    (ours, our_values), (theirs, their_values) = flat(our_state), flat(their_state)
    assert ours == theirs
    assert_close(our_values, their_values, 4e-6)


@pytest.mark.parametrize("chosen", MUON, ids=str)
def test_muon(chosen):
    """Updates agree to the rounding of bfloat16, which tells the matrices' sums apart."""
    runs = []
    for m in BOTH:
        params, optimizer = make(m, "Muon", chosen, shapes=[(3, 4), (6, 2)])
        train(m, params, optimizer, 20)
        runs.append((params, optimizer.state_dict()))
    assert_close(runs[1][0], runs[0][0], 1e-4)
    (ours, our_values), (theirs, their_values) = flat(runs[1][1]), flat(runs[0][1])
    assert ours == theirs
    assert_close(our_values, their_values, 1e-4)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@EACH
def test_other_dtypes(name, chosen, dtype):
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen, shapes=[(3, 4)], dtype=dtype)

        def run(m=m, params=params, optimizer=optimizer):
            for step in range(5):
                optimizer.zero_grad()
                (params[0] * params[0].conj() * (step + 1)).real.sum().backward()
                optimizer.step()

        error = said(run)
        state = optimizer.state_dict()["state"].get(0, {})
        runs.append((params, error, flat(state)))
    assert runs[1][1] == runs[0][1]
    tol = 1e-12 if dtype == "float64" and name not in ("ASGD", "NAdam") else 2e-6
    assert_close(runs[1][0], runs[0][0], tol)
    assert runs[1][2][0] == runs[0][2][0]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", *(n for n, _ in ONE_OF_EACH)])
def test_half_precision(name):
    """Within a few roundings: PyTorch rounds after each operation, torchlike after the step."""
    runs = []
    for m in BOTH:
        params = [m.tensor(start(0, (4, 5))).bfloat16().requires_grad_()]
        optimizer = getattr(m.optim, name)(params, lr=0.02)
        train(m, params, optimizer, 10)
        state = optimizer.state_dict()["state"].get(0, {})
        kinds = {name: (str(x.dtype), x.shape) for name, x in state.items() if x is not None}
        runs.append((params[0].detach().float(), kinds))
    assert_close(runs[1][:1], runs[0][:1], 0.03)
    assert runs[1][1] == runs[0][1]


@pytest.mark.parametrize("target", BOTH, ids=["ours to torch", "torch to ours"])
@EACH
def test_a_state_dict_of_the_other_library_continues(name, chosen, target):
    check_continuation(name, chosen, target, 4e-6)


@EACH
def test_copies_go_their_own_way(name, chosen):
    params, optimizer = make(torchlike, name, chosen)
    train(torchlike, params, optimizer, 3)
    other = copy.deepcopy(optimizer)
    train(torchlike, params, optimizer, 2, first=3)
    twins = other.param_groups[0]["params"]
    train(torchlike, twins, other, 2, first=3)
    assert_close(twins, params, 0)


@EACH
def test_parameters_without_gradients_wait(name, chosen):
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        for step in range(6):
            optimizer.zero_grad()
            backward(m, params if step in (0, 4, 5) else params[step % 2 :: 2], step)
            optimizer.step()
        runs.append((params, flat(optimizer.state_dict())))
    assert_close(runs[1][0], runs[0][0], 2e-6)
    assert dict((s[0], s[1:]) for s in runs[1][1][0]) == dict((s[0], s[1:]) for s in runs[0][1][0])


@EACH
def test_options_change_mid_run(name, chosen):
    def change(optimizer):
        group = optimizer.param_groups[0]
        group["lr"] *= 0.5
        if "weight_decay" in group:
            group["weight_decay"] = 0.2

    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        train(m, params, optimizer, 5, at={2: change})
        runs.append(params)
    assert_close(runs[1], runs[0], 2e-6)


@pytest.mark.parametrize(
    ("name", "shape"), [("Adagrad", ()), ("ASGD", ()), ("RAdam", (1,)), ("Adafactor", (1,))]
)
def test_a_tensor_as_the_learning_rate(name, shape):
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, {}, lr=m.full(shape, 0.1))
        train(m, params, optimizer, 3)
        optimizer.param_groups[0]["lr"].fill_(0.01)
        train(m, params, optimizer, 2, first=3)
        runs.append(params)
    assert_close(runs[1], runs[0], 2e-6)


def test_adagrad_has_states_before_the_first_step():
    runs = []
    for m in BOTH:
        params, optimizer = make(m, "Adagrad", {"initial_accumulator_value": 0.3})
        before = flat(copy.deepcopy(optimizer.state_dict()))
        optimizer.add_param_group({"params": [leaf(m)], "lr": 0.5})
        train(m, [*params, optimizer.param_groups[1]["params"][0]], optimizer, 3)
        runs.append((before, flat(optimizer.state_dict())))
    assert runs[1][0][0] == runs[0][0][0] and runs[1][1][0] == runs[0][1][0]
    assert_close(runs[1][0][1], runs[0][0][1])
    assert_close(runs[1][1][1], runs[0][1][1])


def test_options_that_an_old_state_dict_lacks():
    for m in BOTH:
        params, optimizer = make(m, "NAdam", {})
        train(m, params, optimizer, 1)
        state = optimizer.state_dict()
        for name in ("maximize", "foreach", "capturable", "decoupled_weight_decay"):
            del state["param_groups"][0][name]
        optimizer.load_state_dict(state)
        assert optimizer.param_groups[0]["maximize"] is False
        train(m, params, optimizer, 1)


# ---- words -------------------------------------------------------------------------------------


def step_with(m, name, p, **chosen):
    optimizer = getattr(m.optim, name)([p], **chosen)
    p.grad = m.ones_like(p)
    optimizer.step()


ERRORS = {
    **{
        f"{name} lr": bad(name, lr=-1.0)
        for name in (*(n for n, _ in ONE_OF_EACH), "Muon", "SparseAdam")
    },
    **{
        f"{name} lr of two": lambda m, name=name: bad(name, lr=m.ones(2))(m)
        for name in (*(n for n, _ in ONE_OF_EACH), "Muon", "SparseAdam")
    },
    **{
        f"{name} decay": bad(name, weight_decay=-1.0)
        for name in (*(n for n, _ in ONE_OF_EACH if n != "Rprop"), "Muon")
    },
    **{
        f"{name} {what}": bad(name, **chosen)
        for name in ("Adamax", "NAdam", "RAdam", "SparseAdam")
        for what, chosen in {
            "beta 0": {"betas": (1.0, 0.5)},
            "beta 1": {"betas": (0.5, -1)},
            "eps": {"eps": -1.0},
        }.items()
    },
    "adadelta rho": bad("Adadelta", rho=1.5),
    "adadelta eps": bad("Adadelta", eps=-1.0),
    "adagrad lr_decay": bad("Adagrad", lr_decay=-1.0),
    "adagrad start": bad("Adagrad", initial_accumulator_value=-1.0),
    "adagrad eps": bad("Adagrad", eps=-1.0),
    "adagrad fused": bad("Adagrad", fused=True, differentiable=True),
    "adagrad fused foreach": bad("Adagrad", fused=True, foreach=True),
    "nadam momentum": bad("NAdam", momentum_decay=-1.0),
    "rprop etas": bad("Rprop", etas=(1.2, 0.5)),
    "adafactor beta2": bad("Adafactor", beta2_decay=0.5),
    "adafactor eps1": bad("Adafactor", eps=(-1.0, 1.0)),
    "adafactor eps2": bad("Adafactor", eps=(None, -1.0)),
    "adafactor d": bad("Adafactor", d=0.5),
    "muon momentum": bad("Muon", momentum=-1.0),
    "muon adjust": bad("Muon", adjust_lr_fn="other"),
    "muon vector": bad("Muon"),
    "muon steps": lambda m: step_with(m, "Muon", m.ones(2, 2, requires_grad=True), ns_steps=100),
    "muon coefficients": lambda m: step_with(
        m, "Muon", m.ones(2, 2, requires_grad=True), ns_coefficients=(1, 2)
    ),
    "muon complex": lambda m: step_with(
        m, "Muon", m.ones(2, 2, dtype=m.complex64, requires_grad=True)
    ),
    "sparse adam complex": lambda m: m.optim.SparseAdam([m.ones(2, dtype=m.complex64)]),
    "sparse adam dense": lambda m: step_with(m, "SparseAdam", leaf(m)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_pytorchs_words(name):
    theirs, ours = (said(lambda m=m: ERRORS[name](m)) for m in BOTH)
    assert ours == theirs
    assert theirs[0]


@pytest.mark.parametrize("name", [*(n for n, _ in ONE_OF_EACH), "SparseAdam"])
def test_repr_and_defaults(name):
    theirs, ours = (getattr(m.optim, name)([leaf(m)]) for m in BOTH)
    assert repr(ours) == repr(theirs)
    assert list(ours.defaults.items()) == list(theirs.defaults.items())


# ---- cost --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "chosen"), [*ONE_OF_EACH, ("Muon", {})], ids=[*(n for n, _ in ONE_OF_EACH), "Muon"]
)
def test_a_step_is_one_program_compiled_once(name, chosen):
    shapes = [(3, 4), (2, 2)] if name == "Muon" else SHAPES
    params, optimizer = make(torchlike, name, chosen, shapes=shapes)
    train(torchlike, params, optimizer, 3)
    torchlike.compiler.clear_stats()
    for step in range(8):  # past the steps from which RAdam and ASGD do something else
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        train(torchlike, params, optimizer, 1)
    stats = torchlike.compiler.stats()
    assert stats["compiles"] == 0 and stats["syncs"] == 0, stats
    assert stats["programs"] <= 16, stats  # at most one for backward, one for the step


# ---- differentiable steps, swapping ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "chosen", "steps"),
    [
        ("SGD", {}, 3), ("SGD", {"momentum": 0.9, "nesterov": True}, 3),
        ("SGD", {"momentum": 0.9, "dampening": 0.5, "maximize": True}, 2),
        ("Adam", {"weight_decay": 0.1}, 2), ("Adam", {"amsgrad": True}, 1),
        ("RMSprop", {"momentum": 0.9, "centered": True}, 1), ("Adagrad", {}, 1),
        ("Adamax", {}, 1), ("NAdam", {}, 2), ("RAdam", {}, 2), ("ASGD", {}, 2), ("Rprop", {}, 1),
    ],
)  # fmt: skip  # as many steps as PyTorch can go back through
def test_gradients_through_steps(name, chosen, steps):
    """With ``differentiable=True`` the step is on the tape; so is a learning rate that needs it."""
    found = []
    for lib in BOTH:
        start = [lib.tensor([[0.3, -1.2], [0.7, 0.4]], dtype=lib.float64, requires_grad=True),
                 lib.tensor([1.5, -0.6], dtype=lib.float64, requires_grad=True)]  # fmt: skip
        rate = lib.tensor(0.1, dtype=lib.float64, requires_grad=True)
        given = rate if name == "SGD" and not chosen else 0.1
        params = [p.clone() for p in start]
        optimizer = getattr(lib.optim, name)(params, lr=given, differentiable=True, **chosen)
        for _ in range(steps):
            now = [p.clone() for p in params]
            loss = (now[0].sin().sum(1) * now[1] + now[1] ** 2).sum()
            for p, g in zip(params, lib.autograd.grad(loss, now, create_graph=True), strict=True):
                p.grad = g
            optimizer.step()
        (params[0] ** 2).sum().add((params[1] ** 3).sum()).backward()
        grads = [*(p.grad for p in start), *([rate.grad] if given is rate else [])]
        found.append([x.detach().numpy() for x in (*params, *grads)])
    # PyTorch computes these bias corrections in the step count's float32.
    tol = 1e-4 if name in ("Adam", "NAdam") else 1e-9
    for theirs, mine in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tol, atol=tol / 100)


def test_a_differentiable_step_refuses_leaves():
    told = []
    for lib in BOTH:
        p = lib.nn.Parameter(lib.ones(2))
        p.grad = lib.ones(2)
        with pytest.raises(RuntimeError) as caught:
            lib.optim.SGD([p], lr=0.1, differentiable=True).step()
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_swapping_parameters_and_state():
    found = []
    for lib in BOTH:
        p, q = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(3))
        optimizer = lib.optim.Adam([p, q], lr=0.1)
        other = {"p": lib.zeros(2), "q": lib.zeros(3)}
        swap = lib.optim.swap_in_optimizer_params_and_state
        told = []

        def fails(params, state, swap=swap, optimizer=optimizer, told=told):
            with pytest.raises(RuntimeError) as caught, swap(optimizer, params, state):
                pass
            told.append(str(caught.value))

        fails(other, {"state": {}, "param_groups": []})
        p.grad, q.grad = lib.ones(2), lib.ones(3)
        optimizer.step()
        state = copy.deepcopy(optimizer.state_dict())
        with swap(optimizer, other, state):
            assert optimizer.param_groups[0]["params"][0] is other["p"]
            optimizer.param_groups[0]["lr"] = 5.0
            for _ in range(2):
                for x in other.values():
                    x.grad = lib.ones(x.shape)
                optimizer.step()
        told.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        groups = state["param_groups"]
        fails({"p": other["p"]}, state)
        fails(other, {"state": state["state"], "param_groups": []})
        fails(other, {"state": None, "param_groups": groups})
        fails(other, {"state": {}, "param_groups": [{**groups[0], "params": [0]}]})
        fails(other, {"state": {}, "param_groups": [{"params": [0, 1], "lr": 1, "x": 2}]})
        tensors = [p, *other.values()]
        for slots in (state["state"], optimizer.state_dict()["state"]):
            tensors += [x for slot in slots.values() for x in slot.values()]
        found.append((told, [x.detach().numpy() for x in tensors]))
    assert found[0][0] == found[1][0]
    for theirs, mine in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Rprop"])
def test_a_file_that_is_older_than_the_options(name):
    found = []
    for lib in BOTH:
        p = lib.nn.Parameter(lib.ones(3))
        optimizer = getattr(lib.optim, name)([p], lr=0.1)
        p.grad = lib.ones(3)
        optimizer.step()
        saved = copy.deepcopy(optimizer.state_dict())
        (group,) = saved["param_groups"]
        for option in (
            "maximize",
            "foreach",
            "differentiable",
            "decoupled_weight_decay",
            "nesterov",
        ):
            group.pop(option, None)
        group.update(weight_decay=0.5, lr=0.2)
        again = getattr(lib.optim, name)([p], lr=0.1)
        again.load_state_dict(saved)
        again.step()
        found.append((p.detach().numpy(), repr(again)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    assert found[0][1] == found[1][1]


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
def test_a_parameter_that_is_given_twice(name):
    found = []
    for lib in BOTH:
        p, q = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(3))
        optimizer = getattr(lib.optim, name)([p, q, p], lr=0.1)
        for _ in range(3):
            p.grad, q.grad = lib.full((2,), 0.5), lib.ones(3)
            optimizer.step()
        state = optimizer.state_dict()
        steps = {k: float(s.get("step", 0)) for k, s in state["state"].items()}
        found.append((p.detach().numpy(), q.detach().numpy(), steps, state["param_groups"]))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)
    assert found[0][2:] == found[1][2:]


@pytest.mark.parametrize("name", ["Rprop", "Adafactor", "Adam"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_gradient_spoils_no_more_than_pytorchs(name, bad):
    found = []
    for m in BOTH:
        params, optimizer = make(m, name, {}, shapes=[(5,), (3, 4)])
        for first in (bad, 0.5, 0.5):
            for p in params:
                p.grad = m.full_like(p, 0.5)
                p.grad.view(-1)[1] = first
            optimizer.step()
        found.append(params)
    assert_close(found[1], found[0])


# ---- what users do with states, hooks and classes of their own ---------------------------------


def edits_of_step_counts(m, name):
    """Parameters and step counts while a program writes to the counts of single parameters."""
    params, optimizer = make(m, name, {}, shapes=[(3,), (2,), (70, 70)])
    seen = []

    def go(steps=2):
        for _ in range(steps):
            for p in params:
                p.grad = m.full_like(p, 0.5)
            optimizer.step()
        seen.extend(p.detach().reshape(-1)[:2].clone() for p in params)
        seen.append(m.stack([m.as_tensor(s["step"]).float() for s in optimizer.state.values()]))

    go()
    held = optimizer.state[params[1]]["step"]
    held.zero_()
    go()
    held += 3
    go()
    for p in params:
        optimizer.state[p]["step"].fill_(1.0)
    go()
    optimizer.state[params[0]]["step"] = m.tensor(9.0)
    go()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.state[params[2]]["step"] += 1
    go()
    return [*seen, held]


@pytest.mark.parametrize("name", ["Adam", "NAdam", "RAdam", "Adamax", "ASGD", "Adafactor"])
def test_a_step_count_is_a_parameters_own(name):
    assert_close(edits_of_step_counts(torchlike, name), edits_of_step_counts(torch, name), 1e-5)


STATES = {
    "state": lambda optimizer: optimizer.state.values(),
    "state_dict": lambda optimizer: optimizer.state_dict()["state"].values(),
}


@pytest.mark.parametrize("write", [lambda t: t.zero_(), lambda t: t.numpy().fill(0)])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("states", STATES.values(), ids=STATES)
@pytest.mark.parametrize("numel", [3, 5000])  # states in a pack, and alone
def test_a_compiled_step_heeds_a_step_count_that_was_written_to(numel, states, place, write):
    runs = []
    for m, wrap in ((torchlike, torchlike.compile), (torchlike, None), (torch, None)):
        params, optimizer = make(m, "Adam", {}, [(numel,), (2, numel), (numel, 1)], lr=0.1)

        def step(params=params, optimizer=optimizer):
            optimizer.zero_grad()
            sum((p * p).sum() for p in params).backward()
            optimizer.step()

        step = wrap(step) if wrap else step
        counts = []
        for i in range(6):
            if i == 2:
                counts = [s["step"] for s in states(optimizer)]
            if i == 4:
                write(counts[place])
            step()
        runs.append([*params, *counts])
    for run in runs[:2]:
        assert_close(run, runs[2], 2e-6)


def test_a_state_dict_between_compiled_steps_compiles_nothing():
    params, optimizer = make(torchlike, "Adam", {})

    @torchlike.compile
    def step():
        optimizer.zero_grad()
        sum((p * p).sum() for p in params).backward()
        optimizer.step()

    for i in range(12):
        step()
        if i == 5:
            before = torchlike.compiler.stats()
        if i > 5 and i % 2:
            kept = optimizer.state_dict()  # as a checkpoint that is held until the next one
            copy.deepcopy(kept)
    after = torchlike.compiler.stats()
    assert after["recompiles"] == before["recompiles"]
    assert after["compiles"] - before["compiles"] <= 1  # without the flat array, once


@pytest.mark.parametrize("before", [True, False])
def test_amsgrad_is_turned_on_or_off_mid_run(before):
    def run(m):
        params, optimizer = make(m, "Adam", {"amsgrad": before})
        train(m, params, optimizer, 2)
        optimizer.param_groups[0]["amsgrad"] = not before
        with pytest.raises(KeyError) if not before else warnings.catch_warnings():
            train(m, params, optimizer, 2)
        return params

    assert_close(run(torchlike), run(torch))


def hooked_steps(m):
    """What hooks see of the steps of a class of one's own, and of others."""
    seen = []

    class Own(m.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @m.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(p.grad, alpha=group["lr"])
            return None if closure is None else closure()

    def note(name):
        return lambda o, args, kwargs: seen.append((name, len(args), sorted(kwargs)))

    for kind in (Own, m.optim.SGD, m.optim.LBFGS):
        p = leaf(m)
        p.grad = m.ones(2)
        optimizer = kind([p], lr=0.1)
        optimizer.register_step_pre_hook(note("pre"))
        optimizer.register_step_post_hook(note("post"))
        closure = lambda: m.tensor(3.0)  # noqa: E731
        seen.append(float(optimizer.step(closure)))
        seen.append(float(optimizer.step(closure=closure)))
        if kind is not m.optim.LBFGS:
            seen.append(optimizer.step())
        optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
        said_then = said(lambda o=optimizer, c=closure: o.step(c))
        seen.append("must return None or a tuple" in str(said_then))
    return seen


def test_hooks_around_every_step():
    assert hooked_steps(torchlike) == hooked_steps(torch)


def test_hooks_run_once_around_a_step_that_calls_its_bases():
    class Longer(torchlike.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    seen = []
    optimizer = Longer([leaf(torchlike)], lr=0.1)
    optimizer.register_step_pre_hook(lambda *args: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *args: seen.append("post"))
    optimizer.step()
    assert seen == ["pre", "post"]


def test_a_loaded_state_has_the_dtype_of_its_parameter():
    found = []
    for m in BOTH:
        params, optimizer = make(m, "Adam", {})
        train(m, params, optimizer, 1)
        saved = optimizer.state_dict()
        saved["state"][0]["mine"] = m.tensor([1, 2])
        saved["state"][0]["deep"] = {"mask": m.tensor([True])}
        optimizer.load_state_dict(saved)
        found.append(str(flat(optimizer.state_dict())[0]).replace("torchlike", "torch"))
    assert found[1] == found[0]


def own_states(m):
    """What becomes of the states of a class of one's own: they are given and taken as they are."""

    class Own(m.optim.Optimizer):
        @m.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    if not state:
                        state |= {"sum": m.zeros_like(p), "step": m.tensor(0.0), "all": [p.grad]}
                    state["sum"] += p.grad
                    state["step"] += 1
            self.state["count"], self.state["rate"] = 5, m.tensor([0.5, 1.5])

    optimizers = []
    for dtype in (m.float32, m.float64):
        ps = [m.ones(2, dtype=dtype, requires_grad=True) for _ in range(2)]
        optimizers.append(Own(ps, {}))
        ps[0].grad = ps[1].grad = m.ones(2, dtype=dtype)
    first, second = optimizers
    first.state[first.param_groups[0]["params"][0]]
    seen = [len(first.state_dict()["state"][0])]
    first.step()
    saved = first.state_dict()
    for optimizer in (first, second):
        optimizer.load_state_dict(saved)
        optimizer.step()
        seen.append(flat(saved)[0])
    return str(seen).replace("torchlike", "torch")


def test_states_of_a_class_of_ones_own():
    assert own_states(torchlike) == own_states(torch)


def test_states_that_are_no_dicts():
    for m in BOTH:
        optimizer = m.optim.SGD([leaf(m)], lr=0.1)
        optimizer.state["rate"] = m.tensor([0.5, 1.5])
        optimizer.load_state_dict(optimizer.state_dict())
        assert optimizer.state_dict()["state"]["rate"].tolist() == [0.5, 1.5]
