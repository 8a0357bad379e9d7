"""script, trace and the classes that they give: functions and modules that run as their Python."""

from __future__ import annotations

import collections
import copy
import functools
import inspect
import warnings

from torchlike._core.errors import NotSupported
from torchlike._core.symbolic import tracing
from torchlike._tensor.modes import no_grad
from torchlike.jit import _files
from torchlike.nn.modules.lazy import LazyModuleMixin
from torchlike.nn.modules.module import Module

_isinstance = isinstance
_COPIED = (dict, list, set)


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
        self._calls: dict = {}

    def __call__(self, *args, **kwargs):
        _files.remember(self._calls, "forward", args, kwargs)
        return self._function(*args, **kwargs)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    @property
    def name(self) -> str:
        """The name of the function."""
        return self._function.__name__

    def save(self, f, _extra_files=None):
        """``torch.jit.save`` of it."""
        _files.save(self, f, _extra_files)

    def save_to_buffer(self, _extra_files=None) -> bytes:
        """The bytes that ``save`` would write."""
        return _files.saved_bytes(self, _extra_files)

    @property
    def graph(self):
        """The program as StableHLO text; raises ``NotSupported`` before the first call."""
        return _files.graph_of(self)

    inlined_graph = graph

    def graph_for(self, *args, **kwargs):
        """The program of this call as StableHLO, to be printed."""
        self(*args, **kwargs)
        return self.graph

    @property
    def code(self) -> str:
        """The Python source."""
        return inspect.getsource(self._function)


class ScriptModule(Module):
    """A module that ``script`` or ``trace`` was given: the same parameters, the same code.

    The sizes of its first call are kept: ``save`` exports the program of such a call.
    """

    def __call__(self, *args, **kwargs):
        if tracing.scope is None and "_jit_calls" in self.__dict__:
            _files.remember(self.__dict__["_jit_calls"], "forward", args, kwargs)
        return super().__call__(*args, **kwargs)

    def save(self, f, _extra_files=None, **kwargs):
        """``torch.jit.save`` of it."""
        _files.save(self, f, _extra_files)

    def save_to_buffer(self, _extra_files=None, **kwargs) -> bytes:
        """The bytes that ``save`` would write."""
        return _files.saved_bytes(self, _extra_files)

    def _save_for_lite_interpreter(self, *args, **kwargs):
        raise NotSupported("torch.jit's files for the lite interpreter", "use torch.export")

    _save_to_buffer_for_lite_interpreter = _save_for_lite_interpreter

    @property
    def graph(self):
        """The program as StableHLO text; raises ``NotSupported`` before the first call."""
        return _files.graph_of(self)

    @property
    def inlined_graph(self):
        """The same as ``graph``."""
        return self.graph

    def graph_for(self, *args, **kwargs):
        """The program of this call as StableHLO, to be printed."""
        self(*args, **kwargs)
        return self.graph

    @property
    def code(self) -> str:
        """The Python source of ``forward``; of a loaded module the program as StableHLO."""
        if _isinstance(self, _files.LoadedModule):
            return str(self.graph)
        return inspect.getsource(type(self).forward)

    @property
    def code_with_constants(self):
        """Raises ``NotSupported``: there are no constants beside the code."""
        raise NotSupported("jit.ScriptModule.code_with_constants", "code is the source")

    def define(self, src: str):
        """Raises ``NotSupported``: methods are Python."""
        raise NotSupported("jit.ScriptModule.define", "write the method in Python")

    @property
    def original_name(self) -> str:
        """The name of the class that it was made from."""
        return type(self).__dict__.get("_original", type(self).__name__)

    def __repr__(self) -> str:
        if "_original" not in type(self).__dict__:
            return super().__repr__()
        return _tree(self, self.original_name, type(self).__name__)


def _tree(module: Module, name: str, kind: str) -> str:
    """The text of a scripted or traced module: of each part the name of its class."""
    label = kind if kind == "RecursiveScriptModule" else name
    parts = [
        f"({key}): {_tree(part, type(part).__name__, kind)}".replace("\n", "\n  ")
        for key, part in module._modules.items()
        if part is not None
    ]
    if not parts:
        return f"{label}(original_name={name})"
    return f"{label}(\n  " + "\n  ".join([f"original_name={name}", *parts]) + "\n)"


_files.base_of_loaded(ScriptModule)


class CompilationUnit:
    """TorchScript from source text: not supported."""

    def __init__(self, *args, **kwargs):
        raise NotSupported("jit.CompilationUnit", "write the function in Python")


def _structure(module: Module, made: dict) -> Module:
    """A module of the same parts, with the very same tensors: a mode, a parameter or a part that is
    set anew in one of them stays what it is in the other, as in PyTorch's."""
    if id(module) in made:
        return made[id(module)]
    out = made[id(module)] = object.__new__(type(module))
    own = {k: copy.copy(x) if _isinstance(x, _COPIED) else x for k, x in vars(module).items()}
    parts = own["_modules"]
    parts.update((k, None if part is None else _structure(part, made)) for k, part in parts.items())
    out.__dict__.update(own)
    return out


def _scripted_module(module: Module, kind: str) -> ScriptModule:
    if _isinstance(module, ScriptModule):
        return module
    original = type(module)
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        raise RuntimeError(
            f"'{original.__name__}' has uninitialized parameters. Did you forget to run a forward "
            "pass?"
        )
    body = {"_original": original.__name__, "__module__": "torchlike.jit"}
    made = object.__new__(type(kind, (ScriptModule, original), body))
    made.__dict__ = _structure(module, {}).__dict__
    made.__dict__.setdefault("_jit_calls", {})
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

    Unlike PyTorch's, the result still follows Python's control flow for other inputs; what ``save``
    writes is the program of a call like the example, in the mode (train or eval) of now.
    """
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("example_kwarg_inputs should be a dict")
    if _isinstance(func, (ScriptModule, ScriptFunction)):
        return func
    args, kwargs = (), {}
    if example_kwarg_inputs is not None:
        kwargs = example_kwarg_inputs
    else:
        args = tuple(example_inputs) if _isinstance(example_inputs, (tuple, list)) else (
            example_inputs,)  # fmt: skip
    with no_grad():
        func(*args, **kwargs)
    if _isinstance(func, Module):
        made = _scripted_module(func, "TopLevelTracedModule")
        calls = made.__dict__["_jit_calls"]
        made.__dict__["_jit_modes"] = _files.modes_of(made)
    else:
        made = ScriptFunction(func)
        calls = made._calls
    _files.remember(calls, "forward", args, kwargs, True)
    return made


def trace_module(
    mod, inputs, optimize=None, check_trace=True, check_inputs=None, check_tolerance=1e-05,
    strict=True, _force_outplace=False, _module_class=None, _compilation_unit=None,
    example_inputs_is_kwarg=False, _store_inputs=True,
):  # fmt: skip
    """A module under TorchScript's interface, after one call of each named method; ``save`` writes
    a program for each (https://pytorch.org/docs/stable/generated/torch.jit.trace_module.html)."""
    if not _isinstance(mod, Module):
        raise AttributeError("expected torch.nn.Module as the first argument")
    if not _isinstance(inputs, dict):
        raise AttributeError("expected a dictionary of (method_name, input) pairs")
    calls = {}
    with no_grad():
        for name, given in inputs.items():
            method = mod if name == "forward" else getattr(mod, name)
            args, kwargs = (), {}
            if example_inputs_is_kwarg:
                kwargs = given
            else:
                args = tuple(given) if _isinstance(given, (tuple, list)) else (given,)
            method(*args, **kwargs)
            _files.remember(calls, name, args, kwargs, True)
    made = _scripted_module(mod, "TopLevelTracedModule")
    made.__dict__["_jit_calls"].update(calls)
    made.__dict__["_jit_modes"] = _files.modes_of(made)
    return made


def is_scripting() -> bool:
    """False: what runs is Python."""
    return False


def is_tracing() -> bool:
    """Whether the code that asks is being traced for a file: shapes may be open then."""
    return tracing.scope is not None


def freeze(mod, preserved_attrs: list[str] | None = None, optimize_numerics: bool = True):
    """A copy whose parameters are constants: they share the module's memory, and nothing that is
    computed of them requires grad. Raises ``RuntimeError`` unless it is a scripted one in eval mode
    (https://pytorch.org/docs/stable/generated/torch.jit.freeze.html)."""
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
    kept = {id(b): b for b in mod.buffers()} | {id(p): p.detach() for p in mod.parameters()}
    frozen = copy.deepcopy(mod, kept)
    for part in frozen.modules():
        part._buffers.update(part._parameters)
        part._parameters.clear()
    if _isinstance(frozen, _files.LoadedModule):
        frozen._hold()
    return frozen


def optimize_for_inference(mod: ScriptModule, other_methods: list[str] | None = None):
    """``freeze`` of a module in eval mode; XLA optimizes what runs."""
    if not _isinstance(mod, ScriptModule):
        raise ValueError(
            "optimize_for_inference expects ScriptModule as input. Please use torch.jit.script or "
            "torch.jit.trace to script your 'nn.Module'."
        )
    return mod if mod.training else freeze(mod)


def save(m, f, _extra_files=None) -> None:
    """Write the program of a call like the first one, or like ``trace``'s example
    (https://pytorch.org/docs/stable/generated/torch.jit.save.html).

    Sizes stay open where the code allows it. Raises ``NotSupported`` for a scripted module that has
    never been called, and where Python needs a tensor's number.
    """
    if not _isinstance(m, (ScriptModule, ScriptFunction)):
        raise AttributeError(f"'{type(m).__name__}' object has no attribute 'save'")
    _files.save(m, f, _extra_files)


def load(f, map_location=None, _extra_files=None, _restore_shapes=False):
    """A ScriptModule that ``save`` wrote; the module's source is not needed
    (https://pytorch.org/docs/stable/generated/torch.jit.load.html).

    Raises ``ValueError`` for a path that does not exist, ``RuntimeError`` for a broken file, and
    ``NotSupported`` for PyTorch's TorchScript.
    """
    return _files.load(f, map_location, _extra_files)


def export_opnames(m) -> list[str]:
    """Raises ``NotSupported``: programs have no ATen operators."""
    raise NotSupported("jit.export_opnames", "str(m.graph) shows the operations of StableHLO")


def jit_module_from_flatbuffer(f):
    """Raises ``NotSupported``: such files hold TorchScript."""
    raise NotSupported("jit.jit_module_from_flatbuffer", "use torch.jit.save and load")
