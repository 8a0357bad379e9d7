"""The Python state that a call may read, as it was at one moment: what guards a replay."""

from __future__ import annotations

import builtins
import collections
import enum
import functools
import gc
import operator
import sys
import threading
import types
import weakref

import jax
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import PACKAGE
from torchlike._tensor.bridge import SharedStorage
from torchlike._tensor.generators import Generator
from torchlike._tensor.tensor import FIELDS, Tensor, _holds
from torchlike.compiler._parts import (
    ATOMS,
    PRIMITIVES,
    Attributes,
    Cleared,
    Content,
    Entries,
    Items,
    Members,
    Part,
    Slots,
)
from torchlike.compiler._watch import LOOKS_ANYWHERE, is_librarys, is_pure

_LEAVES = (
    dt.dtype, devices.device, type(Ellipsis), type(NotImplemented), slice,
    range, np.generic, np.dtype, np.ufunc, jax.Array, Generator,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType, types.CodeType, types.GenericAlias,
    types.UnionType,
)  # fmt: skip
_PLAIN_TYPES = frozenset((*PRIMITIVES, object))
_PLAIN_NAMES = frozenset((
    "re.Pattern", "typing.TypeVar", "typing._SpecialForm", "typing._GenericAlias",
    "_collections._tuplegetter", "datetime.date", "datetime.datetime", "datetime.timedelta",
    "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "pathlib.PosixPath",
    "jaxlib._jax.PjitFunction", "jaxlib.weakref_lru_cache.WeakrefLRUCache",
    "jaxlib.weakref_lru_cache.StrongLRUCache", "numpy._ArrayFunctionDispatcher",
))  # fmt: skip
# Classes in C of which all is looked at.
_KEPT_IN_SIGHT = frozenset((collections.OrderedDict, collections.defaultdict, collections.deque))
_COUNTED = (list, dict, set, frozenset, collections.deque)
_GETTERS = (operator.attrgetter, operator.methodcaller)
# What is read of these by name, and stands in none of their dicts.
_OF_CLASSES = frozenset(("__name__", "__qualname__"))
_OF_FUNCTIONS = _OF_CLASSES | {"__doc__", "__module__", "__annotations__"}
# What Python adds to a class when somebody asks for it.
_MADE_WHEN_ASKED = frozenset(("__annotations__", "__annotations_cache__", "__doc__"))
# What users put in the place of a function of the library, and what leads to it.
_PATCHED = (
    types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType, np.ufunc,
    type(np.concatenate), *PRIMITIVES,
)  # fmt: skip
# What code that makes up names may read of classes and modules; what is called is seen to run.
_DATA = (*PRIMITIVES, tuple, list, dict, set, frozenset, Tensor)
_MAX_OBJECTS = 100_000
_MAX_CONTENT = 1 << 16  # bytes of a NumPy array that are compared at each call

# What torchlike's own code reads of objects that users derive from, besides what theirs names.
_MODULE_NAMES = ("training", "_parameters", "_buffers", "_modules", "_hooked")
# What every module has besides, which calling it does not read.
_BOOKKEEPING = frozenset((
    "_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks",
    "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
))  # fmt: skip
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip
# What shows or compares a namespace does so in C, by all its attributes.
_LOOK_AT_ALL = frozenset((
    "repr", "str", "ascii", "format", "print", "__repr__", "__str__", "__format__", "__mod__",
    "__eq__", "__ne__", "__contains__", "index", "count", "remove",
))  # fmt: skip
_CALLED_BY_SCHEDULES = frozenset(("optimizer", "lr_lambdas", "_schedulers", "_scale_fn_custom"))
_OPTIMIZER_NAMES = ("param_groups", "state", "_packs", "_pre_hooks", "_post_hooks", "_watched")


class TooLarge(Exception):
    """More objects can be reached than are worth a look at every call."""


class Heap:
    """A walk over what a function can reach, and what it found.

    names, anything   what the code reads of objects by name (see ``Watch``)
    ran               the code that was seen to run
    asks              whether it looks for attributes that a tensor may come to have
    tensors           id -> tensor, each once; ``paths`` tells where
    parts             the containers
    opaque            (path, what) of objects that nobody can look into
    """

    def __init__(self, names, anything: bool = False, ran=(), asked=()):
        self.names, self.anything, self.ran = frozenset(names), anything, ran
        self.asks = (
            anything or "AttributeError" in names or not all(hasattr(Tensor, n) for n in asked)
        )
        self.functions: set[types.CodeType] = set()  # what functions were looked into
        self.tensors: dict[int, Tensor] = {}
        self.paths: dict[int, str] = {}
        self.parts: list[Part] = []
        self.opaque: list[tuple[str, str]] = []
        self.instances: list = []  # objects of classes written in Python
        self.modules: list = []  # nn.Modules, for the report
        self.again: set[int] = set()  # ids of what was met twice
        self.optimizers: list = []
        self.weak: list = []  # weak references
        self.shared: dict[int, str] = {}  # ids of groups that more than their optimizer leads to
        self._seen: dict[int, object] = {}  # keeps what it names alive: ids are not used again
        self._todo: collections.deque = collections.deque()
        self._builtins: set[str] = set()

    def add(self, obj, path: str) -> None:
        """Walk from one more root."""
        self._todo.append((obj, path))
        while self._todo:
            self._visit(*self._todo.popleft())

    def _later(self, obj, path) -> None:
        if type(obj) not in ATOMS:  # not __class__: an object may make up even that
            self._todo.append((obj, path))

    def _part(self, part: Part) -> None:
        self.parts.append(part)
        for key, value in zip(part.keys, part.old, strict=True):
            if type(value) not in ATOMS:
                self._todo.append((value, part.name(key)))

    def _visit(self, obj, path: str) -> None:
        kind = type(obj)
        if id(obj) in self._seen or kind in _PLAIN_TYPES:
            self.again.add(id(obj))
            return
        self._seen[id(obj)] = obj
        if len(self._seen) > _MAX_OBJECTS:
            raise TooLarge(path)
        if _makes_up_attributes(kind):
            self.opaque.append((path, f"a {kind.__qualname__}, which has a __getattribute__"))
            return
        if isinstance(obj, _LEAVES):
            return
        if isinstance(obj, Tensor):
            self.tensor(obj, path)
        elif isinstance(obj, tuple):
            for i, x in enumerate(tuple.__iter__(obj)):
                self._later(x, f"{path}[{i}]")
            self._object(obj, path)
        elif isinstance(obj, _COUNTED) and _counts_by_code(kind):
            self.opaque.append(
                (path, f"a {kind.__qualname__}, which counts or goes by its own code")
            )
        elif kind in (types.FunctionType,):
            self._function(obj, path)
        elif isinstance(obj, types.MethodType):
            self._later(obj.__self__, "self" if path.isidentifier() else f"{path}.__self__")
            self._later(obj.__func__, path)
        elif isinstance(obj, types.BuiltinFunctionType | types.MethodWrapperType):
            if isinstance(obj.__self__, types.GetSetDescriptorType):
                self.opaque.append((path, "a descriptor's method, which reads what it is given"))
            self._later(obj.__self__, f"{path}.__self__")  # a module, or what it is a method of
        elif isinstance(obj, type):
            self._class(obj, path)
        elif isinstance(obj, types.ModuleType):
            self._module(obj, path)
        elif isinstance(obj, types.MappingProxyType):
            for shown in gc.get_referents(obj):  # the dict, or another mapping
                self._later(shown, path)
        elif isinstance(obj, dict):
            self._part(Entries(obj, path))
            for i, key in enumerate(obj):
                self._later(key, f"{path}.keys()[{i}]")
            if isinstance(obj, collections.defaultdict):
                self._part(Slots(obj, path, ("default_factory",)))
            self._object(obj, path)
        elif isinstance(obj, list | collections.deque):
            self._part(Items(obj, path))
            self._object(obj, path)
        elif isinstance(obj, set | frozenset):
            self.parts.append(Members(obj, path))
            for x in obj:
                self._later(x, f"an element of {path}")
            self._object(obj, path)
        elif isinstance(obj, types.CellType):
            self._part(Slots(obj, path, ("cell_contents",)))
        elif isinstance(obj, functools.partial):
            for name in ("func", "args", "keywords"):
                self._later(getattr(obj, name), f"{path}.{name}")
            known = is_pure(obj.func) and (self.anything or obj.func not in LOOKS_ANYWHERE)
            if isinstance(obj.func, types.BuiltinFunctionType) and not known:
                self.opaque.append((path, f"a functools.partial of {obj.func.__qualname__}"))
            self._added(obj, path)
        elif isinstance(obj, property):
            for f in (obj.fget, obj.fset, obj.fdel):
                self._later(f, path)
            self._added(obj, path)
        elif isinstance(obj, functools.cached_property):
            self._later(obj.func, path)
        elif isinstance(obj, staticmethod | classmethod):
            self._later(obj.__func__, path)
        elif isinstance(obj, np.ndarray):
            if obj.dtype != object and obj.nbytes <= _MAX_CONTENT:
                self.parts.append(Content(obj, path))
            else:
                self.opaque.append((path, "a large NumPy array"))
            self._added(obj, path)
        elif isinstance(obj, functools._lru_cache_wrapper):
            self.parts.append(Cleared(obj, path))
            self._later(obj.__wrapped__, path)
            for result in _cached_results(obj):
                self._later(result, f"a result of {path}")
            self._added(obj, path)
        elif f"{kind.__module__}.{kind.__name__}" in _PLAIN_NAMES or _is_of_cython(kind):
            pass
        elif isinstance(obj, weakref.ReferenceType):
            self.weak.append((obj, path))
        elif isinstance(obj, enum.Enum):
            self._later(obj._value_, f"{path}.value")
            self._object(obj, path)
        elif isinstance(obj, BaseException):
            self._part(Slots(obj, path, ("args",)))
            self._object(obj, path)
        elif not self._object(obj, path) and not isinstance(obj, PRIMITIVES):
            self.opaque.append((path, f"a {kind.__module__}.{kind.__qualname__}"))

    def _added(self, obj, path: str) -> None:
        """What a user has added to an object of a class in C, by attributes or by a class."""
        self._later(type(obj), f"type({path})")
        own = getattr(obj, "__dict__", None)
        if isinstance(own, dict):
            self._part(Attributes(own, path, tuple(filter(self.reads, own)), self.reads))

    def tensor(self, t: Tensor, path: str) -> None:
        """Note a tensor and the one whose memory it shares; its gradient changes all the time."""
        self.tensors[id(t)] = t
        self._seen[id(t)] = t
        self.paths[id(t)] = path
        self._later(type(t), f"type({path})")
        if t._sparse:
            self.opaque.append((path, "a sparse tensor"))
        if t._storage.__class__ is SharedStorage:
            self.opaque.append((path, "a tensor that shares memory with a NumPy array"))
        if t._base is not None:
            self._later(t._base, f"{path}._base")
        for hooks in (t._hooks, t._after_hooks):
            if hooks is not None:
                self._later(hooks, f"the hooks of {path}")
        own = _holds(t)
        wanted = tuple([k for k in own if k not in FIELDS and self.reads(k)])
        if wanted or ((self.asks or not _is_ours(type(t))) and not self.is_internal(t)):
            noted = lambda k: k not in FIELDS and self.reads(k)  # noqa: E731
            self._part(Attributes(own, path, wanted, noted))

    def name_by_modules(self) -> None:
        """Call parameters and buffers by their modules, even if an optimizer was met first."""
        for module, path in self.modules:
            for store in ("_parameters", "_buffers"):
                for name, t in module.__dict__[store].items():
                    if t is not None:
                        self.paths[id(t)] = f"{path}.{name}"

    def is_internal(self, t: Tensor) -> bool:
        """Whether only an optimizer looks at this tensor."""
        path = self.paths[id(t)]
        return (".state[" in path or "._packs[" in path) and not self.reads("state")

    def reads(self, name: str) -> bool:
        """Whether the code names this attribute."""
        return self.anything or name in self.names

    def _object(self, obj, path: str) -> bool:
        """Attributes of an instance; False if it has none that can be seen."""
        kind = type(obj)
        known = False
        if hasattr(kind, "_guarded"):  # one of ours that is read through these alone
            for name in kind._guarded:
                self._later(getattr(obj, name), f"{path}.{name}")
            return True
        for base in kind.__mro__:
            if base.__module__ == "builtins":
                continue
            if _has_hidden_state(base):
                return False
            self._later(base, f"type({path})")
            slots = vars(base).get("__slots__", ())
            slots = (slots,) if isinstance(slots, str) else tuple(slots)
            slots = tuple([s for s in slots if not s.startswith("__")])
            ours = _is_ours(base)
            if slots and "__dict__" not in slots:
                known = True
                if not ours:
                    chosen = tuple(filter(self.reads, slots))
                    if chosen:
                        self._part(Slots(obj, path, chosen))
        if isinstance(obj, threading.local):
            return False
        own = getattr(obj, "__dict__", None)
        if not isinstance(own, dict):
            return known or _is_ours(kind)
        self.instances.append(obj)
        if "_modules" in own and "_parameters" in own:
            self.modules.append((obj, path))
            read = functools.partial(self._of_module, kind)
            self._part(Attributes(own, path, tuple(filter(read, own)), read))
            for hooks in _HOOKS if "_hooked" in own else ():
                if own.get(hooks) is not None:
                    self._part(Entries(own[hooks], f"{path}.{hooks}"))
        elif "param_groups" in own and "defaults" in own:
            self.optimizers.append((obj, path))  # looked into at the end
        elif self._is_only_stepped(kind, own):
            for name in _CALLED_BY_SCHEDULES & own.keys():
                self._later(own[name], f"{path}.{name}")
        elif (_is_ours(kind) and not isinstance(obj, (dict, list))) or (
            isinstance(obj, types.SimpleNamespace) and not self.names.isdisjoint(_LOOK_AT_ALL)
        ):
            self._part(Attributes(own, path))
        else:
            inherited = _names_of_bases(kind)
            read = (lambda k: k in inherited or self.reads(k)) if inherited else self.reads
            self._part(Attributes(own, path, tuple(filter(read, own)), read))
        return True

    def _states(self, state: dict, path: str) -> None:
        """The tensors of an optimizer's state, whose dicts nobody else has in hand.

        The step changes them and tells so by ``_watched``; that one is added, the size tells.
        """
        slots = state.values()
        if all(isinstance(x, Tensor) for slot in slots for x in slot.values()):
            self._seen[id(state)] = state
            self.parts.append(Entries(state, path, (), lambda key: True))
            for slot in slots:
                for name, x in slot.items():
                    self._later(x, f"{path}[...][{name!r}]")

    def _is_only_stepped(self, kind: type, own: dict) -> bool:
        """Whether this is a schedule of which nothing is read but by its step, which is replayed
        as a whole: it may be stepped elsewhere, too."""
        if not kind.__module__.startswith("torchlike.optim.lr_scheduler") or self.anything:
            return False
        return self.names.isdisjoint(
            k for k in (*dir(kind), *own) if k[0] != "_" and k not in ("step", "optimizer")
        )

    def _of_module(self, kind: type, name: str) -> bool:
        if name in _MODULE_NAMES or self.reads(name):
            return True
        if name in _BOOKKEEPING:  # of which state dicts are made and loaded
            return self.reads("state_dict") or self.reads("load_state_dict")
        return _is_ours(kind) or name in _names_of_bases(kind)

    def _function(self, f, path: str) -> None:
        if f.__code__.co_filename.startswith(PACKAGE):
            if "__wrapped__" in f.__dict__:  # of a decorator of ours
                self._later(f.__wrapped__, path)
            return
        self.functions.add(f.__code__)
        named = tuple(self.names & _OF_FUNCTIONS)
        self._part(Slots(f, path, ("__code__", "__defaults__", "__kwdefaults__", *named)))
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=False):
            self._later(cell, name)
        wrapped = f.__dict__.get("__wrapped__")
        if wrapped is not None:
            self._later(wrapped, path)
        wanted = tuple([k for k in f.__dict__ if self.reads(k)])
        if wanted:
            self._part(Attributes(f.__dict__, path, wanted, self.reads))

    def _class(self, kind: type, path: str) -> None:
        if kind in _GETTERS and not self.anything:
            self.opaque.append((path, f"a {kind.__name__}, which is told names"))
        own = vars(kind)
        if kind.__module__ == "builtins":
            return
        if _is_ours(kind):  # a user may have put a method of theirs there
            reads = self._reads_of_ours
            keys = tuple(filter(reads, own))
            self.parts.append(Attributes(own, kind.__qualname__, keys, _New(own, reads)))
            return
        inherited = _names_of_bases(kind)
        keys = tuple(
            [k for k, x in own.items() if self._reads_of(k, x, inherited) or self._runs(x)]
        )
        reads = (lambda k: k in inherited or self.reads(k)) if inherited else self.reads
        self._part(Attributes(own, kind.__qualname__, keys, _New(own, reads, True)))
        self._part(Slots(kind, kind.__qualname__, ("__bases__", *(self.names & _OF_CLASSES))))
        for other in (type(kind), *kind.__mro__[1:]):
            self._later(other, other.__qualname__)

    def _reads_of_ours(self, name: str) -> bool:
        return name in self.names or name in ("forward", "__call__")

    def _reads_of(self, name: str, value, inherited=frozenset()) -> bool:
        """Whether the code may read an attribute of a class or module."""
        if name in self.names or name in inherited:
            return True
        return self.anything and name[:2] != "__" and isinstance(value, _DATA)

    def _runs(self, method) -> bool:
        """Whether a method was seen to run: operators and such are named nowhere."""
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        return code is not None and code in self.ran

    def look_into_optimizers(self) -> None:
        """Walk from the optimizers too, now that it is known what else leads to their groups."""
        for obj, path in self.optimizers:  # grows on the way
            for group in (obj.param_groups, *obj.param_groups):
                if id(group) in self._seen:
                    self.shared[id(group)] = path
            own = vars(obj)
            keys = [k for k in own if k in _OPTIMIZER_NAMES or self.reads(k)]
            if not own.get("_watched", True):
                self._states(own["state"], f"{path}.state")
            self._part(Attributes(own, path, tuple(keys), self.reads))
            while self._todo:
                self._visit(*self._todo.popleft())

    def look_for_hidden(self) -> None:
        """Note what may be read though no name or object held leads to it: functions with closures
        that ran, and what is held weakly, which guards would keep alive."""
        for weak, path in self.weak:
            obj = weak()
            if obj is not None and id(obj) not in self._seen and not isinstance(obj, type):
                self.opaque.append((path, "a weak reference"))
        inner = {c for code in self.ran for c in code.co_consts if isinstance(c, types.CodeType)}
        for code in self.ran:
            if code.co_freevars and code not in self.functions and code not in inner:
                self.opaque.append((code.co_qualname, "a function that is called out of sight"))

    def _module(self, module, path: str) -> None:
        name = module.__name__
        if name.split(".")[0] == "jax":
            return
        if name == "numpy" and "random" in self.names:
            self.opaque.append((f"{path}.random", "the state of NumPy's random numbers"))
        own, reads = vars(module), self.names.__contains__
        keys = tuple(filter(reads, own))
        if name.split(".")[0] in ("torchlike", "torch", "numpy"):
            keys = tuple([k for k in keys if isinstance(own[k], _PATCHED)])
        elif self.anything and not is_librarys(getattr(module, "__file__", None) or "<made>"):
            keys, reads = tuple([k for k in own if self._reads_of(k, own[k])]), self.reads
        self._part(Attributes(own, path, keys, _New(own, reads)))
        self._later(type(module), f"type({path})")

    def look_into_builtins(self, imported) -> None:
        """Note what the names mean that no globals define, and modules that functions import."""
        self.scope((), {}, tuple(imported))
        own, names = vars(builtins), self._builtins
        self._part(
            Attributes(own, "builtins", tuple(filter(own.__contains__, names)), names.__contains__)
        )
        while self._todo:
            self._visit(*self._todo.popleft())

    def scope(self, names, scope: dict, imported: tuple = ()) -> None:
        """Walk from the globals that a piece of code names, and the modules that it imports."""
        if imported:
            self._part(
                Entries(sys.modules, "sys.modules", tuple(m for m in imported if m in sys.modules))
            )
        keys = tuple([k for k in names if k in scope])
        if names:
            self._part(Attributes(scope, "", keys, frozenset(names).__contains__))
            self._builtins.update(k for k in names if k not in scope)
        while self._todo:
            self._visit(*self._todo.popleft())


class _New:
    """Which attributes a class or module may not come to have: those read, and special methods."""

    __slots__ = ("before", "reads", "special")

    def __init__(self, own, reads, special=False):
        self.before, self.reads, self.special = frozenset(own), reads, special

    def __call__(self, name: str) -> bool:
        if name in self.before:
            return False
        return self.reads(name) or (
            self.special and name[:2] == "__" and name not in _MADE_WHEN_ASKED
        )


def _counts_by_code(kind: type) -> bool:
    """Whether code of a user's tells the length or the parts of a container."""
    return any(
        isinstance(getattr(kind, name), types.FunctionType) for name in ("__len__", "__iter__")
    )


def _makes_up_attributes(kind: type) -> bool:
    """Whether a class has a ``__getattribute__`` in Python."""
    found = next(vars(k)["__getattribute__"] for k in kind.__mro__ if "__getattribute__" in vars(k))
    return isinstance(found, types.FunctionType)


def _has_hidden_state(kind: type) -> bool:
    """Whether a class adds state in C to its base: more than slots, a dict and a weak list."""
    added = kind.__basicsize__ - kind.__base__.__basicsize__
    if added <= 16 or not _KEPT_IN_SIGHT.isdisjoint(kind.__mro__):
        return False
    slots = sum(isinstance(x, types.MemberDescriptorType) for x in vars(kind).values())
    return added > 16 + 8 * slots


_inherited: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _names_of_bases(kind: type) -> frozenset:
    """What the code of the library's classes, which a class of the user's inherits, may read of it.

    Of a Module itself that is ``_MODULE_NAMES``.
    """
    if kind in _inherited:
        return _inherited[kind]
    found: set = set()
    for base in kind.__mro__:
        if _is_ours(base) and not _is_ours(kind) and base.__name__ != "Module":
            todo = [getattr(x, "fget", getattr(x, "__func__", x)) for x in vars(base).values()]
            todo = [getattr(x, "__code__", None) for x in todo]
            while todo:
                code = todo.pop()
                if code is not None:
                    found.update(code.co_names)
                    todo += [x for x in code.co_consts if isinstance(x, types.CodeType)]
    return _inherited.setdefault(kind, frozenset(found))


def _cached_results(function) -> list:
    """What a function with a cache gives again, of which the user may have changed a part."""
    code = getattr(function.__wrapped__, "__code__", None)
    if code is None or is_librarys(code.co_filename) or code.co_filename.startswith(PACKAGE):
        return []
    found = gc.get_referents(function)
    at = next(n for n, x in enumerate(found) if x is function.__wrapped__) - 1  # the cache
    results = list(found[at].values())
    if results and type(results[0]).__name__ == "_lru_list_elem":  # of these, keys and results
        keys = set(map(id, found[at]))
        results = [x for x in found[:at] if id(x) not in keys and x is not type(results[0])]
    return results


def _is_of_cython(kind: type) -> bool:
    return kind.__name__ == "cython_function_or_method" and kind.__module__[:7] == "_cython"


def _is_ours(kind: type) -> bool:
    module = kind.__module__ or ""
    root = module.partition(".")[0]
    return root == "torchlike" or (root == "torch" and issubclass(kind, Tensor))
