"""optim.from_optax, against the same transformation in a plain JAX loop."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import torchlike as torch
from torchlike import compiler
from torchlike.optim import from_optax, lr_scheduler

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 5)).astype(np.float32)
Y = RNG.standard_normal((16, 3)).astype(np.float32)
START = {
    "w": RNG.standard_normal((5, 3)).astype(np.float32),
    "b": np.zeros(3, np.float32),
}
STEPS = 4


def loss_of(params):
    return ((X @ params["w"] + params["b"] - Y) ** 2).mean()


def by_hand(make, takes=(), steps=STEPS):
    """The parameters and losses of the loop that optax's documentation shows."""
    tx = optax.with_extra_args_support(make())
    params = {k: jnp.asarray(v) for k, v in START.items()}
    state, losses = tx.init(params), []

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss_of)(params)
        extra = {"value": value} if "value" in takes else {}
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state, value

    for _ in range(steps):
        params, state, value = step(params, state)
        losses.append(float(value))
    return params, losses


def tensors():
    return {k: torch.tensor(v, requires_grad=True) for k, v in START.items()}


def tensor_loss(params):
    x, y = torch.tensor(X), torch.tensor(Y)
    return ((x @ params["w"] + params["b"] - y) ** 2).mean()


def train(params, optimizer, steps=STEPS, closure=False):
    losses = []
    for _ in range(steps):

        def loss():
            optimizer.zero_grad()
            value = tensor_loss(params)
            value.backward()
            return value

        if closure:
            losses.append(optimizer.step(loss).item())
        else:
            losses.append(loss().item())
            optimizer.step()
    return losses


def labels(params):
    return {"w": "matrix", "b": "vector"}


TRANSFORMATIONS = {
    "sgd": lambda: optax.sgd(0.1),
    "sgd, momentum": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adamw": lambda: optax.adamw(0.05, weight_decay=0.1),
    "lion": lambda: optax.lion(0.01),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05)),
    "schedule": lambda: optax.adam(optax.cosine_decay_schedule(0.1, 5)),
    "masked": lambda: optax.chain(
        optax.masked(optax.add_decayed_weights(0.1), {"w": True, "b": False}), optax.sgd(0.1)
    ),
    "multi_transform": lambda: optax.multi_transform(
        {"matrix": optax.adam(0.05), "vector": optax.set_to_zero()}, labels
    ),
    "inject": lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=0.05, b1=0.8),
    "inject, scheduled": lambda: optax.inject_hyperparams(optax.sgd)(
        learning_rate=optax.linear_schedule(0.1, 0.0, 5)
    ),
    "noise": lambda: optax.chain(optax.sgd(0.1), optax.add_noise(0.1, 0.5, 7)),
    "accumulated": lambda: optax.MultiSteps(optax.adam(0.05), 2).gradient_transformation(),
    "schedule free": lambda: contrib.schedule_free_sgd(0.1),
    "not finite": lambda: optax.apply_if_finite(optax.sgd(0.1), 3),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_it_is_the_loop_of_jax(name):
    make = TRANSFORMATIONS[name]
    expected, losses = by_hand(make)
    params = tensors()
    found = train(params, from_optax(params, make()))
    np.testing.assert_allclose(found, losses, rtol=2e-6)
    for k, p in params.items():
        np.testing.assert_allclose(p.detach().numpy(), expected[k], rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("make", [
    lambda: optax.chain(optax.sgd(0.1), contrib.reduce_on_plateau(patience=1, factor=0.5)),
    lambda: optax.polyak_sgd(max_learning_rate=0.3),
], ids=["reduce_on_plateau", "polyak_sgd"])  # fmt: skip
def test_a_transformation_that_wants_the_loss_gets_the_closures(make):
    expected, losses = by_hand(make, takes=("value",))
    params = tensors()
    found = train(params, from_optax(params, make()), closure=True)
    np.testing.assert_allclose(found, losses, rtol=2e-6)
    np.testing.assert_allclose(params["w"].detach().numpy(), expected["w"], rtol=2e-6, atol=2e-7)

    params = tensors()
    optimizer = from_optax(params, make())
    loss = tensor_loss(params)
    loss.backward()
    with pytest.raises(TypeError, match=r"needs 'value' at each step: call step\(closure\)"):
        optimizer.step()
    optimizer.step(value=loss)


def test_a_line_search_is_refused():
    params = tensors()
    optimizer = from_optax(params, optax.lbfgs())
    with pytest.raises(torch.NotSupported, match=r"use torch\.optim\.LBFGS"):
        train(params, optimizer, 1, closure=True)


def test_a_step_is_one_program_and_compiles_once():
    params = tensors()
    make = lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.05)  # noqa: E731
    optimizer = from_optax(params, make())
    for _ in range(3):
        optimizer.zero_grad()
        tensor_loss(params).backward()
        optimizer.step()
    compiler.clear_stats()
    for i in range(5):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        optimizer.zero_grad()
        tensor_loss(params).backward()
        optimizer.step()
    stats = compiler.stats()
    assert (stats["programs"], stats["compiles"], stats["syncs"]) == (5, 0, 0)


def test_schedulers_set_injected_rates():
    make = lambda rate: optax.inject_hyperparams(optax.adam)(learning_rate=rate, b2=0.99)  # noqa: E731
    _, losses = by_hand(lambda: make(lambda count: 0.1 * 0.5 ** (count // 2)))
    params = tensors()
    optimizer = from_optax(params, make(0.1))
    assert optimizer.param_groups[0]["b2"] == pytest.approx(0.99)
    scheduler = lr_scheduler.StepLR(optimizer, 2, 0.5)
    found = []
    for _ in range(STEPS):
        found += train(params, optimizer, 1)
        scheduler.step()
    np.testing.assert_allclose(found, losses, rtol=2e-6)
    assert scheduler.get_last_lr() == [pytest.approx(0.1 * 0.5**2)]


def test_a_fixed_rate_cannot_be_scheduled():
    optimizer = from_optax(tensors(), optax.adam(1e-3))
    with pytest.raises(torch.NotSupported, match=r"optax\.inject_hyperparams"):
        lr_scheduler.StepLR(optimizer, 2)
    assert "lr" not in optimizer.param_groups[0]


@pytest.mark.parametrize("name", ["inject", "multi_transform"])
def test_its_state_goes_through_a_file(name):
    make = TRANSFORMATIONS[name]
    params = tensors()
    optimizer = from_optax(params, make())
    train(params, optimizer, 3)
    file = io.BytesIO()
    torch.save({"params": params, "optimizer": optimizer.state_dict()}, file)
    expected = train(params, optimizer, 3)
    file.seek(0)
    saved = torch.load(file)
    params = saved["params"]
    optimizer = from_optax(params, make())
    optimizer.load_state_dict(saved["optimizer"])
    assert train(params, optimizer, 3) == expected
    with pytest.raises(ValueError, match="another optax transformation"):
        from_optax(tensors(), optax.sgd(0.1, momentum=0.3)).load_state_dict(saved["optimizer"])


def test_parameters_come_in_any_tree():
    model = torch.nn.Linear(5, 3)
    named = from_optax(model.named_parameters(), optax.adam(0.1))
    assert set(named.optax_state[0].mu) == {"weight", "bias"}
    listed = from_optax(model.parameters(), optax.masked(optax.sgd(0.1), [True, False]))
    model(torch.ones(2, 5)).sum().backward()
    bias = model.bias.detach().clone()
    listed.step()  # what is masked out keeps its gradient as the update, as optax has it
    assert torch.equal(model.bias, bias + model.bias.grad)
    nested = {"a": [torch.ones(2, requires_grad=True)], "b": torch.ones(3, requires_grad=True)}
    optimizer = from_optax(nested, optax.sgd(1.0))
    nested["a"][0].sum().backward()
    optimizer.step()  # "b" has no gradient: it counts as zeros
    assert nested["a"][0].tolist() == [0, 0] and nested["b"].tolist() == [1, 1, 1]


def test_other_dtypes_keep_theirs():
    params = [torch.ones(3, dtype=d, requires_grad=True) for d in (torch.float64, torch.bfloat16)]
    optimizer = from_optax(params, optax.adam(0.1))
    sum(p.double().sum() for p in params).backward()
    optimizer.step()
    assert [p.dtype for p in params] == [torch.float64, torch.bfloat16]
    assert params[0].detach().numpy() == pytest.approx(0.9, abs=1e-8)


def test_hooks_are_called():
    params, called = tensors(), []
    optimizer = from_optax(params, optax.sgd(0.1))
    optimizer.register_step_pre_hook(lambda *_: called.append("pre"))
    optimizer.register_step_post_hook(lambda *_: called.append("post"))
    train(params, optimizer, 1)
    assert called == ["pre", "post"]


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: from_optax([torch.ones(2)], 3), TypeError, "optax.GradientTransformation"),
    (lambda: from_optax(torch.ones(2), optax.sgd(1)), TypeError, "should be an iterable"),
    (lambda: from_optax([], optax.sgd(1)), ValueError, "empty parameter list"),
    (lambda: from_optax([{"params": [torch.ones(2)]}], optax.sgd(1)), torch.NotSupported,
     "optax.multi_transform"),
    (lambda: from_optax([torch.ones(2)], optax.sgd(1)).add_param_group({"params": []}),
     torch.NotSupported, "optax.multi_transform"),
])  # fmt: skip
def test_what_it_refuses(call, error, match):
    with pytest.raises(error, match=match):
        call()
