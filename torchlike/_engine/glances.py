"""Reads of a pending number that leave the segment pending: NumPy computes what it depends on.

A condition on a few scalars (``if alpha == 1.``, ``while t < end``) would cut a segment in two, and
cost a program and a wait each time. Where the same condition, after the same calls, has always had
the same outcome, the calls behind it are run by NumPy, and recording goes on. Of lines that are
known to go both ways a segment takes one, and of those not yet known a few: each further one would
double the programs that may come of it, and a loop of unknown length would never come back to calls
that are known.
"""

from __future__ import annotations

import numpy as np

from torchlike._core import devices, errors
from torchlike._core import dtypes as dt
from torchlike._core.settings import settings
from torchlike._engine.compat import in_program_scope
from torchlike._engine.host import plan_of
from torchlike._engine.inference import is_exact
from torchlike._engine.prefix import Prefix, Segment, local, tree
from torchlike._engine.values import Value

_MAX_BYTES = 64  # of a number, or a few, that somebody may decide upon
_MAX_CALLS = 16  # behind it
_MAX_WORK = 5e-5  # seconds of them in NumPy
_MAX_LINES = 10_000

# How much a glance adds, by what is known of its line, to the doubt whether the calls after it will
# come again; and the doubt at which a segment is run instead.
_MAX_DOUBTS = 16
_DOUBTS = {True: 0, None: 1, False: _MAX_DOUBTS}

# Ops that round once, as NumPy does: bit for bit what XLA gives, unless it fuses a product into
# the sum that takes it.
_SUMS = frozenset(("add", "sub", "rsub"))
_PRODUCTS = frozenset(("mul", "true_divide"))


class Glance:
    """What is known of one slot's number after the calls of one prefix.

    outcome is the bytes that it had whenever it was read here, None before; plan is how NumPy
    computes it; whole says whether there are no other calls than those behind it.
    """

    __slots__ = ("calls", "outcome", "plan", "whole")

    def __init__(self, calls: list[Prefix], whole: bool):
        self.calls, self.whole = calls, whole
        self.outcome = self.plan = None


# By the user's line: True if an outcome came back there, False if one differed.
_steady: dict = {}


def glance(value: Value, resolve) -> np.ndarray:
    """The number of a value that is pending in this thread's segment.

    ``resolve`` gives it by running the segment, where the number cannot be foreseen.
    """
    segment = local.segment
    found = glance_at(segment, value)
    if found is None:
        return resolve(value)
    if found.whole and all(
        ref() is None for slot, ref in enumerate(segment.refs) if slot != value.slot
    ):
        array = in_program_scope(_number, segment, value.slot, found)
        if array is None:
            return resolve(value)
        local.segment = Segment(tree)
        value.array, value.segment = array, None
        segment.end()
        return array
    if found.whole and segment.node.exact:  # NumPy would compute it all twice
        return resolve(value)
    frame = errors.user_frame()
    line = frame.f_code, frame.f_lasti
    steady = _steady.get(line)
    array = None
    if steady or segment.doubts < _MAX_DOUBTS:
        array = in_program_scope(_number, segment, value.slot, found)
    if array is None:
        array = resolve(value)
    else:
        value.array = array
        segment.doubts += _DOUBTS[steady]
    if steady is not False:
        outcome = np.asarray(array).tobytes()
        if found.outcome is not None:
            if line not in _steady and len(_steady) >= _MAX_LINES:
                _steady.clear()
            _steady[line] = outcome == found.outcome
            if outcome != found.outcome:
                segment.doubts += _MAX_DOUBTS
        found.outcome = outcome
    return array


def glance_at(segment: Segment, value: Value) -> Glance | None:
    """The record of a pending value at this point of its segment; None where NumPy may not tell."""
    if (
        value.segment is not segment
        or value.slot < 0
        or segment.device is not devices.CPU
        or segment.frame is not None
        or not settings.host
        or settings.immediate
        or settings.always_compile
    ):
        return None
    node = segment.node
    if node.glances is None:
        node.glances = {}
    found = node.glances.get(value.slot, False)
    if found is False:
        small = value.aval.nbytes <= _MAX_BYTES
        calls = _behind(node, value.slot) if small and not node.checks else None
        found = node.glances[value.slot] = calls and Glance(calls, len(calls) == node.depth)
    return found


def _behind(node: Prefix, slot: int) -> list[Prefix] | None:
    """The calls that a slot depends on, in order, if they are few and NumPy gives XLA's bits."""
    wanted = {slot}
    calls: list[Prefix] = []
    work, sums, products = 0.0, False, False
    while wanted:
        first = node.slots - node.outs
        mine = {s for s in wanted if s >= first}
        if mine:
            op = node.op
            work += node.work - node.parent.work
            if op.inner is not None or len(calls) == _MAX_CALLS or work > _MAX_WORK:
                return None
            if not is_exact(op, node.avals):
                sums |= op.name in _SUMS
                products |= op.name in _PRODUCTS
                if not _rounds_once(node) or (sums and products):
                    return None
            calls.append(node)
            wanted -= mine
            wanted.update(ref for ref in node.refs if ref.__class__ is int and ref >= 0)
        node = node.parent
    calls.reverse()
    return calls


def _rounds_once(call: Prefix) -> bool:
    """Whether a call rounds each number once, from what it is given as it is."""
    if call.op.name in _SUMS:
        if any(ref is not None for ref in call.refs[2:]):  # a factor
            return False
    elif call.op.name not in _PRODUCTS:
        return False
    a = call.avals[0]
    given = [b for b in call.in_avals if hasattr(b, "dtype")]
    return a.dtype in (dt.float32, dt.float64) and all(b.dtype is a.dtype for b in given)


def _number(segment: Segment, slot: int, found: Glance) -> np.ndarray | None:
    """The number by NumPy, or None if it cannot; its siblings, as of ``unbind``, are told, too."""
    call = found.calls[-1]
    slots = (slot,)
    if call.outs > 1 and all([a.nbytes <= _MAX_BYTES for a in call.avals]):
        slots = tuple(range(call.slots - call.outs, call.slots))
    plan = found.plan = plan_of(found.plan, slots, lambda: found.calls)
    if not plan:
        return None
    with np.errstate(all="ignore"):
        try:
            results, _, _ = plan.run(segment)
        except Exception:  # running the segment tells which call it was
            return None
    if len(slots) > 1:
        for n, result in zip(slots, results, strict=True):
            value = segment.refs[n]()
            if value is not None and value.array is None and n != slot:
                value.array = result.copy()
    return results[slots.index(slot)].copy()


def forget() -> None:
    """Forget what was seen of every line."""
    _steady.clear()
