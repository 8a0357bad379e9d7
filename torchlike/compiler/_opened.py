"""The tape's side of compiled calls: one node, whose derivative was recorded with the call."""

from __future__ import annotations

import numpy as np

from torchlike._engine.prefix import record
from torchlike._engine.programs import evaluate_calls, needed_calls
from torchlike._engine.values import Value, overwritten_at
from torchlike._ops.table import Arrays, Op
from torchlike._tensor import tape


class Backward:
    """The derivative of a compiled forward: recorded calls as an op of saved values and gradients.

    places   per gradient wanted a slot of the recorded segment, or ~n for its n-th input
    sources  per input of that segment, what it is: ("grad", n), or a saved value's (...)
    """

    __slots__ = ("op",)

    def __init__(self, name: str, segment, places, sources, shapes):
        node = segment.node
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
        results = []
        for place in places:
            if place >= 0:
                a = avals[place]
            else:
                source = sources[~place]
                a = shapes[source[1]] if source[0] == "grad" else source[2].aval
            results.append((a.shape, a.dtype))

        def backward_call(operands: Arrays):
            given = [operands[r] for r in roles]
            values = evaluate_calls(calls, given, floats, ints)
            return tuple([values[p] if p >= 0 else given[~p] for p in places])

        self.op = Op(
            name, backward_call, promotes="raw", differentiable=False,
            shapes=lambda statics, in_avals: results,
        )  # fmt: skip


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
            return self._derive_graph(given, graph)
        return record(self.backward.op, (), [*self.saved, *given])[0]

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

        self.op = Op(f"{inner}_backward", again_call, promotes="raw", shapes=backward.op.shapes)


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
