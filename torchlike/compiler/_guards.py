"""Guards: whether everything that a recording has read is as it was."""

from __future__ import annotations

import types
from itertools import chain
from operator import attrgetter, call, is_, itemgetter

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor.tensor import Tensor
from torchlike._tensor.views import turned
from torchlike.compiler._parts import (
    ATOMS,
    MISSING,
    PRIMITIVES,
    Attributes,
    Entries,
    Items,
    Part,
    Slots,
)
from torchlike.compiler._written import written

# So often a look is at lists; from then on it is a function of its own.
_OFTEN = 64

_TENSOR_STATE = attrgetter(
    "_value.aval", "_requires_grad", "_node", "_hooks", "_after_hooks", "_storage"
)


def same(a, b) -> bool:
    """Whether two entries are the same object, or equal numbers, texts or tuples of them."""
    if a is b:
        return True
    if a.__class__ is not b.__class__:
        return False
    if a.__class__ in ATOMS:
        return a == b and repr(a) == repr(b)
    if isinstance(a, tuple | frozenset):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, slice | range):
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, np.generic):  # 0.0 and -0.0 are equal
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, (dt.dtype, devices.device, types.CodeType)):
        return bool(a == b)
    if isinstance(a, types.MethodType):
        return a.__func__ is b.__func__ and a.__self__ is b.__self__
    return False


def _is_whole(part: Part) -> bool:
    return part.__class__ in (Entries, Attributes) and part.whole


def _is_partial(part: Part) -> bool:
    """Whether some entries or attributes of an object are read, and all of them are there."""
    if isinstance(part, Entries):
        return not part.whole and bool(part.keys)
    return isinstance(part, Slots) and bool(part.keys) and not any(x is MISSING for x in part.old)


def _getter(part: Part):
    """A function in C of the part's owner that gives what it holds, as a tuple."""
    make = attrgetter if isinstance(part, Slots) else itemgetter
    first, *rest = part.keys
    return make(first, *(rest or [first]))


def plain_state(t: Tensor) -> tuple:
    """What is compared of a tensor that another one takes the place of in each call."""
    return (
        t._value.aval, t._requires_grad, t._node is None, t._storage is None, t.__class__,
        not t._chain,
    )  # fmt: skip


def state_of_entry(x):
    """The same of what may stand in an entry that each call replaces; None if it may not."""
    if isinstance(x, Tensor):
        return plain_state(x)
    if x.__class__ is tuple:
        states = tuple(map(state_of_entry, x))
        return None if None in states else states
    return (x.__class__, repr(x)) if x.__class__ in ATOMS else None


def holds_tensors(x) -> bool:
    """Whether this is a tensor, or a tuple of tensors and plain values."""
    if x.__class__ is not tuple:
        return isinstance(x, Tensor)
    tensors = [isinstance(t, Tensor) for t in x]
    return any(tensors) and all(found or t.__class__ in ATOMS for found, t in zip(tensors, x))


_gradient, _attributes = attrgetter("_grad"), attrgetter("__dict__")


def identity(t: Tensor) -> tuple[int, int]:
    """Which tensor this is, and which memory it shows; of use while it lives."""
    return id(t), id(t if t._storage is None else t._storage)


def gradient_state(t: Tensor) -> tuple:
    """What is compared of a gradient that is used: it may come to be a view, or get a history."""
    g = t._grad
    root = (g._storage.value.aval, g._base is None or g._base._requires_grad) if g._chain else ()
    on_tape = g._requires_grad or g._node is not None
    return g._value.aval, g.__class__, on_tape, g._chain or g._geometry, *root


class Guards:
    """The parts and tensors of a heap, flattened so that a look at all of them runs in C."""

    def __init__(
        self, parts: list[Part], tensors: list[Tensor], grads: dict, places: list, instances: list,
        constants=(), used=(),
    ):  # fmt: skip
        storages = [t._storage for t in tensors if t._storage is not None]
        parted = {id(s.parted): s.parted for s in storages if s.parted is not None}
        parts = [*parts, *[Slots(x, "a shared memory", ("holders",)) for x in parted.values()]]
        self.parts, self.tensors = parts, tensors
        self.constants = constants if grads else ()  # tensors that a gradient may come to be
        # Of tensors of which the gradient is read, or added to, what it was.
        self.used, self.used_states = list(used), list(dict(used).values())
        self.instances, self.kinds = instances, list(map(type, instances))
        self.attributes = list(map(_attributes, instances))
        # grads: tensor -> whether it had none; places: (container, key, state) of those replaced.
        self.grads, self.no_grad = list(grads), list(grads.values())
        self.places = places
        # Of an empty dict the size says all.
        self.wholes = [p.owner for p in parts if _is_whole(p) and p.keys]
        self.by_text = [w for w in self.wholes if all(k.__class__ is str for k in w)]
        self.by_object = [w for w in self.wholes if not all(k.__class__ is str for k in w)]
        self.partly = [p for p in parts if _is_partial(p)]
        self.getters = [_getter(p) for p in self.partly]
        self.mappings = [p.owner for p in self.partly]
        self.lists = [p.owner for p in parts if isinstance(p, Items)]
        taken = {id(p) for p in self.partly}
        self.others = [
            p for p in parts
            if id(p) not in taken and not isinstance(p, Items) and not _is_whole(p) and p.keys
        ]  # fmt: skip
        self.sized = [p.owner for p in parts if isinstance(p, Entries | Items)]
        self.refresh()

    def refresh(self) -> None:
        """Compare with the present state from here on: it is as good as the old one."""
        self.whole_values = list(chain.from_iterable(map(dict.values, self.wholes)))
        self.texts = list(chain.from_iterable(self.by_text))
        self.keys = list(chain.from_iterable(self.by_object))
        self.picked = list(chain.from_iterable(map(call, self.getters, self.mappings)))
        self.listed = list(chain.from_iterable(self.lists))
        self.sizes = list(map(len, self.sized))
        self.states = list(chain.from_iterable(map(_TENSOR_STATE, self.tensors)))
        found = {id(t): n for n, t in enumerate(self.constants)}
        found.update(
            {id(t._storage): ~n for n, t in enumerate(self.constants) if t._storage is not None}
        )
        self.found, self.met = found, self._met(found)
        self.turned, self.shown = turned.count, list(map(_shown, self.tensors))
        self.memory = {id(t._storage) for t in self.tensors if self.places}
        looks = {
            self.is_whole: self.wholes, self.is_listed: self.lists,
            self.is_stated: self.tensors, self.is_used: self.found or self.used,
            self.is_placed: self.places, self.is_same: self.others,
        }  # fmt: skip
        self.looks = [look for look, needed in looks.items() if needed]
        self.times, self.written = 0, None

    def _met(self, found: dict) -> list:
        """Which gradients are other known tensors, or show the memory of one."""
        if not found:
            return []
        grads = list(map(_gradient, self.grads))
        shown = [None if g is None else g._storage for g in grads]
        met = zip(map(found.get, map(id, grads)), map(found.get, map(id, shown)), strict=True)
        return list(met)

    def gradients(self) -> list[tuple[int, int]]:
        """The identities of the gradients that are used."""
        return [identity(t._grad) for t in self.used if t._grad is not None]

    def _state_at(self, owner, key):
        try:
            x = owner[key]
        except (KeyError, IndexError):
            return None
        for t in x if x.__class__ is tuple else (x,):
            if isinstance(t, Tensor) and t._storage is not None and id(t._storage) in self.memory:
                return None
        return state_of_entry(x)

    def hold(self) -> bool:
        """Whether everything is as it was."""
        try:
            if self.written is not None:
                return self.written()
            if (
                turned.count == self.turned
                and list(map(len, self.sized)) == self.sizes
                and list(map(type, self.instances)) == self.kinds
                and all(map(is_, map(_attributes, self.instances), self.attributes))
                and all(
                    map(
                        is_,
                        chain.from_iterable(map(call, self.getters, self.mappings)),
                        self.picked,
                    )
                )
                and [t._grad is None for t in self.grads] == self.no_grad
                and all([look() for look in self.looks])
            ):
                self.times += 1
                if self.times == _OFTEN:
                    self.written = written(self)
                return True
        except (KeyError, AttributeError, ValueError):  # ValueError: an empty cell
            pass
        return False

    def is_whole(self) -> bool:
        """Whether the dicts that are read whole hold the same, in the same order."""
        return (
            all(map(is_, chain.from_iterable(map(dict.values, self.wholes)), self.whole_values))
            and list(chain.from_iterable(self.by_text)) == self.texts
            and all(map(is_, chain.from_iterable(self.by_object), self.keys))
        )

    def is_listed(self) -> bool:
        """Whether the lists hold the same."""
        return all(map(is_, chain.from_iterable(self.lists), self.listed))

    def is_stated(self) -> bool:
        """Whether the tensors are of the same kinds."""
        # Lists of what has no __eq__ are compared by identity, and faster than by is_.
        return list(chain.from_iterable(map(_TENSOR_STATE, self.tensors))) == self.states

    def is_used(self) -> bool:
        """Whether the gradients that are read, or may be other tensors, are alike."""
        return (not self.found or self._met(self.found) == self.met) and (
            not self.used or list(map(gradient_state, self.used)) == self.used_states
        )

    def is_placed(self) -> bool:
        """Whether what each call replaces is alike."""
        return all([self._state_at(*place[:2]) == place[2] for place in self.places])

    def is_same(self) -> bool:
        """Whether all else is equal."""
        return all([all(map(same, p.old, p.now())) for p in self.others])

    def failed(self) -> str | None:
        """What differs, in words; None if only equal things took each other's place."""
        for part in self.parts:
            now = part.now()
            if isinstance(part, Entries):
                if part.whole and not all(map(same, part.owner, part.keys)):
                    return f"the keys of {part.path} changed"
                if part.added():
                    return f"{part.name(part.added()[0])} is new"
                part.size = len(part.owner)
            if len(now) != len(part.old):
                return f"{part.path} has {len(now)} elements, not {len(part.old)}"
            for key, old, new in zip(part.keys, part.old, now, strict=True):
                if not same(old, new):
                    return f"{part.name(key)} is {brief(new)}, was {brief(old)}"
            part.old = now
        for obj, kind, own in zip(self.instances, self.kinds, self.attributes, strict=True):
            if type(obj) is not kind:
                return f"the class of an object is {type(obj).__name__}, was {kind.__name__}"
            if obj.__dict__ is not own:
                return f"the __dict__ of a {kind.__name__} is another one"
        k = len(_STATE_NAMES)
        for n, t in enumerate(self.tensors):
            old, new = self.states[n * k : n * k + k], _TENSOR_STATE(t)
            for name, a, b in zip(_STATE_NAMES, old, new, strict=True):
                fresh = name == "storage" and a is None
                if not (a is b or fresh or (name == "hooks" and not a and not b)):
                    return f"a tensor's {name} is {brief(b)}, was {brief(a)}"
        if list(map(_shown, self.tensors)) != self.shown:
            return "the strides of a tensor changed"
        for owner, key, state in self.places:
            if self._state_at(owner, key) != state:
                return f"the tensor at {key!r} has another shape, dtype or history"
        if self._met(self.found) != self.met:
            return "which tensors are gradients"
        for t, was in zip(self.grads, self.no_grad, strict=True):
            if (t._grad is None) is not was:
                return f"the .grad of a parameter is {'None' if t._grad is None else 'a tensor'}"
        if list(map(gradient_state, self.used)) != self.used_states:
            return "a .grad is another kind of tensor, or a view"
        return None


def _shown(t: Tensor) -> tuple:
    """How a tensor shows its memory."""
    return t._chain or t._geometry


_STATE_NAMES = (
    "shape or dtype", "requires_grad", "grad_fn", "hooks", "hooks", "storage",
)  # fmt: skip


def brief(x) -> str:
    """A value for a message."""
    if isinstance(x, Tensor):
        return f"a tensor of shape {list(x.shape)}"
    text = repr(x) if isinstance(x, (*PRIMITIVES, tuple)) else f"{type(x).__name__} {x!r}"
    return text if len(text) < 60 else text[:57] + "..."
