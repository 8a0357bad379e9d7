"""Functions of tensors as bodies of control-flow ops: run once, with what they capture."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotTraceable
from torchlike._engine.bodies import Body, place_of, recorded, tracing
from torchlike._tensor import dispatch, tape, views
from torchlike._tensor.function import FunctionNode
from torchlike._tensor.levels import Crossing
from torchlike._tensor.modes import modes


class Traced:
    """A recorded function: its body, the operands that it adds, and its results' avals.

    seen tells, per result, whether autograd followed it.
    """

    __slots__ = ("avals", "body", "extra", "seen")

    def __init__(self, body, extra, avals, seen):
        self.body, self.extra, self.avals, self.seen = body, extra, avals, seen


def trace(function, avals, wants) -> Traced:
    """Run ``function(*tensors)``, which returns a list of tensors, once on holes and record it.

    ``wants`` says which arguments require grad.
    """
    level = modes.levels[-1].number if modes.levels else 0
    start = tape._next_number()
    modes.bodies += 1
    modes.sealed += 1
    try:
        with tracing(avals, level) as (segment, holes):
            arguments = [dispatch.wrap(v) for v in holes]
            for t, want in zip(arguments, wants, strict=True):
                t._requires_grad = want and modes.grad and t.dtype.category >= dt.FLOATING
            outs = function(*arguments)
            for t, hole in zip(arguments, holes, strict=True):
                if views.version_of(t) or dispatch.value_of(t) is not hole:
                    raise RuntimeError(
                        "the function given to a control-flow op may not change its inputs in "
                        "place: write x = x + 1, not x.add_(1)"
                    )
            return _close(segment, holes, outs, start)
    finally:
        modes.bodies -= 1
        modes.sealed -= 1


def _close(segment, holes, outs, start) -> Traced:
    places = [place_of(segment, dispatch.value_of(t)) for t in outs]
    stops, edges = _history(outs, segment, start) if modes.grad else ({}, {})
    roles, captured = [], []
    at = {id(v): i for i, v in enumerate(holes)}
    for n, (value, _, _) in enumerate(segment.frame.held):
        if id(value) in at:
            roles.append(at[id(value)])
        else:
            roles.append(~len(captured))
            captured.append(dispatch.history(value, edges.get(n)))
    seen = [t.requires_grad for t in outs]
    fixed = [not s and t.dtype.category >= dt.FLOATING for s, t in zip(seen, outs, strict=True)]
    if not modes.grad:
        fixed = [False] * len(outs)
    body = Body(segment.node, roles, places, fixed, stops)
    extra = [*captured, *segment.floats, *segment.ints]
    return Traced(body, extra, [t._value.aval for t in outs], seen)


def _history(outs, segment, start):
    """How autograd saw the calls that lead to the results.

    First, per recorded call, which operands are constants to it (``detach``, ``no_grad``); then,
    per external input that wants a gradient, where that goes.
    """
    stops: dict = {}
    edges: dict = {}
    stack = [t._node for t in outs if t._node is not None and t._node.number > start]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if isinstance(node, FunctionNode):
            raise NotTraceable("the gradient of an autograd.Function")
        if isinstance(node, Crossing):
            places = [_external(segment, node.source)]
        else:
            call = recorded(node.call)
            stops[call] = node.plan.constants
            places = [~r if r.__class__ is int and r < 0 else None for r in call.refs]
        for place, edge in zip(places, node.edges, strict=True):
            if edge.__class__ is tuple and edge[0].number > start:
                if edge[0] not in seen:
                    seen.add(edge[0])
                    stack.append(edge[0])
            elif edge is not None and place is not None:
                edges[place] = edge
    return stops, edges


def _external(segment, value):
    """Which external input of the body a Value is, if it is one."""
    if value is None or value.segment is not segment or value.slot >= 0:
        return None
    return ~value.slot
