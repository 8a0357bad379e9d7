"""``__torch_function__``: classes that take over PyTorch's functions.

A plain call knows nothing of it. When a program makes a subclass of Tensor, or opens a mode, the
public functions and methods exchange their code for one that looks at the arguments first; the
function objects stay the same, whoever holds them.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
from functools import partial
from types import FunctionType, ModuleType

from torchlike._core.errors import PACKAGE
from torchlike._tensor import dispatch, forms
from torchlike._tensor.handed_over import handed_over
from torchlike._tensor.methods import COMPARISONS, OPERATORS
from torchlike._tensor.tensor import Tensor

OVERRIDERS: set = set()  # classes of tensors that override; others are asked for the attribute
_MODULES = ("nn.functional", "linalg", "fft", "special")
_OWN = ("accumulate_grad", "block_until_ready", "jax")  # methods that PyTorch's Tensor has not
_IGNORED = ("as_subclass", "is_tensor", "set_default_dtype", "to_dlpack")
_SPECIAL = (
    "__getitem__", "__setitem__", "__len__", "__bool__", "__float__", "__int__", "__index__",
    "__complex__", "__contains__",
)  # fmt: skip
# Attributes that are tensors, as a class that takes over functions must hear of them.
_ATTRIBUTES = ("T", "mT", "H", "mH", "data", "real", "imag")
_BITS = ("and", "or", "xor", "lshift", "rshift")
_BY_THEMSELVES = ("floordiv", *_BITS)
_lock = threading.RLock()
_plain: dict = {}  # function -> a copy with its own code, while they are exchanged
_ready: dict = {}  # function -> (that copy, the code it gets), kept for the next exchange
_users = 0  # how many want them exchanged; a class wants it for good
_codes: dict = {}


class _Local(threading.local):
    def __init__(self):
        self.off = 0  # within DisableTorchFunctionSubclass
        self.skip = False  # the next question of has_torch_function is answered with no
        self.modes = ()  # TorchFunctionMode that are open, innermost last


local = _Local()


# ---- exchanging code ---------------------------------------------------------------------------


def public_functions() -> dict:
    """The functions that may be overridden: {function: its public name}."""
    found: dict = {}

    def add(f, name):
        if isinstance(f, FunctionType) and f.__name__ not in _IGNORED:
            found.setdefault(f, name)

    for name, f in forms.FUNCTIONS.items():
        add(f, f"torch.{name}")
    for name, f in sys.modules["torchlike._functional"].FUNCTIONS.items():
        add(f, f"torch.{name}")
    for path in _MODULES:
        module = importlib.import_module(f"torchlike.{path}")  # some wait for their first use
        for name in module.__all__:
            add(getattr(module, name), f"torch.{path}.{name}")
    for name, f in forms.METHODS.items():
        add(f, f"torch.Tensor.{name}")
    for name in (*_operators(), *_SPECIAL):
        add(vars(Tensor).get(name), f"torch.Tensor.{name}")
    for name, f in vars(Tensor).items():
        if not name.startswith("_") and name not in _OWN:
            add(f, f"torch.Tensor.{name}")
    for getter, prop in _getters().items():
        add(getter, f"torch.Tensor.{prop}.__get__")
    return found


def _getters() -> dict:
    """{the function that reads an attribute: the attribute's name}."""
    return {vars(Tensor)[name].fget: name for name in _ATTRIBUTES}


def _operators():
    for name in OPERATORS:
        yield from (f"__{name}__", f"__r{name}__", f"__i{name}__")
    yield from (f"__{name}__" for name in COMPARISONS)


def _code(f: FunctionType, handler):
    """Code that gives its arguments to ``handler``, and fits a function of this closure."""
    free = len(f.__code__.co_freevars)
    made = _codes.get(free)
    if made is None:
        names = [f"c{i}" for i in range(free)]
        source = (
            f"def make({', '.join(names)}):\n"
            "    def call(*args, **kwargs):\n"
            f"        {'; '.join(names) or 'pass'}\n"
            "        handler = '@handler'\n"
            "        return handler(args, kwargs)\n"
            "    return call\n"
        )
        scope: dict = {}
        exec(compile(source, f"{PACKAGE}forms/override", "exec"), scope)
        made = _codes[free] = scope["make"](*names).__code__
    constants = tuple(handler if c == "@handler" else c for c in made.co_consts)
    return made.replace(co_consts=constants, co_name=f.__code__.co_name)


def _method_names() -> dict:
    """{operator: the method that PyTorch hands over in its place}; others go by themselves."""
    own = vars(Tensor)
    names = {f"__{s}__": n for s, n in OPERATORS.items() if s not in _BY_THEMSELVES}
    names |= {f"__i{s}__": n + "_" for s, n in OPERATORS.items() if s not in _BITS}
    names |= {f"__r{s}__": OPERATORS[s] for s in ("add", "mul", "and", "or", "xor")}
    names |= {f"__{n}__": n for n in COMPARISONS if n != "eq"}
    return {own[symbol]: name for symbol, name in names.items() if symbol in own}


def begin() -> None:
    """Let the public functions look at their arguments, until the ``end`` that belongs to this."""
    global _users
    with _lock:
        _users += 1
        if _users > 1:
            return
        for name in ("__rdiv__", *_operators(), *_SPECIAL):  # the names that PyTorch's have
            f = vars(Tensor).get(name)
            if isinstance(f, FunctionType) and not f.__name__.startswith("__"):
                f.__name__ = name
        named = _method_names()
        getters = _getters()
        for f in public_functions():
            if f.__code__ is forms._first_call.__code__:
                f.__globals__["become"]()  # else the first call would undo the exchange
            ready = _ready.get(f)
            if ready is None or ready[0].__code__ is not f.__code__:
                copy = FunctionType(
                    f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__
                )
                copy.__kwdefaults__ = f.__kwdefaults__
                shown = forms.METHODS.get(named.get(f), f)
                if f in getters:
                    shown = vars(Tensor)[getters[f]].__get__
                handler = _call_of_data if f is forms.FUNCTIONS["tensor"] else _call
                ready = _ready[f] = copy, _code(f, partial(handler, shown, copy))
                if not hasattr(f, "__signature__") and not hasattr(f, "__wrapped__"):
                    f.__signature__ = inspect.signature(f)
            _plain[f], f.__code__ = ready


def end() -> None:
    """Undo one ``begin``."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            for f, copy in _plain.items():
                f.__code__ = copy.__code__
            _plain.clear()


# ---- the protocol ------------------------------------------------------------------------------


def _call(shown, plain, args, kwargs):
    """A public call: to a mode, to the class of an argument, or to the function itself."""
    if local.modes:
        mode, local.modes = local.modes[-1], local.modes[:-1]
        try:
            shown, args, kwargs = handed_over(shown, plain, args, kwargs)
            found = overriders(args, kwargs)
            result = mode.__torch_function__(shown, ordered(found), args, kwargs)
            if result is NotImplemented:
                result = ask(shown, found, args, kwargs, mode)
            return result
        finally:
            local.modes = (*local.modes, mode)
    if not local.off:
        found = overriders(args, kwargs)
        if found:
            shown, args, kwargs = handed_over(shown, plain, args, kwargs)
            return ask(shown, found, args, kwargs)
    return plain(*args, **kwargs)


def _call_of_data(shown, plain, args, kwargs):
    """A call of ``torch.tensor``, to which a tensor of any class is data: to a mode, or itself."""
    if local.modes:
        return _call(shown, plain, args, kwargs)
    with DisableTorchFunctionSubclass():
        return plain(*args, **kwargs)


def overrides(kind: type) -> bool:
    """Whether a class takes over functions."""
    if kind in dispatch.TENSORS:
        return kind in OVERRIDERS
    found = getattr(kind, "__torch_function__", None)
    return found is not None and found is not disabled


def overriders(args, kwargs=None) -> dict:
    """The classes among arguments, and lists of them, that take over: {class: an instance}."""
    found: dict = {}
    for x in (*args, *kwargs.values()) if kwargs else args:
        kind = x.__class__
        if kind is Tensor:
            continue
        if kind is tuple or kind is list:
            for y in x:
                inner = y.__class__
                if inner is not Tensor and inner not in found and overrides(inner):
                    found[inner] = y
        elif kind not in found and overrides(kind):
            found[kind] = x
    return found


def ordered(found) -> tuple:
    """The classes that take over as they are asked: from the left, subclasses first."""
    order: list = []
    for kind in found:
        at = next((i for i, other in enumerate(order) if issubclass(kind, other)), len(order))
        order.insert(at, kind)
    return tuple(order)


def ask(function, found: dict, args, kwargs, mode=None):
    """Ask the classes in turn; raises ``TypeError`` if none knows, nor did the mode that was asked
    before."""
    order = ordered(found)
    for kind in order:
        result = found[kind].__torch_function__(function, order, args, kwargs)
        if result is not NotImplemented:
            return result
    lines = [] if mode is None else [f"  - mode object {mode!r}"]
    asked = "\n".join([*lines, *(f"  - tensor subclass {kind}" for kind in order)])
    raise TypeError(
        f"Multiple dispatch failed for '{name_of(function)}'; all __torch_function__ handlers "
        f"returned NotImplemented:\n\n{asked}"
    )


def name_of(function):
    """The public name of a function, or None."""
    name = public_functions().get(function) if isinstance(function, FunctionType) else None
    if name is None and callable(function):
        for path, module in list(sys.modules.items()):
            if not path.startswith("torchlike.") or not isinstance(module, ModuleType):
                continue
            if vars(module).get(getattr(function, "__name__", "")) is function:
                return f"torch.{path.partition('.')[2]}.{function.__name__}"
    return name


class DisableTorchFunctionSubclass:
    """Within: no class of tensors takes over a function."""

    def __enter__(self):
        local.off += 1

    def __exit__(self, *exc):
        local.off -= 1


def default(cls, func, types, args=(), kwargs=None):
    """Call the function, and let its tensors be of this class
    (https://pytorch.org/docs/stable/notes/extending.html#extending-torch-python-api)."""
    if not all(issubclass(cls, kind) for kind in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        result = func(*args, **(kwargs or {}))
    held = list(args)  # what is somebody's already, and keeps its class
    for x in (kwargs or {}).values():
        held += x if isinstance(x, (list, tuple)) else [x]
    return _converted(result, cls, held)


def _converted(result, cls, args):
    if result.__class__ is Tensor:
        if any(result is x for x in args):
            return result.as_subclass(cls)
        result.__class__ = cls  # fresh: nobody else holds it
        return result
    if isinstance(result, tuple):
        parts = [_converted(x, cls, args) for x in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if isinstance(result, list):
        return [_converted(x, cls, args) for x in result]
    return result


def disabled(func, types, args=(), kwargs=None):
    """As a class's ``__torch_function__``: it takes over nothing; the call alone, if called."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


def _subclassed(cls: type) -> None:
    """Note a new class of tensors; our own, and plain Parameters, take over nothing."""
    found = cls.__torch_function__
    inherited = getattr(found, "__func__", found) is default
    if found is disabled or cls.__module__.startswith("torchlike"):
        return
    if inherited and cls._is_parameter:
        return
    OVERRIDERS.add(cls)
    begin()


Tensor.__torch_function__ = classmethod(default)
dispatch._subclassed = _subclassed
