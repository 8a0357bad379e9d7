"""The unpicklers: one that makes only what is on the allow-list, and one for trusted files."""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from .machine import PickleMachine, checked_key
from .rebuild import Rebuilder, StorageKind, Storages, module_class, storage_kind

# Not even the user can allow these in a safe load, as in PyTorch.
_BLOCKED_MODULES = ("sys", "os", "posix", "nt")


class SafeUnpickler(PickleMachine):
    """Makes plain values, tensors, and what `extra_globals` names. Nothing is ever imported."""

    def __init__(
        self,
        file: BinaryIO,
        end: int,
        *,
        rebuilder: Rebuilder,
        storages: Storages,
        extra_globals: Mapping[str, Any],
        encoding: str,
    ) -> None:
        super().__init__(file, end, encoding=encoding)
        self._rebuilder = rebuilder
        self._tensor_types: set[type] = set()
        rebuilder.tensor_types = self._tensor_types
        self._storages = storages
        self._extra = dict(extra_globals)
        self._builtins: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": OrderedDict,
            "collections.Counter": Counter,
            "builtins.set": set,
            "builtins.bytearray": bytearray,
            "builtins.complex": complex,
            "builtins.bytes": bytes,
            "_codecs.encode": _encode,
        }
        # By identity: `==` of a stranger's object is code of its own.
        self._extra_ids = {id(value) for value in self._extra.values()}
        # A real pickle makes each element once. A hostile one can copy the same list or text
        # again and again with a few bytes, so what calls copy is bounded by the file's size.
        self._copies_left = 4096 + 16 * end

    def find_global(self, module: str, name: str) -> Any:
        module, name = _python3_name(module, name)
        path = f"{module}.{name}"
        if module in _BLOCKED_MODULES:
            raise pickle.UnpicklingError(
                f"Trying to load unsupported GLOBAL {path} whose module {module} is blocked."
            )
        if path in self._extra:
            return self._extra[path]
        if path in self._builtins:
            return self._builtins[path]
        found = self._rebuilder.find(module, name)
        if found is not None:
            return found
        shown = path.removeprefix("builtins.")
        raise pickle.UnpicklingError(
            f"Unsupported global: GLOBAL {shown} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{shown}])` or the "
            f"`torch.serialization.safe_globals([{shown}])` context manager to allowlist this "
            "global if you trust this class/function."
        )

    def call(self, function: Any, args: tuple) -> Any:
        if id(function) in self._extra_ids:
            made = function(*args)
            self._tensor_types.add(type(made))
            return made
        if self._rebuilder.has(function):
            return self._rebuilder.call(function, args)
        if any(function is allowed for allowed in _ARGUMENTS):
            return self._call_builtin(function, args)
        raise pickle.UnpicklingError(
            f"Trying to call reduce for unrecognized function {_shown(function)}"
        )

    def make_new(self, cls: Any, args: tuple) -> Any:
        if isinstance(cls, type) and id(cls) in self._extra_ids:
            return cls.__new__(cls, *args)
        if cls is OrderedDict and not args:
            return OrderedDict()
        raise pickle.UnpicklingError(
            "Can only create new object for nn.Parameter or classes allowlisted via "
            f"`add_safe_globals` but got {_shown(cls)}"
        )

    def set_state(self, obj: Any, state: Any) -> None:
        if type(obj) is OrderedDict:
            # A Module's state_dict carries `_metadata` like this; a method may not be hidden.
            if type(state) is not dict or any(
                type(name) is not str or hasattr(OrderedDict, name) for name in state
            ):
                raise pickle.UnpicklingError("the attributes of an OrderedDict are corrupt")
            obj.__dict__.update(state)
        elif id(type(obj)) in self._extra_ids:
            _set_state(obj, state)
        else:
            raise pickle.UnpicklingError(
                "Can only build Tensor, Parameter, OrderedDict or types allowlisted via "
                f"`add_safe_globals`, but got {type(obj)}"
            )

    def load_persistent(self, persistent_id: Any) -> Any:
        return self._storages.load(persistent_id)

    def _call_builtin(self, function: Any, args: tuple) -> Any:
        for arg in args:
            if isinstance(arg, (str, bytes, bytearray, list, tuple, dict)):
                self._copies_left -= len(arg)
        if self._copies_left < 0:
            raise pickle.UnpicklingError("the pickle copies more than it contains")
        if not _ARGUMENTS[function](args):
            raise pickle.UnpicklingError(f"the arguments of {_shown(function)} are not allowed")
        return function(*args)


def _shown(obj: Any) -> str:
    """A name for an error. Not repr(): that of a hostile object need not end."""
    return getattr(obj, "__qualname__", None) or f"a {type(obj).__name__}"


def _python3_name(module: str, name: str) -> tuple[str, str]:
    """Protocol 2 writes the names of Python 2."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[(module, name)]
    return IMPORT_MAPPING.get(module, module), name


def _set_state(obj: Any, state: Any) -> None:
    """What pickle does with a state, for a type that the user allowed."""
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        obj.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(obj, name, value)


# ---- what the built-in names take -------------------------------------------


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


def _is_encoded_text(args: tuple) -> bool:
    """Text and the one encoding with which bytes are written in protocol 2."""
    if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
        return False
    return all(ord(c) < 256 for c in args[0])


def _is_pair(item: Any) -> bool:
    return type(item) in (list, tuple) and len(item) == 2 and _is_key(item[0])


def _is_key(item: Any) -> bool:
    checked_key(item)
    return True


def _is_bytearray(args: tuple) -> bool:
    # Not a number: bytearray(10**12) is a bomb of 20 bytes.
    if len(args) == 1:
        return type(args[0]) in (bytes, bytearray)
    return not args or _is_encoded_text(args)


def _is_ordered_dict(args: tuple) -> bool:
    return not args or (len(args) == 1 and type(args[0]) is list and all(map(_is_pair, args[0])))


def _is_counter(args: tuple) -> bool:
    return not args or (len(args) == 1 and type(args[0]) is dict)


def _is_set(args: tuple) -> bool:
    return not args or (len(args) == 1 and type(args[0]) is list and all(map(_is_key, args[0])))


def _is_complex(args: tuple) -> bool:
    return len(args) == 2 and all(type(part) is float for part in args)


def _is_empty(args: tuple) -> bool:
    return not args


_ARGUMENTS: dict[Any, Callable[[tuple], bool]] = {
    OrderedDict: _is_ordered_dict,
    Counter: _is_counter,
    set: _is_set,
    bytearray: _is_bytearray,
    complex: _is_complex,
    bytes: _is_empty,
    _encode: _is_encoded_text,
}


# ---- trusted files ----------------------------------------------------------


class FullUnpickler(pickle.Unpickler):
    """Python's unpickler, which runs what the file says, with the names of torch mapped to ours."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        rebuilder: Rebuilder,
        storages: Storages,
        extra_globals: Mapping[str, Any],
        encoding: str,
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._rebuilder = rebuilder
        self._storages = storages
        self._extra = extra_globals

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path in self._extra:
            return self._extra[path]
        if module != "torch" and not module.startswith("torch."):
            return super().find_class(module, name)
        found = self._rebuilder.find(module, name)
        if found is None:
            # Importing a torch that happens to be installed would mix two worlds.
            raise pickle.UnpicklingError(
                f"the file needs {path}, which is not provided here; save a state_dict() instead"
            )
        return found

    def persistent_load(self, persistent_id: Any) -> Any:
        return module_class(persistent_id) or self._storages.load(persistent_id)


# ---- a look ahead -----------------------------------------------------------


class _Inert:
    """Stands for anything a pickle makes, and takes whatever is done to it."""


class Skimmer(PickleMachine):
    """Runs a pickle for the storages that it mentions, making nothing.

    The old format has the storages' sizes in the pickle, and their bytes behind it.
    """

    def __init__(self, file: BinaryIO, end: int, *, encoding: str) -> None:
        super().__init__(file, end, encoding=encoding)
        self.persistent_ids: list[Any] = []
        self._judge: SafeUnpickler | None = None
        self._unsafe: list[str] = []

    def find_global(self, module: str, name: str) -> StorageKind | _Inert:
        if self._judge is not None:
            try:
                self._judge.find_global(module, name)
            except pickle.UnpicklingError:
                self._unsafe.append(".".join(_python3_name(module, name)))
        return storage_kind(module, name) or _Inert()

    def call(self, function: Any, args: tuple) -> _Inert:
        return _Inert()

    def make_new(self, cls: Any, args: tuple) -> _Inert:
        return _Inert()

    def set_state(self, obj: Any, state: Any) -> None:
        pass

    def load_persistent(self, persistent_id: Any) -> _Inert:
        self.persistent_ids.append(persistent_id)
        return _Inert()

    def unsafe_names(self, judge: SafeUnpickler) -> list[str]:
        """The names in the pickle that another unpickler would refuse, each once."""
        self._judge, self._unsafe = judge, []
        self.load()
        return list(dict.fromkeys(self._unsafe))

    def list_to_extend(self, obj: Any) -> list:
        return obj if type(obj) is list else []

    def mapping_to_fill(self, obj: Any) -> Any:
        return obj if type(obj) is dict else {}
