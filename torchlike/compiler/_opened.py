"""The tape's side of compiled calls: one node, whose derivative was recorded with the call."""

from __future__ import annotations

import numpy as np

from torchlike._engine.prefix import record
from torchlike._engine.programs import evaluate_calls, needed_calls
from torchlike._engine.values import Value, overwritten_at
from torchlike._ops.table import Arrays, Op
from torchlike._tensor import tape
from torchlike._tensor.function import FunctionNode
from torchlike.compiler._guards import Guards
from torchlike.compiler._heap import Heap


class Backward:
    """The derivative of a compiled forward: recorded calls as an op of saved values and gradients.

    places   per gradient wanted a slot of the recorded segment, or ~n for its n-th input
    sources  per input of that segment, what it is: ("grad", n), or a saved value's (...)
    guards   what the user's own derivatives have read besides, or None
    leads    per gradient wanted the results of the forward that lead to it; None if there is one
    """

    __slots__ = ("guards", "leads", "op")

    def __init__(self, name: str, segment, places, sources, shapes):
        self.guards = self.leads = None
        node = segment.node
        if len(shapes) > 1:
            self.leads = [_leads(node, place, sources) for place in places]
        calls = needed_calls(node, [p for p in places if p >= 0])
        floats = [np.float64(x) for x in segment.floats[: node.floats]]
        ints = [np.int64(x) for x in segment.ints[: node.ints]]
        saved = sum(s[0] != "grad" for s in sources)
        roles, next_saved = [], 0
        for source in sources:
            if source[0] == "grad":
                roles.append(saved + source[1])
            else:
                roles.append(next_saved)
                next_saved += 1
        avals = {}
        for call in node.path():
            avals.update(enumerate(call.avals, call.slots - call.outs))
        results, homes = [], []
        for place in places:
            if place >= 0:
                a = avals[place]
            else:
                source = sources[~place]
                a = shapes[source[1]] if source[0] == "grad" else source[2].aval
            results.append((a.shape, a.dtype))
            homes.append(a.device)

        def backward_call(operands: Arrays):
            given = [operands[r] for r in roles]
            values = evaluate_calls(calls, given, floats, ints)
            return tuple([values[p] if p >= 0 else given[~p] for p in places])

        self.op = Op(
            name, backward_call, promotes="raw", differentiable=False,
            shapes=lambda statics, in_avals: results, places=lambda statics: homes,
            made_of=("opened", calls, roles, places, floats, ints),
        )  # fmt: skip


def _leads(node, place: int, sources) -> set[int]:
    """The gradients given that one of those wanted is computed from."""
    refs = [place]
    if place >= 0:
        refs = [r for call in needed_calls(node, [place]) for r in call.refs]
    found = [sources[~r] for r in refs if r.__class__ is int and r < 0]
    return {source[1] for source in found if source[0] == "grad"}


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
        if self.used:
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
        if graph is not None:
            out = self._derive_graph(given, graph)
        else:
            out = record(self.backward.op, (), [*self.saved, *given])[0]
        if self.backward.leads is not None and any(g is None for g in grads):
            there = {i for i, g in enumerate(grads) if g is not None}
            leads = self.backward.leads
            return [g if there & on or not on else None for g, on in zip(out, leads, strict=True)]
        return out

    def _derive_graph(self, grads, graph):
        op, operands, numbers, targets = self.given
        tensors = [
            graph.history(x, None if place is None else self.targets[place])
            for x, place in zip(operands, targets, strict=True)
        ]
        grads = [graph.wrap(g) if g.__class__ is Value else g for g in grads]
        out = graph.apply(op, [*tensors, *numbers, *grads])
        return out if isinstance(out, tuple) else (out,)

    def release(self):
        super().release()
        self.given = None


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
    """The derivative as an op of what the call was given, so that it has a derivative itself."""

    __slots__ = ("op",)

    def __init__(self, composite, backward: Backward, references):
        given = composite.node.externals + len(composite.noted)
        inner = composite.op.name

        def again_call(operands: Arrays):
            results = composite.op.fn(operands[:given])
            saved = [
                results[x] if kind == "result" else operands[x] if kind == "operand" else x.array
                for kind, x in references
            ]
            return backward.op.fn([*saved, *operands[given:]])

        made_of = None
        if all(kind != "held" for kind, _ in references):
            made_of = ("again", composite.op, backward.op, given, references)
        # Its operands are what the call was given, which the call itself may have overwritten.
        self.op = Op(
            f"{inner}_backward", again_call, promotes="raw", shapes=backward.op.shapes,
            made_of=made_of, saves="nothing",
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
        self.node = self.again = self.saved = None

    def operands(self, values, numbers) -> None:
        """Give the node of the recorded call what it was given."""
        self.node.given = (self.again.op, values, numbers, self.targets)
        self.node = self.outputs = self.saved = None  # a replay must not keep them alive

    def make(self, edges, operands, numbers, results) -> CompiledNode:
        """The node of a replay."""
        saved = [
            results[x] if kind == "result" else operands[x] if kind == "operand" else x
            for kind, x in self.references
        ]
        node = CompiledNode(self.backward, edges, saved, self.shapes)
        node.given = (self.again.op, operands, numbers, self.targets)
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
        if node.used and not isinstance(node, tape.Barrier):
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
