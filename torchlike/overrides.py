"""torch.overrides: classes and modes that take over PyTorch's functions, and helpers for them
(https://pytorch.org/docs/stable/torch.overrides.html).

A subclass of Tensor takes over by its ``__torch_function__`` as soon as it is defined. A class that
is no Tensor is asked from the first subclass, mode or ``watch_objects()`` of the program on.
"""

from __future__ import annotations

import functools
import inspect
import sys
from contextlib import contextmanager, nullcontext
from types import FunctionType

from torchlike._tensor import overriding as _overriding
from torchlike._tensor.forms import METHODS
from torchlike._tensor.tensor import Tensor

__all__ = [
    "BaseTorchFunctionMode", "TorchFunctionMode", "enable_reentrant_dispatch",
    "get_ignored_functions", "get_overridable_functions", "get_testing_overrides",
    "handle_torch_function", "has_torch_function", "has_torch_function_unary",
    "has_torch_function_variadic", "is_tensor_like", "is_tensor_method_or_property",
    "redispatch_function", "resolve_name", "watch_objects", "wrap_torch_function",
]  # fmt: skip


def has_torch_function(relevant_args) -> bool:
    """Whether one of the arguments, or a mode, takes over functions."""
    if _overriding.local.skip:  # asked by the function that redispatch_function runs
        _overriding.local.skip = False
        return False
    if _overriding.local.modes:
        return True
    return not _overriding.local.off and bool(_overriding.overriders(tuple(relevant_args)))


def has_torch_function_unary(obj) -> bool:
    """``has_torch_function`` of one argument."""
    return has_torch_function((obj,))


def has_torch_function_variadic(*relevant_args) -> bool:
    """``has_torch_function`` of the arguments, one by one."""
    return has_torch_function(relevant_args)


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """Let a mode, or the arguments' classes, do ``public_api(*args, **kwargs)``; raises
    ``TypeError`` if none of them can."""
    local = _overriding.local
    found = _overriding.overriders(tuple(relevant_args))
    if local.modes:
        mode, local.modes = local.modes[-1], local.modes[:-1]
        try:
            result = mode.__torch_function__(public_api, _overriding.ordered(found), args, kwargs)
        finally:
            local.modes = (*local.modes, mode)
        if result is not NotImplemented:
            return result
    return _overriding.ask(public_api, found, args, kwargs)


def wrap_torch_function(dispatcher):
    """Decorator: the function may be taken over by the arguments that ``dispatcher`` returns."""

    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate


def redispatch_function(func, types, args, kwargs):
    """Run the function's own code: it is not taken over, what it calls inside may be."""
    local = _overriding.local
    plain = _overriding._plain.get(func) or getattr(func, "__wrapped__", None)
    if plain is not None:
        return plain(*args, **(kwargs or {}))
    before, local.skip = local.skip, True
    try:
        return func(*args, **(kwargs or {}))
    finally:
        local.skip = before


@contextmanager
def enable_reentrant_dispatch():
    """Within: nothing changes; functions called by handlers are dispatched anyway."""
    with nullcontext():
        yield


# ---- modes -------------------------------------------------------------------------------------


class TorchFunctionMode:
    """Subclass with ``__torch_function__(self, func, types, args, kwargs)``: within the context
    it is asked for every public function and method."""

    inner: TorchFunctionMode

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError

    def __enter__(self):
        _overriding.begin()
        _overriding.local.modes = (*_overriding.local.modes, self)
        return self

    def __exit__(self, *exc):
        _overriding.local.modes = _overriding.local.modes[:-1]
        _overriding.end()

    @classmethod
    def push(cls, *args, **kwargs):
        """An instance: PyTorch's old spelling."""
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that takes over nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


_watching = []


def watch_objects() -> None:
    """Ask objects that are no tensors for ``__torch_function__``, too, from now on.

    Each call of a public function then takes about half a microsecond more.
    """
    if not _watching:
        _watching.append(True)
        _overriding.begin()


# ---- questions ---------------------------------------------------------------------------------


def is_tensor_like(inp) -> bool:
    """Whether it is a tensor, or of a class with ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(type(inp), "__torch_function__")


def is_tensor_method_or_property(func) -> bool:
    """Whether it belongs to the class Tensor."""
    name = getattr(func, "__name__", "")
    return name == "__get__" or func in set(METHODS.values()) or any(
        vars(kind).get(name) is func for kind in Tensor.__mro__
    )  # fmt: skip


def resolve_name(f) -> str | None:
    """The public name of a function or method, e.g. ``torch.Tensor.add``; None if it has none."""
    return _overriding.name_of(f)


def get_ignored_functions() -> set:
    """Public functions that nothing can take over: they make tensors, or are about none."""
    torchlike = sys.modules["torchlike"]  # which stands above
    names = (
        "typename", "is_tensor", "is_storage", "set_default_dtype", "get_default_dtype",
        "manual_seed", "initial_seed", "seed", "get_rng_state", "set_rng_state", "save", "load",
        "set_printoptions", "no_grad", "enable_grad", "is_grad_enabled", "get_default_device",
        "set_default_device", "can_cast", "promote_types", "finfo", "iinfo",
    )  # fmt: skip
    return {getattr(torchlike, name) for name in names} | {Tensor.as_subclass, Tensor.__new__}


def get_overridable_functions() -> dict:
    """The functions that can be taken over: {namespace: [functions]}."""
    torchlike = sys.modules["torchlike"]  # which stands above
    spaces = {"torch.Tensor": Tensor}
    found: dict = {}
    for f, name in _overriding.public_functions().items():
        space = name.rpartition(".")[0]
        if space not in spaces:
            place = torchlike
            for part in space.split(".")[1:]:
                place = getattr(place, part)
            spaces[space] = place
        found.setdefault(spaces[space], []).append(f)
    return found


def get_testing_overrides() -> dict:
    """For each function that can be taken over one of the same signature that returns -1."""
    return {f: _minus_one(f) for f in _overriding.public_functions()}


def _minus_one(f: FunctionType):
    def stub(*args, **kwargs):
        return -1

    plain = _overriding._plain.get(f, f)
    stub.__signature__ = inspect.signature(plain)
    return stub
