"""Parts of the Python state: one container or object each, what it held and what it holds now."""

from __future__ import annotations

import collections
import sys
from abc import get_cache_token
from operator import lt

import numpy as np

MISSING = type("Missing", (), {"__repr__": lambda self: "nothing"})()
# Compared by value: a new number that is equal to the old one changes nothing.
PRIMITIVES = (int, float, complex, bool, str, bytes, type(None))
ATOMS = frozenset(PRIMITIVES)


class Part:
    """One container: what it held, by key; ``now()`` is what it holds."""

    __slots__ = ("keys", "old", "owner", "path", "whole")

    def __init__(self, owner, path: str, keys: tuple, whole: bool):
        self.owner, self.path, self.whole = owner, path, whole
        self.keys = keys
        self.old = self.now()

    def name(self, key) -> str:
        """How a user would write the entry."""
        if key.__class__ not in ATOMS:  # the state of a parameter, by the parameter
            return f"{self.path}[...]"
        if self.path.endswith(("._modules", "._parameters", "._buffers")):
            return f"{self.path.rpartition('.')[0]}.{key}"
        return f"{self.path}[{key!r}]"


class Entries(Part):
    """A dict, or some of its keys: those that ``reads`` says are read, but for the replaced."""

    __slots__ = ("reads", "replaced", "size")

    def __init__(self, owner, path, keys=None, reads=None, replaced=()):
        self.size, self.reads, self.replaced = len(owner), reads, replaced
        super().__init__(owner, path, tuple(owner) if keys is None else keys, keys is None)

    def now(self):
        owner = self.owner
        get = dict.get if isinstance(owner, dict) else type(owner).get  # a user's may run code
        return [get(owner, k, MISSING) for k in self.keys]

    def added(self) -> list:
        """Keys that were not there and would be read."""
        every = self.reads is None and (self.whole or bool(self.replaced))
        if len(self.owner) == self.size or not (every or self.reads):
            return []
        old = {*self.keys, *self.replaced}
        return [k for k in self.owner if k not in old and (every or self.reads(k))]

    def reordered(self) -> bool:
        """Whether the same keys stand in another order."""
        return self.whole and len(self.owner) == self.size and list(self.owner) != [*self.keys]


class Attributes(Entries):
    """The attributes of an object, or those that somebody reads."""

    __slots__ = ()

    def name(self, key) -> str:
        return f"{self.path}.{key}" if self.path else str(key)


class Items(Part):
    """A list or deque."""

    __slots__ = ()

    def __init__(self, owner, path):
        super().__init__(owner, path, tuple(range(len(owner))), True)

    def now(self):
        return list(self.owner)


class Elements(Part):
    """The length of a list, and some of its elements."""

    __slots__ = ()

    def __init__(self, owner, path, keys):
        super().__init__(owner, path, ("length", *keys), False)

    def now(self):
        owner, (_, *keys) = self.owner, self.keys
        return [len(owner), *[owner[i] if i < len(owner) else MISSING for i in keys]]


class Slots(Part):
    """Attributes that are in no dict: of functions, cells and classes with slots."""

    __slots__ = ()

    def __init__(self, owner, path, keys):
        super().__init__(owner, path, keys, False)

    def now(self):
        return [_attribute(self.owner, k) for k in self.keys]

    def name(self, key) -> str:
        return self.path if key == "cell_contents" else f"{self.path}.{key}"


class Members(Part):
    """A set, in the order in which it is gone through."""

    __slots__ = ()

    def __init__(self, owner, path):
        super().__init__(owner, path, (0,), True)

    def now(self):
        return [tuple(self.owner)]


class Named:
    """An object that takes and gives its attributes by key, as a dict does its entries."""

    __slots__ = ("object",)

    def __init__(self, obj):
        self.object = obj

    def __getitem__(self, name):
        found = _attribute(self.object, name)
        if found is MISSING:
            raise KeyError(name)
        return found

    def __setitem__(self, name, value):
        setattr(self.object, name, value)


_SETTERS = (dict.__setitem__, list.__setitem__, collections.deque.__setitem__)
_SETTERS = (*_SETTERS, collections.OrderedDict.__setitem__)


def writable(part: Part):
    """What takes new entries of a part by key; None if that runs code of the user's."""
    kind = type(part.owner)
    if isinstance(part, Slots):
        return Named(part.owner) if kind.__setattr__ is object.__setattr__ else None
    if isinstance(part, Entries | Items) and getattr(kind, "__setitem__", None) in _SETTERS:
        return part.owner
    return None


class Content(Part):
    """The numbers of a NumPy array."""

    __slots__ = ()

    def __init__(self, owner, path):
        super().__init__(owner, path, ("content",), False)

    def now(self):
        x = np.ndarray.view(self.owner, np.ndarray)  # a user's class may run code
        return [(x.shape, x.strides, repr(x.dtype), x.tobytes())]


class Cleared(Part):
    """A function's cache, of which one can only tell that it was emptied: its counts fall."""

    __slots__ = ("counts", "misses", "times")

    def __init__(self, owner, path):
        self.misses = owner.cache_info().misses
        self.counts, self.times = (0, 0, 0), 0
        super().__init__(owner, path, ("cache_clear",), False)

    def now(self):
        hits, misses, _, size = self.owner.cache_info()
        counts = hits, misses, size
        self.times += any(map(lt, counts, self.counts))
        self.counts = counts
        return [self.times]

    def grew(self) -> bool:
        """Whether the function has run since one looked, and has kept what it gave."""
        return self.owner.cache_info().misses > self.misses


class Registrations(Part):
    """The subclasses given to abstract classes by ``register``, of which Python keeps a count."""

    __slots__ = ()

    def __init__(self):
        super().__init__(None, "the subclasses of abstract classes", ("register()",), False)

    def now(self):
        return [get_cache_token()]


class Rounding(Part):
    """How this thread rounds decimal numbers: their operators tell nobody that they read it."""

    __slots__ = ()

    def __init__(self):
        super().__init__(None, "the context of decimal numbers", ("getcontext()",), False)

    def now(self):
        return [repr(sys.modules["decimal"].getcontext())]


class Threads(Part):
    """What a thread has set: each looks at its own."""

    __slots__ = ("look",)

    def __init__(self, path, look):
        self.look = look
        super().__init__(None, path, ("settings",), False)

    def now(self):
        return [repr(self.look())]


def _attribute(owner, name):
    try:
        return getattr(owner, name)
    except (AttributeError, ValueError):
        return MISSING
