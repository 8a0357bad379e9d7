"""Composites: a recorded segment as one op, which a replay records in place of all its calls."""

from __future__ import annotations

import numpy as np

from torchlike._engine.prefix import Prefix, Segment, local
from torchlike._engine.programs import evaluate_calls, needed_calls
from torchlike._engine.values import Value
from torchlike._ops.table import Arrays, Op, Scalar


class Composite:
    """A segment's calls as an op of its external inputs and of those numbers that may change.

    outs     the slots that are its results
    noted    (float, place) or (int, place) of each run-time number that is an operand
    donates  places of operands that the last results replace, in their order
    op       what a replay records: operands are the externals, then the noted numbers
    """

    __slots__ = ("avals", "floats", "ints", "node", "noted", "op", "outs")

    def __init__(self, name: str, segment: Segment, outs, noted=(), donates=(), tuned=False):
        node = self.node = segment.node
        self.outs, self.noted = tuple(outs), tuple(noted)
        self.floats = tuple(segment.floats[: node.floats])
        self.ints = tuple(segment.ints[: node.ints])
        calls = needed_calls(node, self.outs)
        slots = {}
        for call in node.path():
            slots.update(enumerate(call.avals, call.slots - call.outs))
        self.avals = tuple([slots[o] for o in self.outs])
        shapes = [(a.shape, a.dtype) for a in self.avals]
        homes = [a.device for a in self.avals]
        self.op = Op(
            name, _function(self, calls, node.externals), promotes="raw", differentiable=False,
            checks=any(c.op.checks for c in calls), shapes=lambda statics, in_avals: shapes,
            donates=(lambda statics: donates) if donates else None, inner=node,
            places=lambda statics: homes, tuned=tuned,
            made_of=("composite", calls, self.outs, self.noted, self.floats, self.ints, donates),
        )  # fmt: skip

    def seen_by_autograd(self, stops: dict):
        """The op's function, to be differentiated as autograd would (see ``evaluate_calls``)."""
        return _function(self, self.op.made_of[1], self.node.externals, stops)

    def same_numbers(self, segment: Segment) -> bool:
        """Whether the numbers that are part of this one are the segment's."""
        node = self.node
        noted = set(self.noted)
        mine = (*self.floats, *self.ints)
        given = (*segment.floats[: node.floats], *segment.ints[: node.ints])
        kinds = [(float, i) for i in range(len(self.floats))]
        kinds += [(int, i) for i in range(len(self.ints))]
        return all(
            key in noted or (a == b and repr(a) == repr(b)) or (a != a and b != b)
            for key, a, b in zip(kinds, mine, given, strict=True)
        )


def _function(composite: Composite, calls: list[Prefix], externals: int, stops=None):
    """The op's function of arrays: the calls in order, with constants (see ``evaluate_calls``)."""
    outs, noted = composite.outs, composite.noted
    sources: list[int] = []  # of each range check, the number of its call
    constants = (
        [np.float64(x) for x in composite.floats],
        [np.int64(x) for x in composite.ints],
    )

    def composite_call(operands: Arrays):
        given, numbers = operands[:externals], operands[externals:]
        floats, ints = list(constants[0]), list(constants[1])
        for (kind, place), x in zip(noted, numbers, strict=True):
            (floats if kind is float else ints)[place] = x.array if x.__class__ is Scalar else x
        sources.clear()
        values = evaluate_calls(calls, given, floats, ints, sources, stops=stops)
        return tuple([values[o] for o in outs])

    composite_call.sources = sources
    return composite_call


def take_place(composite: Composite, segment: Segment, values: list[Value]) -> None:
    """Let the results of a composite be what the segment it was made of would have computed."""
    into = local.segment
    for slot, result in zip(composite.outs, values, strict=True):
        value = segment.refs[slot]()
        if value is None or value.segment is not segment:
            continue
        if result.array is not None:  # it has run already
            value.array, value.segment = result.array, None
            continue
        value.segment, value.slot = into, result.slot
        into.refs[result.slot] = segment.refs[slot]
    segment.done = True
    segment.arrays = segment.owners = segment.refs = segment.floats = segment.ints = ()
