"""The tape's side of a recording: what the call leaves there becomes one node."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from types import SimpleNamespace

from torchlike._core.errors import NotTraceable, Unsupported
from torchlike._engine.bodies import place_of as body_place
from torchlike._engine.bodies import tracing
from torchlike._engine.prefix import Segment
from torchlike._engine.values import Value
from torchlike._tensor import dispatch, tape, views
from torchlike._tensor.function import FunctionNode
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._opened import (
    Again,
    Backward,
    CompiledNode,
    Derivations,
    Opened,
    below,
    reads_of,
    seen_by,
)
from torchlike.compiler._values import Unreplayable


def hang(t: Tensor, node, index: int) -> None:
    """Let a tensor that is no view hang on a node of the tape, and its storage too."""
    t._node, t._index = node, index
    storage = t._storage
    if storage is not None and not t._chain and not t._detached:
        storage.node, storage.index = node, index


def _can_wait(view: Tensor, base) -> bool:
    """Whether a view may be read off its base later, with the history that it has now."""
    return (
        base is not None and not base._chain and view._made.__class__ is not tuple
        and view._seen == base._seen == base._storage.version
        and not (view._hooks or view._retains) and views._is_read_off(view, base)
    )  # fmt: skip


def _holders(view) -> tuple:
    storage, base = view._storage, view._base
    return base._storage is storage, sys.getrefcount(storage), sys.getrefcount(base)


def _example() -> SimpleNamespace:
    memory = object()
    base = SimpleNamespace(_storage=memory)
    return SimpleNamespace(_storage=memory, _base=base)


_ALONE = _holders(_example())  # where nothing but a view leads to what it is a view of


def _is_kept(body: Segment) -> bool:
    """Whether the user's code has put something away that is only computed in a body."""
    made = body.refs[: body.node.slots]
    if any(ref() is not None for ref in made):
        gc.collect()
    return any(ref() is not None for ref in made)


class Opening:
    """The part of a ``Recording`` that looks after derivatives."""

    def _open(self, segment: Segment, found: list):
        """Put one tape node in the place of all that the call has recorded on the tape.

        Returns None if nothing is to be differentiated later.
        """
        changed = [t for t, node, *_ in self.shown if t._node is not node]
        outputs = self._made_here([*found, *changed])
        if not outputs:
            return None
        nodes, edges = below(outputs, self.start)
        if any(n.hooks or n.pre_hooks or n.retained for n in nodes):
            self._give_up("it registers hooks on the tape")
            return None
        late = [t for t in outputs if t._chain and not self._part_from_base(t, found)]
        bases = [views.base_of(t) for t in late]
        if not all(map(_can_wait, late, bases)) or any(t is c for t in late for c in changed):
            if self.known is None:  # the next call will see more
                return None
            self._give_up("it returns a view that requires grad, and whose base it cannot find")
            return None
        if late:
            outputs = [t for t in outputs if not any(t is view for view in late)]
            outputs = self._made_here([*outputs, *bases])
            for t in late:  # read off its base, on the tape, when somebody looks
                t._node, t._value, t._seen = None, Value(t._value.aval), -1
            if not outputs:
                return None
            nodes, edges = below(outputs, self.start)
        constants = self.capture.constants
        level = len(modes.levels)
        shapes = [t._value.aval for t in outputs]
        before = modes.grad, modes.walk, modes.sealed
        read = reads_of(nodes, self.compiled.watch)
        try:
            with tracing(shapes, level) as (body, holes):
                modes.grad = False
                modes.sealed += 1
                roots = [
                    ((t._node, t._index), hole) for t, hole in zip(outputs, holes, strict=True)
                ]
                with self._watching(nodes), Derivations(nodes, body, holes) as derived:
                    leaves, interior = tape.run(
                        roots, dispatch, retain_graph=True, wanted=set(edges), since=self.start
                    )
                grads = [
                    leaves[id(e)][1] if e.__class__ is not tuple and id(e) in leaves
                    else interior.get(e) if e.__class__ is tuple else None
                    for e in edges
                ]  # fmt: skip
                kept = [i for i, g in enumerate(grads) if g is not None]
                places = [body_place(body, grads[i]) for i in kept]
                sources = []
                for value, where, slot in body.frame.held:
                    hole = next((n for n, h in enumerate(holes) if h is value), None)
                    if hole is not None:
                        sources.append(("grad", hole))
                    elif where is segment:
                        sources.append(("slot" if slot >= 0 else "external", slot, value))
                    elif constants.get(id(value)) is value or value.array is not None:
                        sources.append(("held", value, value))
                    else:
                        raise Unreplayable("backward reads a value that comes from elsewhere")
                backward = Backward(
                    f"{self.compiled.name}_backward", body, places, sources, shapes, derived,
                    self.compiled.tuned,
                )  # fmt: skip
                if backward.mixed:
                    raise NotTraceable("a backward that is told which gradients there are")
                leaves = interior = grads = roots = derived = None
                if any(isinstance(n, FunctionNode) for n in nodes) and _is_kept(body):
                    raise NotTraceable("keeping what is computed")
        except Unreplayable as error:
            self._give_up(str(error))
            return None
        except NotTraceable as error:
            self._give_up(f"its derivative cannot be in a program: {error.what}")
            return None
        except Unsupported:
            raise
        except Exception as error:  # of a user's backward, which raises it again when it is called
            self._give_up(f"its derivative raises {type(error).__name__}")
            return None
        finally:
            modes.grad, modes.walk, modes.sealed = before
        if read is not None and read.failed() is None:  # else it changes what it reads
            backward.guards = reads_of(nodes, self.compiled.watch)
        opened = Opened(backward, outputs, [edges[i] for i in kept], shapes)
        opened.saved = [s[2] for s in sources if s[0] != "grad"]
        opened.stops = seen_by(nodes)
        opened.node = CompiledNode(backward, opened.edges, opened.saved, shapes)
        for i, t in enumerate(outputs):
            hang(t, opened.node, i)
        return opened

    def _made_here(self, tensors: list) -> list:
        """Those of some tensors that hang on the tape by what the call has recorded, each once."""
        made: dict = {}
        for t in tensors:
            node = t._node
            if node is not None and node.number >= self.start and not node.freed:
                made[id(t)] = t
        return list(made.values())

    @contextmanager
    def _watching(self, nodes):
        """Watch the backward of the user's own Functions, too."""
        if not any(isinstance(node, FunctionNode) for node in nodes):
            yield
            return
        watch = self.compiled.watch
        with watch.running() as all_known:
            yield
            self.complete = self.complete and all_known()
        if watch.effects:
            self.why = self.why or watch.effects[0]

    def _connect(self, opened, segment, composite) -> None:
        """Say where the tape node finds what it has saved, and how to derive it once more."""
        results = {id(segment.refs[slot]()): i for i, slot in enumerate(composite.outs)}
        operands = [ref() for ref in segment.owners]
        for value in opened.saved:
            place = results.get(id(value))
            if place is not None:
                opened.references.append(("result", place))
                continue
            at = next((n for n, operand in enumerate(operands) if operand is value), None)
            opened.references.append(("held", value) if at is None else ("operand", at))
        shown = {}
        for place, edge in enumerate(opened.edges):
            if edge.__class__ is tuple:
                for _, *made, value in self.shown:
                    if tuple(made) == edge:
                        shown[id(value)] = place
            else:
                shown[id(edge._value)] = place
        opened.again = Again(composite, opened.backward, opened.references, opened.stops)
        opened.targets = [shown.get(id(operand)) for operand in operands]

    def _part_from_base(self, t: Tensor, found: list) -> bool:
        """Make a view on the tape a tensor of its own, if nobody can see what it is a view of."""
        storage = t._storage
        if storage is None:
            return True
        if any(t is o for o in self.arguments):
            return False
        others = [*found, *self.arguments]
        if self.known:
            others += [other for _, other in self.known.values()]
        if any(o is not t and o._storage is storage for o in others):
            return False
        if (self.known is None or self.heap.opaque) and (t._base is None or _holders(t) != _ALONE):
            return False
        t._refresh()
        t._geometry = views.geometry(t)
        t._storage, t._chain, t._base, t._made = None, (), None, None
        t._seen = 0
        return True
