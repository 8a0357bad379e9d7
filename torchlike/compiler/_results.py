"""What a call returns or keeps besides plain tensors, made again by each replay."""

from __future__ import annotations

import collections
import dataclasses
import enum
import types

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._values import TupleOf, Unreplayable

_CONSTANTS = (
    int, float, complex, str, bytes, np.generic, dt.dtype, devices.device, enum.Enum, range,
    types.EllipsisType,
)  # fmt: skip
_SETS = (set, frozenset)
# Objects of these are what their attributes are, and hold no handle to anything else.
_PLAIN_CLASSES = ("torchlike.distributions",)


class Results:
    """Finds functions of a moment that make again what a recorded call has made.

    What it had from before the call, it is given back itself; what stands in two places is one.
    """

    def __init__(self, namer, owners: list):
        self.namer = namer
        self.owners = {id(x): n for n, x in enumerate(owners)}
        self._known: dict = {}
        self._open: set[int] = set()

    def entry(self, x):
        """The reference to a tensor, or a tuple of them, that stands in a container."""
        return self.namer.tensor(x) if isinstance(x, Tensor) else TupleOf(self.tree(x))

    def tree(self, x):
        """A function of a moment that makes ``x`` again."""
        if isinstance(x, Tensor):
            return self.namer.tensor(x).find
        if x is None or isinstance(x, _CONSTANTS):
            return lambda moment: x
        kind = x.__class__
        if kind is tuple:
            parts = [self.tree(y) for y in x]
            return lambda moment: tuple([part(moment) for part in parts])
        if id(x) in self.owners:
            place = self.owners[id(x)]
            return lambda moment: moment.owners[place]
        if id(x) in self.namer.lasting:
            return lambda moment: x
        if id(x) in self._open:
            raise Unreplayable(f"it returns a {kind.__name__} that holds itself")
        made = self._known.get(id(x))
        if made is not None:
            return made.shared
        self._open.add(id(x))
        made = Made(x, self._maker(x, kind))
        self._open.discard(id(x))
        self._known[id(x)] = made
        return made.make

    def _maker(self, x, kind):
        if kind in _SETS and all(y is None or isinstance(y, _CONSTANTS) for y in x):
            held = x.copy()  # what was returned is the user's, who may change it
            return lambda moment: kind(held)
        if kind is list or (isinstance(x, tuple) and not _attributes(x)):
            parts = [self.tree(y) for y in x]
            make = kind._make if hasattr(kind, "_fields") else kind
            return lambda moment: make([part(moment) for part in parts])
        own = _attributes(x)
        names, parts = list(own), [self.tree(y) for y in own.values()]
        if isinstance(x, dict) and kind.__new__ in _DICTS:
            keys, values = list(x), [self.tree(y) for y in x.values()]
            put = next(base.__setitem__ for base in kind.__mro__ if base in _OWN_ITEMS)
            factory = None
            if isinstance(x, collections.defaultdict):
                factory = self._factory(x.default_factory)

            def make(moment):
                out = kind.__new__(kind)
                if factory is not None:
                    out.default_factory = factory
                for key, value in zip(keys, values, strict=True):
                    put(out, key, value(moment))
                if names:
                    out.__dict__.update([(k, p(moment)) for k, p in zip(names, parts)])
                return out

            return make
        if is_its_attributes(kind):

            def make(moment):
                out = object.__new__(kind)
                out.__dict__.update([(k, p(moment)) for k, p in zip(names, parts)])
                return out

            return make
        raise Unreplayable(f"it returns a {kind.__name__}, which may be another one each time")

    def _factory(self, factory):
        if factory is None or isinstance(factory, type) or id(factory) in self.namer.lasting:
            return factory
        raise Unreplayable("it returns a defaultdict with a function of its own")


class Made:
    """One object that a call makes; ``shared`` gives the same one wherever it stands."""

    __slots__ = ("_again", "_keep", "_make")

    def __init__(self, x, make):
        self._keep, self._make, self._again = x, make, False

    def make(self, moment):
        """The object."""
        if not self._again:
            return self._make(moment)
        made = moment.made.get(self)
        if made is None:
            made = moment.made[self] = self._make(moment)
        return made

    @property
    def shared(self):
        """Its ``make``, from now on for more than one place."""
        self._again = True
        return self.make


_OWN_ITEMS = (collections.OrderedDict, dict)
_DICTS = (dict.__new__, collections.OrderedDict.__new__, collections.defaultdict.__new__)


def _attributes(x) -> dict:
    own = getattr(x, "__dict__", None)
    return own if own.__class__ is dict else {}


def is_its_attributes(kind: type) -> bool:
    """Whether an object of a class is known by its attributes: none is kept elsewhere."""
    if kind.__new__ is not object.__new__ or not kind.__flags__ & _HEAP_TYPE:
        return False
    if any(getattr(base, "__slots__", ()) for base in kind.__mro__[:-1]):
        return False
    if hasattr(kind, "__del__") or hasattr(kind, "register_forward_hook"):
        return False
    module = kind.__module__ or ""
    return not module.startswith("torchlike.") or module.startswith(_PLAIN_CLASSES)


_HEAP_TYPE = 1 << 9


def vars_of(x) -> dict:
    """The attributes of an object, if it has any."""
    return getattr(x, "__dict__", None) or {}


def tensors_in(x, found: list, seen: set | None = None) -> None:
    """The tensors in nested containers and objects, in order."""
    if isinstance(x, Tensor):
        found.append(x)
        return
    seen = set() if seen is None else seen
    if id(x) in seen:
        return
    if isinstance(x, (tuple, list)):
        seen.add(id(x))
        for y in x:
            tensors_in(y, found, seen)
    elif isinstance(x, dict):
        seen.add(id(x))
        for y in x.values():
            tensors_in(y, found, seen)
    is_record = dataclasses.is_dataclass(x) and not isinstance(x, type)
    if is_record or isinstance(x, tuple | dict) or is_its_attributes(x.__class__):
        seen.add(id(x))
        for y in _attributes(x).values():
            tensors_in(y, found, seen)
