"""The tape's side of compiled calls: one node, whose derivative was recorded with the call."""

from __future__ import annotations

import functools
from math import inf

import jax
import numpy as np

from torchlike._engine.bodies import recorded
from torchlike._engine.prefix import Prefix, record
from torchlike._engine.programs import evaluate_calls, needed_calls
from torchlike._engine.values import Value, overwritten_at
from torchlike._ops.table import Arrays, Op
from torchlike._tensor import tape
from torchlike._tensor.function import FunctionNode
from torchlike._tensor.levels import Crossing
from torchlike.compiler._guards import Guards
from torchlike.compiler._heap import Heap


class Backward:
    """The derivative of a compiled forward: recorded calls as ops of saved values and gradients.

    Where a result of the forward has no gradient, nothing is computed of what only that one leads
    to, as in a walk over the tape: zeros times infinity are nan, and a Function's backward does
    what it likes with zeros.

    places   per gradient wanted a slot of the recorded segment, or ~n for its n-th input
    sources  per input of that segment, what it is: ("grad", n), or a saved value's (...)
    guards   what the user's own derivatives have read besides, or None
    mixed    whether a Function's backward sees None where a result of the forward has no gradient
    stops    by the first slot of each call, which of its operands are constants to autograd
    """

    __slots__ = (
        "_homes", "_leads", "_ways", "guards", "mixed", "name", "node", "numbers", "places",
        "sources", "stops", "tuned",
    )  # fmt: skip

    def __init__(self, name: str, segment, places, sources, shapes, derived, tuned: bool):
        self.tuned = tuned
        self.guards, self.name, self.places, self.sources = None, name, places, sources
        self.node, self.stops = segment.node, derived.stops
        floats = [np.float64(x) for x in segment.floats[: self.node.floats]]
        ints = [np.int64(x) for x in segment.ints[: self.node.ints]]
        self.numbers = floats, ints
        self._leads = derived.leads(self.node, sources)
        self.mixed = any(
            len({derived.of([g], self._leads) for g in gs}) > 1 for gs in derived.mixed
        )
        avals = {}
        for call in self.node.path():
            avals.update(enumerate(call.avals, call.slots - call.outs))
        for n, source in enumerate(sources):
            avals[~n] = shapes[source[1]] if source[0] == "grad" else source[2].aval
        self._homes = avals
        self._ways: dict = {}

    def way(self, present: tuple) -> Way:
        """How it is computed where these results of the forward have a gradient."""
        found = self._ways.get(present)
        if found is None:
            found = self._ways[present] = self._way(set(present))
        return found

    def _way(self, present: set) -> Way:
        leads, avals = self._leads, self._homes
        none = {x for x, on in leads.items() if on and on.isdisjoint(present)}
        wanted = [n for n, place in enumerate(self.places) if place not in none]
        places = [self.places[n] for n in wanted]
        calls, needed, zeros = [], set(places), {}
        moving = set(places)  # of these, what autograd did not see as constants
        for call in reversed(needed_calls(self.node, [p for p in places if p >= 0])):
            slots = range(call.slots - call.outs, call.slots)
            refs = [r for r in call.refs if r.__class__ is int]
            if any(slot in needed and slot not in none for slot in slots) or (
                call.op.checks and none.isdisjoint(refs)
            ):
                calls.append(_told(call, none))
                refs = calls[-1].refs
                needed.update(r for r in refs if r.__class__ is int)
                if not moving.isdisjoint(slots):
                    stops = self.stops.get(slots.start) or (False,) * len(refs)
                    pairs = zip(refs, stops, strict=True)
                    moving.update(r for r, stop in pairs if r.__class__ is int and not stop)
        calls.reverse()
        for slot in sorted(none & needed):
            zeros[slot] = avals[slot].shape, avals[slot].dtype
        saved = sum(s[0] != "grad" for s in self.sources)
        roles, next_saved = [], 0
        for source in self.sources:
            if source[0] == "grad":
                roles.append(saved + source[1])
            else:
                roles.append(next_saved)
                next_saved += 1
        results = [(avals[p].shape, avals[p].dtype) for p in places]
        homes = [avals[p].device for p in places]
        floats, ints = self.numbers
        stops = {call.slots - call.outs: self.stops.get(call.slots - call.outs) for call in calls}
        stops = {slot: found for slot, found in stops.items() if found}

        def computed(stops):
            def backward_call(operands: Arrays):
                given = [operands[r] for r in roles]
                nothing = {
                    slot: jax.numpy.zeros(shape, dtype.numpy)
                    for slot, (shape, dtype) in zeros.items()
                }
                for slot, array in nothing.items():
                    if slot < 0:
                        given[~slot] = array
                values = evaluate_calls(calls, given, floats, ints, known=nothing, stops=stops)
                return tuple([values[p] if p >= 0 else given[~p] for p in places])

            return backward_call

        op = Op(
            self.name, computed(None), promotes="raw", differentiable=False, tuned=self.tuned,
            shapes=lambda statics, in_avals: results, places=lambda statics: homes,
            made_of=("opened", calls, roles, places, floats, ints, tuple(zeros.items())),
        )  # fmt: skip
        reads = {roles[~x] for x in moving if x < 0 and self.sources[~x][0] != "grad"}
        return Way(op, wanted, reads, computed(stops), stops)


def _told(call: Prefix, none: set) -> Prefix:
    """A call; if it is a derivative, told which of its gradients are not there."""
    op, refs = call.op, call.refs
    if op.made_of is None or op.made_of[0] != "backward" or none.isdisjoint(refs):
        return call
    first = len(refs) - call.statics[0].outs
    gone = [n >= first and r.__class__ is int and r in none for n, r in enumerate(refs)]
    refs = tuple([None if out else r for out, r in zip(gone, refs, strict=True)])
    avals = tuple([None if out else a for out, a in zip(gone, call.in_avals, strict=True)])
    told = Prefix(call.parent, op, call.statics, refs, call.avals, avals)
    told.line = call.line
    return told


class Way:
    """One way to compute a derivative: an op, which of the gradients wanted it gives, which of the
    saved values it depends on, and its function as autograd sees it, with ``stops``."""

    __slots__ = ("op", "reads", "seen", "stops", "wanted")

    def __init__(self, op: Op, wanted: list[int], reads: set, seen, stops: dict):
        self.op, self.wanted, self.reads, self.seen, self.stops = op, wanted, reads, seen, stops


class Derivations:
    """What tells which incoming gradients the calls of a derivative belong to.

    functions  (first slot, slot behind the last, the gradients) of the user's Functions
    moved      slot -> the gradients that it is a gradient of, where not of all
    mixed      gradients of Functions that tell which of them there are
    stops      by the first slot of a node's derivative, which operands are constants to autograd
    """

    def __init__(self, nodes, body, holes):
        self.functions: list = []
        self.moved: dict[int, list] = {}
        self.mixed: list = []
        self.stops: dict[int, tuple] = {}
        self.body, self.holes = body, {id(hole): n for n, hole in enumerate(holes)}
        self.nodes = [n for n in nodes if isinstance(n, FunctionNode) or n.plan is not None]

    def __enter__(self):
        for node in self.nodes:
            node.derive = functools.partial(self._derive, node)
        return self

    def __exit__(self, *exc):
        for node in self.nodes:
            del node.derive

    def _derive(self, node, grads, graph=None):
        body = self.body
        first = body.node.slots
        out = type(node).derive(node, grads, graph)
        there = [g for g in grads if g is not None]
        if isinstance(node, FunctionNode):
            self.functions.append((first, body.node.slots, there))
            if len(there) > 1 and not node.attributes.get("materialize_grads", True):
                self.mixed.append(there)
            return out
        constants = node.plan.constants
        if any(constants) and body.node.slots > first:
            call = body.node  # the last one: what hooks give back comes before
            rest = len(call.refs) - len(constants)
            self.stops[call.slots - call.outs] = (*constants, *(False,) * rest)
        if node.plan.moved_by is not None:
            for g, by in zip(out, node.plan.moved_by, strict=True):
                if g is not None and by is not None and g.segment is body:
                    self.moved[g.slot] = [grads[i] for i in by if grads[i] is not None]
        return out

    def leads(self, node, sources) -> dict[int, frozenset]:
        """The gradients given that each slot, and each input by ~n, is computed from."""
        leads = {
            ~n: frozenset((source[1],)) if source[0] == "grad" else _NONE
            for n, source in enumerate(sources)
        }
        functions = iter([*self.functions, (inf, inf, ())])
        first, end, there = next(functions)
        for call in node.path():
            at = call.slots - call.outs
            while at >= end:
                first, end, there = next(functions)
            if first <= at:
                on = self.of(there, leads)
            else:
                on = _NONE.union(*[leads[r] for r in call.refs if r.__class__ is int])
            for slot in range(at, call.slots):
                by = self.moved.get(slot)
                leads[slot] = on if by is None else self.of(by, leads)
        return leads

    def of(self, values, leads) -> frozenset:
        """Those that some gradients on the way are computed from."""
        found = [
            (self.holes[id(g)],) if id(g) in self.holes
            else leads[g.slot] if g.segment is self.body else ()
            for g in values
        ]  # fmt: skip
        return _NONE.union(*found)


_NONE: frozenset = frozenset()


class CompiledNode(tape.Node):
    """The tape's node for all that a compiled function has computed."""

    op = call = given = None

    def __init__(self, backward: Backward, targets, saved, shapes):
        self.number = tape._next_number()
        self.backward, self.targets, self.saved, self.shapes = backward, targets, saved, shapes
        self.segment = None
        self.begin()

    def begin(self) -> None:
        """From here on nobody may overwrite what is saved; what the call did itself is right."""
        self.lines = [overwritten_at(value) for value in self.saved]

    @property
    def outs(self) -> int:
        return len(self.shapes)

    @property
    def edges(self) -> list:
        """Where the gradients go: leaf tensors, or (Node, result index)."""
        return list(self.targets)

    def name(self) -> str:
        return self.label or "CompiledFunctionBackward"

    def derive(self, grads, graph=None):
        if self.freed:
            raise RuntimeError(tape.BACKWARD_TWICE)
        guards = self.backward.guards
        if guards is not None and not guards.hold():
            why = guards.failed()
            if why is not None:
                raise RuntimeError(
                    f"{why}: {self.name()} was recorded with the forward pass, and the backward "
                    "of an autograd.Function in it read that. Keep on ctx what forward knows."
                )
            guards.refresh()
        for value, before in zip(self.saved, self.lines, strict=True):
            line = None if value.epoch is None else overwritten_at(value)
            if line is not None and before is None:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [torch.{value.aval.dtype.name} "
                    f"{list(value.aval.shape)}], saved for {self.name()}, overwritten at {line}. "
                    "Use an out-of-place operation there, or clone() the tensor before it."
                )
        given = [
            Value(a, np.zeros(a.shape, a.dtype.numpy)) if g is None else g
            for g, a in zip(grads, self.shapes, strict=True)
        ]
        present = tuple([i for i, g in enumerate(grads) if g is not None])
        way = self.backward.way(present)
        found: list = [None] * len(self.backward.places)
        if way.wanted:
            if graph is None:
                out = record(way.op, (), [*self.saved, *given])[0]
            elif self.given[0].stops is None:
                values = [graph.to_value(g) for g in given]
                out = record(way.op, (), [*self.saved, *values])[0]
                out = [graph.history(x, (self._refused(), 0)) for x in out]
            else:
                out = self._derive_graph(given, graph, present)
            for n, g in zip(way.wanted, out, strict=True):
                found[n] = g
        return found

    def _refused(self) -> tape.Refused:
        """The history of a gradient of which the calls alone do not tell the derivative."""
        why = (
            "torch.compile does not currently support double backward through an "
            "autograd.Function or saved tensors' hooks; compile with backend='eager'"
        )
        return tape.Refused(f"{self.name()}Backward", f"{self.name()}: {why}", self.targets)

    def _derive_graph(self, grads, graph, present):
        again, operands, numbers, targets = self.given
        op, reached = again.op(present)
        tensors = [
            graph.history(x, self.targets[place] if n in reached and place is not None else None)
            for n, (x, place) in enumerate(zip(operands, targets, strict=True))
        ]
        grads = [graph.wrap(g) if g.__class__ is Value else g for g in grads]
        out = graph.apply(op, [*tensors, *numbers, *grads])
        return out if isinstance(out, tuple) else (out,)

    @property
    def freed(self) -> bool:
        return self.saved is None

    def release(self):
        saved = self.saved
        super().release()
        if saved:
            self.given = None
        else:  # nothing that another backward would miss
            self.saved = saved


def seen_by(nodes) -> dict | None:
    """By the first slot of each call on the tape, which of its operands are constants to autograd;
    None if more than the calls tells what is differentiated: Functions, hooks on what is saved."""
    stops: dict = {}
    for node in nodes:
        if node.__class__ is tape.Node or isinstance(node, tape.Barrier):
            found = node.plan.constants
            if isinstance(node, tape.Barrier):
                found = (True,) * len(found)
            if any(found):
                call = recorded(node.call)
                stops[call.slots - call.outs] = found
        elif not isinstance(node, Crossing):
            return None
    return stops


def reads_of(nodes, watch) -> Guards | None:
    """Guards of what the backward of the user's own Functions may read besides ctx."""
    kinds = {node.function for node in nodes if isinstance(node, FunctionNode)}
    codes = {getattr(kind.backward, "__code__", None): kind for kind in kinds}
    if not codes:
        return None
    names = watch.names.union(*[code.co_names for code in codes if code is not None])
    heap = Heap(names, watch.anything, {*watch.codes, *codes})
    for code, kind in codes.items():
        heap.add(kind.backward, kind.__qualname__)
        if code is not None:
            heap.scope(code.co_names, kind.backward.__globals__)
    looked: set = set()
    while found := heap.functions - looked:
        looked |= found
        for code in found & watch.codes.keys():
            heap.scope(*watch.codes[code])
    return Guards(heap.parts, [], {}, [], heap.instances)


class Spent(tape.Node):
    """The history of a result of which the call has freed a part: a backward is an error."""

    op = call = None
    used = True

    def __init__(self, node: tape.Node):
        self.number, self.label, self.outs = node.number, node.name(), node.outs
        self.targets, self.segment = [], None

    outs = None  # as many as those of the node it stands for

    @property
    def edges(self) -> list:
        """Nowhere: no gradient gets through."""
        return []


class Again:
    """The derivative as an op of what the call was given, so that it has a derivative itself.

    stops tells what is constant to autograd in the forward (see ``seen_by``).
    """

    __slots__ = ("_ops", "backward", "composite", "references", "stops")

    def __init__(self, composite, backward: Backward, references, stops: dict | None):
        self.composite, self.backward, self.references = composite, backward, references
        self.stops = stops
        self._ops: dict = {}

    def op(self, present: tuple) -> tuple[Op, set]:
        """The op where these results of the forward have a gradient, and the operands that the
        gradients depend on."""
        if present not in self._ops:
            way = self.backward.way(present)
            self._ops[present] = self._made(way), self._reached(way)
        return self._ops[present]

    def _reached(self, way: Way) -> set:
        composite, reached = self.composite, set()
        moving = set()
        for kind, x in [self.references[n] for n in way.reads]:
            if kind == "result":
                moving.add(composite.outs[x])
            elif kind == "operand":
                reached.add(x)
        for call in reversed(composite.node.path()):
            slots = range(call.slots - call.outs, call.slots)
            if not moving.isdisjoint(slots):
                stops = self.stops.get(slots.start) or (False,) * len(call.refs)
                pairs = zip(call.refs, stops, strict=True)
                moving.update(r for r, stop in pairs if r.__class__ is int and not stop)
        return reached | {~x for x in moving if x < 0}

    def _made(self, way: Way) -> Op:
        composite, references, derivative = self.composite, self.references, way.op
        given = composite.node.externals + len(composite.noted)
        forward = composite.seen_by_autograd(self.stops)

        def again_call(operands: Arrays):
            results = forward(operands[:given])
            saved = [
                results[x] if kind == "result" else operands[x] if kind == "operand" else x.array
                for kind, x in references
            ]
            return way.seen([*saved, *operands[given:]])

        made_of = None
        if all(kind != "held" for kind, _ in references):
            stops = tuple(self.stops.items()), tuple(way.stops.items())
            made_of = ("again", composite.op, derivative, given, references, stops)
        # Its operands are what the call was given, which the call itself may have overwritten.
        return Op(
            f"{composite.op.name}_backward", again_call, promotes="raw", shapes=derivative.shapes,
            made_of=made_of, saves="nothing", tuned=derivative.tuned,
        )  # fmt: skip


class Opened:
    """What a recorded call leaves on the tape, and how a replay makes it again.

    references  per saved value ("result", n), ("operand", n) or ("held", value)
    targets     per operand of the composite the place of its gradient, or None
    """

    def __init__(self, backward, outputs, edges, shapes):
        self.backward, self.outputs, self.edges, self.shapes = backward, outputs, edges, shapes
        self.references: list = []
        self.targets: list = []
        self.node = self.again = self.saved = self.stops = None

    def operands(self, values, numbers) -> None:
        """Give the node of the recorded call what it was given."""
        self.node.given = (self.again, values, numbers, self.targets)
        self.node = self.outputs = self.saved = None  # a replay must not keep them alive

    def make(self, edges, operands, numbers, results) -> CompiledNode:
        """The node of a replay."""
        saved = [
            results[x] if kind == "result" else operands[x] if kind == "operand" else x
            for kind, x in self.references
        ]
        node = CompiledNode(self.backward, edges, saved, self.shapes)
        node.given = (self.again, operands, numbers, self.targets)
        return node


def below(outputs, start: int):
    """The nodes made since ``start`` below some tensors, and the older edges and leaves there."""
    nodes, edges, seen = [], [], set()
    stack = [t._node for t in outputs]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        nodes.append(node)
        for edge in node.targets:
            if edge.__class__ is tuple and edge[0].number >= start:
                stack.append(edge[0])
            elif not any(_same_edge(edge, e) for e in edges):
                edges.append(edge)
    return nodes, edges


def is_spent(node, start: int) -> bool:
    """Whether a backward from a node would meet one made since ``start`` that was freed."""
    stack, seen = [node], set()
    while stack:
        node = stack.pop()
        if node.freed:
            return True
        seen.add(id(node))
        for edge in node.targets:
            if edge.__class__ is tuple and edge[0].number >= start and id(edge[0]) not in seen:
                stack.append(edge[0])
    return False


def _same_edge(a, b) -> bool:
    if a.__class__ is tuple:
        return b.__class__ is tuple and a[0] is b[0] and a[1] == b[1]
    return a is b
