"""Steps of the optimizers: the update rules run for all parameters of a group in one op."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from torchlike._ops.table import Arrays, Shape, check_broadcast, op
from torchlike._ops.update_rules import RULES, Scalars


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
    params = in_avals[first + groups : first + groups + count]
    states = in_avals[first + groups + 2 * count :]
    for i, state in enumerate(states):
        _check_state(plan.state[i // count], state, params[i % count])
    out += [(a.shape, a.dtype) for a in params]
    return out + [(a.shape, a.dtype) for a in states]


def _check_state(name: str, state, param) -> None:
    """Raise ``RuntimeError`` for a state of another parameter: the step would leave nothing."""
    if state.shape == param.shape or not state.shape:
        return
    check_broadcast((state, param))
    if len(state.shape) > len(param.shape) or any(
        n != 1 and n != m for n, m in zip(state.shape[::-1], param.shape[::-1], strict=False)
    ):
        raise RuntimeError(
            f"output with shape {list(param.shape)} doesn't match the broadcast shape of its "
            f"{name} {list(state.shape)}"
        )


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
    return _step(operands, plan)


@op("optimizer_step_taped", promotes="raw", shapes=_shapes)
def optimizer_step_taped(operands: Arrays, plan: Shape):
    """``optimizer_step`` that overwrites nothing and has a derivative."""
    return _step(operands, plan)


def _step(operands, plan):
    rule = RULES[plan.rule]
    flags = dict(plan.flags)
    n, count = len(plan.scalars), sum(plan.cohorts)
    numbers = [_number(x) for x in operands[:n]]
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
    numbers = [_number(x) for x in operands[:n]]
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


def _number(x):
    """A run-time number in double; learning rates may be tensors of one element."""
    return getattr(x, "array", x).astype(jnp.float64).reshape(())


def _on_reals(update, scalars, p, g, state, flags):
    """Complex parameters are updated as pairs of reals, half precision in float32, rounded once."""
    if jnp.iscomplexobj(p):
        down, up = _joined, lambda x: _split(x) if jnp.iscomplexobj(x) else x
    elif p.dtype.itemsize < 4:
        down, up = lambda x, dtype: x.astype(dtype), lambda x: x.astype(jnp.float32)
    else:
        return update(Scalars(scalars, p.dtype), p, g.astype(p.dtype), state, flags)
    old = p, state
    p, g, state = up(p), up(g), {name: up(x) for name, x in state.items()}
    p, state = update(Scalars(scalars, p.dtype, old[0].dtype), p, g, state, flags)
    return down(p, old[0].dtype), {name: down(x, old[1][name].dtype) for name, x in state.items()}


def _split(z):
    return jnp.stack([z.real, z.imag], -1)


def _joined(pair, dtype):
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return pair
    return (pair[..., 0] + 1j * pair[..., 1]).astype(dtype)
