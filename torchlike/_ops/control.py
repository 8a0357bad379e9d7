"""Control flow as ops on lax: branches and loops over bodies, which are functions of arrays.

A body is static: the engine records a user's function once and hands it over. It has ``extra``
operands of its own (what the function captured, and its numbers), ``bind(extra)`` gives the
function of the arguments, and that returns (results, range checks) (see _engine/bodies.py).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._ops import loops, table
from torchlike._ops.table import Arrays, Scalar, op


def _bound(bodies, extra):
    """Each body with its own operands, which stand one after another."""
    out = []
    for body in bodies:
        out.append(body.bind(extra[: body.extra]))
        extra = extra[body.extra :]
    return out


def _arrays(operands) -> list:
    return [x.array if x.__class__ is Scalar else x for x in operands]


def _like(results, arrays) -> tuple:
    """Results as strongly typed arrays of the carried dtypes."""
    return tuple(r.astype(a.dtype) for r, a in zip(results, arrays, strict=True))


# ---- range checks ------------------------------------------------------------------------------


def _report(flags, meta) -> None:
    """Hand the range checks of a body on: flags (..., 2) of (how many are bad, the first)."""
    into = getattr(table._reports, "into", None)
    if into is None:
        return
    for flag, (size, rank) in zip(flags, meta, strict=True):
        rows = flag.reshape(-1, 2)
        first = rows[jnp.argmax(rows[:, 0] > 0), 1]
        into.append((jnp.stack([rows[:, 0].sum(), first]), size, rank))


def _flagged(body, call, meta: list):
    """The body's function with its checks as a last result, (checks, 2); meta gets their sizes."""

    def run(*arguments):
        results, reports = call(*arguments)
        meta[:] = [(size, rank) for _, size, rank in reports]
        if not body.checks or not reports:
            return results, jnp.zeros((0, 2), np.int64)
        return results, jnp.stack([flag for flag, _, _ in reports])

    return run


def _checks_of(body, run, arguments, meta: list) -> int:
    """How many checks a body makes; only tracing it tells."""
    if body.checks:
        jax.eval_shape(run, *arguments)
    return len(meta)


# ---- the ops -----------------------------------------------------------------------------------


@op(promotes="raw", checks=True, grad_name="CondAutogradOpBackward")
def cond_branches(operands: Arrays, then: object, otherwise: object, count: int):
    """The results of one of two bodies, by the first operand."""
    pred, *given = _arrays(operands)
    arguments, extra = given[:count], given[count:]
    bodies = then, otherwise
    metas: list = [[], []]
    runs = [_flagged(b, c, m) for b, c, m in zip(bodies, _bound(bodies, extra), metas, strict=True)]
    counts = [_checks_of(b, r, arguments, m) for b, r, m in zip(bodies, runs, metas, strict=True)]

    def branch(at):
        def run(arguments):
            results, flags = runs[at](*arguments)
            both = [jnp.zeros((n, 2), np.int64) for n in counts]
            both[at] = flags
            return tuple(r.astype(r.dtype) for r in results), tuple(both)

        return run

    chosen = pred.reshape(()) != 0
    results, flags = loops.cond(chosen, branch(0), branch(1), tuple(arguments))
    for rows, meta in zip(flags, metas, strict=True):
        _report([rows[i] for i in range(len(meta))], meta)
    return results


@op(promotes="raw", checks=True, differentiable=False)
def while_body(operands: Arrays, test: object, body: object, count: int):
    """What a body makes of its arguments while another says so, and how often it ran."""
    operands = _arrays(operands)
    carry, extra = tuple(operands[:count]), operands[count:]
    check, step = _bound((test, body), extra)
    meta: list = []
    run = _flagged(body, step, meta)
    flags = jnp.zeros((_checks_of(body, run, carry, meta), 2), np.int64)

    def more(state):
        return check(*state[0])[0][0].reshape(()) != 0

    def advance(state):
        before, found, turns = state
        results, new = run(*before)
        keep = found[:, :1] > 0
        return _like(results, before), jnp.where(keep, found, new), turns + 1

    carry, flags, turns = loops.while_loop(more, advance, (carry, flags, jnp.zeros((), np.int64)))
    _report([flags[i] for i in range(len(meta))], meta)
    return (*carry, turns)


@op(promotes="raw", checks=True, grad_name="WhileLoopAutogradOpBackward")
def repeat_body(operands: Arrays, body: object, count: int, bound: int):
    """A body applied to its results n times, n the first operand and at most ``bound``."""
    turns, *given = _arrays(operands)
    carry, extra = tuple(given[:count]), given[count:]
    (step,) = _bound((body,), extra)
    meta: list = []
    run = _flagged(body, step, meta)
    checks = _checks_of(body, run, carry, meta)

    def advance(state, i):
        def go(state):
            results, flags = run(*state)
            return _like(results, state), flags

        def stay(state):
            return state, jnp.zeros((checks, 2), np.int64)

        return loops.cond(i < turns, go, stay, state)

    carry, flags = loops.scan(advance, carry, jnp.arange(bound, dtype=np.int64))
    _report([flags[:, i] for i in range(len(meta))], meta)
    return carry


@op(promotes="raw", checks=True, grad_name="ScanAutogradOpBackward")
def scan_body(operands: Arrays, body: object, carries: int, sequences: int, reverse: bool):
    """(last carry, stacked results) of a body over the first axis of sequences."""
    operands = _arrays(operands)
    init, xs = tuple(operands[:carries]), tuple(operands[carries : carries + sequences])
    (step,) = _bound((body,), operands[carries + sequences :])
    meta: list = []
    run = _flagged(body, step, meta)

    def advance(carry, x):
        results, flags = run(*carry, *x)
        return _like(results[:carries], carry), (tuple(results[carries:]), flags)

    carry, (ys, flags) = loops.scan(advance, init, xs, reverse=reverse)
    _report([flags[:, i] for i in range(len(meta))], meta)
    return (*carry, *ys)


@op(promotes="raw", checks=True, grad_name="AssociativeScanAutogradOpBackward")
def associative_body(operands: Arrays, body: object, count: int, reverse: bool):
    """All prefixes of sequences, combined by an associative body in logarithmic depth."""
    operands = _arrays(operands)
    xs = tuple(operands[:count])
    (step,) = _bound((body,), operands[count:])
    meta: list = []
    run = _flagged(body, step, meta)
    flags: list = []

    def combine(a, b):
        results, found = jax.vmap(run)(*a, *b)
        flags.append(found)
        return _like(results, a)

    out = lax.associative_scan(combine, xs, reverse=reverse)
    if meta and flags:
        rows = jnp.concatenate(flags)
        _report([rows[:, i] for i in range(len(meta))], meta)
    return tuple(out)
