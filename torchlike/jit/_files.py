"""torch.jit's files: the program of a remembered call, exported with sizes as open as can be."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np

from torchlike._core import devices
from torchlike._core.errors import GuardOnDataDependentSymNode, NotSupported, UserError
from torchlike._core.symbolic import tracing
from torchlike._tensor.tensor import Tensor
from torchlike.export import _file
from torchlike.export._export import traced
from torchlike.export._module import Graph
from torchlike.export._state import Held
from torchlike.export.dynamic_shapes import Dim
from torchlike.func import trees
from torchlike.nn.modules.module import Module

LoadedModule = ()  # the class of loaded modules, once ScriptModule is known


class Call:
    """The inputs of a call without their numbers: (shape, dtype, device) for each tensor."""

    def __init__(self, args, kwargs):
        leaves, self.spec = trees.flatten((args, kwargs))
        self.leaves = [
            (tuple(x.shape), x.dtype, x.device) if isinstance(x, Tensor) else x for x in leaves
        ]

    def inputs(self) -> tuple:
        """(args, kwargs) with such tensors."""
        from torchlike._tensor.creation import zeros

        leaves = [
            zeros(x[0], dtype=x[1], device=x[2]) if isinstance(x, tuple) else x for x in self.leaves
        ]
        return trees.unflatten(leaves, self.spec)


def remember(calls: dict, method: str, args, kwargs, again: bool = False) -> None:
    """Keep the sizes of the first call of a method; ``again``: of this one instead."""
    if (again or method not in calls) and tracing.scope is None:
        calls[method] = Call(args, kwargs)


def modes_of(module: Module) -> dict:
    """{name of a submodule: whether it trains}."""
    return {name: part.training for name, part in module.named_modules()}


class _InMode:
    """A block in which submodules are in the given modes, by name, or all in one."""

    def __init__(self, module: Module, modes):
        self.parts = dict(module.named_modules())
        self.modes = modes

    def __enter__(self):
        self.before = {name: part.training for name, part in self.parts.items()}
        for name, part in self.parts.items():
            wanted = self.modes if isinstance(self.modes, bool) else self.modes.get(name)
            if wanted is not None:
                part.__dict__["training"] = wanted

    def __exit__(self, *exc):
        for name, part in self.parts.items():
            part.__dict__["training"] = self.before[name]


class _Method(Module):
    """A module whose forward is another one's method, or a function."""

    def __init__(self, function, owner=None):
        super().__init__()
        self.__dict__["_function"] = function
        if owner is not None:  # its state under its own names
            for store in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
                self.__dict__[store] = owner.__dict__[store]
            for key, value in owner.__dict__.items():
                if isinstance(value, Tensor):
                    self.__dict__[key] = value
            self.__dict__["forward"] = function

    def forward(self, *args, **kwargs):
        """Call the function."""
        return self._function(*args, **kwargs)


def _all_open(x: Tensor) -> dict:
    return dict.fromkeys(range(x.ndim), Dim.AUTO)


def _batch_open(x: Tensor) -> dict:
    return {0: Dim.AUTO} if x.ndim else {}


def _program(module, call: Call):
    """(Runner, State) of a call, with as many sizes open as the code allows."""
    args, kwargs = call.inputs()
    for everything in (_all_open, _batch_open):
        try:
            return traced(module, args, kwargs, everything=everything)
        except GuardOnDataDependentSymNode as error:
            raise NotSupported(
                f"saving a module whose Python needs a tensor's number ({error})",
                "write the branch with torch.where or torch.cond",
            ) from error
        except Exception as error:  # whatever stops open sizes: with fixed ones it may go
            first = error
    found = traced(module, args, kwargs)
    warnings.warn(
        f"the saved program holds for the sizes of the example only: {first}", stacklevel=4
    )
    return found


def _programs(m) -> tuple[list, object, bool]:
    """([(method, mode, Runner)], State, training) of a scripted or traced object."""
    if isinstance(m, LoadedModule):
        return m._programs, m._state_now(), m.training
    if not isinstance(m, Module):
        runner, state = _program(_Method(m._function), _first_call(m._calls))
        return [("forward", None, runner)], state, False
    calls, modes = m.__dict__["_jit_calls"], m.__dict__.get("_jit_modes")
    _first_call(calls)
    out, state = [], None
    for method, call in calls.items():
        target = m if method == "forward" else _Method(getattr(m, method), m)
        if modes is not None:  # a trace holds the mode of its example
            with _InMode(m, modes):
                runner, state = _program(target, call)
            out.append((method, None, runner))
            continue
        runner, state = _program(target, call)
        other = None
        try:
            with _InMode(m, not m.training):
                other, _ = _program(target, call)
        except (NotSupported, UserError, RuntimeError, ValueError) as error:
            warnings.warn(
                f"the saved module can only run with training={m.training}: {error}", stacklevel=4
            )
            out.append((method, m.training, runner))
            continue
        if _same(runner, other):
            out.append((method, None, runner))
        else:
            out += [(method, m.training, runner), (method, not m.training, other)]
    return out, state, m.training


def _same(a, b) -> bool:
    """Whether two programs do the same."""
    return (
        a.program.draws == b.program.draws
        and a.program.changed == b.program.changed
        and str(a.program.forward.jaxpr) == str(b.program.forward.jaxpr)
        and all(map(np.array_equal, *(x.program.forward.jaxpr.consts for x in (a, b))))
    )


def _first_call(calls: dict) -> Call:
    if not calls:
        raise NotSupported(
            "saving a scripted module that has not been called: its program depends on the inputs",
            "call it once before, or use torch.jit.trace or torch.export with example inputs",
        )
    return next(iter(calls.values()))


def graph_of(m) -> Graph:
    """The program of a remembered call."""
    if isinstance(m, LoadedModule):
        return Graph(m._programs[0][2].program)
    return Graph(_programs(m)[0][0][2].program)


def save(m, f, extra_files=None) -> None:
    """Write a scripted or traced object, or a loaded one, to a path or file."""
    runners, state, training = _programs(m)
    name = getattr(m, "original_name", None) or getattr(m, "name", "")
    more = {"training": training, "original_name": name}
    _file.write(f, "jit", runners, state, more, extra_files=extra_files)


def saved_bytes(m, extra_files=None) -> bytes:
    """What ``save`` would write."""
    buffer = io.BytesIO()
    save(m, buffer, extra_files)
    return buffer.getvalue()


def load(f, map_location=None, extra_files=None):
    """The module of a file."""
    if isinstance(f, (str, os.PathLike)):
        if not os.path.exists(f):
            raise ValueError(f"The provided filename {f} does not exist")
        if os.path.isdir(f):
            raise ValueError(f"The provided filename {f} is a directory")
    if map_location is not None and not isinstance(map_location, (str, devices.device)):
        raise ValueError(f"Unsupported type {type(map_location)} of map_location")
    device = None if map_location is None else devices.canonical(map_location)
    found = _file.read(f, extra_files, device)
    for name, text in (extra_files or {}).items():
        extra_files[name] = text.encode() if isinstance(text, str) else text
    if found.kind != "jit":
        raise RuntimeError(f"{f} is a program of torch.export: read it with torch.export.load")
    return LoadedModule(found)


def base_of_loaded(base: type) -> None:
    """Make the class of loaded modules, below ``base``."""
    global LoadedModule

    class RecursiveScriptModule(base):
        """A module from a file: its state, and a program per method and mode."""

        def __init__(self, found):
            Module.__init__(self)
            found.state.put_into(self)
            own = self.__dict__
            own["_programs"], own["_state"] = found.runners, found.state
            own["_loaded_name"] = found.meta["original_name"]
            self._hold()
            self.train(found.meta["training"])

        def _hold(self):
            """Find the programs' tensors: parameters, or buffers."""
            self.__dict__["_helds"] = [Held(self, r.state) for _, _, r in self._programs]

        def _state_now(self):
            state = self._state
            now = dict(zip(state.tensors, Held(self, list(state.tensors)).tensors(), strict=True))
            return type(state).of(now, state.targets, state.aliases, state.order)

        def _run(self, method, args, kwargs):
            modes = []
            for (name, mode, runner), held in zip(self._programs, self._helds, strict=True):
                if name == method:
                    if mode is None or mode is self.training:
                        return runner(held.tensors(), args, kwargs)
                    modes.append(mode)
            raise NotSupported(
                f"a loaded module with training={self.training}", "it was saved for the other mode"
            )

        def forward(self, *args, **kwargs):
            """The program; raises ``AssertionError`` for inputs that it was not saved for."""
            return self._run("forward", args, kwargs)

        def __getattr__(self, name):
            if any(method == name for method, _, _ in self.__dict__.get("_programs", ())):
                return lambda *args, **kwargs: self._run(name, args, kwargs)
            return super().__getattr__(name)

        @property
        def original_name(self) -> str:
            """The name of the class that was saved."""
            return self._loaded_name

    RecursiveScriptModule.__module__ = "torchlike.jit"
    LoadedModule = RecursiveScriptModule
