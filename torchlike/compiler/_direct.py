"""Direct runs: a replay that calls its program at once and puts the arrays where the old ones were.

What a Tensor and its Value cost to make is more than what a program costs to start, so both stay
where nobody but the function's own state holds them, and only get another array.
"""

from __future__ import annotations

import time
from itertools import repeat
from operator import attrgetter, is_, itemgetter
from sys import getrefcount

import jax
import numpy as np

from torchlike._core.errors import user_line
from torchlike._engine.compat import in_program_scope, prompt_device
from torchlike._engine.flush import flush
from torchlike._engine.prefix import local
from torchlike._engine.programs import cache, call_into
from torchlike._engine.prompt import PromptProgram, suits_calls
from torchlike._engine.range_checks import check_later
from torchlike._engine.stats import stats
from torchlike._engine.values import Packed, Value, awaited, exposed
from torchlike._tensor.bridge import SharedStorage, shared
from torchlike._tensor.dispatch import wrap
from torchlike.compiler._flat_state import (
    FlatProgram,
    FlatState,
    PromptFlatProgram,
    is_flat,
    is_worth_it,
)
from torchlike.compiler._values import Known, New, Piece, Result

_array, _value = attrgetter("_value.array"), attrgetter("_value")
_grads_value = attrgetter("_grad._value")
_epoch, _seen, _version = attrgetter("epoch"), attrgetter("_seen"), attrgetter("_storage.version")
_own_array = attrgetter("array")

# After so many calls whose results were waited for, a prompt program is compiled for the next ones:
# a wait costs about 50 us more than the program, a compile about 100 ms.
_WAITS = 100


def _only_held() -> int:
    """The references to an object that one other object and a list hold, as ``_alone`` counts."""
    t = wrap(Value(None))
    return next(map(getrefcount, [t._value]))


_HELD = _only_held()


def _alone(things: list) -> bool:
    """Whether all of these are held by one object, and by the list, alone."""
    return list(map(getrefcount, things)) == [_HELD] * len(things)


def _cell(t) -> int:
    """The identity of what holds a tensor's value."""
    return id(t if t._storage is None else t._storage)


class _Results:
    """The arrays of a run by the places of the composite's results; Values are made on demand."""

    __slots__ = ("arrays", "direct")

    def __init__(self, direct, arrays):
        self.direct, self.arrays = direct, arrays

    def __getitem__(self, place):
        direct = self.direct
        return Value(direct.avals[place], self.arrays[direct.places[place]])


class _Feed:
    """What a Program asks of the segment that it runs for."""

    __slots__ = ("floats", "ints", "values")
    device = None

    def __init__(self, floats, ints):
        self.floats, self.ints, self.values = floats, ints, {}

    @property
    def owners(self):
        return self

    def __getitem__(self, n):
        return lambda: self.values.get(n)


class Direct:
    """How a replay runs without recording; ``run`` returns None where it has to record."""

    def __init__(self, replay, program):
        self.replay, self.kept = replay, program
        self.place = replay.compiled.place
        self.avals = replay.composite.avals
        self.order = {slot: i for i, slot in enumerate(program.outputs)}
        self.quick = quick = replay.quick
        self.stored = [(t, n) for t, _, n in quick if t._storage is not None]
        self.bare = [(t, n) for t, _, n in quick if t._storage is None]
        self.cells = {_cell(t): t for t, _, _ in quick}
        shown = dict(replay.direct)
        self.safe = all(d in shown and _cell(shown[d]) in self.cells for d in program.donated)
        # Of those that change, the count of holders tells whether storage and handle agree.
        self.read = [t for t in shown.values() if t._storage is not None
                     and _cell(t) not in self.cells]  # fmt: skip
        self.shared = -1
        self.fine: set = set()  # classes of arrays that were looked at
        self.numbers: tuple = (None, (), ())  # of the last run: all, the floats, the others
        self._sort_grads(replay)
        # Whether it runs on the calling thread; how many calls were waited for, while that may be.
        self.prompt, self.waits = False, 0 if suits_calls(program) else None
        self.last: set = set()  # the ids of the arrays of the last run, meanwhile
        self._arrange(self._flat())

    def _sort_grads(self, replay) -> None:
        """The gradients that are made anew: as ``_Whole``, ``_Pieces``, or by the templates."""
        self.other_grads: list = []
        whole, flats = [], {}
        for tensor, new in replay.grads:
            if not _is_plain(tensor, new):
                self.other_grads.append((tensor, new))
            elif new.value.__class__ is Result:
                whole.append((tensor.tensor, new.value.place))
            else:
                flats.setdefault(new.value.flat.place, []).append((tensor.tensor, new.value))
        self.grads = [_Whole([t for t, _ in whole], [n for _, n in whole])] if whole else []
        self.grads += [_Pieces(found, place, self.avals[place]) for place, found in flats.items()]

    def _flat(self) -> list:
        """The (tensor, place of its new value) that may lie in one flat array."""
        replay = self.replay
        known = {_cell(t) for _, t in replay.direct}
        found = [
            (t, place) for t, place, _ in self.quick
            if _cell(t) in known and place not in replay.repeated and is_flat(t)
        ]  # fmt: skip
        found.sort(key=lambda entry: entry[1])
        return found if self.safe and is_worth_it(self.kept, found) else []

    def _arrange(self, flat: list) -> None:
        """Say which array of the program's comes from where, and goes where."""
        program, order, cells = self.kept, self.order, self.cells
        sources = [(n, cells.get(_cell(t), t)) for n, t in self.replay.direct]
        self.state, self.tried = None, not flat
        self.program = PromptProgram(program.owner, program.live) if self.prompt else program
        self.position = range(len(self.replay.sources))
        made: set = set()  # places of results that lie in the flat array
        if flat:
            tensors = [t for t, _ in flat]
            at = {id(t): n for n, t in sources}
            ins, outs = [at[id(t)] for t in tensors], [order[place] for _, place in flat]
            self.state = FlatState(tensors, prompt_device() if self.prompt else program.place)
            kind = PromptFlatProgram if self.prompt else FlatProgram
            self.program = kind(program, self.state, ins, outs)
            taken, made = set(ins), {place for _, place in flat}
            sources = [(n, t) for n, t in sources if n not in taken]
            rest = [n for n in self.position if n not in taken]
            self.position = {n: 1 + i for i, n in enumerate(rest)}
            rest = sorted(set(order) - made, key=order.__getitem__)
            order = {place: 1 + i for i, place in enumerate(rest)}
        self.sources = [t for _, t in sources]
        self.places = order
        alone = [(t, place) for t, place, _ in self.quick if place not in made]
        self.alone = [t for t, _ in alone]
        self.holders = [_HELD + (t._storage is not None) for t in self.alone]
        self.pick = _picker([order[place] for _, place in alone])
        if self.state is not None:
            self.state_holders = [_HELD + (t._storage is not None) for t in self.state.tensors]
        for group in self.grads:
            group.find(order)
        pieces = [order[group.places[0]] for group in self.grads if isinstance(group, _Pieces)]
        if self.state is not None:
            pieces.append(0)
        self.loose = [n for n in range(len(order) + (self.state is not None)) if n not in pieces]

    def run(self, moment, given, numbers):
        """Run the program; the results, or None if something else sees what it would overwrite.

        ``given`` holds (place, Value) of the operands that are not the function's own state.
        """
        if not self.safe:
            return None
        if shared.count != self.shared:
            stored = [t for t, _ in self.stored]
            if any(t._storage.__class__ is SharedStorage for t in (*self.read, *stored)):
                return None
            self.shared = shared.count
        if local.segment.node.depth:
            flush(None, "compiled call", self.place)
        if self.read and list(map(_seen, self.read)) != list(map(_version, self.read)):
            return None
        if self.waits is not None and awaited.array in self.last:
            self._note_wait()
        state, values = self.state, list(map(_value, self.alone))
        if list(map(getrefcount, values)) != self.holders:
            return None
        if state is not None and not self._is_ready(state):
            return None
        arrays = list(map(_array, self.sources))
        if self.numbers[0] is not numbers:
            floats = [x for x in numbers if x.__class__ is float]
            self.numbers = numbers, floats, [x for x in numbers if x.__class__ is not float]
        feed = _Feed(*self.numbers[1:])
        if state is not None:
            arrays.insert(0, state.packed.flat.array)
        for n, value in given:  # in ascending order, so that each comes to its place
            n = self.position[n]
            arrays.insert(n, value.array)
            feed.values[n] = value
        program = self.program
        if not self.fine.issuperset(map(type, arrays)) and not self._are_fine(arrays):
            return None
        if program.donated:
            if len({*map(id, arrays)}) != len(arrays):
                return None
            if exposed and not exposed.keys().isdisjoint([id(arrays[d]) for d in program.donated]):
                return None
        if not self.tried and not self._try(feed, arrays):
            return None
        done: list = []
        try:
            if self.prompt:
                in_program_scope(_call_prompt, done, program, feed, arrays, self.loose)
            else:
                in_program_scope(_call, done, program, feed, arrays)
        finally:
            if done:
                self._write(values, done[0])
        if self.waits is not None:
            self.last = {*map(id, done[0])}
        stats.programs += 1
        stats.hits += 1
        self.place.flushes += 1
        cache.touch(self.kept)
        if program.checks:
            check_later(done[0][-1], program.checks)
        moment.results = _Results(self, done[0])
        return moment.results

    def _are_fine(self, arrays: list) -> bool:
        """Whether all are there, and those that are overwritten on the device."""
        kinds = set(map(type, arrays))
        if type(None) in kinds or any(
            [arrays[d].__class__ is np.ndarray for d in self.program.donated]
        ):
            return False
        self.fine = kinds - {np.ndarray}
        return True

    def _try(self, feed, arrays: list) -> bool:
        """Whether the program with the flat array gives the same bits as the one without.

        It may round otherwise where XLA makes other loops of it; then it is not used.
        """
        self.tried = True
        start, loads = time.perf_counter(), stats.loads
        try:
            same = in_program_scope(self.state.agrees, self.program, self.kept, feed, arrays)
        except jax.errors.JaxRuntimeError:
            same = False
        stats.compiles += stats.loads == loads
        stats.compile_seconds += time.perf_counter() - start
        if not same:
            self._scatter()
        return same

    def _scatter(self) -> None:
        """Go without the flat array from here on."""
        self.state.scatter()
        self._arrange([])

    def _note_wait(self) -> None:
        """Count a call that was waited for; after enough of them the program is a prompt one."""
        awaited.array = 0
        self.waits += 1
        if self.waits >= _WAITS:
            self.prompt, self.waits = True, None
            self._arrange(self._flat() if self.state is not None else [])

    def _is_ready(self, state: FlatState) -> bool:
        """Whether the flat array holds what the tensors show, and they alone show it."""
        if state.is_a_loss():
            self._scatter()
            return False
        values = state.values if state.is_held() else list(map(_value, state.tensors))
        if list(map(getrefcount, values)) != self.state_holders:
            return False
        if values is state.values:
            return True
        del values
        state.gather()
        return True

    def _write(self, values, arrays) -> None:
        state = self.state
        pieces = () if state is None else state.values
        if any(map(_epoch, pieces)) or any(map(_epoch, values)):
            line = user_line()
            for v in (*pieces, *values):
                if v.epoch is not None:
                    v.epoch.line = line
                    v.epoch = None
        if state is not None:
            state.write(arrays[0])
        if values:
            for v, array in zip(values, self.pick(arrays), strict=True):
                v.array = array
                v.bounds = None
        for t, n in self.bare:
            t._version_count += n
        for t, n in self.stored:
            storage = t._storage
            storage.version += n
            t._seen = storage.version
        for group in self.grads:
            group.write(arrays)


def _call(done: list, program, feed, arrays: list) -> None:
    # All of it in the scope: numbers that stay on the device are put there with 64 bits.
    call_into(done, program, program.arguments(feed, arrays))


def _call_prompt(done: list, program, feed, arrays: list, loose: list[int]) -> None:
    # It overwrites nothing: an interrupt before the last line leaves all as it was.
    given: list = []
    call_into(given, program, program.arguments(feed, arrays))
    results = list(given[0])
    for n in loose:
        results[n] = np.asarray(results[n])
    done.append(results)


class _Whole:
    """Gradients that are results of their own; it keeps those it made, to use them again."""

    def __init__(self, params, places):
        self.params, self.places = params, places
        self.grads: list = []
        self.values: list[Value] = []

    def find(self, order: dict) -> None:
        """Say where in the results each place is."""
        self.pick = _picker([order[place] for place in self.places])

    def is_untouched(self) -> bool:
        """Whether the gradients are those made last, and nobody else holds or changed them.

        One that stands in another's place would be one more holder of its Value.
        """
        values = self.values
        try:
            return (
                bool(values)
                and all(map(is_, map(_grads_value, self.params), values))
                and _alone(self.grads)
                and _alone(values)
                and not any(map(_epoch, values))
            )
        except AttributeError:  # a parameter without gradient
            return False

    def make(self, values: list[Value]) -> None:
        """Give the parameters new gradients with these values."""
        self.values = values
        self.grads = list(map(wrap, values))
        for t, grad in zip(self.params, self.grads, strict=True):
            t._grad = grad

    def write(self, arrays) -> None:
        fresh = self.pick(arrays)
        if not self.is_untouched():
            params = self.params
            self.make([Value(t._value.aval, a) for t, a in zip(params, fresh, strict=True)])
            return
        for v, array in zip(self.values, fresh, strict=True):
            v.array = array
            v.bounds = None


class _Pieces(_Whole):
    """Gradients that are pieces of a flat result."""

    def __init__(self, found, place: int, aval):
        super().__init__([t for t, _ in found], [place])
        self.aval, self.packed = aval, None
        self.pieces = [(piece.aval, piece.slot) for _, piece in found]
        self.starts = {piece.slot: piece.start for _, piece in found}

    def write(self, arrays) -> None:
        (flat,) = self.pick(arrays)
        if self.packed is not None and self.is_untouched():
            self.packed.flat.array = flat
            if not all(map(is_, map(_own_array, self.values), repeat(None))):  # cut out, or used
                for v, (_, slot) in zip(self.values, self.pieces, strict=True):
                    v.array, v.segment, v.slot, v.bounds = None, self.packed, slot, None
            return
        packed = self.packed = Packed(Value(self.aval, flat))
        packed.starts = self.starts
        self.make([Value(a, None, packed, slot) for a, slot in self.pieces])


def _is_plain(tensor, new) -> bool:
    """Whether a gradient is a new tensor that nothing else belongs to."""
    return (
        new.__class__ is New and new.value.__class__ in (Result, Piece) and not new.fields
        and new.storage is None and new.base is None and new.node is None and not new.shared
        and tensor.__class__ is Known and tensor.place is None
    )  # fmt: skip


def _picker(places: list[int]):
    """A function of a sequence that gives the entries at these places."""
    if not places:
        return lambda arrays: ()
    if len(places) == 1:
        (place,) = places
        return lambda arrays: (arrays[place],)
    return itemgetter(*places)
