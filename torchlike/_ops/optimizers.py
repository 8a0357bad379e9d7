"""Update rules of the optimizers: pure functions of one parameter, run for all in one op.

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

from torchlike._ops.table import Arrays, Shape, op


class Rule(NamedTuple):
    """How one optimizer updates one parameter.

    update    see the module's docstring
    scalars   names of its run-time numbers, in order; "step" is added where ``counts``
    state     flags -> names of its state tensors
    counts    whether it keeps a step count
    """

    update: Callable
    scalars: tuple[str, ...]
    state: Callable
    counts: bool


class Plan(NamedTuple):
    """The static half of a step: the rule, its flags, how many parameters each step count has."""

    rule: str
    flags: tuple
    scalars: tuple[str, ...]
    cohorts: tuple[int, ...]
    state: tuple[str, ...]


def _shapes(statics, in_avals):
    plan = statics[0]
    groups = len(plan.cohorts) if RULES[plan.rule].counts else 0
    first = len(plan.scalars)
    count = sum(plan.cohorts)
    out = [(a.shape, a.dtype) for a in in_avals[first : first + groups]]
    out += [(a.shape, a.dtype) for a in in_avals[first + groups : first + groups + count]]
    return out + [(a.shape, a.dtype) for a in in_avals[first + groups + 2 * count :]]


def _donated(statics):
    """Operands that the step replaces: the parameters and their states."""
    plan = statics[0]
    count = sum(plan.cohorts)
    first = len(plan.scalars) + (len(plan.cohorts) if RULES[plan.rule].counts else 0)
    last = first + (2 + len(plan.state)) * count
    return (*range(first, first + count), *range(first + 2 * count, last))


@op("optimizer_step", promotes="raw", differentiable=False, shapes=_shapes, donates=_donated)
def optimizer_step(operands: Arrays, plan: Shape):
    """One step for all parameters of a group: new step counts, parameters and states."""
    rule = RULES[plan.rule]
    flags = dict(plan.flags)
    n, count = len(plan.scalars), sum(plan.cohorts)
    numbers = [getattr(x, "array", x).astype(jnp.float64) for x in operands[:n]]
    scalars = dict(zip(plan.scalars, numbers, strict=True))
    groups = len(plan.cohorts) if rule.counts else 0
    steps = [s + 1 for s in operands[n : n + groups]]
    rest = operands[n + groups :]
    params, grads, states = (
        list(rest[:count]),
        list(rest[count : 2 * count]),
        list(rest[2 * count :]),
    )
    # All gradients are complete before the first parameter is overwritten: without the barrier XLA
    # copies every donated parameter (1.45 ms of an encoder's step).
    params, grads, states = lax.optimization_barrier((params, grads, states))
    cohort = [i for i, size in enumerate(plan.cohorts) for _ in range(size)]
    new_params, new_states = [], []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        if rule.counts:
            scalars["step"] = steps[cohort[i]].astype(jnp.float64)
        state = {name: states[k * count + i] for k, name in enumerate(plan.state)}
        g = -g if flags.get("maximize") else g
        p, state = _on_reals(rule.update, scalars, p, g, state, flags)
        new_params.append(p)
        new_states.append(state)
    ordered = [s[name] for name in plan.state for s in new_states]
    return tuple(steps + new_params + ordered)


def _packed_shapes(statics, in_avals):
    plan, count = statics[0], statics[0].cohorts[0]
    first = len(plan.scalars) + RULES[plan.rule].counts
    keep = [*range(len(plan.scalars), first + count), *range(first + 2 * count, len(in_avals))]
    total = sum(a.numel for a in in_avals[first : first + count])
    gradients = [((total,), in_avals[first + count].dtype)]
    steps = RULES[plan.rule].counts
    shapes = [(in_avals[i].shape, in_avals[i].dtype) for i in keep]
    return shapes[:steps] + gradients + shapes[steps:]


def _packed_donated(statics):
    plan, count = statics[0], statics[0].cohorts[0]
    first = len(plan.scalars) + RULES[plan.rule].counts
    states = range(first + 2 * count, first + 2 * count + len(plan.state))
    return (*range(first, first + count), *states)


@op(
    "optimizer_step_packed", promotes="raw", differentiable=False, shapes=_packed_shapes,
    donates=_packed_donated,
)  # fmt: skip
def optimizer_step_packed(operands: Arrays, plan: Shape):
    """One step for small parameters whose states lie in one flat array for each name.

    The gradients come back flat, too, for whoever looks at them after the step. A program's inputs
    and outputs cost a microsecond and more each: packed, an Adam step over six small tensors has 21
    fewer of either.
    """
    rule = RULES[plan.rule]
    n, count = len(plan.scalars), plan.cohorts[0]
    numbers = [getattr(x, "array", x).astype(jnp.float64) for x in operands[:n]]
    scalars = dict(zip(plan.scalars, numbers, strict=True))
    steps = []
    if rule.counts:
        steps = [operands[n] + 1]
        scalars["step"] = steps[0].astype(jnp.float64)
        n += 1
    rest = lax.optimization_barrier(tuple(operands[n:]))
    params, grads, states = rest[:count], rest[count : 2 * count], rest[2 * count :]
    flags = dict(plan.flags)
    p, gradients = (jnp.concatenate([x.reshape(-1) for x in xs]) for xs in (params, grads))
    g = gradients
    g = -g if flags.get("maximize") else g
    state = dict(zip(plan.state, states, strict=True))
    p, state = rule.update(Scalars(scalars, p.dtype), p, g.astype(p.dtype), state, flags)
    new, start = [], 0
    for old in params:
        new.append(lax.slice_in_dim(p, start, start + old.size).reshape(old.shape))
        start += old.size
    return (*steps, gradients, *new, *(state[name] for name in plan.state))


def _on_reals(update, scalars, p, g, state, flags):
    """Complex parameters are updated as pairs of reals, as PyTorch does."""
    if not jnp.iscomplexobj(p):
        return update(Scalars(scalars, p.dtype), p, g.astype(p.dtype), state, flags)
    split = lambda z: jnp.stack([z.real, z.imag], -1)  # noqa: E731
    state = {k: split(v) if jnp.iscomplexobj(v) else v for k, v in state.items()}
    pair = split(p)
    new, state = update(Scalars(scalars, pair.dtype), pair, split(g), state, flags)
    join = lambda r: r[..., 0] + 1j * r[..., 1]  # noqa: E731
    return join(new).astype(p.dtype), {k: join(v) for k, v in state.items()}


class Scalars:
    """Run-time numbers by name, combined in double; ``at`` rounds to the parameter's dtype."""

    def __init__(self, numbers, dtype):
        self._numbers, self._dtype = numbers, dtype

    def __getattr__(self, name):
        return self._numbers[name]

    def at(self, x):
        """A number in the dtype of the parameter."""
        return x.astype(self._dtype)


def _decayed(s, p, g, flags):
    return g + s.at(s.weight_decay) * p if flags.get("weight_decay") else g


def _sgd(s, p, g, state, flags):
    g = _decayed(s, p, g, flags)
    if flags["momentum"]:
        # Dampening counts from the second step on: the first buffer is the gradient itself.
        if flags["first"]:  # only where dampening makes a difference
            buffer = g
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


def _sgd_state(flags):
    return ("momentum_buffer",) if flags["momentum"] else ()


def _adam_state(flags):
    return ("exp_avg", "exp_avg_sq") + (("max_exp_avg_sq",) if flags["amsgrad"] else ())


def _rmsprop_state(flags):
    names = ("square_avg",)
    names += ("momentum_buffer",) if flags["momentum"] else ()
    return names + (("grad_avg",) if flags["centered"] else ())


RULES: dict[str, Rule] = {
    "sgd": Rule(_sgd, ("lr", "momentum", "dampening", "weight_decay"), _sgd_state, False),
    "adam": Rule(_adam, ("lr", "beta1", "beta2", "eps", "weight_decay"), _adam_state, True),
    "rmsprop": Rule(
        _rmsprop, ("lr", "alpha", "eps", "momentum", "weight_decay"), _rmsprop_state, True
    ),
}
