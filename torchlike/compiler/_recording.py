"""Recording: run the user's code once, as one composite, and find out what a replay has to do."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from operator import is_

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotTraceable
from torchlike._engine import prefix
from torchlike._engine.bodies import place_of as body_place
from torchlike._engine.bodies import tracing
from torchlike._engine.captures import Capture
from torchlike._engine.composites import take_place
from torchlike._engine.flush import flush
from torchlike._engine.prefix import Segment, cut_from, local, record
from torchlike._engine.programs import replaced_inputs
from torchlike._engine.values import Value, aval
from torchlike._tensor import dispatch, tape, views
from torchlike._tensor.function import FunctionNode
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._arguments import Flat
from torchlike.compiler._heap import (
    Entries,
    Guards,
    Heap,
    Items,
    TooLarge,
    plain_state,
    same,
)  # fmt: skip
from torchlike.compiler._opened import Again, Backward, CompiledNode, Opened
from torchlike.compiler._replay import Replay
from torchlike.compiler._surroundings import surrounding
from torchlike.compiler._values import (
    Argument,
    Constant,
    Known,
    Namer,
    RootOf,
    Through,
    Unreplayable,
    ValueOf,
    tensors_in,
)  # fmt: skip

# What users read of schedules and optimizers; a replay does not look at these again.
_SCHEDULE_NAMES = frozenset((
    "param_groups", "get_last_lr", "_last_lr", "last_epoch", "_step_count", "base_lrs", "get_lr",
))  # fmt: skip


class Recording:
    """One call of a compiled function that runs its Python, and what came of it.

    result    what the function returned
    replay    a Replay, or None
    why       why there is none: (reason, user's line or None)
    complete  whether a replay was looked for with all that the code reads in view
    """

    def __init__(self, compiled, flat, args, kwargs):
        self.compiled, self.flat = compiled, flat
        self.arguments, self.objects = flat.tensors, flat.objects
        self.args, self.kwargs = args, kwargs
        self.replay = self.why = self.result = None
        self.complete = False
        self.heap = self.known = self.before = None
        self._run(args, kwargs)

    def _run(self, args, kwargs) -> None:
        compiled, watch = self.compiled, self.compiled.watch
        flush(why="compiled call")
        if watch.ran and not watch.effects:
            try:
                self._look()
            except TooLarge as error:
                self.why = (f"too much can be reached through {error}", None)
        segment = local.segment = Segment(prefix.tree)
        self.start = tape._next_number()
        capture = local.capture = Capture(segment, compiled.fullgraph)
        try:
            with watch.running() as all_known:
                self.result = compiled.function(*args, **kwargs)
                self.complete = self.heap is not None and all_known()
        finally:
            local.capture = None
        self.capture = capture
        if capture.broken is not None or local.segment is not segment:
            self.why = capture.broken or ("the program was cut", None)
            return
        try:
            self._conclude(segment)
        finally:
            self.before = self.heap = self.known = None

    # ---- before the call -----------------------------------------------------------------------

    def _look(self) -> None:
        """Remember everything that the call can reach, as it is now."""
        compiled, watch = self.compiled, self.compiled.watch
        heap = self.heap = Heap(watch.names, watch.anything)
        heap.add(compiled.function, compiled.name)
        for x in self.objects:
            heap.add(x, "an argument")
        for found in watch.codes.values():
            heap.scope(*found)
        heap.name_by_modules()
        self.known, self.before = {}, {}
        for i, t in enumerate(self.arguments):
            if id(t) not in heap.tensors:
                self._know(Argument(i), t)
        for t in heap.tensors.values():
            self._know(Known(t), t)
        self.state = self._state()

    def _know(self, reference, t: Tensor) -> None:
        if id(t) in self.known:
            return
        self.known[id(t)] = (reference, t)
        storage = t._storage
        if storage is None or t._seen == storage.version:
            self.before[id(t._value)] = ValueOf(reference)
        if storage is not None:
            self.before.setdefault(id(storage.value), RootOf(reference))
        for name in ("_grad", "_base"):
            other = getattr(t, name)
            if other is not None and id(other) not in self.heap.tensors:
                self._know(Through(reference, name), other)

    def _state(self) -> dict:
        """What all known tensors show now."""
        out = {}
        for key, (_, t) in self.known.items():
            s = t._storage
            root = t._value if s is None else s.value
            version = t._version_count if s is None else s.version
            silent = 0 if s is None else s.silent
            out[key] = (root, version, silent, t._grad, t._node, s, t._requires_grad)
        return out

    # ---- after the call ------------------------------------------------------------------------

    def _conclude(self, segment: Segment) -> None:
        """Put a composite in the segment's place; make a Replay if the call can be replayed."""
        for packed, value, start in self.capture.cuts:
            cut_from(packed, value, start)
        found: list = []
        tensors_in(self.result, found)
        opened = self._open(segment, found)
        outs = self._live(segment)
        noted = self._noted()
        donates, outs = _donations(segment, outs, opened is not None)
        composite = self.compiled.composite(segment, outs, noted, donates)
        if opened is not None:
            self._connect(opened, segment, composite)
        results = {id(segment.refs[slot]()): i for i, slot in enumerate(outs)}
        plan = None
        if self.complete and self.why is None:
            try:
                plan = self._plan(segment, composite, results, opened)
            except Unreplayable as error:
                self.why = (str(error), None)
        numbers = [_number(segment, key) for key in noted]
        externals = [
            ref() or Value(_aval_of(a, segment.device), a)
            for ref, a in zip(segment.owners, segment.arrays, strict=True)
        ]
        if opened is not None:
            opened.operands(externals, numbers)
        self.before = self.heap = self.known = None
        local.segment = Segment(prefix.tree)
        call = None
        if outs or composite.op.checks:
            values, call = record(composite.op, (), [*externals, *numbers])
            del externals
            take_place(composite, segment, values)
        else:
            segment.done = True
        if opened is None:
            flush(None, "compiled call", self.compiled.place)
            if plan is not None and call is not None:
                plan.shorten(call)
        self.replay = plan

    def _live(self, segment: Segment) -> list[int]:
        node = segment.node
        live = []
        for slot, ref in enumerate(segment.refs[: node.slots]):
            value = ref()
            if value is not None and value.segment is segment:
                live.append(slot)
        return live

    def _check_claims(self, segment, composite, claimed: set[int]) -> None:
        """Raise if a result is alive that nothing seen holds: a replay would leave the old one."""
        unclaimed = set(range(len(composite.outs))) - claimed
        if unclaimed:
            gc.collect()  # what only a cycle of references keeps alive is nobody's
            if any(segment.refs[composite.outs[i]]() is not None for i in unclaimed):
                raise Unreplayable("it keeps a tensor where nobody can find it")

    def _noted(self) -> list:
        """The places of the run-time numbers that a replay reads again."""
        noted = []
        for action in self.capture.actions:
            if action[0] == "numbers":
                _, _, kinds, *at = action
                for kind in kinds:
                    n = kind is int
                    noted.append((kind, at[n]))
                    at[n] += 1
        return noted

    def _open(self, segment: Segment, found: list):
        """Put one tape node in the place of all that the call has recorded on the tape.

        Returns None if nothing is to be differentiated later.
        """
        outputs: list[Tensor] = []
        for t in found:
            node = t._node
            if (
                node is not None
                and node.number >= self.start
                and not node.used
                and not any(t is o for o in outputs)
            ):
                outputs.append(t)
        if not outputs:
            return None
        nodes, edges = _below(outputs, self.start)
        if any(n.hooks or n.pre_hooks or n.retained for n in nodes):
            self._give_up("it registers hooks on the tape")
            return None
        for t in outputs:
            if not self._part_from_base(t, found):
                self._give_up("it returns a view, which requires grad, of what it is given")
                return None
        constants = self.capture.constants
        level = len(modes.levels)
        shapes = [t._value.aval for t in outputs]
        before = modes.grad, modes.walk
        try:
            with tracing(shapes, level) as (body, holes):
                modes.grad = False
                roots = [
                    ((t._node, t._index), hole) for t, hole in zip(outputs, holes, strict=True)
                ]
                with self._watching(nodes):
                    leaves, interior = tape.run(
                        roots, dispatch, retain_graph=True, wanted=set(edges)
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
                backward = Backward(f"{self.compiled.name}_backward", body, places, sources, shapes)
        except Unreplayable as error:
            self._give_up(str(error))
            return None
        except NotTraceable:
            self._give_up("its derivative reads a value")
            return None
        finally:
            modes.grad, modes.walk = before
        opened = Opened(backward, outputs, [edges[i] for i in kept], shapes)
        opened.saved = [s[2] for s in sources if s[0] != "grad"]
        opened.node = CompiledNode(backward, opened.edges, opened.saved, shapes)
        for i, t in enumerate(outputs):
            t._node, t._index = opened.node, i
        return opened

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
        known = [*self.arguments, *(t for _, t in (self.known or {}).values())]
        shown = {}
        for place, edge in enumerate(opened.edges):
            if edge.__class__ is tuple:
                t = next((t for t in known if (t._node, t._index) == edge), None)
            else:
                t = edge
            if t is not None:
                shown[id(t._value)] = place
        opened.again = Again(composite, opened.backward, opened.references)
        opened.targets = [shown.get(id(operand)) for operand in operands]

    def _part_from_base(self, t: Tensor, found: list) -> bool:
        """Make a view on the tape a tensor of its own, if nobody can see what it is a view of."""
        storage = t._storage
        if storage is None:
            return True
        others = [*found, *self.arguments]
        if self.known:
            others += [other for _, other in self.known.values()]
        if any(o is not t and o._storage is storage for o in others):
            return False
        t._refresh()
        t._geometry = views.geometry(t)
        t._storage, t._chain, t._base, t._made = None, (), None, None
        t._seen = 0
        return True

    def _give_up(self, why: str) -> None:
        if self.why is None:
            self.why = (why, None)

    # ---- the replay ----------------------------------------------------------------------------

    def _plan(self, segment, composite, results, opened) -> Replay:
        heap, known = self.heap, self.known
        if heap.opaque:
            path, what = heap.opaque[0]
            raise Unreplayable(f"{path} is {what}")
        constants = self.capture.constants
        places = {}
        if opened is not None:
            places = {id(t): i for i, t in enumerate(opened.outputs)}
        draws = {id(a[1]): i for i, a in enumerate(self.capture.actions) if a[0] == "draw"}
        namer = Namer(known, self.before, results, places, constants, heap._seen)
        sources = []
        for ref, _ in zip(segment.owners, segment.arrays, strict=True):
            value = ref()
            source = None if value is None else self._source(value, constants, draws)
            if source is None:
                raise Unreplayable("it reads a tensor that cannot be found again")
            sources.append(source)
        replay = Replay(self.compiled, self.flat, composite, sources)
        replay.tree = namer.tree(self.result)
        replay.actions = self.capture.actions
        self.placed: dict = {}
        self._effects(replay, namer)
        if surrounding() != self.compiled.around:
            raise Unreplayable("it leaves grad mode, autocast or a default changed")
        flat = Flat(self.args, self.kwargs)
        if flat.spec != self.flat.spec or not all(
            map(is_, (*flat.tensors, *flat.objects), (*self.flat.tensors, *self.flat.objects))
        ):
            raise Unreplayable("it changes what stands in its arguments")
        if opened is not None:
            self._open_replay(replay, opened)
        replay.early, replay.repeated = namer.early, namer.repeated
        if opened is not None:
            namer.claimed |= {x for kind, x in opened.references if kind == "result"}
        self._check_claims(segment, composite, namer.claimed)
        self._guard(replay)
        replay.settle()
        return replay

    def _source(self, value, constants, draws):
        if id(value) in draws:
            return ("draw", draws[id(value)])
        found = self.before.get(id(value))
        if found is not None:
            return found
        if constants.get(id(value)) is value:
            return Constant(value)
        return None

    def _open_replay(self, replay, opened) -> None:
        constants = self.capture.constants
        for kind, value in opened.references:
            if kind == "held" and constants.get(id(value)) is not value:
                raise Unreplayable("backward reads a value that comes from elsewhere")
        targets = []
        for edge in opened.edges:
            t = edge
            if edge.__class__ is tuple:
                t = next((t for _, t in self.known.values() if (t._node, t._index) == edge), None)
            found = None if t is None else self.known.get(id(t))
            if found is None:
                raise Unreplayable("a gradient flows to a tensor that cannot be found again")
            targets.append(found[0])
        replay.opened, replay.targets = opened, targets

    def _effects(self, replay, namer) -> None:
        """What the call has changed of what was there before."""
        known, storages = self.known, set()
        for key, (root, version, silent, grad, node, storage, wanted) in self.state.items():
            reference, t = self.known[key]
            now = t._storage
            if storage is not None and now is not storage:
                raise Unreplayable("it gives a tensor another memory")
            if t._node is not node and not (t._node is not None and t._node.used):
                raise Unreplayable("it changes a tensor in place that is on the tape")
            if t._requires_grad is not wanted:
                raise Unreplayable("it changes whether a tensor requires grad")
            value = t._value if now is None else now.value
            count = t._version_count if now is None else now.version
            if value is not root or count != version:
                if now is not None:
                    if id(now) in storages:
                        continue
                    storages.add(id(now))
                    reference = next(
                        (r for r, o in known.values() if o._storage is now and not o._chain),
                        reference,
                    )
                name = None if value is root else namer.value(value)
                silent = 0 if now is None else now.silent - silent
                replay.changes.append((reference, name, count - version, silent))
            if t._grad is not grad:
                name = None if t._grad is None else namer.tensor(t._grad)
                replay.grads.append((reference, name))
        exempt = self._exempt(replay)
        for part in self.heap.parts:
            if id(part.owner) in exempt:
                continue
            now = part.now()
            if isinstance(part, Entries) and part.added():
                raise Unreplayable(f"it adds {part.name(part.added()[0])}")
            if len(now) != len(part.old):
                raise Unreplayable(f"it changes the length of {part.path}")
            for key, old, new in zip(part.keys, part.old, now, strict=True):
                if same(old, new):
                    continue
                if isinstance(new, Tensor) and isinstance(part, Entries | Items):
                    replay.entries.append((part.owner, key, namer.tensor(new)))
                    found = known.get(id(old))
                    if found is not None and found[0].__class__ is Known:
                        found[0].place = part.owner, key
                        self.placed[id(old)] = part.owner, key, plain_state(old)
                    continue
                raise Unreplayable(f"it changes {part.name(key)}")

    def _exempt(self, replay) -> set[int]:
        """Ids of the dicts that a replay reads or changes by Python: nobody else looks there."""
        owners: list = []
        for action in self.capture.actions:
            if action[0] == "call":
                _schedule(action[2], owners)
            elif action[0] == "group":
                owners.append(action[2])
        seen = self.compiled.watch.names & _SCHEDULE_NAMES
        if owners and (seen or self.compiled.watch.anything):
            raise Unreplayable(f"it steps an optimizer and reads {', '.join(sorted(seen))}")
        return {id(o) for o in owners}

    def _guard(self, replay) -> None:
        exempt = self._exempt(replay)
        parts = []
        for part in self.heap.parts:
            if id(part.owner) in exempt:
                if "params" in part.keys:
                    parts.append(Entries(part.owner, part.path, ("params",)))
                continue
            changed = [
                i
                for i, k in enumerate(part.keys)
                if any(part.owner is o and k is key for o, key, _ in replay.entries)
            ]
            if changed and isinstance(part, Entries):
                keys = tuple([k for i, k in enumerate(part.keys) if i not in changed])
                parts.append(type(part)(part.owner, part.path, keys, part.reads))
            elif changed:
                raise Unreplayable(f"it puts a new tensor into {part.path}")
            else:
                parts.append(part)
        used = {id(s.tensor.tensor) for s in replay.sources if isinstance(s, ValueOf | RootOf)
                and s.tensor.__class__ is Known}  # fmt: skip
        used |= {id(t.tensor) for t, *_ in replay.changes if t.__class__ is Known}
        tensors = [
            t for key, t in self.heap.tensors.items()
            if key not in self.placed and (key in used or not self.heap.is_internal(t))
        ]  # fmt: skip
        grads = {}
        if self.capture.gradients:
            grads = {t: self.state[id(t)][3] is None for t in tensors if t._requires_grad}
            replay.no_grad = [
                self.state[id(t)][3] is None if id(t) in self.state else t._grad is None
                for t in self.arguments
            ]
        replay.guards = Guards(
            parts, tensors, grads, list(self.placed.values()), self.heap.instances
        )
        replay.paths = dict(self.heap.paths)


def _schedule(scheduler, owners: list) -> None:
    own = vars(scheduler)
    owners.append(own)
    for inner in own.get("_schedulers", ()):
        _schedule(inner, owners)
    optimizer = own.get("optimizer")
    for group in () if optimizer is None else optimizer.param_groups:
        owners.append(group)


def _aval_of(array, device):
    return aval(tuple(array.shape), dt.BY_NUMPY[np.dtype(array.dtype)], device)


def _number(segment, key):
    kind, place = key
    return (segment.floats if kind is float else segment.ints)[place]


def _below(outputs, start: int):
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


def _same_edge(a, b) -> bool:
    if a.__class__ is tuple:
        return b.__class__ is tuple and a[0] is b[0] and a[1] == b[1]
    return a is b


def _donations(segment, outs, is_open: bool):
    """(places of operands that results replace, the slots with those results last)."""
    if is_open:
        return (), outs
    replaced = sorted(replaced_inputs(segment.node.path()).items())
    wanted = set(outs)
    replaced = {d: slot for d, slot in replaced if slot in wanted}
    last = list(replaced.values())
    return tuple(replaced), [*(s for s in outs if s not in set(last)), *last]
