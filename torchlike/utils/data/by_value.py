"""Pickles for a loader's workers: what a worker cannot import goes along by value.

A worker does not run the main program again, so that programs need no ``if __name__ ==
"__main__"``. Functions and classes of the main program, lambdas and closures travel as their code,
with the globals that the code names; those of modules travel by name. Tensors travel as the memory
behind them. A global that cannot travel is replaced by something that says so when it is used.
"""

from __future__ import annotations

import abc
import dataclasses
import dis
import enum
import functools
import importlib
import io
import marshal
import mmap
import os
import pickle
import sys
import threading
import types
import typing
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from torchlike._tensor.tensor import Tensor
from torchlike.utils.data import memory
from torchlike.utils.data.memory import CannotTravel

_GLOBAL_OPS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"))
_OWN = __name__.partition(".")[0]
_PLAIN = (int, float, complex, str, bytes, bool, type(None), types.FunctionType, types.ModuleType)
_SINGLETONS = {
    id(getattr(dataclasses, name)): name
    for name in ("MISSING", "KW_ONLY", "_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR",
                 "_HAS_DEFAULT_FACTORY")
    if hasattr(dataclasses, name)
}  # fmt: skip
_LOCKS = {type(threading.Lock()): threading.Lock, type(threading.RLock()): threading.RLock}


def dumps(obj: Any) -> tuple[bytes, list[memoryview], list]:
    """A pickle for another process of this program, and the memory of arrays that goes with it:
    copies, and the descriptors of what the processes share."""
    buffers: list[memoryview] = []
    file = io.BytesIO()
    traveller = Traveller(file, lambda buffer: buffers.append(buffer.raw()))
    traveller.dump(obj)
    return file.getvalue(), buffers, traveller.shared.descriptors


def dumps_inline(obj: Any) -> bytes:
    """The same in one piece."""
    file = io.BytesIO()
    Traveller(file, None).dump(obj)
    return file.getvalue()


# ---- where things are found --------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _can_be_found(package: str, origin: str | None) -> bool:
    """Whether another process that imports this package gets it from the same place."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = None if find is None else find(package, None)
        if spec is not None:
            return spec.origin == origin
    return False


def importable(module: str | None) -> bool:
    """Whether a worker can import the module of this name."""
    found = sys.modules.get(module) if module else None
    if found is None or module in ("__main__", "__mp_main__"):
        return False
    package = module.partition(".")[0]
    if package in ("torch", _OWN):
        return True
    spec = getattr(sys.modules.get(package), "__spec__", None)
    return getattr(found, "__spec__", None) is not None and _can_be_found(
        package, getattr(spec, "origin", None)
    )


def _found_by_name(obj) -> bool:
    module, name = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    if not importable(module) or name is None:
        return False
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return False
    return found is obj


@functools.cache
def _own_names() -> dict[int, tuple[str, str]]:
    """Public functions of this package that stand elsewhere than they say."""
    package = sys.modules[_OWN]
    out = {}
    places = [package.Tensor, *(getattr(package, n) for n in ("nn", "linalg", "fft", "special"))]
    for place in [*places, package.nn.functional, package]:
        where = f"{_OWN}:Tensor" if isinstance(place, type) else place.__name__
        for name, value in vars(place).items():
            if callable(value):
                out[id(value)] = where, name
    return out


def _by_path(where: str, name: str):
    module, _, inner = where.partition(":")
    place = importlib.import_module(module)
    return getattr(getattr(place, inner) if inner else place, name)


# ---- the pickler -------------------------------------------------------------------------------


class _Scope:
    """The globals of functions that go by value."""

    def __init__(self, names: dict):
        self.name = names.get("__name__", "__main__")
        self.about = {
            key: names[key]
            for key in ("__file__", "__package__", "__doc__")
            if isinstance(names.get(key), str)
        }
        module = sys.modules.get(self.name)
        self.is_module = self.name == "__main__" or getattr(module, "__dict__", None) is names
        self.imported = importable(self.name) and module.__dict__ is names


class Traveller(pickle.Pickler):
    """Pickles for a worker; buffers go to the callback."""

    def __init__(self, file, callback: Callable | None, verdicts: dict | None = None):
        super().__init__(file, protocol=5, buffer_callback=callback)
        self._scopes: dict[int, _Scope] = {}
        self._keep: list = []  # what ids in the pickler's memo stand for must not die
        self._verdicts = {} if verdicts is None else verdicts
        self.shared = memory.Shared(callback is not None)

    def reducer_override(self, obj):
        """How to pickle what pickle itself does not know, or would look up by name."""
        kind = type(obj)
        if kind is types.FunctionType:
            return self._function(obj)
        if isinstance(obj, type):
            return self._class(obj)
        if isinstance(obj, Tensor):
            return self.shared.reduced_tensor(obj) or memory.reduced_tensor(obj)
        if isinstance(obj, types.ModuleType):
            return self._module(obj)
        name = _SINGLETONS.get(id(obj))
        if name is not None:
            return getattr, (dataclasses, name)
        rule = _RULES.get(kind)
        if rule is not None:
            return rule(obj)
        if isinstance(obj, typing.TypeVar) and not _found_by_name(obj):
            return _make_type_variable, (
                obj.__name__, obj.__constraints__, obj.__bound__, obj.__covariant__,
                obj.__contravariant__,
            )  # fmt: skip
        if isinstance(obj, np.memmap):
            return _reduced_memmap(obj)
        if kind is np.ndarray:
            return self.shared.reduced_array(obj) or NotImplemented
        return NotImplemented

    # ---- functions and modules -----------------------------------------------------------------

    def _module(self, module):
        if module.__name__ == "__main__":
            return _main_module, ()
        if not importable(module.__name__):
            raise CannotTravel(f"cannot send the module {module.__name__}: it has no file")
        return importlib.import_module, (module.__name__,)

    def _function(self, f):
        if _found_by_name(f):
            return NotImplemented
        if (f.__module__ or "").partition(".")[0] == _OWN:
            place = _own_names().get(id(f))
            if place is not None:
                return _by_path, place
        scope = self._scopes.get(id(f.__globals__))
        if scope is None:
            scope = self._scopes[id(f.__globals__)] = _Scope(f.__globals__)
            self._keep.append(f.__globals__)
        state = {
            "__name__": f.__name__,
            "__qualname__": f.__qualname__,
            "__module__": f.__module__,
            "__defaults__": f.__defaults__,
            "__kwdefaults__": f.__kwdefaults__,
            "__doc__": f.__doc__,
        }
        notes = vars(f).copy()
        if sys.version_info < (3, 14) and f.__annotations__ and self._can_travel(f.__annotations__):
            state["__annotations__"] = f.__annotations__
        names = {}
        if not scope.imported:
            for name in _names_of(f.__code__):
                if name in f.__globals__:
                    names[name] = self._global(name, f.__globals__[name])
        modules = _submodules(f.__code__, names.values(), f.__closure__)
        args = marshal.dumps(f.__code__), scope, f.__name__, f.__closure__
        return _make_function, args, (state, notes, names, modules), None, None, _fill_function

    def _global(self, name: str, value):
        return value if self._can_travel(value) else Unsent(name, _why(value))

    def _can_travel(self, value) -> bool:
        """Whether a value can be pickled; tried, as most of what code names is never used."""
        if isinstance(value, _PLAIN):
            return True
        if isinstance(value, type) and not isinstance(value, enum.EnumMeta):
            return True
        verdict = self._verdicts.get(id(value))
        if verdict is None:
            self._verdicts[id(value)] = True  # what it holds may name it in turn
            self._keep.append(value)
            try:
                Traveller(_Nowhere(), lambda _: None, self._verdicts).dump(value)
                verdict = True
            except Exception:
                verdict = False
            self._verdicts[id(value)] = verdict
        return verdict

    # ---- classes -------------------------------------------------------------------------------

    def _class(self, cls):
        if cls in _TYPES_BY_VALUE:
            return type, (_TYPES_BY_VALUE[cls],)
        if cls in _TYPE_NAMES:
            return getattr, (types, _TYPE_NAMES[cls])
        if _found_by_name(cls) or cls.__module__ == "builtins":
            return NotImplemented
        if cls.__module__.partition(".")[0] == _OWN:
            place = _own_names().get(id(cls))
            return NotImplemented if place is None else (_by_path, place)
        about = {
            key: cls.__dict__[key]
            for key in ("__module__", "__qualname__", "__doc__", "__slots__", "__orig_bases__")
            if key in cls.__dict__
        }
        about["__qualname__"] = cls.__qualname__
        if isinstance(cls, enum.EnumMeta):
            members = {name: member._value_ for name, member in cls.__members__.items()}
            extra = {
                k: v for k, v in cls.__dict__.items()
                if isinstance(v, (types.FunctionType, property, staticmethod, classmethod))
                and not k.startswith("_") and k not in members
            }  # fmt: skip
            return (
                _make_enum, (type(cls), cls.__name__, cls.__bases__, about, members), (extra, {}),
                None, None, _fill_class,
            )  # fmt: skip
        contents = {k: v for k, v in cls.__dict__.items() if k not in about and k not in _SKIPPED}
        slots = about.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            contents.pop(slot, None)
            contents.pop(f"_{cls.__name__.lstrip('_')}{slot}", None)
        contents = {
            k: v for k, v in contents.items() if not isinstance(v, types.GetSetDescriptorType)
        }
        if "__annotations__" in contents and not self._can_travel(contents["__annotations__"]):
            contents["__annotations__"] = {}
        scope = sys.modules.get(cls.__module__)
        home = _Scope(vars(scope)) if scope is not None and cls.__module__ == "__main__" else None
        return (
            _make_class, (type(cls), cls.__name__, cls.__bases__, about),
            (contents, {"home": home}), None, None, _fill_class,
        )  # fmt: skip


_SKIPPED = frozenset(
    ("__dict__", "__weakref__", "_abc_impl", "__abstractmethods__", "__annotate__",
     "__annotate_func__", "__annotations_cache__", "__annotate_cache__"),
)  # fmt: skip
# Types that pickle looks for in builtins, in vain.
_TYPE_NAMES = {
    value: name
    for name, value in vars(types).items()
    if isinstance(value, type) and value.__module__ == "builtins"
}
_TYPES_BY_VALUE = {type(None): None, type(NotImplemented): NotImplemented, type(...): ...}


class _Nowhere:
    """A file that forgets."""

    def write(self, data) -> int:
        return len(data)


class Unsent:
    """Stands in a worker for a global of the main program that could not be sent."""

    def __init__(self, name: str, why: str):
        self.__dict__.update(_name=name, _why=why)

    def _refuse(self, *args, **kwargs):
        raise RuntimeError(
            f"the global '{self._name}' is not available in a DataLoader worker: {self._why}. Use "
            "num_workers=0, or multiprocessing_context='fork', or make it within the dataset."
        )

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()

    def __reduce__(self):
        return Unsent, (self._name, self._why)

    __call__ = __getitem__ = __setattr__ = __iter__ = __next__ = __len__ = __bool__ = __enter__ = (
        _refuse
    )
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _refuse


def _why(value) -> str:
    try:
        dumps(value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it cannot be sent to another process"


# ---- what code names ---------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def _names_of(code: types.CodeType) -> tuple[str, ...]:
    """The globals that a function, or one inside it, reads or writes."""
    names = {i.argval: None for i in dis.get_instructions(code) if i.opname in _GLOBAL_OPS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_names_of(constant)))
    return tuple(names)


def _submodules(code, values, closure) -> list[str]:
    """Modules that the code reaches as attributes of a package, imported elsewhere."""
    values = list(values)
    for cell in closure or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not yet filled
            continue
    packages = {
        v.__name__ for v in values if isinstance(v, types.ModuleType) and hasattr(v, "__path__")
    } - {_OWN, "torch", "numpy"}
    if not packages:
        return []
    words = set(code.co_names)
    return [
        name for name in list(sys.modules)
        for package in packages
        if name.startswith(package + ".") and words.issuperset(name[len(package) + 1 :].split("."))
    ]  # fmt: skip


# ---- the other side ----------------------------------------------------------------------------

_fresh_scopes: dict[tuple, dict] = {}


def _open_scope(name: str, about: dict, is_module: bool, imported: bool, key: int) -> dict:
    if imported:
        return importlib.import_module(name).__dict__
    if name == "__main__":
        module = _main_module()
    elif is_module:
        module = sys.modules.get(name)
        if module is None:
            module = sys.modules[name] = types.ModuleType(name)
    else:
        names = _fresh_scopes.setdefault((name, key), {"__name__": name})
        names.setdefault("__builtins__", __builtins__)
        return names
    module.__dict__.setdefault("__builtins__", __builtins__)
    for attribute, value in about.items():
        module.__dict__[attribute] = value
    return module.__dict__


def _main_module() -> types.ModuleType:
    """A worker's ``__main__``: empty, until functions of the main program bring their globals."""
    return sys.modules["__main__"]


def _make_function(code: bytes, scope: dict, name: str, closure):
    return types.FunctionType(marshal.loads(code), scope, name, None, closure)


def _fill_function(f, state) -> None:
    attributes, notes, names, modules = state
    for module in modules:
        importlib.import_module(module)
    f.__globals__.update(names)
    for name, value in attributes.items():
        setattr(f, name, value)
    vars(f).update(notes)


def _make_class(metaclass, name: str, bases, about: dict):
    try:
        return types.new_class(
            name, bases, {"metaclass": metaclass}, lambda namespace: namespace.update(about)
        )
    except TypeError:  # an __init_subclass__ that wants arguments; what it did is in the contents
        return metaclass.__new__(metaclass, name, bases, dict(about))


def _make_enum(metaclass, name: str, bases, about: dict, members: dict):
    namespace = metaclass.__prepare__(name, bases)
    for key, value in {**about, **members}.items():
        namespace[key] = value
    return metaclass.__new__(metaclass, name, bases, namespace)


def _fill_class(cls, state) -> None:
    contents, more = state
    for name, value in contents.items():
        type.__setattr__(cls, name, value)
    if isinstance(cls, abc.ABCMeta):
        abc.update_abstractmethods(cls)
    home = more.get("home")
    if home is not None and "." not in cls.__qualname__:
        home.setdefault(cls.__name__, cls)  # what it makes can be pickled by name, on the way back


def _make_type_variable(name, constraints, bound, covariant, contravariant):
    return typing.TypeVar(
        name, *constraints, bound=bound, covariant=covariant, contravariant=contravariant
    )


def _make_cell():
    return types.CellType()


def _fill_cell(cell, state) -> None:
    cell.cell_contents = state[0]


def _make_cached_property(function, name):
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _make_lru_cache(function, maxsize, typed):
    return functools.lru_cache(maxsize, typed)(function)


# ---- rules for single types --------------------------------------------------------------------


def _reduced_scope(scope: _Scope):
    return _open_scope, (scope.name, scope.about, scope.is_module, scope.imported, id(scope))


def _reduced_cell(cell):
    try:
        state = (cell.cell_contents,)
    except ValueError:
        return _make_cell, ()
    return _make_cell, (), state, None, None, _fill_cell


def _reduced_lru_cache(cached):
    if _found_by_name(cached):
        return NotImplemented
    parameters = cached.cache_parameters()
    return _make_lru_cache, (cached.__wrapped__, parameters["maxsize"], parameters["typed"])


def _reduced_file(file):
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    path = file.name
    if not file.readable() or file.writable() or not isinstance(path, (str, os.PathLike)):
        raise CannotTravel(f"cannot send an open file: {file!r}")
    options = {}
    if isinstance(file, io.TextIOWrapper):
        options = {"encoding": file.encoding, "errors": file.errors}
    mode = "r" if options else "rb"
    return _reopened, (os.path.abspath(path), mode, options, file.tell())


def _reopened(path, mode, options, position):
    file = open(path, mode, **options)  # noqa: SIM115  (it is the dataset's to close)
    file.seek(position)
    return file


def _reduced_memmap(array):
    whole = isinstance(array.base, mmap.mmap) and array.filename is not None
    if not whole or array.mode not in ("r", "r+", "w+"):
        return NotImplemented  # a part, or one with changes of its own: as an array, by copying
    order = "C" if array.flags.c_contiguous else "F"
    mode = "r" if array.mode == "r" else "r+"
    place = os.path.abspath(array.filename)
    return np.memmap, (place, array.dtype, mode, array.offset, array.shape, order)


_RULES: dict[type, Callable] = {
    _Scope: _reduced_scope,
    types.CellType: _reduced_cell,
    property: lambda p: (property, (p.fget, p.fset, p.fdel, p.__doc__)),
    staticmethod: lambda m: (staticmethod, (m.__func__,)),
    classmethod: lambda m: (classmethod, (m.__func__,)),
    functools.cached_property: lambda p: (_make_cached_property, (p.func, p.attrname)),
    functools._lru_cache_wrapper: _reduced_lru_cache,
    types.MappingProxyType: lambda m: (types.MappingProxyType, (dict(m),)),
    io.TextIOWrapper: _reduced_file,
    SharedMemory: lambda m: (memory.attached, (m.name,)),
    io.BufferedReader: _reduced_file,
    **{kind: (lambda _, make=make: (make, ())) for kind, make in _LOCKS.items()},
}


# ---- results ---------------------------------------------------------------------------------


class Results(pickle.Pickler):
    """Pickles of results, which the main program loads: by name, but tensors as their memory."""

    def __init__(self, file, callback: Callable):
        super().__init__(file, protocol=5, buffer_callback=callback)

    def reducer_override(self, obj):
        """Tensors; the rest as pickle does it."""
        return memory.reduced_tensor(obj) if isinstance(obj, Tensor) else NotImplemented


def dump_result(obj: Any) -> tuple[bytes, list[memoryview]]:
    """A pickle of a worker's batch, and the memory of its arrays."""
    buffers: list[memoryview] = []
    file = io.BytesIO()
    Results(file, lambda buffer: buffers.append(buffer.raw())).dump(obj)
    return file.getvalue(), buffers
