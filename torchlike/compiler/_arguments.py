"""Arguments of a call, taken apart: what is compared, and the tensors in the order found."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from operator import attrgetter

import numpy as np

from torchlike._engine.values import TRACED
from torchlike._tensor import views
from torchlike._tensor.dispatch import TENSORS
from torchlike._tensor.tensor import FIELDS, Tensor, _holds
from torchlike.compiler._guards import gradient_state, identity
from torchlike.compiler._parts import ATOMS
from torchlike.compiler._results import _HEAP_TYPE, _attributes, is_its_attributes

_MAX_CONTENT = 1 << 16
_FEW = 16
_TENSOR = "tensor"

# What is compared of a tensor; of one with a history or strides of its own, more.
_STATES = (
    "_value.aval", "__class__", "_requires_grad", "_hooks", "_after_hooks", "_node", "_chain",
    "_geometry", "_base",
)  # fmt: skip
_STATE = attrgetter(*_STATES)
_PLAIN = (None, (), None, None)


class Same:
    """Stands for an object that is compared by identity."""

    __slots__ = ("object",)

    def __init__(self, obj):
        self.object = obj

    def __eq__(self, other):
        return isinstance(other, Same) and other.object is self.object

    def __hash__(self):
        return id(self.object)


class Where:
    """Which part of its memory a view shows.

    loose says that only the steps matter to a recording, for which a batch is as good as the next.
    """

    __slots__ = ("chain", "loose", "offset", "root", "strides")
    __hash__ = None

    def __init__(self, t: Tensor):
        self.strides, self.offset = views.geometry(t)
        self.chain, self.root, self.loose = t._chain, t._storage.value.aval, False

    def __eq__(self, other):
        return other.__class__ is Where and self.strides == other.strides and (
            self.loose or other.loose
            or (self.offset, self.root, self.chain) == (other.offset, other.root, other.chain)
        )  # fmt: skip

    def __repr__(self):
        return f"strides {self.strides} from {self.offset} on of {list(self.root.shape)}"


class Flat:
    """The arguments of one call.

    spec      containers, numbers and texts as nested tuples, equal for calls that are alike
    tensors   the tensors, in order
    objects   other objects, which are looked into like what the function itself can reach
    kinds     classes of containers that Python does not know by itself
    owners    lists, dicts, sets and objects that are opened, each once
    homes     (place of a tensor, owner, key) of those that stand in one
    """

    __slots__ = ("homes", "kinds", "objects", "owners", "spec", "tensors")

    def __init__(self, args: tuple, kwargs: dict):
        self.tensors: list[Tensor] = []
        self.objects: list = []
        self.kinds: list = []
        self.owners: list = []
        self.homes: list = []
        put, tensors = self._put, self.tensors
        spec: list = []
        for x in args:
            if x.__class__ in TENSORS and not _holds(x):
                tensors.append(x)
                spec.append(_TENSOR)
            else:
                spec.append(put(x))
        if kwargs:
            spec.append(tuple([(name, put(x)) for name, x in kwargs.items()]))
        self.spec = tuple(spec)

    def _put(self, x):
        kind = x.__class__
        if kind in TENSORS or isinstance(x, Tensor):
            self.tensors.append(x)
            return _TENSOR if FIELDS.issuperset(_holds(x)) else self._noted(x)
        if kind is int or kind is str or kind is bool or x is None or kind is bytes:
            return kind, x
        if kind is float or kind is complex:
            return kind, repr(x)
        if isinstance(x, tuple | list):
            if kind is list:
                return kind, *self._own(x, range(len(x)), x, x)
            if kind is tuple:
                return kind, tuple([self._put(y) for y in x])
            self.kinds.append(kind)
            own = getattr(x, "__dict__", None) or {}
            notes = tuple([(name, self._put(y)) for name, y in own.items()])
            return kind, *self._own(x, range(len(x)), x), notes
        if kind is dict:
            return kind, self._keys(x), *self._own(x, x, x.values(), x)
        if isinstance(x, dict):
            self.kinds.append(kind)
            factory = self._put(x.default_factory if isinstance(x, defaultdict) else None)
            base = OrderedDict if isinstance(x, OrderedDict) else dict  # a user's may run code
            keys, values = list(base.keys(x)), list(base.values(x))
            notes = [(name, self._put(y)) for name, y in (_attributes(x) or {}).items()]
            return kind, self._keys(keys), *self._own(x, keys, values), factory, tuple(notes)
        if kind is slice or kind is range:
            return kind, self._put((x.start, x.stop, x.step))
        if (kind is set or kind is frozenset) and ATOMS.issuperset(map(type, x)):
            return kind, *self._own(x, x, x)
        if _is_record(x, kind):
            self.kinds.append(kind)
            own = vars(x)
            return kind, tuple(own), *self._own(x, own, own.values(), own)
        if kind is np.ndarray and x.dtype != object and x.nbytes <= _MAX_CONTENT:
            return kind, x.shape, x.strides, x.dtype, x.tobytes()
        if isinstance(x, np.generic):
            return kind, x.dtype, x.tobytes()
        self.objects.append(x)
        return Same(x)

    def _keys(self, x) -> tuple:
        """The keys of a dict, told from those that are equal but not the same: 1, True and 1.0."""
        return tuple([key if key.__class__ is str else self._put(key) for key in x])

    def _own(self, x, keys, values, home=None):
        """(which object this is, what it holds): one may be passed in two places.

        home is where a call may put another tensor, if it may.
        """
        for n, owner in enumerate(self.owners):
            if owner is x:
                return n, None
        n, held, homes = len(self.owners), [], self.homes
        self.owners.append(x)
        for key, y in zip(keys, values, strict=True):
            if home is not None and isinstance(y, Tensor):
                homes.append((len(self.tensors), home, key))
            held.append(self._put(y))
        return n, tuple(held)

    def _noted(self, x: Tensor):
        """A tensor on which the user has set attributes."""
        notes = [(k, y) for k, y in _holds(x).items() if k not in FIELDS]
        return (_TENSOR, *[(k, self._put(y)) for k, y in notes])

    def states(self) -> list:
        """What is compared of the tensors: shape, dtype, device, class, whether they need grad."""
        states = []
        for t in self.tensors:
            storage = t._storage
            if storage is not None and t._seen != storage.version:
                t._sync()
            state = _STATE(t)
            if state[5:] != _PLAIN or (storage is not None and storage.geometry is not None):
                history = None if t._node is None else "made by an op"
                place = Where(t) if t._chain else _layout(t)
                state = (*state[:5], history, bool(t._chain), place, None)
            states.append(state)
        return states

    def where(self, states: list) -> list:
        """(place, tensor, Where) of the arguments that are views."""
        found = enumerate(zip(self.tensors, states, strict=True))
        return [(i, t, state[7]) for i, (t, state) in found if state[7].__class__ is Where]

    def no_grad(self) -> list:
        """Which tensors have no gradient, and what is compared of the others'."""
        return [t._grad is None or gradient_state(t) for t in self.tensors]

    def gradients(self) -> list[tuple[int, int]]:
        """The identities of the gradients."""
        return [identity(t._grad) for t in self.tensors if t._grad is not None]

    def identities(self) -> list[tuple[int, int]]:
        """Of each tensor, which it is and which memory it shows; of use while they live."""
        return [(id(t), id(t if t._storage is None else t._storage)) for t in self.tensors]


class Tensors:
    """The arguments of a call of which all are tensors, in the place of its ``Flat``."""

    __slots__ = ("tensors",)
    owners = homes = ()

    def __init__(self, tensors: tuple):
        self.tensors = tensors


class Usual:
    """The arguments of a recording that one look tells from others: tensors, each with a memory of
    its own that nothing else shows, and of which no gradient is read."""

    __slots__ = ("count", "look", "states")

    @classmethod
    def of(cls, replay) -> Usual | None:
        """What a recording's arguments have to be; None if that takes more than a look."""
        spec, states, no_grad = replay.spec, replay.states, replay.no_grad
        alone = tuple([x for i in range(len(spec)) for x in (i, i, None, None)])
        if (
            any(x != _TENSOR for x in spec) or any(state[5:] != _PLAIN for state in states)
            or replay.used or replay.alias != alone or not all(x is True for x in no_grad or ())
        ):  # fmt: skip
            return None
        usual = cls()
        usual.count = len(spec)
        usual.look, usual.states = _STATE, states
        if no_grad is not None:
            usual.look, usual.states = _STATE_AND_GRAD, [(*state, None) for state in states]
        return usual

    def holds(self, args: tuple, lasting: dict) -> bool:
        """Whether these are such arguments; ``lasting`` has the tensors that may not be."""
        if len(args) != self.count:
            return False
        try:
            storages = list(filter(None, map(_storage, args)))
            if storages and not self._have_own_memories(args, storages, lasting):
                return False
            if list(map(self.look, args)) != self.states:
                return False
            kinds = set(map(type, map(_array, args)))
        except AttributeError:  # not a tensor
            return False
        identities = set(map(id, args))
        if len(identities) != self.count or not lasting.keys().isdisjoint(identities):
            return False
        if any(map(_holds, args)) and not all(map(FIELDS.issuperset, map(_holds, args))):
            return False
        if not _computed.issuperset(kinds):
            if any(issubclass(kind, TRACED) for kind in kinds):
                return False
            _computed.update(kinds)
        return True

    def _have_own_memories(self, args: tuple, storages: list, lasting: dict) -> bool:
        """Whether each shows the whole of a memory of its own, and what that holds now."""
        for t in args:
            storage = t._storage
            if storage is not None and t._seen != storage.version:
                t._sync()
        memories = set(map(id, storages))
        return (
            len(memories) == len(storages)
            and lasting.keys().isdisjoint(memories)
            and all([storage.geometry is None for storage in storages])
        )


_STATE_AND_GRAD = attrgetter(*_STATES, "_grad")
_array, _storage = attrgetter("_value.array"), attrgetter("_storage")
_computed: set = set()  # classes of arrays that were met and are none of JAX's tracers


def _is_record(x, kind: type) -> bool:
    """Whether an object is what its attributes are: a dataclass, or a few with a tensor among them,
    as of a batch."""
    own = getattr(x, "__dict__", None)
    if own.__class__ is not dict or isinstance(x, type) or "_modules" in own:
        return False
    if dataclasses.is_dataclass(x):
        return all(
            base is object or (base.__flags__ & _HEAP_TYPE and not vars(base).get("__slots__"))
            for base in kind.__mro__
        )
    return (
        len(own) <= _FEW
        and any([isinstance(y, Tensor) for y in own.values()])
        and all([_is_short(y) for y in own.values()])
        and is_its_attributes(kind)
        and kind.__setattr__ is object.__setattr__
    )


def _is_short(x) -> bool:
    return (
        x.__class__ in ATOMS or isinstance(x, Tensor)
        or (x.__class__ in (tuple, list, dict) and len(x) <= _FEW)
    )  # fmt: skip


def aliases(identities: list, owners: list, lasting: dict) -> tuple:
    """Which tensors are one, or share memory, among the arguments and those that last, and which
    of the containers last."""
    out: list = []
    tensors: dict = {}
    memories: dict = {}
    for i, (tensor, memory) in enumerate(identities):
        out += (
            tensors.setdefault(tensor, i), memories.setdefault(memory, i),
            lasting.get(tensor), lasting.get(memory),
        )  # fmt: skip
    if owners:
        out += map(lasting.get, map(id, owners))
    return tuple(out)


def _layout(t: Tensor):
    """(strides, offset) of a tensor that is not row-major from the start of its memory."""
    if t._storage is None and t._geometry is None:
        return None
    found = views.geometry(t)
    plain = views.contiguous_strides(t._value.aval.shape), 0
    return None if found == plain else found
