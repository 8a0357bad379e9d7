"""Where a replay finds tensors and values, and what it makes new: references and templates."""

from __future__ import annotations

from torchlike._engine.values import Packed, Value
from torchlike._tensor.tensor import FIELDS, Tensor, _holds
from torchlike._tensor.views import Storage, storage_of

_new = object.__new__


class Unreplayable(Exception):
    """Why a recorded call cannot be replayed."""


class Moment:
    """One replay: its tensor arguments, the lists and dicts among the arguments, the composite's
    results, its node, what it has made.

    early holds values from before the call that are needed after it has changed things, drawn the
    random numbers of this call.
    """

    __slots__ = (
        "arguments", "drawn", "early", "homes", "made", "node", "owners", "packs", "results",
    )  # fmt: skip

    def __init__(self, flat):
        self.arguments, self.owners, self.homes = flat.tensors, flat.owners, flat.homes
        self.results = self.node = None
        self.early: dict = {}
        self.drawn: dict = {}
        self.made: dict = {}
        self.packs: dict = {}


# ---- tensors that were there before ------------------------------------------------------------


class Known:
    """A tensor that lives as long as what the function can reach.

    place is the (container, key) where each call puts a new one, if it does; with an index, that
    of a tuple. Found once before anything is written (see ``Replay.fragile``).
    """

    __slots__ = ("place", "tensor")

    def __init__(self, tensor):
        self.tensor, self.place = tensor, None

    def find(self, moment):
        if self.place is None:
            return self.tensor
        if self in moment.made:
            return moment.made[self]
        owner, key, *index = self.place
        return owner[key][index[0]] if index else owner[key]


class Argument:
    """The n-th tensor among the arguments."""

    __slots__ = ("place",)

    def __init__(self, place):
        self.place = place

    def find(self, moment):
        return moment.arguments[self.place]


class Through:
    """The ``_grad`` or ``_base`` of another tensor."""

    __slots__ = ("name", "owner")

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def find(self, moment):
        if self in moment.made:
            return moment.made[self]
        return getattr(self.owner.find(moment), self.name)


# ---- values ------------------------------------------------------------------------------------


class ValueOf:
    """The value that a tensor that was there before shows when the call begins."""

    __slots__ = ("tensor",)

    def __init__(self, tensor):
        self.tensor = tensor

    def get(self, moment):
        tensor = self.tensor.find(moment)
        storage = tensor._storage
        if storage is not None and tensor._seen != storage.version:
            tensor._sync()
        return tensor._value


class Passed:
    """The value of the n-th tensor among the arguments, which the look at them has brought up to
    date with its memory."""

    __slots__ = ("place",)

    def __init__(self, place):
        self.place = place

    def get(self, moment):
        return moment.arguments[self.place]._value


class RootOf:
    """The value of the storage that such a tensor is a view of."""

    __slots__ = ("tensor",)

    def __init__(self, tensor):
        self.tensor = tensor

    def get(self, moment):
        tensor = self.tensor.find(moment)
        return tensor._value if tensor._storage is None else tensor._storage.value


class Early:
    """What another reference gave before the call changed anything."""

    __slots__ = ("reference",)

    def __init__(self, reference):
        self.reference = reference

    def get(self, moment):
        return moment.early[self]


class Constant:
    """A value that is the same in every call."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def get(self, moment):
        return self.value


class Unread:
    """The value of a view that is read off its base when somebody looks."""

    __slots__ = ("aval",)

    def __init__(self, aval):
        self.aval = aval

    def get(self, moment):
        return Value(self.aval)


class Drawn:
    """Random numbers that the n-th action of a call has drawn."""

    __slots__ = ("action",)

    def __init__(self, action):
        self.action = action

    def get(self, moment):
        return moment.drawn[self.action]


class Copy(Constant):
    """The same numbers in a Value of its own."""

    __slots__ = ()

    def get(self, moment):
        return Value(self.value.aval, self.value.array)


class Result:
    """A result of the composite."""

    __slots__ = ("place",)

    def __init__(self, place):
        self.place = place

    def get(self, moment):
        return moment.results[self.place]


class Piece:
    """A part of a flat result, cut out when somebody looks."""

    __slots__ = ("aval", "flat", "slot", "start")

    def __init__(self, flat: Result, slot, start, aval):
        self.flat, self.slot, self.start, self.aval = flat, slot, start, aval

    def get(self, moment):
        packed = moment.packs.get(self.flat.place)
        if packed is None:
            packed = moment.packs[self.flat.place] = Packed(self.flat.get(moment))
        packed.starts[self.slot] = self.start
        return Value(self.aval, None, packed, self.slot)


# ---- tensors that a call makes -----------------------------------------------------------------


class NewStorage:
    """A storage that several new tensors share."""

    __slots__ = ("geometry", "silent", "value", "version")

    def find(self, moment):
        made = moment.made.get(self)
        if made is None:
            made = moment.made[self] = _new(Storage)
            made.value = self.value.get(moment)
            made.node, made.index = None, 0
            made.version, made.silent = self.version, self.silent
            made.geometry = self.geometry
            made.identity = made.parted = made.seen = None
        return made


class StorageOf:
    """The storage of a tensor that was there before."""

    __slots__ = ("tensor",)

    def __init__(self, tensor):
        self.tensor = tensor

    def find(self, moment):
        return storage_of(self.tensor.find(moment))


class New:
    """A tensor that the call makes: what its handle holds, found again for each replay.

    shared says that the call leaves it in more than one place, alone that it is a result and
    nothing else (None until that is asked for).
    """

    __slots__ = (
        "alone", "base", "fields", "index", "kind", "node", "shared", "stale", "storage", "value",
    )  # fmt: skip

    def find(self, moment):
        if self.alone is None:
            self.alone = self.value.__class__ is Result and not (
                self.shared or self.storage or self.base or self.node or self.fields
            )
        if self.alone:
            made = _new(self.kind)
            made._value = moment.results[self.value.place]
            return made
        made = moment.made.get(self)
        if made is not None:
            return made
        made = moment.made[self] = _new(self.kind)
        made._value = self.value.get(moment)
        if self.storage is not None:
            made._storage = storage = self.storage.find(moment)
            made._seen = -1 if self.stale else storage.version
        if self.base is not None:
            made._base = self.base.find(moment)
        if self.node is OPEN:
            made._node, made._index = moment.node, self.index
        elif self.node is not None:
            made._node, made._index = self.node, self.index
        for name, value in self.fields:
            setattr(made, name, value)
        if self.node is OPEN and self.storage is not None and not (made._chain or made._detached):
            storage.node, storage.index = made._node, made._index
        return made


class TupleOf:
    """A tuple of tensors that the call makes."""

    __slots__ = ("find",)

    def __init__(self, make):
        self.find = make


OPEN = object()  # stands for the tape node of the replay
_FIELDS = ("_chain", "_detached", "_silent", "_made", "_geometry", "_requires_grad", "_retains")


class Namer:
    """Finds references for the tensors and values that a recorded call has left behind.

    known     id -> (reference, tensor) of those that were there before
    before    id of a value -> reference to it, as it was when the call began
    results   id of a value -> its place among the composite's results
    opened    id of a tensor -> its place among the results of the tape node that replaces its own
    """

    def __init__(self, known, before, results, opened, constants, lasting, draws):
        self.known, self.before, self.results = known, before, results
        self.draws = draws  # id of a value -> the action that has drawn it
        self.used: list = []  # references to tensors that were there before
        self.lasting = lasting  # ids of all other objects that were there before
        self.opened, self.constants = opened, constants
        self.early: list[Early] = []
        self.claimed: set[int] = set()  # results that some reference leads to
        self.repeated: set[int] = set()  # those that more than one leads to
        self._new: dict[int, New] = {}
        self._storages: dict[int, object] = {}
        self._keep: list = []

    def value(self, value: Value):
        """The reference to a value."""
        place = self.results.get(id(value))
        if place is not None:
            self._claim(place)
            return Result(place)
        packed = value.segment
        if packed.__class__ is Packed and id(packed.flat) in self.results:
            flat = Result(self.results[id(packed.flat)])
            self._claim(flat.place)
            return Piece(flat, value.slot, packed.starts[value.slot], value.aval)
        if value.array is value.segment is None:
            return Unread(value.aval)
        found = self.before.get(id(value))
        if found is not None:
            self.early.append(Early(found))
            return self.early[-1]
        if id(value) in self.draws:
            return Drawn(self.draws[id(value)])
        if self.constants.get(id(value)) is value:
            return Copy(value)
        raise Unreplayable("it keeps a value that comes from elsewhere")

    def _claim(self, place: int) -> None:
        (self.repeated if place in self.claimed else self.claimed).add(place)

    def tensor(self, t: Tensor):
        """The reference to a tensor that the call returns or keeps."""
        found = self.known.get(id(t))
        if found is not None:
            self.used.append(found[0])
            return found[0]
        new = self._new.get(id(t))
        if new is not None:
            new.shared = True
            return new
        if t._sparse:
            raise Unreplayable("it makes a sparse tensor")
        if not FIELDS.issuperset(_holds(t)) or t._grad is not None:
            raise Unreplayable("it makes a tensor with attributes or a gradient of its own")
        if t._hooks or t._after_hooks:
            raise Unreplayable("it makes a tensor with hooks")
        new = self._new[id(t)] = New()
        self._keep.append(t)
        new.kind, new.index, new.node, new.shared = t.__class__, t._index, None, False
        new.alone = None
        new.stale = t._storage is not None and t._seen != t._storage.version
        node = t._node
        if node is not None:
            if id(t) in self.opened:
                new.node, new.index = OPEN, self.opened[id(t)]
            elif node.freed:
                new.node = node
            else:
                raise Unreplayable("it keeps a tensor whose history cannot be replayed")
        new.value = self.value(t._value)
        own = _holds(t)
        new.fields = [(name, own[name]) for name in _FIELDS if name in own]
        new.base = None if t._base is None else self.tensor(t._base)
        new.storage = None if t._storage is None else self.storage(t)
        return new

    def roots(self) -> set:
        """References to tensors of whose storages the results show other parts."""
        return {s.tensor for s in self._storages.values() if s.__class__ is StorageOf}

    def storage(self, t: Tensor):
        storage = t._storage
        found = self._storages.get(id(storage))
        if found is None:
            for reference, other in self.known.values():
                if other._storage is storage:
                    found = StorageOf(reference)
                    break
            else:
                if storage.__class__ is not Storage:
                    raise Unreplayable("it makes memory that is shared with a NumPy array")
                found = NewStorage()
                found.value = self.value(storage.value)
                found.version, found.silent = storage.version, storage.silent
                found.geometry = storage.geometry
            self._storages[id(storage)] = found
            self._keep.append(storage)
        return found
