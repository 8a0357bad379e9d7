"""Direct runs: a replay that calls its program at once and puts the arrays where the old ones were.

What a Tensor and its Value cost to make is more than what a program costs to start, so both stay
where nobody but the function's own state holds them, and only get another array.
"""

from __future__ import annotations

from itertools import repeat
from operator import attrgetter, is_, is_not, itemgetter
from sys import getrefcount

import numpy as np

from torchlike._core.errors import user_line
from torchlike._engine.compat import in_program_scope
from torchlike._engine.flush import check_later, flush
from torchlike._engine.prefix import local
from torchlike._engine.programs import cache, call_into
from torchlike._engine.stats import stats
from torchlike._engine.values import Packed, Value, exposed
from torchlike._tensor.bridge import SharedStorage, shared
from torchlike._tensor.dispatch import wrap
from torchlike.compiler._values import Known, New, Piece, Result

_array, _value, _grad = attrgetter("_value.array"), attrgetter("_value"), attrgetter("_grad")
_epoch, _seen, _version = attrgetter("epoch"), attrgetter("_seen"), attrgetter("_storage.version")
_own_array = attrgetter("array")


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

    __slots__ = ("arrays", "avals", "order")

    def __init__(self, avals, order, arrays):
        self.avals, self.order, self.arrays = avals, order, arrays

    def __getitem__(self, place):
        return Value(self.avals[place], self.arrays[self.order[place]])


class _Feed:
    """What a Program asks of the segment that it runs for."""

    __slots__ = ("floats", "ints", "values")
    device = None

    @property
    def owners(self):
        return self

    def __getitem__(self, n):
        return lambda: self.values.get(n)


class Direct:
    """How a replay runs without recording; ``run`` returns False where it has to record."""

    def __init__(self, replay, program):
        self.replay, self.program = replay, program
        self.place = replay.compiled.place
        composite = replay.composite
        order = {slot: i for i, slot in enumerate(program.outputs)}
        self.avals, self.order = composite.avals, order
        quick = replay.quick
        # Those with a storage last: it holds the Value too.
        quick = sorted(quick, key=lambda entry: entry[0]._storage is not None)
        self.changed = [t for t, _, _ in quick]
        self.versions = [n for _, _, n in quick]
        self.stored = [t for t in self.changed if t._storage is not None]
        self.holders = [_HELD + (t._storage is not None) for t in self.changed]
        self.bare = len(self.changed) - len(self.stored)
        self.pick = _picker([order[place] for _, place, _ in quick])
        changed = {_cell(t): t for t in self.changed}
        self.sources = [changed.get(_cell(t), t) for _, t in replay.direct]
        # Of those that change, the count of holders tells whether storage and handle agree.
        self.read = [t for t in self.sources if t._storage is not None and _cell(t) not in changed]
        self.shared = -1
        shown = dict(replay.direct)
        self.safe = all(d in shown and _cell(shown[d]) in changed for d in program.donated)
        self.other_grads: list = []
        whole, flats = [], {}
        for tensor, new in replay.grads:
            if not _is_plain(tensor, new):
                self.other_grads.append((tensor, new))
            elif new.value.__class__ is Result:
                whole.append((tensor.tensor, order[new.value.place]))
            else:
                flats.setdefault(new.value.flat.place, []).append((tensor.tensor, new.value))
        self.grads = [_Whole([t for t, _ in whole], [n for _, n in whole])] if whole else []
        self.grads += [
            _Pieces(found, order[place], composite.avals[place]) for place, found in flats.items()
        ]

    def run(self, moment, given, numbers):
        """Run the program; the results, or None if something else sees what it would overwrite.

        ``given`` holds (place, Value) of the operands that are not the function's own state.
        """
        if not self.safe:
            return None
        if shared.count != self.shared:
            if any(t._storage.__class__ is SharedStorage for t in (*self.read, *self.stored)):
                return None
            self.shared = shared.count
        if local.segment.node.depth:
            flush(None, "compiled call", self.place)
        if list(map(_seen, self.read)) != list(map(_version, self.read)):
            return None
        arrays = list(map(_array, self.sources))
        feed = _Feed()
        feed.values = {}
        for n, value in given:  # in ascending order, so that each comes to its place
            arrays.insert(n, value.array)
            feed.values[n] = value
        if not all(map(is_not, arrays, repeat(None))):
            return None
        changed = self.changed
        values = list(map(_value, changed))
        if list(map(getrefcount, values)) != self.holders:
            return None
        program = self.program
        if program.donated:
            donated = [arrays[d] for d in program.donated]
            if len({*map(id, arrays)}) != len(arrays):
                return None
            if exposed and not exposed.keys().isdisjoint(map(id, donated)):
                return None
            if any([a.__class__ is np.ndarray for a in donated]):
                return None
            del donated
        feed.floats = [x for x in numbers if x.__class__ is float]
        feed.ints = [x for x in numbers if x.__class__ is not float]
        done: list = []
        try:
            in_program_scope(_call, done, program, feed, arrays)
        finally:
            if done:
                self._write(values, done[0])
        stats.programs += 1
        stats.hits += 1
        self.place.flushes += 1
        cache.touch(program)
        if program.checks:
            check_later(done[0][-1], program.checks)
        moment.results = _Results(self.avals, self.order, done[0])
        return moment.results

    def _write(self, values, arrays) -> None:
        if values:
            if any(map(_epoch, values)):
                line = user_line()
                for v in values:
                    if v.epoch is not None:
                        v.epoch.line = line
                        v.epoch = None
            for v, array in zip(values, self.pick(arrays), strict=True):
                v.array = array
                v.bounds = None
            for t, n in zip(self.changed[: self.bare], self.versions, strict=False):
                t._version_count += n
            for t, n in zip(self.stored, self.versions[self.bare :], strict=True):
                storage = t._storage
                storage.version += n
                t._seen = storage.version
        for group in self.grads:
            group.write(arrays)


def _call(done: list, program, feed, arrays: list) -> None:
    # All of it in the scope: numbers that stay on the device are put there with 64 bits.
    call_into(done, program.function, program.arguments(feed, arrays))


class _Whole:
    """Gradients that are results of their own; it keeps those it made, to use them again."""

    def __init__(self, params, places):
        self.params, self.pick = params, _picker(places)
        self.grads: list = []
        self.values: list[Value] = []

    def is_untouched(self) -> bool:
        """Whether the gradients are those made last, and nobody else holds or changed them."""
        grads, values = self.grads, self.values
        return (
            bool(grads)
            and all(map(is_, map(_grad, self.params), grads))
            and all(map(is_, map(_value, grads), values))
            and _alone(grads)
            and _alone(values)
            and not any(map(_epoch, values))
        )

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
        and new.storage is None and new.base is None and new.node is None
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
