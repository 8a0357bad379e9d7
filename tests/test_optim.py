"""Optimizers: ten steps of every option equal PyTorch's, and state dicts that either side loads."""

import copy
import importlib
import io
import itertools
import warnings

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch")
BOTH = (torch, torchlike)
SHAPES = [(3, 4), (), (2, 1, 3)]


def options(**choices):
    """Every combination of the choices."""
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


CASES = [
    *(
        ("SGD", o)
        for o in options(momentum=[0, 0.9], weight_decay=[0, 0.1], maximize=[False, True])
    ),
    *(("SGD", {"momentum": 0.9, **o}) for o in options(dampening=[0.3], weight_decay=[0, 0.1])),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    *(
        (name, o)
        for name in ("Adam", "AdamW")
        for o in options(amsgrad=[False, True], weight_decay=[0, 0.1], maximize=[False, True])
    ),
    ("Adam", {"betas": (0.5, 0.8), "eps": 1e-3}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    *(
        ("RMSprop", o)
        for o in options(momentum=[0, 0.9], centered=[False, True], weight_decay=[0, 0.1])
    ),
    ("RMSprop", {"alpha": 0.5, "eps": 1e-2, "maximize": True}),
]  # fmt: skip
IDS = [f"{name}-{','.join(f'{k}={v}' for k, v in o.items())}" for name, o in CASES]
ONE_OF_EACH = [
    ("SGD", {"momentum": 0.9}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
]
EACH = pytest.mark.parametrize(("name", "chosen"), ONE_OF_EACH, ids=[n for n, _ in ONE_OF_EACH])


def start(i, shape, dtype="float32"):
    return np.array(np.random.RandomState(i).randn(*shape), dtype)


def make(m, name, chosen, shapes=SHAPES, dtype="float32", lr=0.01):
    params = [m.tensor(start(i, s, dtype), requires_grad=True) for i, s in enumerate(shapes)]
    return params, getattr(m.optim, name)(params, lr=lr, **chosen)


def backward(m, params, step=0):
    """Gradients that change from step to step, and do not magnify differences of rounding."""
    loss = sum(m.sin(p + step).sum() for p in params)
    loss.backward()
    return loss


def train(m, params, optimizer, steps=10, first=0, **changes):
    for step in range(first, first + steps):
        if step in changes.get("at", {}):
            changes["at"][step](optimizer)
        optimizer.zero_grad()
        backward(m, params, step)
        optimizer.step()


def array(t):
    return t.detach().numpy() if hasattr(t, "detach") else np.asarray(t)


def assert_close(ours, theirs, tol=1e-6):
    """Equal to ``tol`` of the largest number of each array."""
    for a, b in zip(ours, theirs, strict=True):
        a, b = array(a), array(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1, np.abs(b).max(initial=0)))


def flat(state_dict):
    """A state dict as plain values: names, types and shapes exactly, numbers as arrays beside."""
    shapes, values = [], []

    def walk(path, x):
        if isinstance(x, dict):
            for key, value in x.items():
                walk((*path, key), value)
        elif isinstance(x, (torch.Tensor, torchlike.Tensor)):
            shapes.append((path, str(x.dtype), tuple(x.shape), str(x.device)))
            values.append(array(x))
        elif isinstance(x, (list, tuple)) and path[-1] != "betas":
            for i, value in enumerate(x):
                walk((*path, i), value)
        else:
            shapes.append((path, type(x).__name__, x))

    walk((), state_dict)
    return shapes, values


@pytest.mark.parametrize(("name", "chosen"), CASES, ids=IDS)
def test_ten_steps(name, chosen):
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        train(m, params, optimizer)
        runs.append((params, optimizer.state_dict()))
    (their_params, their_state), (our_params, our_state) = runs
    assert_close(our_params, their_params)
    (ours, our_values), (theirs, their_values) = flat(our_state), flat(their_state)
    assert ours == theirs
    assert_close(our_values, their_values, 2e-6)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@EACH
def test_other_dtypes(name, chosen, dtype):
    if dtype == "complex64" and chosen.get("centered"):
        chosen = {"momentum": 0.5}
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen, shapes=[(3, 4)], dtype=dtype)
        for step in range(5):
            optimizer.zero_grad()
            (params[0] * params[0].conj() * (step + 1)).real.sum().backward()
            optimizer.step()
        runs.append(params)
    assert_close(runs[1], runs[0], 1e-12 if dtype == "float64" else 2e-6)


# ---- state dicts -------------------------------------------------------------------------------


def crossed(m, state):
    """A state dict as the other library reads it from a file."""
    source = torch if m is torchlike else torchlike
    buffer = io.BytesIO()
    source.save(state, buffer)
    buffer.seek(0)
    return m.load(buffer)


def check_continuation(name, chosen, target, tol):
    """A run goes on from the state dict that the other library wrote."""
    source = torch if target is torchlike else torchlike
    params, optimizer = make(source, name, chosen)
    train(source, params, optimizer, 4)
    state = crossed(target, optimizer.state_dict())
    now = [array(p).copy() for p in params]
    train(source, params, optimizer, 6, first=4)

    others = [target.tensor(x, requires_grad=True) for x in now]
    other = getattr(target.optim, name)(others, lr=1.0)
    other.load_state_dict(state)
    train(target, others, other, 6, first=4)
    assert_close(others, params, tol)
    assert flat(other.state_dict())[0] == flat(optimizer.state_dict())[0]


@pytest.mark.parametrize("target", BOTH, ids=["ours to torch", "torch to ours"])
@EACH
def test_a_state_dict_of_the_other_library_continues(name, chosen, target):
    check_continuation(name, chosen, target, 2e-6)


@EACH
def test_a_state_dict_is_a_copy_of_steps_and_loads_as_one(name, chosen):
    params, optimizer = make(torchlike, name, chosen)
    train(torchlike, params, optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    again = getattr(torchlike.optim, name)(params, lr=1.0)
    again.load_state_dict(saved)
    before = flat(copy.deepcopy(saved))
    train(torchlike, params, again, 2)
    after = flat(saved)
    assert after[0] == before[0]
    assert_close(after[1], before[1], 0)
    steps = [s["step"] for s in optimizer.state_dict()["state"].values() if "step" in s]
    assert len({id(s) for s in steps}) == len(steps)  # PyTorch counts each in place


@EACH
def test_a_state_dict_that_is_kept_follows_the_training(name, chosen):
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        train(m, params, optimizer, 2)
        kept, file = optimizer.state_dict(), io.BytesIO()
        m.save(kept, file)
        was = copy.deepcopy(kept)
        train(m, params, optimizer, 2, first=2)
        file.seek(0)
        states = [kept, was, m.load(file)]
        for slot in kept["state"].values():
            for x in slot.values():
                if isinstance(x, m.Tensor):
                    x.mul_(2)  # of this state alone
        train(m, params, optimizer, 2, first=4)
        sizes = [
            x.untyped_storage().nbytes()
            for slot in states[2]["state"].values()
            for x in slot.values()
            if isinstance(x, m.Tensor)
        ]
        runs.append((params, *map(flat, states), flat(optimizer.state_dict()), sizes))
    assert_close(runs[1][0], runs[0][0])
    for mine, theirs in zip(runs[1][1:5], runs[0][1:5], strict=True):
        assert mine[0] == theirs[0]
        assert_close(mine[1], theirs[1])
    assert runs[1][5] == runs[0][5]  # each state is a memory of its own in a file


def test_state_keeps_to_the_dtype_of_its_parameter():
    runs = []
    for m in BOTH:
        params, optimizer = make(m, "Adam", {}, shapes=[(3,)], dtype="float64")
        train(m, params, optimizer, 2)
        _, other = make(m, "Adam", {}, shapes=[(3,)])
        other.load_state_dict(optimizer.state_dict())
        runs.append(flat(other.state_dict())[0])
    assert runs[1] == runs[0]


@EACH
def test_optimizers_can_be_copied_and_pickled(name, chosen):
    import pickle

    params, optimizer = make(torchlike, name, chosen)
    train(torchlike, params, optimizer, 3)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert flat(other.state_dict())[0] == flat(optimizer.state_dict())[0]
        twins = other.param_groups[0]["params"]
        assert twins[0] is not params[0]
        train(torchlike, twins, other, 2, first=3)
        reference, base = make(torchlike, name, chosen)
        train(torchlike, reference, base, 5)
        assert_close(twins, reference)


# ---- groups, gradients, hooks ------------------------------------------------------------------


def test_param_groups_have_options_of_their_own():
    runs = []
    for m in BOTH:
        a, b, c = (m.tensor(start(i, (3,)), requires_grad=True) for i in range(3))
        optimizer = m.optim.SGD(
            [{"params": [a]}, {"params": b, "lr": 0.5, "momentum": 0.9}], lr=0.1, weight_decay=0.01
        )
        train(m, [a, b], optimizer, 3)
        optimizer.add_param_group({"params": [c], "maximize": True})
        train(m, [a, b, c], optimizer, 3, first=3)
        runs.append(([a, b, c], flat(optimizer.state_dict())))
    assert_close(runs[1][0], runs[0][0])
    assert runs[1][1][0] == runs[0][1][0]


def test_named_parameters():
    runs = []
    for m in BOTH:
        named = [(f"p{i}", m.tensor(start(i, (2,)), requires_grad=True)) for i in range(2)]
        optimizer = m.optim.Adam(named)
        train(m, [p for _, p in named], optimizer, 2)
        state = optimizer.state_dict()
        runs.append((state["param_groups"][0]["param_names"], flat(state)[0]))
    assert runs[1] == runs[0]


@EACH
def test_parameters_without_gradients_wait(name, chosen):
    """They keep value, state and step count; later they go on with their own."""
    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        for step in range(8):
            optimizer.zero_grad()
            backward(m, params if step in (0, 4, 5) else params[step % 2 :: 2], step)
            optimizer.step()
        runs.append((params, flat(optimizer.state_dict())))
    assert_close(runs[1][0], runs[0][0], 2e-6)
    assert dict((s[0], s[1:]) for s in runs[1][1][0]) == dict((s[0], s[1:]) for s in runs[0][1][0])


@EACH
def test_lr_and_other_options_change_mid_run(name, chosen):
    def halve(optimizer):
        optimizer.param_groups[0]["lr"] *= 0.5

    def decay(optimizer):
        optimizer.param_groups[0]["weight_decay"] = 0.2

    runs = []
    for m in BOTH:
        params, optimizer = make(m, name, chosen)
        train(m, params, optimizer, 9, at={2: halve, 3: halve, 5: decay})
        runs.append(params)
    assert_close(runs[1], runs[0], 2e-6)


def test_a_tensor_as_the_learning_rate():
    runs = []
    for m in BOTH:
        params, optimizer = make(m, "Adam", {}, lr=m.tensor(0.1))
        train(m, params, optimizer, 3)
        optimizer.param_groups[0]["lr"].fill_(0.01)
        train(m, params, optimizer, 3, first=3)
        runs.append(params)
    assert_close(runs[1], runs[0])


def test_closures():
    runs = []
    for m in BOTH:
        params, optimizer = make(m, "SGD", {})
        enabled = []

        def closure(m=m, params=params, optimizer=optimizer, enabled=enabled):
            enabled.append(m.is_grad_enabled())
            optimizer.zero_grad()
            return backward(m, params)

        with m.no_grad():
            losses = [optimizer.step(closure).item() for _ in range(3)]
        assert optimizer.step() is None
        runs.append((losses, enabled))
    assert runs[1][1] == runs[0][1]
    assert runs[1][0] == pytest.approx(runs[0][0], rel=1e-6)


def test_zero_grad():
    for m in BOTH:
        params, optimizer = make(m, "SGD", {})
        optimizer.zero_grad(set_to_none=False)
        assert all(p.grad is None for p in params)
        backward(m, params)
        kept = [p.grad for p in params]
        optimizer.zero_grad(set_to_none=False)
        assert all(float(p.grad.abs().sum()) == 0 for p in params)
        assert all(p.grad is g for p, g in zip(params, kept, strict=True))
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)


def test_hooks():
    runs = []
    for m in BOTH:
        params, optimizer = make(m, "Adam", {})
        seen = []

        def note(name, seen=seen):
            return lambda *args: seen.append((name, len(args), type(args[-1]).__name__))

        module = importlib.import_module(f"{m.__name__}.optim.optimizer")
        handles = [
            module.register_optimizer_step_pre_hook(note("global pre")),
            module.register_optimizer_step_post_hook(note("global post")),
            optimizer.register_step_pre_hook(note("pre")),
            optimizer.register_step_post_hook(note("post")),
            optimizer.register_state_dict_pre_hook(note("state pre")),
            optimizer.register_state_dict_pre_hook(note("state pre first"), prepend=True),
            optimizer.register_state_dict_post_hook(note("state post")),
            optimizer.register_load_state_dict_pre_hook(note("load pre")),
            optimizer.register_load_state_dict_post_hook(note("load post")),
        ]
        train(m, params, optimizer, 1)
        optimizer.load_state_dict(optimizer.state_dict())
        for handle in handles:
            handle.remove()
        count = len(seen)
        train(m, params, optimizer, 1)
        optimizer.load_state_dict(optimizer.state_dict())
        assert len(seen) == count
        runs.append(seen)
    assert runs[1] == runs[0]


def test_step_pre_hooks_may_change_the_arguments():
    runs = []
    for m in BOTH:
        _, optimizer = make(m, "SGD", {})
        optimizer.register_step_pre_hook(lambda o, args, kwargs: (args, {"closure": lambda: 5}))
        runs.append(optimizer.step())
    assert runs == [5, 5]


def test_views_and_ties_are_updated_in_place():
    """A parameter may be a window on a larger tensor, which then shows the update."""
    runs = []
    for m in BOTH:
        whole = m.tensor(start(0, (4, 3)))
        part = whole[1:3].detach().requires_grad_()
        handle = part.detach()
        optimizer = m.optim.SGD([part], lr=0.1, momentum=0.9)
        train(m, [part], optimizer, 3)
        runs.append([part, handle, whole])
    assert_close(runs[1], runs[0])


# ---- words -------------------------------------------------------------------------------------


def said(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action()
            error = None
        except Exception as e:
            error = (type(e), str(e))
    return error, [(w.category, str(w.message)) for w in caught]


def leaf(m):
    return m.ones(2, requires_grad=True)


def bad(name, **chosen):
    return lambda m: getattr(m.optim, name)([leaf(m)], **chosen)


def overlapping(m):
    p = leaf(m)
    m.optim.SGD([{"params": [p]}, {"params": [p]}])


def duplicate(m):
    p = leaf(m)
    m.optim.SGD([p, p])


def fewer_groups(m):
    p, q = leaf(m), leaf(m)
    m.optim.SGD([p]).load_state_dict(m.optim.SGD([{"params": p}, {"params": q}]).state_dict())


def other_sizes(m):
    m.optim.SGD([leaf(m)]).load_state_dict(m.optim.SGD([leaf(m), leaf(m)]).state_dict())


ERRORS = {
    "no params": lambda m: m.optim.SGD([]),
    "a tensor": lambda m: m.optim.Adam(leaf(m)),
    "a number": lambda m: m.optim.SGD([3]),
    "a set": lambda m: m.optim.SGD([{"params": {leaf(m)}}]),
    "a non-leaf": lambda m: m.optim.SGD([leaf(m) * 2]),
    "group no dict": lambda m: m.optim.SGD([leaf(m)]).add_param_group([leaf(m)]),
    "names missing": lambda m: m.optim.SGD([("a", leaf(m)), leaf(m)]),
    "names later": lambda m: m.optim.SGD([leaf(m)]).add_param_group({"params": [("a", leaf(m))]}),
    "names before": lambda m: m.optim.SGD([("a", leaf(m))]).add_param_group({"params": [leaf(m)]}),
    "overlapping": overlapping,
    "duplicate": duplicate,
    "fewer groups": fewer_groups,
    "other sizes": other_sizes,
    "sgd lr of nan": lambda m: m.optim.SGD([leaf(m)], lr=float("nan")).add_param_group(3),
    "sgd lr": bad("SGD", lr=-1),
    "sgd momentum": bad("SGD", momentum=-0.1),
    "sgd decay": bad("SGD", weight_decay=-1),
    "sgd nesterov": bad("SGD", nesterov=True),
    "sgd nesterov dampened": bad("SGD", nesterov=True, momentum=0.9, dampening=0.1),
    "adam lr": bad("Adam", lr=-1.0),
    "adam eps": bad("Adam", eps=-1.0),
    "adam beta 0": bad("Adam", betas=(1.0, 0.9)),
    "adam beta 1": bad("Adam", betas=(0.9, -0.1)),
    "adam betas of ints": bad("Adam", betas=(0, 0.5)),
    "adam fused": bad("Adam", fused=True, differentiable=True),
    "sgd fused": bad("SGD", fused=True, foreach=True),
    "adam decay": bad("Adam", weight_decay=-1),
    "adamw lr": bad("AdamW", lr=-1.0),
    "sgd lr of two": lambda m: bad("SGD", lr=m.ones(2))(m),
    "adam lr of two": lambda m: bad("Adam", lr=m.ones(2))(m),
    "adam lr foreach": lambda m: bad("Adam", lr=m.tensor(0.1), foreach=True)(m),
    "rmsprop lr of two": lambda m: bad("RMSprop", lr=m.ones(2))(m),
    "rmsprop lr": bad("RMSprop", lr=-1.0),
    "rmsprop eps": bad("RMSprop", eps=-1.0),
    "rmsprop momentum": bad("RMSprop", momentum=-1.0),
    "rmsprop decay": bad("RMSprop", weight_decay=-1.0),
    "rmsprop alpha": bad("RMSprop", alpha=-1.0),
    "unknown option": lambda m: m.optim.SGD([leaf(m)], speed=3),
}


@pytest.mark.parametrize("name", ERRORS)
def test_pytorchs_words(name):
    theirs = said(lambda: ERRORS[name](torch))
    ours = said(lambda: ERRORS[name](torchlike))
    ours = (ours[0] and (ours[0][0], ours[0][1].replace("torchlike.", "torch.")), ours[1])
    assert ours == theirs
    assert theirs != (None, [])


@EACH
def test_repr(name, chosen):
    theirs, ours = (repr(make(m, name, chosen)[1]) for m in BOTH)
    assert ours == theirs
    both = []
    for m in BOTH:
        groups = [{"params": [leaf(m)], "lr": 0.1}, {"params": [leaf(m)], "name": "b"}]
        both.append(repr(getattr(m.optim, name)(groups)))
    assert both[1] == both[0]


def test_two_optimizers_in_turn():
    """The gradients that the other one's parameters keep are added to, step after step."""
    both = []
    for m in BOTH:
        one, two = m.nn.Linear(3, 2), m.nn.Linear(3, 2)
        with m.no_grad():
            for p in (*one.parameters(), *two.parameters()):
                p.copy_(m.arange(1.0, p.numel() + 1).reshape(p.shape) / 10)
        turns = (
            (one, m.optim.SGD(one.parameters(), 0.1)),
            (two, m.optim.Adam(two.parameters(), 0.1)),
        )
        seen = []
        for i in range(8):
            model, optimizer = turns[i % 2]
            optimizer.zero_grad()
            (one(m.ones(1, 3)) * two(m.ones(1, 3))).sum().backward()
            optimizer.step()
            seen.append(model.weight.detach().clone())
        both.append(np.stack([x.numpy() for x in (*seen, one.weight.grad)]))
    np.testing.assert_allclose(*both, rtol=1e-4, atol=1e-6)


# ---- cost --------------------------------------------------------------------------------------


@EACH
def test_a_step_is_one_program_compiled_once(name, chosen):
    params, optimizer = make(torchlike, name, chosen)
    for step in range(5):
        train(torchlike, params, optimizer, 1, first=step)
    torchlike.compiler.clear_stats()
    for step in range(10):
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        train(torchlike, params, optimizer, 1)
    stats = torchlike.compiler.stats()
    assert stats["compiles"] == 0 and stats["syncs"] == 0, stats
    assert stats["programs"] <= 20, stats  # at most one for backward, one for the step
