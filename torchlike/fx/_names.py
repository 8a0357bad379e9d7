"""What PyTorch calls its functions and classes: names for generated code, and what they mean."""

from __future__ import annotations

import builtins
import importlib
import operator
import sys
import types
import typing
from collections.abc import Callable

from torchlike._tensor import forms
from torchlike._tensor.handed_over import NATIVE, PYTHON, SHARED, TOP, is_python
from torchlike._tensor.tensor import Tensor

_SPACES = ("linalg", "fft", "special")
_found: dict = {}  # function -> (its name, the last part of it as a node is called by)
_meant: dict = {}  # name -> function
_count = [0]


def _table() -> dict:
    """The names of the public functions, by function."""
    if _found and _count[0] == len(forms.FUNCTIONS):
        return _found

    def add(name: str, function, called: str | None = None) -> None:
        _meant[name] = function
        if isinstance(function, typing.Hashable):
            _found.setdefault(function, (name, called or name.rpartition(".")[2]))

    _count[0] = len(forms.FUNCTIONS)
    torch = sys.modules["torchlike"]
    functional = importlib.import_module("torchlike.nn.functional")
    for name in PYTHON:
        add(f"torch.functional.{name}", getattr(torch, name))
    for name in NATIVE:
        native = "log_sigmoid" if name == "logsigmoid" else name
        add(f"torch._C._nn.{native}", getattr(functional, name))
    add("torch.nn.functional._threshold", functional.threshold)
    for name in SHARED:
        add(f"torch.nn.functional.{name}", getattr(functional, name))
    for name in TOP:
        if hasattr(functional, name):
            add(f"torch.{name}", getattr(functional, name))
    for name, f in forms.FUNCTIONS.items():
        add(f"torch.{name}", f)
    for name in torch.__all__:
        f = vars(torch).get(name)
        if isinstance(f, types.FunctionType):
            add(f"torch.{name}", f)
    for name in functional.__all__:
        add(f"torch.nn.functional.{name}", getattr(functional, name))
    add("torch._assert", torch._assert)
    for space in _SPACES:
        module = importlib.import_module(f"torchlike.{space}")
        for name in module.__all__:
            if isinstance(getattr(module, name), types.FunctionType):
                add(f"torch._C._{space}.{space}_{name}", getattr(module, name), f"{space}_{name}")
    return _found


def function_name(function) -> str | None:
    """The name that generated code has for one of our functions; None for all others."""
    try:
        found = _table().get(function)
    except TypeError:  # not hashable
        return None
    return found[0] if found else None


def node_name(target: Callable) -> str:
    """What a node that calls a function is called, before it is made an identifier."""
    try:
        found = _table().get(target)
    except TypeError:
        found = None
    return found[1] if found else target.__name__


def is_native(function) -> bool:
    """Whether it is one of our functions that PyTorch has as native ones."""
    return function_name(function) is not None and not is_python(function)


def public(module: str) -> str:
    """A module's name as PyTorch has it."""
    root, _, rest = module.partition(".")
    if root != "torchlike":
        return module
    if rest.startswith("_runner."):
        rest = rest.removeprefix("_runner.").removeprefix("shims.")
        return rest if rest.startswith("torch") else f"torch.{rest}"
    return f"torch.{rest}" if rest else "torch"


def method_module(function) -> str:
    """The namespace where a function stands that does not know its module; raises
    ``RuntimeError`` if there is none."""
    name = function.__name__
    torch = sys.modules["torchlike"]
    for place in (torch, importlib.import_module("torchlike.nn.functional")):
        if getattr(place, name, None) is function:
            return public(place.__name__)
    raise RuntimeError(f"cannot find module for {function}")


def qualified_name(function) -> str:
    """The full name of a function, as generated code and printed graphs have it."""
    if getattr(builtins, getattr(function, "__name__", ""), None) is function:
        return function.__name__
    found = function_name(function)
    if found is not None:
        return found
    kinds = (types.MethodDescriptorType, types.WrapperDescriptorType)
    if isinstance(function, kinds) or is_method(function):
        return f"torch.Tensor.{function.__name__}"
    name = function.__name__
    if name == "<lambda>":  # its text, as far as there is one
        name = _lambda_text(function)
    module = getattr(function, "__module__", None)
    if module is None:
        module = method_module(function)
    module = (
        public(module).replace("torch._ops", "torch.ops").replace("torch._aten", "torch.ops.aten")
    )
    return f"{module}.{name}"


def is_method(function) -> bool:
    """Whether a function is a method of Tensor, or reads one of its attributes."""
    name = getattr(function, "__name__", "")
    if name == "__get__" or forms.METHODS.get(name) is function:
        return True
    return any(vars(kind).get(name) is function for kind in Tensor.__mro__[:-1])


def _lambda_text(function) -> str:
    import inspect

    try:
        return inspect.getsource(function).split("=")[0].strip()
    except Exception as error:
        raise RuntimeError("Unable to represent lambda") from error


def is_from_torch(obj) -> bool:
    """Whether generated code finds it under the name ``torch``."""
    module = getattr(obj, "__module__", None)
    if isinstance(module, str):
        return public(module).partition(".")[0] == "torch"
    return function_name(obj) is not None


def type_text(obj) -> str:
    """A type as annotations show it: ``int``, ``torch.Tensor``, ``typing.Optional[...]``."""
    if isinstance(obj, type) and not isinstance(obj, types.GenericAlias):
        if obj.__module__ == "builtins":
            return obj.__qualname__
        return f"{public(obj.__module__)}.{obj.__qualname__}"
    if obj is ...:
        return "..."
    if isinstance(obj, types.FunctionType):
        return obj.__name__
    return repr(obj).replace("torchlike.", "torch.")


# ---- what the names mean -----------------------------------------------------------------------


class Namespace(types.ModuleType):
    """``torch`` as generated code sees it: our package, and the private places of PyTorch's in
    which some functions have their names."""

    def __getattr__(self, name: str):
        full = f"{self.__name__}.{name}"
        _table()
        if full in _meant:
            return _meant[full]
        if full in ("torch._C", "torch.functional", "torch.nn", "torch.ops") or (
            self.__name__ in ("torch._C", "torch.nn") and f"{full}." in _prefixes()
        ):
            made = Namespace(full)
        else:
            made = self._ours(name)
        self.__dict__[name] = made
        return made

    def _ours(self, name: str):
        path = self.__name__.partition(".")[2]
        package = "torchlike" + (f".{path}" if path else "")
        try:
            place = importlib.import_module(package)
        except ModuleNotFoundError:
            place = None
        if place is not None and hasattr(place, name):
            return getattr(place, name)
        theirs = sys.modules.get(self.__name__)  # of the runner
        if theirs is not None and getattr(theirs, "__spec__", None) is not None and _runs():
            return getattr(theirs, name)
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'") from None


def _runs() -> bool:
    return "torchlike._runner.finder" in sys.modules


def _prefixes() -> set:
    found = set()
    for name in _meant:
        parts = name.split(".")
        found.update(".".join(parts[:i]) + "." for i in range(2, len(parts)))
    return found


torch = Namespace("torch")


def meant(name: str):
    """What a qualified name of generated code means; raises ``AttributeError`` for unknown ones."""
    _table()
    if name in _meant:
        return _meant[name]
    root, *parts = name.split(".")
    place = torch if root == "torch" else operator if root == "operator" else None
    if place is None:
        place = importlib.import_module(root)
    for part in parts:
        place = getattr(place, part)
    return place
