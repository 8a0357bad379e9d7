"""Recording: run the user's code once, as one composite, and find out what a replay has to do."""

from __future__ import annotations

import gc
from collections import Counter
from operator import is_

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine import prefix
from torchlike._engine.captures import Capture
from torchlike._engine.composites import take_place
from torchlike._engine.flush import flush
from torchlike._engine.prefix import Segment, cut_from, local, record
from torchlike._engine.values import Value, aval
from torchlike._tensor import tape
from torchlike._tensor.creation import on_device
from torchlike._tensor.tensor import FIELDS, Tensor, _holds
from torchlike.compiler._arguments import Flat
from torchlike.compiler._guards import (
    Guards,
    gradient_state,
    holds_tensors,
    identity,
    same,
    state_of_entry,
)
from torchlike.compiler._heap import Heap, TooLarge
from torchlike.compiler._library import switches
from torchlike.compiler._opened import Spent, is_spent
from torchlike.compiler._opening import Opening
from torchlike.compiler._parts import Cleared, Elements, Entries, Slots, writable
from torchlike.compiler._replay import Replay, contents, donations, owners_of, refill
from torchlike.compiler._results import Results, tensors_in
from torchlike.compiler._surroundings import elsewhere, surrounding
from torchlike.compiler._values import (
    Argument,
    Constant,
    Known,
    Namer,
    RootOf,
    Through,
    Unreplayable,
    ValueOf,
)  # fmt: skip

# What users read of schedules and optimizers; a replay does not look at these again.
_SCHEDULE_NAMES = frozenset((
    "param_groups", "get_last_lr", "_last_lr", "last_epoch", "_step_count", "base_lrs", "get_lr",
))  # fmt: skip
# Who reads these of a tensor asks where in its memory a view begins.
_PLACES = frozenset((
    "storage_offset", "data_ptr", "storage", "untyped_storage", "_base", "as_strided", "set_",
    "as_strided_", "as_strided_scatter", "as_strided_copy", "is_set_to", "resize_", "_is_view",
    "resize_as_", "view_as_complex",
))  # fmt: skip


class Recording(Opening):
    """One call of a compiled function that runs its Python, and what came of it.

    result    what the function returned
    replay    a Replay, or None
    why       why there is none: (reason, user's line or None)
    complete  whether a replay was looked for with all that the code reads in view
    """

    def __init__(self, compiled, flat, args, kwargs, states):
        self.compiled, self.flat, self.states = compiled, flat, states
        self.arguments, self.objects = flat.tensors, flat.objects
        self.arguments_grads = flat.no_grad()
        self.args, self.kwargs = args, kwargs
        self.replay = self.why = self.result = self.shown = None
        self.complete = False
        self.held, self.filled = [contents(owner) for owner in flat.owners], []
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
        # What all known tensors show before the call: (tensor, node, index, value).
        shown = self.arguments if self.known is None else [t for _, t in self.known.values()]
        self.shown = [(t, t._node, t._index, t._value) for t in shown]
        capture = local.capture = Capture(segment, compiled.fullgraph, self.start)
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
            self.before = self.heap = self.known = self.values = self.namer = self.shown = None

    # ---- before the call -----------------------------------------------------------------------

    def _look(self) -> None:
        """Remember everything that the call can reach, as it is now."""
        compiled, watch = self.compiled, self.compiled.watch
        heap = self.heap = Heap(watch.names, watch.anything, watch.codes, watch.asked)
        heap.add(compiled.function, compiled.name)
        for x in self.objects:
            heap.add(x, "an argument")
        for kind in [*map(type, self.arguments), *self.flat.kinds]:
            heap.add(kind, kind.__qualname__)
        for found in watch.codes.values():
            heap.scope(*found)
        heap.look_into_builtins(watch.imported)
        heap.parts += switches(heap.reads, watch.switches)
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
        owners = [t for t in heap.tensors.values() if t._grad is not None]
        self.gradients = {t: (gradient_state(t), identity(t._grad)) for t in owners}
        shown = [t for r, t in self.known.values() if not _is_gradient(r)]
        memories = Counter(identity(t)[1] for t in [*shown, *(t._grad for t in owners)])
        # Gradients that have another name, too, or show the memory of another tensor.
        self.shared = [t for t in owners if memories[self.gradients[t][1][1]] > 1]

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
            out[key] = (root, version, silent, t._grad, t._node, s, t._requires_grad, _handle(t))
        return out

    # ---- after the call ------------------------------------------------------------------------

    def _conclude(self, segment: Segment) -> None:
        """Put a composite in the segment's place; make a Replay if the call can be replayed."""
        for cut in self.capture.cuts:
            cut_from(*cut)
        self.capture.cuts = self.capture.casts = cut = None  # what these held is nobody's now
        found: list = []
        tensors_in(self.result, found)
        self.put, self.held = self._put_in_arguments(), None
        found += [t for _, t, _ in self.put or ()]
        tensors_in([new for _, new in self.filled], found)
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
                if not any(isinstance(p, Cleared) and p.grew() for p in self.heap.parts):
                    self.why = (str(error), None)  # else the next call finds what is kept now
        numbers = [_number(segment, key) for key in noted]
        externals = [
            ref() or Value(_aval_of(a, segment.device), a)
            for ref, a in zip(segment.owners, segment.arrays, strict=True)
        ]
        if opened is not None:
            opened.operands(externals, numbers)
        # What these hold the program could not overwrite.
        self.before = self.heap = self.known = self.values = self.state = self.shown = None
        local.segment = Segment(prefix.tree)
        call = None
        if outs or composite.op.checks:
            if not externals:
                on_device(composite.node.device)
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

    def _put_in_arguments(self) -> list | None:
        """(n, tensor, key) of the new tensors in lists and dicts among the arguments, each where
        the n-th tensor in those stood; None if anything else in them has changed."""
        before, now = self.flat, Flat(self.args, self.kwargs)
        same = now.spec == before.spec and len(now.homes) == len(before.homes) and all(
            map(is_, (*now.owners, *now.objects), (*before.owners, *before.objects))
        )  # fmt: skip
        changed = [
            n for n, (old, new) in enumerate(zip(before.tensors, now.tensors)) if old is not new
        ]  # fmt: skip
        homes = {place: n for n, (place, _, _) in enumerate(before.homes)}
        if not same or not all(n in homes for n in changed):
            return self._fill_arguments()
        return [(homes[n], now.tensors[n], before.homes[homes[n]][2]) for n in changed]

    def _fill_arguments(self) -> list | None:
        """Note what now stands in the lists and dicts among the arguments that grew or shrank.

        Returns None if anything else has changed as well: with what they held before put back,
        the arguments have to be as they were.
        """
        now = [contents(owner) for owner in self.flat.owners]
        for owner, held in zip(self.flat.owners, self.held, strict=True):
            refill(owner, held)
        before, again = self.flat, Flat(self.args, self.kwargs)
        for owner, held in zip(before.owners, now, strict=True):
            refill(owner, held)
        if again.spec != before.spec or not all(
            map(
                is_,
                (*again.owners, *again.objects, *again.tensors),
                (*before.owners, *before.objects, *before.tensors),
            )
        ):
            return None
        self.filled = [
            (n, new) for n, (old, new) in enumerate(zip(self.held, now, strict=True))
            if old is not None and (
                len(old) != len(new) or not all(map(is_, _parts_of(old), _parts_of(new)))
            )
        ]  # fmt: skip
        return []

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
        for t in [*found, *(t._base for t in found if t._base is not None)]:
            node, storage = t._node, t._storage
            if node is not None and node.number >= self.start and is_spent(node, self.start):
                t._node = Spent(node)
                if storage is not None and storage.node is node:
                    storage.node = t._node

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
        replay = Replay(self.compiled, self.flat, self.states, composite, sources)
        self.results = Results(namer, self.flat.owners)
        replay.tree = self.results.tree(self.result)
        replay.actions = self.capture.actions
        self.placed: dict = {}
        self.replaced: dict = {}  # ids of parts -> the keys where each call puts something new
        self.roots, self.namer = {s.tensor for s in sources if s.__class__ is RootOf}, namer
        self._effects(replay, namer)
        if surrounding() != self.compiled.around or elsewhere():
            raise Unreplayable("it leaves grad mode, autocast or a default changed")
        if self.put is None:
            raise Unreplayable("it changes what stands in its arguments")
        replay.homes = [(n, key, namer.tensor(t)) for n, t, key in self.put]
        replay.filled = [(n, self.results.tree(new)) for n, new in self.filled]
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
        self._loosen(replay, namer)
        replay.settle()
        return replay

    def _loosen(self, replay, namer) -> None:
        """Find the arguments that are read as a view is, wherever it lies in its memory."""
        watch, owners = self.compiled.watch, []
        found = self.flat.where(replay.states)
        if not found or watch.anything or not _PLACES.isdisjoint(watch.names):
            return
        behind = [*namer.used, *(r for r, *_ in replay.changes), *self.roots, *namer.roots()]
        for reference in behind:
            while reference.__class__ is Through:
                reference = reference.owner
            owners.append(reference)
        for i, t, where in found:
            _, _, wanted, _, _, history, *_ = replay.states[i]  # to ask a view now would read it
            reference = self.known[id(t)][0]
            others = [
                r for r, o in self.known.values() if o._storage is t._storage and o is not t
            ]  # fmt: skip
            where.loose = not (
                wanted
                or history is not None
                or any(r is reference for r in owners)
                or any(r.__class__ is not Through or r.owner is not reference for r in others)
                or sum(o is t for o in self.arguments) > 1
            )

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
                t = next((t for t, *made, _ in self.shown if tuple(made) == edge), None)
            found = None if t is None else self.known.get(id(t))
            if found is None:
                raise Unreplayable("a gradient flows to a tensor that cannot be found again")
            targets.append(found[0])
        replay.opened, replay.targets = opened, targets

    def _effects(self, replay, namer) -> None:
        """What the call has changed of what was there before."""
        known, storages = self.known, set()
        for key, state in self.state.items():
            root, version, silent, grad, node, storage, wanted, handle = state
            reference, t = self.known[key]
            now = t._storage
            if storage is not None and now is not storage:
                raise Unreplayable("it gives a tensor another memory")
            for (what, new), (_, old) in zip(_handle(t), handle, strict=True):
                if new != old and not (what == REGISTERS and t._node is not node):
                    raise Unreplayable(f"it {what}")
            if t._node is not node and not (t._node is not None and t._node.freed):
                place = namer.opened.get(id(t))
                if place is None or reference.__class__ is not Argument:
                    raise Unreplayable("it changes a tensor in place that is on the tape")
                replay.moved.append((reference, place))
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
            if isinstance(part, Entries) and part.reordered():
                raise Unreplayable(f"it changes the order of {part.path}")
            for key, old, new in zip(part.keys, part.old, now, strict=True):
                if same(old, new):
                    continue
                owner = writable(part) if holds_tensors(new) else None
                if owner is None:
                    raise Unreplayable(f"it changes {part.name(key)}")
                replay.entries.append((owner, key, self.results.entry(new)))
                self.replaced.setdefault(id(part), []).append(key)
                self._replaces(part, owner, key, old)

    def _replaces(self, part, owner, key, old) -> None:
        """Note that each call puts a new tensor, or tuple of them, in the place of an old one."""
        state, others = state_of_entry(old), self.known.values()
        if state is None:
            raise Unreplayable(f"it replaces {part.name(key)}, which is no plain tensor")
        self.placed[id(part.owner), key] = owner, key, state
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
            reference.place = (owner, key, i) if old.__class__ is tuple else (owner, key)
            self.placed[id(t)] = owner, key, state

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
            replaced = self.replaced.get(id(part), ())
            keys = tuple([k for k in part.keys if not any(k is key for key in replaced)])
            if not replaced:
                parts.append(part)
            elif isinstance(part, Entries):
                parts.append(type(part)(part.owner, part.path, keys, part.reads, replaced))
            elif isinstance(part, Slots):
                parts.append(Slots(part.owner, part.path, keys))
            else:
                parts.append(Elements(part.owner, part.path, keys))
        used = {id(s.tensor.tensor) for s in replay.sources if isinstance(s, ValueOf | RootOf)
                and s.tensor.__class__ is Known}  # fmt: skip
        used |= {id(t.tensor) for t, *_ in replay.changes if t.__class__ is Known}
        tensors = [
            t for key, t in self.heap.tensors.items()
            if key not in self.placed and (key in used or not self.heap.is_internal(t))
        ]  # fmt: skip
        grads = {}
        if self.capture.gradients:
            # Of those that need none, the code itself may read one, or an optimizer.
            every = self.heap.reads("grad") or self.heap.optimizers
            grads = {
                t: self.state[id(t)][3] is None for t in tensors
                if t._requires_grad or (every and not self.heap.is_internal(t))
            }  # fmt: skip
            replay.no_grad = self.arguments_grads
        constants = [t for t in tensors if not (t._requires_grad or self.heap.is_internal(t))]
        used = self._used_gradients(replay)
        replay.used = [where for _, where in used.values()]
        replay.guards = Guards(
            parts, tensors, grads, list(self.placed.values()), self.heap.instances, constants,
            {t: state for t, (state, _) in used.items()},
        )  # fmt: skip
        replay.paths = dict(self.heap.paths)

    def _used_gradients(self, replay) -> dict:
        """What the gradients were that a replay reads or adds to, by whose they are."""
        used = {t: self.gradients[t] for t in self.shared if self.capture.gradients}
        references = [*self.namer.used, *self.roots, *self.namer.roots(), *replay.targets]
        references += [s.tensor for s in replay.sources if s.__class__ is ValueOf]
        references += [reference for reference, *_ in replay.changes]
        for reference in references:
            while reference.__class__ is Through:
                owner = reference.owner
                if _is_gradient(reference):
                    used[owner.tensor] = self.gradients[owner.tensor]
                reference = owner
        if any(state[2] for state, _ in used.values()):
            raise Unreplayable("it reads a gradient that is on the tape")
        return used


def _is_gradient(reference) -> bool:
    """Whether this leads to the gradient of a tensor that is no argument."""
    return (
        reference.__class__ is Through and reference.name == "_grad"
        and reference.owner.__class__ is Known
    )  # fmt: skip


def _parts_of(held) -> list:
    return [*held, *held.values()] if isinstance(held, dict) else [*held]


REGISTERS = "registers a hook on a tensor"


def _handle(t: Tensor) -> tuple:
    """What a call may change of a tensor besides its value, which no replay does again."""
    node = t._node
    hooks = t._hooks, t._after_hooks, node and node.hooks, node and node.pre_hooks
    return (
        ("sets an attribute of a tensor", [name for name in _holds(t) if name not in FIELDS]),
        ("gives a tensor another memory", (t._detached, t._chain)),
        ("changes the strides of a tensor", None if t._chain else t._geometry),
        (REGISTERS, [tuple(h or ()) for h in hooks]),
        ("asks for the gradient of a tensor", t._retains),
    )


def _aval_of(array, device):
    return aval(tuple(array.shape), dt.BY_NUMPY[np.dtype(array.dtype)], device)


def _number(segment, key):
    kind, place = key
    return (segment.floats if kind is float else segment.ints)[place]
