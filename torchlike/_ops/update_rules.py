"""Update rules of the optimizers: pure functions of one parameter.

A rule is (scalars, parameter, gradient, state, flags) -> (parameter, state), in PyTorch's order of
operations, so that losses agree to rounding. ``scalars`` are 0-d arrays of double precision:
learning rate, decay and step count are run-time inputs, so no schedule recompiles. State names and
order are PyTorch's. Formulas: https://pytorch.org/docs/stable/optim.html#algorithms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from torchlike._ops import loops


class Rule(NamedTuple):
    """How one optimizer updates one parameter.

    update    see the module's docstring
    scalars   names of its run-time numbers, in order; "step" is added where ``counts``
    state     flags -> names of its state tensors
    counts    whether it keeps a step count
    packs     whether it goes element by element, with all states in the parameter's shape
    """

    update: Callable
    scalars: tuple[str, ...]
    state: Callable
    counts: bool
    packs: bool = True


class Scalars:
    """Run-time numbers by name, combined in double; ``at`` rounds to the computing dtype.

    ``stored`` is the dtype of the parameter, where it is another one.
    """

    def __init__(self, numbers, dtype, stored=None):
        self._numbers, self._dtype = numbers, dtype
        self.stored = dtype if stored is None else stored

    def __getattr__(self, name):
        return self._numbers[name]

    def at(self, x):
        """A number in the dtype that the rule computes in."""
        return x.astype(self._dtype)


def _decayed(s, p, g, flags):
    return g + s.at(s.weight_decay) * p if flags.get("weight_decay") else g


def _sgd(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    if flags["momentum"]:
        # Dampening counts from the second step on: the first buffer is the gradient itself, and
        # PyTorch detaches it.
        if flags["first"]:  # only where one of these makes a difference
            buffer = lax.stop_gradient(g)
        else:
            buffer = state["momentum_buffer"] * s.at(s.momentum) + s.at(1 - s.dampening) * g
        state = {"momentum_buffer": buffer}
        g = g + s.at(s.momentum) * buffer if flags["nesterov"] else buffer
    return p - s.at(s.lr) * g, state


def _adam(s, p, g, state, flags):
    if flags["decoupled"]:
        if flags["weight_decay"]:
            p = p * s.at(1 - s.lr * s.weight_decay)
    else:
        g = _decayed(s, p, g, flags)
    mean = state["exp_avg"] + s.at(1 - s.beta1) * (g - state["exp_avg"])
    square = state["exp_avg_sq"] * s.at(s.beta2) + s.at(1 - s.beta2) * g * g
    new = {"exp_avg": mean, "exp_avg_sq": square}
    root1 = 1 - s.beta1**s.step
    root2 = jnp.sqrt(1 - s.beta2**s.step)
    if flags["amsgrad"]:
        new["max_exp_avg_sq"] = square = jnp.maximum(state["max_exp_avg_sq"], square)
    denominator = jnp.sqrt(square) / s.at(root2) + s.at(s.eps)
    return p - s.at(s.lr / root1) * mean / denominator, new


def _rmsprop(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    square = state["square_avg"] * s.at(s.alpha) + s.at(1 - s.alpha) * g * g
    new = {"square_avg": square}
    average = square
    if flags["centered"]:
        mean = state["grad_avg"] + s.at(1 - s.alpha) * (g - state["grad_avg"])
        new["grad_avg"] = mean
        average = square - mean * mean
    average = jnp.sqrt(average) + s.at(s.eps)
    if flags["momentum"]:
        buffer = state["momentum_buffer"] * s.at(s.momentum) + g / average
        new["momentum_buffer"] = buffer
        return p - s.at(s.lr) * buffer, new
    return p - s.at(s.lr) * g / average, new


def _adadelta(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    square = state["square_avg"] * s.at(s.rho) + s.at(1 - s.rho) * g * g
    eps = s.at(s.eps)
    delta = jnp.sqrt(state["acc_delta"] + eps) / jnp.sqrt(square + eps) * g
    moved = state["acc_delta"] * s.at(s.rho) + s.at(1 - s.rho) * delta * delta
    return p - s.at(s.lr) * delta, {"square_avg": square, "acc_delta": moved}


def _adagrad(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    total = state["sum"] + g * g
    rate = s.lr / (1 + (s.step - 1) * s.lr_decay)
    return p - s.at(rate) * g / (jnp.sqrt(total) + s.at(s.eps)), {"sum": total}


def _adamax(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    mean = state["exp_avg"] + s.at(1 - s.beta1) * (g - state["exp_avg"])
    largest = jnp.maximum(state["exp_inf"] * s.at(s.beta2), jnp.abs(g) + s.at(s.eps))
    rate = s.lr / (1 - s.beta1**s.step)
    return p - s.at(rate) * mean / largest, {"exp_avg": mean, "exp_inf": largest}


def _asgd(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    mu, eta = state["mu"], state["eta"].astype(jnp.float64)
    p = p * s.at(1 - s.lambd * eta) - s.at(eta) * g
    average = jnp.where(mu == 1, p, state["ax"] + (p - state["ax"]) * s.at(mu))
    eta = s.lr / (1 + s.lambd * s.lr * s.step) ** s.alpha
    new = {"eta": eta.astype(state["eta"].dtype), "mu": 1 / jnp.maximum(1, s.step - s.t0)}
    return p, {**new, "mu": new["mu"].astype(mu.dtype), "ax": average}


def _nadam(s, p, g, state, flags):
    if flags["weight_decay"] and flags["decoupled"]:
        p = p * s.at(1 - s.lr * s.weight_decay)
    elif flags["weight_decay"]:
        g = _decayed(s, p, g, flags)
    mu, mu_next = (
        s.beta1 * (1 - 0.5 * 0.96 ** (step * s.momentum_decay)) for step in (s.step, s.step + 1)
    )
    old = state["mu_product"]
    kept = old * mu.astype(old.dtype)
    product = kept.astype(jnp.float64)
    mean = state["exp_avg"] + s.at(1 - s.beta1) * (g - state["exp_avg"])
    square = state["exp_avg_sq"] * s.at(s.beta2) + s.at(1 - s.beta2) * g * g
    denominator = jnp.sqrt(square / s.at(1 - s.beta2**s.step)) + s.at(s.eps)
    p = p - s.at(s.lr * (1 - mu) / (1 - product)) * g / denominator
    p = p - s.at(s.lr * mu_next / (1 - product * mu_next)) * mean / denominator
    return p, {"mu_product": kept, "exp_avg": mean, "exp_avg_sq": square}


def _radam(s, p, g, state, flags):
    if flags["weight_decay"] and flags["decoupled"]:
        p = p * s.at(1 - s.lr * s.weight_decay)
    elif flags["weight_decay"]:
        g = _decayed(s, p, g, flags)
    mean = state["exp_avg"] + s.at(1 - s.beta1) * (g - state["exp_avg"])
    square = state["exp_avg_sq"] * s.at(s.beta2) + s.at(1 - s.beta2) * g * g
    power = s.beta2**s.step
    limit = 2 / (1 - s.beta2) - 1
    rho = limit - 2 * s.step * power / (1 - power)
    factor = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
    # A nan of what is not chosen below would come back as a gradient of nan.
    rectified = jnp.sqrt(jnp.where(rho > 5, factor, 1))
    scale = s.at(jnp.sqrt(1 - power)) / (jnp.sqrt(square) + s.at(s.eps))
    update = mean / s.at(1 - s.beta1**s.step) * s.at(s.lr)
    update = jnp.where(rho > 5, update * scale * s.at(rectified), update)
    return p - update, {"exp_avg": mean, "exp_avg_sq": square}


def _rprop(s, p, g, state, flags):
    turn = g * state["prev"]
    factor = jnp.where(turn < 0, s.at(s.eta_minus), jnp.ones_like(turn))
    factor = jnp.where(turn > 0, s.at(s.eta_plus), factor)
    size = jnp.clip(state["step_size"] * factor, s.at(s.smallest), s.at(s.largest))
    g = jnp.where(turn < 0, jnp.zeros_like(g), g)
    way = jnp.where(jnp.isnan(g), jnp.zeros_like(g), jnp.sign(g))  # as PyTorch's sign: 0 of a nan
    return p - way * size, {"prev": g, "step_size": size}


def _larger(a, b):
    """Python's max: the first where the second is nan, so that one bad element spoils no others."""
    return jnp.where(b > a, b, a)


def _adafactor(s, p, g, state, flags):
    weight = s.at(s.step**s.beta2_decay)
    smallest = s.eps1 if flags["eps1"] else jnp.float64(jnp.finfo(s.stored).eps)
    count = p.size**0.5
    norm = lambda x: jnp.sqrt(jnp.sum(x * x)).astype(jnp.float64)  # noqa: E731
    rate = _larger(s.eps2, norm(p) / count) * jnp.minimum(s.lr, 1 / jnp.sqrt(s.step))
    if flags["weight_decay"]:
        p = p * s.at(1 - s.lr * s.weight_decay)
    if flags["factored"]:
        rows = _lerp(state["row_var"], jnp.sum(g * g, -1, keepdims=True) / g.shape[-1], weight)
        columns = _lerp(state["col_var"], jnp.sum(g * g, -2, keepdims=True) / g.shape[-2], weight)
        new = {"row_var": rows, "col_var": columns}
        mean = jnp.mean(rows, -2, keepdims=True)
        variance = rows * columns / jnp.maximum(mean, s.at(smallest))
    else:
        variance = _lerp(state["variance"], g * g, weight)
        new = {"variance": variance}
    update = lax.rsqrt(jnp.maximum(variance, s.at(smallest * smallest))) * g
    clipped = _larger(1.0, norm(update) / (count * s.d))
    return p - s.at(rate / clipped) * update, new


def _muon(s, p, g, state, flags):
    buffer = _lerp(state["momentum_buffer"], g, s.at(1 - s.momentum))
    update = _lerp(g, buffer, s.at(s.momentum)) if flags["nesterov"] else buffer
    update = _orthogonal(update, flags["ns_coefficients"], flags["ns_steps"], flags["eps"])
    rows, columns = p.shape
    ratio = max(1, rows / columns) ** 0.5
    if flags["adjust_lr_fn"] == "match_rms_adamw":
        ratio = 0.2 * max(rows, columns) ** 0.5
    p = p * s.at(1 - s.lr * s.weight_decay)
    return p - s.at(s.lr * ratio) * update.astype(p.dtype), {"momentum_buffer": buffer}


def _orthogonal(x, coefficients, steps, eps):
    """The nearest matrix with orthogonal rows, roughly: Newton-Schulz iterations in bfloat16.

    Each product is rounded as PyTorch rounds it; a bare cast XLA may drop.
    """
    a, b, c = coefficients
    rounded = lambda y: lax.reduce_precision(y, 8, 7).astype(jnp.bfloat16)  # noqa: E731
    wide = lambda y: y.astype(jnp.float32)  # noqa: E731
    product = lambda y, z: jnp.matmul(y, z, preferred_element_type=jnp.float32)  # noqa: E731
    tall = x.shape[0] > x.shape[1]
    y = wide(rounded(wide(x.T if tall else x)))
    norm = jnp.maximum(wide(rounded(jnp.sqrt(jnp.sum(y * y)))), eps)
    y = rounded(y / wide(rounded(norm)))

    def step(_, y):
        gram = rounded(product(y, y.T))
        change = rounded(b * wide(gram) + c * product(gram, gram))
        return rounded(a * wide(y) + product(change, y))

    y = loops.fori_loop(0, steps, step, y)
    return y.T if tall else y


def _lerp(start, end, weight):
    """From start to end, counted from the nearer one, as PyTorch does."""
    near = start + weight * (end - start)
    return jnp.where(weight < 0.5, near, end - (end - start) * (1 - weight))


def _sgd_state(flags):
    return ("momentum_buffer",) if flags["momentum"] else ()


def _adam_state(flags):
    return ("exp_avg", "exp_avg_sq") + (("max_exp_avg_sq",) if flags["amsgrad"] else ())


def _rmsprop_state(flags):
    names = ("square_avg",)
    names += ("momentum_buffer",) if flags["momentum"] else ()
    return names + (("grad_avg",) if flags["centered"] else ())


def _adafactor_state(flags):
    return ("row_var", "col_var") if flags["factored"] else ("variance",)


def _always(*names):
    return lambda flags: names


_MOMENTS = ("exp_avg", "exp_avg_sq")

RULES: dict[str, Rule] = {
    "sgd": Rule(_sgd, ("lr", "momentum", "dampening", "weight_decay"), _sgd_state, False),
    "adam": Rule(_adam, ("lr", "beta1", "beta2", "eps", "weight_decay"), _adam_state, True),
    "rmsprop": Rule(
        _rmsprop, ("lr", "alpha", "eps", "momentum", "weight_decay"), _rmsprop_state, True
    ),
    "adadelta": Rule(
        _adadelta, ("lr", "rho", "eps", "weight_decay"), _always("square_avg", "acc_delta"), True
    ),
    "adagrad": Rule(_adagrad, ("lr", "lr_decay", "weight_decay", "eps"), _always("sum"), True),
    "adamax": Rule(
        _adamax,
        ("lr", "beta1", "beta2", "eps", "weight_decay"),
        _always("exp_avg", "exp_inf"),
        True,
    ),
    "asgd": Rule(
        _asgd,
        ("lr", "lambd", "alpha", "t0", "weight_decay"),
        _always("eta", "mu", "ax"),
        True,
        packs=False,
    ),
    "nadam": Rule(
        _nadam,
        ("lr", "beta1", "beta2", "eps", "weight_decay", "momentum_decay"),
        _always("mu_product", *_MOMENTS),
        True,
        packs=False,
    ),
    "radam": Rule(
        _radam, ("lr", "beta1", "beta2", "eps", "weight_decay"), _always(*_MOMENTS), True
    ),
    "rprop": Rule(
        _rprop,
        ("eta_minus", "eta_plus", "smallest", "largest"),
        _always("prev", "step_size"),
        True,
    ),
    "adafactor": Rule(
        _adafactor,
        ("lr", "beta2_decay", "eps1", "eps2", "d", "weight_decay"),
        _adafactor_state,
        True,
        packs=False,
    ),
    "muon": Rule(
        _muon, ("lr", "momentum", "weight_decay"), _always("momentum_buffer"), False, packs=False
    ),
}
