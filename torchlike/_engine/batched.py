"""Calls under ``vmap``: an operand that stands for a whole batch makes the call one over the batch.

Its Value has the shape of one sample; its array is a ``Batched``, which holds the Value of all.
Levels nest: the one opened last is outermost in the Value. The call goes into the segment as any
other, so that a vmapped function costs no more than the same function written for a batch.
"""

from __future__ import annotations

from torchlike._core import errors
from torchlike._engine import prefix
from torchlike._engine.inference import infer, kind_of
from torchlike._engine.prefix import Prefix, record
from torchlike._engine.values import Batched, Level, Value, aval
from torchlike._ops.batching import SPREAD, SWAP, TIMES, TOTAL, batched
from torchlike._ops.table import Op


def apply_batched(op: Op, statics: tuple, operands) -> tuple[list[Value], Prefix]:
    """Record a call of which operands are batches, at the innermost of their levels."""
    level = max(
        (x.array.level for x in operands if x.__class__ is Value and x.array.__class__ is Batched),
        key=lambda level: level.number,
    )
    given, mask, in_avals = [], [], []
    for x in operands:
        mapped = False
        if x.__class__ is Value:
            in_avals.append(x.aval)
            device = x.aval.device
            batch = x.array
            if batch.__class__ is Batched and batch.level is level:
                x, mapped = batch.value, batch.mapped
        else:
            in_avals.append(None if x is None else kind_of(x))
        given.append(x)
        mask.append(mapped)
    if any(mask):
        infer(op, statics, tuple(in_avals), device)  # raises in the words for one sample
        values, recorded = record(batched(op), (statics, tuple(mask)), given)
        results = [mapped_value(level, v) for v in values]
    else:
        values, recorded = record(op, statics, given)
        results = [Value(v.aval, Batched(level, v, False)) for v in values]
    node = Prefix(None, op, statics, (), tuple([r.aval for r in results]), tuple(in_avals))
    node.line = errors.user_line()
    node.first = recorded  # what a body looks for: its own record of the call
    return results, node


def mapped_value(level: Level, value: Value) -> Value:
    """One sample of a value whose first axis is the batch."""
    a = value.aval
    return Value(aval(a.shape[1:], a.dtype, a.device), Batched(level, value, True))


def levels_of(value: Value) -> list[Level]:
    """The levels that a value has, innermost first."""
    out = []
    while value.array.__class__ is Batched:
        out.append(value.array.level)
        value = value.array.value
    return out


def enter(value: Value, level: Level, mapped: bool) -> Value:
    """The value at a level: its first axis becomes the batch, or all samples share it."""
    batch = value.array
    if batch.__class__ is Batched and batch.level.number > level.number:
        inner = batch.value
        if mapped and batch.mapped:
            inner = record(SWAP, (), (inner,))[0][0]
        inner = enter(inner, level, mapped)
        if batch.mapped:
            return mapped_value(batch.level, inner)
        return Value(inner.aval, Batched(batch.level, inner, False))
    return mapped_value(level, value) if mapped else Value(value.aval, Batched(level, value, False))


def leave(value: Value, level: Level, total: bool) -> Value:
    """The value without a level: the batch becomes its first axis, or is summed (``total``)."""
    batch = value.array
    if batch.__class__ is Batched and batch.level.number > level.number:
        inner = leave(batch.value, level, total)
        if not batch.mapped:
            return Value(inner.aval, Batched(batch.level, inner, False))
        if not total:
            inner = record(SWAP, (), (inner,))[0][0]
        return mapped_value(batch.level, inner)
    if batch.__class__ is Batched and batch.level is level:
        if batch.mapped:
            return record(TOTAL, (), (batch.value,))[0][0] if total else batch.value
        value = batch.value
    return record(TIMES if total else SPREAD, (level.size,), (value,))[0][0]


prefix.batch_hook[0] = apply_batched
