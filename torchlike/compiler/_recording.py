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
from torchlike._engine.values import Value, aval
from torchlike._tensor import dispatch, tape, views
from torchlike._tensor.function import FunctionNode
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._arguments import Flat
from torchlike.compiler._heap import Guards, Heap, TooLarge, holds_tensors, same, state_of_entry
from torchlike.compiler._library import switches
from torchlike.compiler._opened import (
    Again,
    Backward,
    CompiledNode,
    Opened,
    Spent,
    below,
    is_spent,
    reads_of,
)
from torchlike.compiler._parts import Elements, Entries, Items
from torchlike.compiler._replay import Replay, donations, owners_of
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
        self.heap = self.known = self.before = self.values = self.state = None
        self._run(args, kwargs)

    def _run(self, args, kwargs) -> None:
        compiled, watch = self.compiled, self.compiled.watch
        flush(why="compiled call")
        watch.effects[:] = watch.handed  # others of an earlier call may come no more
        if watch.ran:
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
                self.complete = self.heap is not None and all_known() and not watch.effects
        finally:
            local.capture = None
        self.capture = capture
        if capture.broken is not None or local.segment is not segment:
            self.why = capture.broken or ("the program was cut", None)
            return
        try:
            self._conclude(segment)
        finally:
            self.before = self.heap = self.known = self.values = self.namer = None

    # ---- before the call -----------------------------------------------------------------------

    def _look(self) -> None:
        """Remember everything that the call can reach, as it is now."""
        compiled, watch = self.compiled, self.compiled.watch
        heap = self.heap = Heap(watch.names, watch.anything, watch.codes)
        heap.add(compiled.function, compiled.name)
        for x in self.objects:
            heap.add(x, "an argument")
        for t in self.arguments:
            heap.add(t.__class__, t.__class__.__qualname__)
        for found in watch.codes.values():
            heap.scope(*found)
        heap.parts += switches(heap.reads)
        heap.look_into_optimizers()
        heap.look_for_hidden()
        heap.name_by_modules()
        self.known, self.before, self.values = {}, {}, []
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
        self.values.append(t._value)  # a view that is written loses it, and ids are used again
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
        for cut in self.capture.cuts:
            cut_from(*cut)
        self.capture.cuts = self.capture.casts = cut = None  # what these held is nobody's now
        found: list = []
        tensors_in(self.result, found)
        self._retire(found)
        opened = self._open(segment, found)
        outs = self._live(segment)
        noted = self._noted()
        donates, outs = donations(segment, outs, opened is not None)
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
        # What these hold the program could not overwrite.
        self.before = self.heap = self.known = self.values = self.state = None
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

    def _retire(self, found: list) -> None:
        """Let go of histories that no backward can go through any more: parts of them are freed."""
        for t in found:
            node, storage = t._node, t._storage
            if node is not None and node.number >= self.start and is_spent(node, self.start):
                t._node = Spent(node)
                if storage is not None and storage.node is node:
                    storage.node = t._node

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
        nodes, edges = below(outputs, self.start)
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
        read = reads_of(nodes, self.compiled.watch)
        try:
            with tracing(shapes, level) as (body, holes):
                modes.grad = False
                roots = [
                    ((t._node, t._index), hole) for t, hole in zip(outputs, holes, strict=True)
                ]
                with self._watching(nodes):
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
                backward = Backward(f"{self.compiled.name}_backward", body, places, sources, shapes)
        except Unreplayable as error:
            self._give_up(str(error))
            return None
        except NotTraceable:
            self._give_up("its derivative reads a value")
            return None
        finally:
            modes.grad, modes.walk = before
        if read is not None and read.failed() is None:  # else it changes what it reads
            backward.guards = reads_of(nodes, self.compiled.watch)
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
        namer = Namer(known, self.before, results, places, constants, heap._seen, draws)
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
        self.roots, self.namer = {s.tensor for s in sources if s.__class__ is RootOf}, namer
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
        refs = [*namer.used, *(r for r, _ in replay.grads), *(r for r, *_ in replay.changes)]
        replay.fragile = [
            r for r in dict.fromkeys(refs)
            if r.__class__ is Through or (r.__class__ is Known and r.place is not None)
        ]  # fmt: skip
        # A view that was there before is read anew from what it is a view of when that has changed.
        views_of = (t._value for _, t in known.values() if t._chain)
        namer.claimed |= {results[id(v)] for v in views_of if id(v) in results}
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
            if t._grad is not grad:
                name = None if t._grad is None else namer.tensor(t._grad)
                replay.grads.append((reference, name))
            value = t._value if now is None else now.value
            count = t._version_count if now is None else now.version
            if (value is root and count == version) or id(now) in storages:
                continue
            if now is not None:
                storages.add(id(now))
                reference = next(
                    (r for r, o in known.values() if o._storage is now and not o._chain),
                    reference,
                )
            name = None if value is root else namer.value(value)
            silent = 0 if now is None else now.silent - silent
            replay.changes.append((reference, name, count - version, silent))
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
                if holds_tensors(new) and isinstance(part, Entries | Items):
                    replay.entries.append((part.owner, key, namer.entry(new)))
                    self._replaces(part, key, old)
                    continue
                raise Unreplayable(f"it changes {part.name(key)}")

    def _replaces(self, part, key, old) -> None:
        """Note that each call puts a new tensor, or tuple of them, in the place of an old one."""
        state, others = state_of_entry(old), self.known.values()
        if state is None:
            raise Unreplayable(f"it replaces {part.name(key)}, which is no plain tensor")
        self.placed[id(part.owner), key] = part.owner, key, state
        for i, t in enumerate(old if old.__class__ is tuple else (old,)):
            if not isinstance(t, Tensor):
                continue
            reference = self.known[id(t)][0]
            if t._chain and (
                t._storage.value is not self.state[id(t)][0]
                or reference in self.roots | self.namer.roots()
            ):
                raise Unreplayable(f"it replaces {part.name(key)}, a view that it looks behind")
            shared = t._storage is not None and any(
                o is not t and o._storage is t._storage for _, o in others
            )
            if shared or id(t) in self.heap.again or any(t is a for a in self.arguments):
                raise Unreplayable(f"it replaces {part.name(key)}, which has another name, too")
            reference.place = (part.owner, key, i) if old.__class__ is tuple else (part.owner, key)
            self.placed[id(t)] = part.owner, key, state

    def _exempt(self, replay) -> set[int]:
        """Ids of the dicts that a replay reads or changes by Python: nobody else looks there."""
        owners: list = []
        for action in self.capture.actions:
            if action[0] == "call":
                owners_of(action[2], owners)
            elif action[0] == "group":
                owners.append(action[2])
        seen = self.compiled.watch.names & _SCHEDULE_NAMES
        if owners and (seen or self.compiled.watch.anything):
            raise Unreplayable(f"it steps an optimizer and reads {', '.join(sorted(seen))}")
        for o in owners:
            if id(o) in self.heap.shared:
                raise Unreplayable(f"the groups of {self.heap.shared[id(o)]} have another name")
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
            keys = tuple([k for i, k in enumerate(part.keys) if i not in changed])
            if changed and isinstance(part, Entries):
                replaced = [part.keys[i] for i in changed]
                parts.append(type(part)(part.owner, part.path, keys, part.reads, replaced))
            elif changed:
                parts.append(Elements(part.owner, part.path, keys))
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


def _aval_of(array, device):
    return aval(tuple(array.shape), dt.BY_NUMPY[np.dtype(array.dtype)], device)


def _number(segment, key):
    kind, place = key
    return (segment.floats if kind is float else segment.ints)[place]
