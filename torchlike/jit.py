"""torch.jit: functions and modules under TorchScript's names; they run as the Python they are.

TorchScript is a compiler for a part of Python, and its results are those of the Python. Here
``script`` and ``trace`` keep the function, so the numbers are the same; what only a compiled
program has (a graph, a file) raises ``NotSupported``. ``torch.compile`` is what makes it fast.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import inspect
import typing
import warnings

from torchlike._core.errors import NotSupported
from torchlike._tensor.modes import no_grad
from torchlike.futures import Future as Future
from torchlike.nn.modules.module import Module

__all__ = [
    "Attribute", "CompilationUnit", "Error", "Future", "ScriptFunction", "ScriptModule",
    "TracerWarning", "annotate", "enable_onednn_fusion", "export", "export_opnames", "fork",
    "freeze", "ignore", "interface", "is_scripting", "is_tracing", "isinstance", "load",
    "onednn_fusion_enabled", "optimize_for_inference", "optimized_execution", "save", "script",
    "script_if_tracing", "script_method", "set_fusion_strategy", "strict_fusion", "trace",
    "trace_module", "unused", "wait",
]  # fmt: skip

_isinstance = isinstance
_INSTEAD = "save state_dict() with torch.save, or a program with torch.export"


class Error(Exception):
    """An error inside a compiled program; never raised here."""


class TracerWarning(Warning):
    """What tracing could not follow; never given here, as nothing is frozen."""


Attribute = collections.namedtuple("Attribute", ["value", "type"])


class ScriptFunction:
    """A function that ``script`` or ``trace`` was given; calling it calls the function."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    @property
    def name(self) -> str:
        """The name of the function."""
        return self._function.__name__

    def save(self, f, _extra_files=None):
        """Raises ``NotSupported``: there is no compiled program to write."""
        raise NotSupported("jit.ScriptFunction.save", _INSTEAD)

    @property
    def graph(self):
        """Raises ``NotSupported``: there is no compiled program."""
        raise NotSupported("jit.ScriptFunction.graph", "jax.make_jaxpr(f)(*tensors) has one")

    @property
    def code(self) -> str:
        """The Python source."""
        return inspect.getsource(self._function)


class ScriptModule(Module):
    """A module that ``script`` or ``trace`` was given: the same parameters, the same code."""

    def save(self, f, **kwargs):
        """Raises ``NotSupported``: there is no compiled program to write."""
        raise NotSupported("jit.ScriptModule.save", _INSTEAD)

    def save_to_buffer(self, *args, **kwargs):
        """Raises ``NotSupported``: there is no compiled program to write."""
        raise NotSupported("jit.ScriptModule.save_to_buffer", _INSTEAD)

    @property
    def graph(self):
        """Raises ``NotSupported``: there is no compiled program."""
        raise NotSupported("jit.ScriptModule.graph", "jax.make_jaxpr(f)(*tensors) has one")

    @property
    def code(self) -> str:
        """The Python source of ``forward``."""
        return inspect.getsource(type(self).forward)

    @property
    def original_name(self) -> str:
        """The name of the class that it was made from."""
        return type(self).__dict__.get("_original", type(self).__name__)


class CompilationUnit:
    """TorchScript from source text: not supported."""

    def __init__(self, *args, **kwargs):
        raise NotSupported("jit.CompilationUnit", "write the function in Python")


def _scripted_module(module: Module, kind: str) -> ScriptModule:
    if _isinstance(module, ScriptModule):
        return module
    original = type(module)
    body = {"_original": original.__name__, "__module__": "torchlike.jit"}
    made = object.__new__(type(kind, (ScriptModule, original), body))
    made.__dict__ = module.__dict__  # one set of parameters, buffers and modes, as PyTorch shares
    return made


def script(
    obj, optimize=None, _frames_up: int = 0, _rcb=None, example_inputs=None
):  # fmt: skip
    """A function or module under TorchScript's interface; a class is returned as it is
    (https://pytorch.org/docs/stable/generated/torch.jit.script.html)."""
    if optimize is not None:
        warnings.warn(
            "`optimize` is deprecated and has no effect. Use `with "
            "torch.jit.optimized_execution()` instead",
            FutureWarning,
            stacklevel=2,
        )
    if _isinstance(obj, Module):
        return _scripted_module(obj, "RecursiveScriptModule")
    if inspect.isclass(obj) or _isinstance(obj, (ScriptFunction, dict, list)):
        return obj
    if not callable(obj):
        raise RuntimeError(f"jit.script needs a function or a module, but got {type(obj)}")
    return ScriptFunction(obj)


def trace(
    func, example_inputs=None, optimize=None, check_trace=True, check_inputs=None,
    check_tolerance=1e-05, strict=True, _force_outplace=False, _module_class=None,
    _compilation_unit=None, example_kwarg_inputs=None, _store_inputs=True,
):  # fmt: skip
    """A function or module under TorchScript's interface, after one call on the example
    (https://pytorch.org/docs/stable/generated/torch.jit.trace.html).

    Unlike PyTorch's, the result still follows Python's control flow for other inputs.
    """
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("example_kwarg_inputs should be a dict")
    if _isinstance(func, (ScriptModule, ScriptFunction)):
        return func
    with no_grad():
        if example_kwarg_inputs is not None:
            func(**example_kwarg_inputs)
        else:
            func(*(example_inputs if _isinstance(example_inputs, (tuple, list))
                   else (example_inputs,)))  # fmt: skip
    if _isinstance(func, Module):
        return _scripted_module(func, "TopLevelTracedModule")
    return ScriptFunction(func)


def trace_module(
    mod, inputs, optimize=None, check_trace=True, check_inputs=None, check_tolerance=1e-05,
    strict=True, _force_outplace=False, _module_class=None, _compilation_unit=None,
    example_inputs_is_kwarg=False, _store_inputs=True,
):  # fmt: skip
    """A module under TorchScript's interface, after one call of each named method."""
    if not _isinstance(mod, Module):
        raise AttributeError("expected torch.nn.Module as the first argument")
    if not _isinstance(inputs, dict):
        raise AttributeError("expected a dictionary of (method_name, input) pairs")
    with no_grad():
        for name, given in inputs.items():
            method = mod if name == "forward" else getattr(mod, name)
            if example_inputs_is_kwarg:
                method(**given)
            else:
                method(*(given if _isinstance(given, tuple) else (given,)))
    return _scripted_module(mod, "TopLevelTracedModule")


def script_if_tracing(fn):
    """``fn`` itself: it is not frozen by tracing."""
    return fn


def script_method(fn):
    """``fn`` itself."""
    return fn


def is_scripting() -> bool:
    """False: what runs is Python."""
    return False


def is_tracing() -> bool:
    """False: what runs is Python."""
    return False


# ---- marks on functions ------------------------------------------------------------------------


def export(fn):
    """``fn`` itself: every method of a module can be called."""
    return fn


def unused(fn):
    """``fn`` itself."""
    return fn


def ignore(drop=False, **kwargs):
    """``fn`` itself, as a decorator with or without arguments."""
    if callable(drop):
        return drop
    if not _isinstance(drop, bool):
        raise RuntimeError(
            f"Argument to @torch.jit.ignore must be a bool or a function but got {drop}"
        )
    return lambda fn: fn


def interface(obj):
    """The class itself; raises ``RuntimeError`` for anything else."""
    if not inspect.isclass(obj):
        raise RuntimeError("interface must be applied to a class")
    return obj


def annotate(the_type, the_value):
    """The value itself."""
    return the_value


def isinstance(obj, target_type) -> bool:
    """``isinstance`` that looks into ``list[int]``, ``dict[str, int]``, ``Optional`` and unions."""
    if _isinstance(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, inner = typing.get_origin(target_type), typing.get_args(target_type)
    if origin is None:
        return obj is None if target_type is None else _isinstance(obj, target_type)
    if not _isinstance(origin, type) or origin.__name__ in ("Union", "UnionType"):
        return any(isinstance(obj, t) for t in inner)
    if not _isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, inner[0]) and isinstance(v, inner[1]) for k, v in obj.items())
    if origin is tuple:
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(isinstance(x, inner[0]) for x in obj)
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    return all(isinstance(x, inner[0]) for x in obj)


# ---- running -----------------------------------------------------------------------------------


def fork(func, *args, **kwargs) -> Future:
    """A finished Future of ``func(*args, **kwargs)``, which runs now."""
    out = Future()
    try:
        out.set_result(func(*args, **kwargs))
    except Exception as error:
        out.set_exception(error)
    return out


def wait(future: Future):
    """The value of a Future that ``fork`` gave."""
    return future.wait()


def freeze(mod, preserved_attrs: list[str] | None = None, optimize_numerics: bool = True):
    """The module itself; raises ``RuntimeError`` unless it is a scripted one in eval mode."""
    if not _isinstance(mod, ScriptModule):
        raise RuntimeError(
            "Freezing expects a ScriptModule as input. Please use torch.jit.script or "
            "torch.jit.trace to script your 'nn.Module'."
        )
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call "
            ".eval() on your module before freezing."
        )
    return mod


def optimize_for_inference(mod: ScriptModule, other_methods: list[str] | None = None):
    """The module itself: XLA optimizes what runs."""
    if not _isinstance(mod, ScriptModule):
        raise ValueError(
            "optimize_for_inference expects ScriptModule as input. Please use torch.jit.script or "
            "torch.jit.trace to script your 'nn.Module'."
        )
    return mod


@contextlib.contextmanager
def optimized_execution(should_optimize: bool):
    """A block that changes nothing."""
    yield


class strict_fusion:
    """A block that changes nothing: XLA fuses what can be fused."""

    def __init__(self) -> None:
        pass

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        pass


_strategy: list = [("STATIC", 2), ("DYNAMIC", 10)]


def set_fusion_strategy(strategy: list[tuple[str, int]]):
    """Keeps the strategy, which steers nothing here; returns the one before."""
    before, _strategy[:] = list(_strategy), strategy
    return before


_onednn = [False]


def enable_onednn_fusion(enabled: bool) -> None:
    """Keeps the flag, which steers nothing here."""
    _onednn[0] = bool(enabled)


def onednn_fusion_enabled() -> bool:
    """The flag that ``enable_onednn_fusion`` set."""
    return _onednn[0]


# ---- files -------------------------------------------------------------------------------------


def save(m, f, _extra_files=None) -> None:
    """Raises ``NotSupported``: there is no compiled program to write."""
    raise NotSupported("jit.save", _INSTEAD)


def load(f, map_location=None, _extra_files=None, _restore_shapes=False):
    """Raises ``NotSupported``: a file of TorchScript holds a program for its own interpreter."""
    raise NotSupported("jit.load", "load a state_dict with torch.load into the module's class")


def export_opnames(m) -> list[str]:
    """Raises ``NotSupported``: there is no compiled program."""
    raise NotSupported("jit.export_opnames", "jax.make_jaxpr(f)(*tensors) lists what runs")
