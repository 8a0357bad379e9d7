"""What a call runs: code whose names it reads, and calls that no replay may leave out."""

from __future__ import annotations

import dis
import functools
import os
import sys
import sysconfig
import types
from contextlib import contextmanager

from torchlike._core.errors import PACKAGE

# Code of these is as good as ours where ours called it: it keeps no state of the user's.
_PATHS = sysconfig.get_paths()
_LIBRARIES = (
    "<frozen ", _PATHS["stdlib"], _PATHS["platstdlib"],
    *(os.path.join(_PATHS[where], name) for where in ("purelib", "platlib")
      for name in ("jax", "jaxlib", "numpy", "optax", "ml_dtypes", "opt_einsum")),
)  # fmt: skip

# Modules of the code that they generate: its file is called "<string>".
_GENERATES = ("torchlike.", "jax.", "jaxlib.", "numpy.", "optax.", "namedtuple_")

# Functions in C that look at names or objects that only they know: everything may be read then.
_LOOKS_ANYWHERE = frozenset((getattr, hasattr, setattr, delattr, vars, dir))
# Those that do what only happens when they are called, or give what was not given to them.
_IMPURE = frozenset((
    print, input, open, exec, eval, compile, globals, locals, breakpoint, id,
))  # fmt: skip
_PURE_MODULES = frozenset((
    "builtins", "math", "cmath", "operator", "_operator", "itertools", "functools", "_functools",
    "collections", "_collections", "_bisect", "_heapq", "copy", "_struct", "_json", "_sre", "_abc",
    "types", "_typing", "_weakref", "binascii", "_stat", "_string", "numpy",
    "numpy._core._multiarray_umath", "numpy._core.multiarray", "zlib", "atexit",
))  # fmt: skip
_PLAIN = (
    int, float, bool, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, type,
    range, slice, type(None), types.MappingProxyType, property, BaseException, memoryview,
    functools.partial,
)  # fmt: skip


_GLOBAL = frozenset(("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "STORE_NAME"))


def is_pure(function) -> bool:
    """Whether a function in C does nothing but compute from, or change, what it is given."""
    owner = getattr(function, "__self__", None)
    if owner is None or isinstance(owner, types.ModuleType):
        try:
            if function in _IMPURE:
                return False
        except TypeError:
            return False
        module = owner.__name__ if owner is not None else getattr(function, "__module__", None)
        if module is None:  # a method descriptor, of a type
            kind = getattr(function, "__objclass__", None)
            return kind is not None and kind.__module__ in _PURE_MODULES
        return module in _PURE_MODULES
    kind = owner if isinstance(owner, type) else type(owner)
    if isinstance(owner, _PLAIN):
        return True
    return kind.__module__ in _PURE_MODULES or kind.__module__.startswith("numpy.dtype")


def _is_librarys(name: str, scope: dict) -> bool:
    """Whether code of this file and these globals is a library's."""
    if name == "<string>":
        return scope.get("__name__", "").startswith(_GENERATES)
    return name.startswith(_LIBRARIES)


class Watch:
    """What the calls of one compiled function have run so far.

    codes      user's code -> (the globals that it names, all its globals, modules it imports)
    names      what that code reads of modules and objects; complete unless ``anything``
    anything   whether names were looked up that no code spells out
    effects    (what, line) of the calls that a replay may not leave out
    """

    def __init__(self):
        self.codes: dict[types.CodeType, tuple] = {}
        self.names: set[str] = set()
        self.anything = False
        self.ran = False  # whether a whole call has been watched
        self.effects: list[tuple[str, str]] = []

    def add(self, code: types.CodeType, scope: dict) -> None:
        """Note a piece of code that ran."""
        named, imported = {}, {}
        for i in dis.get_instructions(code):
            if i.opname in _GLOBAL:
                named[i.argval] = None
            elif i.opname == "IMPORT_NAME":
                imported[i.argval] = None
        self.codes[code] = tuple(named), scope, tuple(imported)
        self.names.update(code.co_names)

    @contextmanager
    def running(self):
        """Note what runs inside the block on this thread; yields a function: is it all known?"""
        before = sys.getprofile()
        known = len(self.codes), self.anything
        # Per open frame: 0 the user's, 1 ours or a library's that ours has called, 2 an import.
        inside = [1]
        codes, effects = self.codes, self.effects

        def told(frame, event, arg):
            if event == "call":
                code = frame.f_code
                name = code.co_filename
                around = inside[-1]
                if around == 2 or name.startswith("<frozen importlib"):
                    kind = 2
                else:
                    library = around == 1 and _is_librarys(name, frame.f_globals)
                    kind = 1 if library or name.startswith(PACKAGE) else 0
                inside.append(kind)
                if kind == 0 and code not in codes:
                    self.add(code, frame.f_globals)
            elif event == "return":
                if len(inside) > 1:
                    inside.pop()
            elif event == "c_call" and not inside[-1]:
                if arg in _LOOKS_ANYWHERE:
                    self.anything = True
                elif not is_pure(arg) and len(effects) < 10:
                    effects.append(
                        (
                            f"it calls {getattr(arg, '__qualname__', arg)}",
                            f"{frame.f_code.co_filename}:{frame.f_lineno}",
                        )
                    )

        sys.setprofile(told)
        try:
            yield lambda: (len(self.codes), self.anything) == known
            self.ran = True
        finally:
            if hasattr(before, "enable"):  # cProfile's, which setprofile does not take
                before.enable()
            else:
                sys.setprofile(before)
