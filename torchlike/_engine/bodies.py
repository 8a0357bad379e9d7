"""Bodies: a function of tensors recorded once, to be called by an op as a function of arrays.

The function runs with holes for its arguments while a segment of its own records its calls. So a
body is a place in the prefix tree and the slots of its results: tracing the same function again
finds the same body, and the program that holds it.
"""

from __future__ import annotations

from contextlib import contextmanager

import jax

from torchlike._core import devices, errors
from torchlike._engine import prefix
from torchlike._engine.inference import wrap
from torchlike._engine.prefix import Prefix, Segment, local
from torchlike._engine.programs import needed_calls, operands_of
from torchlike._engine.stored import KINDS
from torchlike._engine.values import Batched, Hole, Parts, Value
from torchlike._ops.table import Scalar, collecting_bad_indices, evaluate


class Frame:
    """What the segment of a body keeps of the Values that it takes from outside.

    level is the number of the innermost ``vmap`` that was open at its start, outer the segment
    that was recorded before and will be again.
    """

    __slots__ = ("held", "level", "outer")

    def __init__(self, level: int, outer: Segment):
        self.level, self.outer = level, outer
        self.held: list = []  # (value, the segment it was in, its slot there)

    def hold(self, value: Value) -> None:
        """Note a Value before the segment marks it as its input."""
        if isinstance(value.segment, Parts):
            raise errors.SparseOperand(value.segment.missing)
        self.held.append((value, value.segment, value.slot))

    def let_go(self, count: int) -> None:
        """Give back all but the first ``count`` values, as they were."""
        for value, segment, slot in reversed(self.held[count:]):
            value.segment, value.slot = segment, slot
        del self.held[count:]

    def living_outer(self) -> Segment:
        """The segment around the body, a new one if that has run in the meantime."""
        if self.outer.done:
            self.outer = Segment(prefix.tree)
        return self.outer

    def refuse(self, why: str) -> None:
        """Called instead of a flush: raises if a number is needed."""
        if why == "value":
            raise errors.NotTraceable("reading a number")
        if why == "device":
            raise errors.NotTraceable("using several devices")


@contextmanager
def tracing(in_avals, level: int):
    """(segment, Values for the arguments): what is recorded inside belongs to a body."""
    segment = Segment(prefix.tree, next((a.device for a in in_avals), devices.CPU))
    segment.frame = Frame(level, local.segment)
    local.segment = segment
    holes = [Value(a, Hole(segment.frame)) for a in in_avals]
    try:
        yield segment, holes
    finally:
        segment.frame.let_go(0)
        local.segment = segment.frame.living_outer()


def is_inside(value: Value) -> bool:
    """Whether a Value is computed by the body that is being traced, or its argument."""
    while value.array.__class__ is Batched:
        value = value.array.value
    segment = local.segment
    if value.array.__class__ is Hole:
        return value.array.frame is segment.frame
    return value.segment is segment and value.slot >= 0


@contextmanager
def outside():
    """What is recorded inside this block belongs to what is around the body being traced."""
    segment = local.segment
    frame = segment.frame
    held = frame.held
    for value, before, slot in reversed(held):
        value.segment, value.slot = before, slot
    local.segment = frame.living_outer()
    try:
        yield
    finally:
        frame.outer = local.segment
        local.segment = segment
        frame.held = [(value, value.segment, value.slot) for value, _, _ in held]
        for i, (value, _, _) in enumerate(held):
            value.segment, value.slot = segment, -1 - i


class Body:
    """Recorded calls as a function of arrays; equal to every body of the same calls.

    roles   per external input of the calls: n >= 0 for the n-th argument, ~n for the n-th capture
    outs    per result a slot, or ~n for the n-th external input
    fixed   per result, whether no gradient flows into it
    stops   per call that autograd saw, where operands are constants to it: (place, operands)
    """

    __slots__ = ("calls", "captures", "checks", "fixed", "floats", "hash", "ints", "node", "outs",
                 "roles", "stops")  # fmt: skip

    def __init__(self, node: Prefix, roles, outs, fixed, stops):
        self.node, self.roles, self.outs, self.fixed = node, tuple(roles), tuple(outs), tuple(fixed)
        self.calls = needed_calls(node, [o for o in self.outs if o >= 0])
        self.captures = sum(r < 0 for r in self.roles)
        self.floats, self.ints = node.floats, node.ints
        self.checks = any(c.op.checks for c in self.calls)
        self.stops = tuple((i, stops[c]) for i, c in enumerate(self.calls) if any(stops.get(c, ())))
        self.hash = hash((node, self.roles, self.outs, self.fixed, self.stops))

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return self is other or (
            isinstance(other, Body)
            and self.node is other.node
            and self.roles == other.roles
            and self.outs == other.outs
            and self.fixed == other.fixed
            and self.stops == other.stops
        )

    @property
    def extra(self) -> int:
        """How many operands it takes besides its arguments."""
        return self.captures + self.floats + self.ints

    def bind(self, extra):
        """A function (*arguments) -> (results, range checks) with the other operands given."""
        extra = [x.array if x.__class__ is Scalar else x for x in extra]
        captured, numbers = extra[: self.captures], extra[self.captures :]
        return lambda *arguments: self.run(arguments, captured, numbers)

    def run(self, arguments, captured, numbers):
        """Results and flags (count of bad indices, the first) with their (size, rank)."""
        floats, ints = numbers[: self.floats], numbers[self.floats :]
        externals = [arguments[r] if r >= 0 else captured[~r] for r in self.roles]
        stops = dict(self.stops)
        values: dict = {}
        flags: list = []
        for place, call in enumerate(self.calls):
            arrays = operands_of(call, externals, values, floats, ints)
            for i, stop in enumerate(stops.get(place, ())):
                if stop and arrays[i] is not None:
                    arrays[i] = jax.lax.stop_gradient(arrays[i])
            with collecting_bad_indices() as reports:
                results = evaluate(call.op, wrap(call.op, arrays, call.in_avals), call.statics)
            flags += reports
            values.update(enumerate(results, call.slots - call.outs))
        outs = [values[o] if o >= 0 else jax.numpy.asarray(externals[~o]) for o in self.outs]
        stop = jax.lax.stop_gradient
        outs = [stop(x) if f else x for x, f in zip(outs, self.fixed, strict=True)]
        return outs, flags


KINDS[Body] = lambda describe, body: describe.of(
    (body.calls, body.roles, body.outs, body.fixed, body.stops)
)


def recorded(call: Prefix) -> Prefix:
    """A call as its segment has it, of which ``vmap`` may have kept another record."""
    while call.parent is None and call.first is not call:
        call = call.first
    return call


def place_of(segment: Segment, value: Value) -> int:
    """The slot of a result in a body's segment, or ~n for its n-th external input."""
    if value.segment is not segment:
        segment.frame.hold(value)
        segment.owners.append(lambda: value)
        segment.arrays.append(value.array)
        value.slot, value.segment = -len(segment.arrays), segment
    return value.slot
