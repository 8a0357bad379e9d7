"""What a call runs: code whose names it reads, and calls that no replay may leave out."""

from __future__ import annotations

import builtins
import contextlib
import copy
import dis
import functools
import gc
import importlib.util
import inspect
import os
import string
import sys
import sysconfig
import types
from contextlib import contextmanager

from torchlike._core.errors import PACKAGE
from torchlike.compiler._library import keeps_switches

# Code of these is as good as ours where ours called it: it keeps no state of the user's.
_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "ml_dtypes", "opt_einsum")
_STANDARD = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
# What is installed lies inside the folder of the standard library, and is the user's like any code.
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))

# Functions in C that are told a name; if no code spells it out, everything may be read.
_TOLD_A_NAME = frozenset((getattr, hasattr, setattr, delattr))
LOOKS_ANYWHERE = frozenset((*_TOLD_A_NAME, vars, dir, str.format, str.format_map))
# Classes in C whose objects look for the names that they were made with.
_GETTERS = frozenset(("attrgetter", "methodcaller"))
_ANY_NAME = frozenset(("__dict__", "__getattribute__"))
_MAKES_UP = frozenset(("__getattr__", "__getattribute__", "__setattr__", "__delattr__"))
_FILLS_ITS_OWN = frozenset(("__init__", "__post_init__", "__setstate__"))
# Those that do what only happens when they are called, or give what was not given to them.
_IMPURE = frozenset((
    print, input, open, exec, eval, compile, globals, locals, breakpoint, id, hash, __import__,
))  # fmt: skip
_PURE_MODULES = frozenset((
    "builtins", "math", "cmath", "operator", "_operator", "itertools", "functools", "_functools",
    "collections", "_collections", "_bisect", "_heapq", "copy", "_struct", "_json", "_sre", "_abc",
    "re", "types", "_typing", "_weakref", "binascii", "_stat", "_string", "numpy",
    "numpy._core._multiarray_umath", "numpy._core.multiarray", "zlib", "atexit",
))  # fmt: skip
_PLAIN = (
    int, float, bool, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, type,
    range, slice, type(None), types.MappingProxyType, property, BaseException, memoryview,
    functools.partial,
)  # fmt: skip


_ASKS_FOR_IDS = frozenset((copy.__file__, inspect.__file__))

# Instructions that a value on the stack is none the different for.
_NO_VALUE = frozenset((
    "RESUME", "PRECALL", "PUSH_NULL", "NOP", "COPY_FREE_VARS", "MAKE_CELL", "CACHE", "EXTENDED_ARG",
))  # fmt: skip
_GLOBAL = frozenset(("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "STORE_NAME"))
# The methods that operators call, which stand nowhere as names.
_OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "**": "pow",
    "@": "matmul", "&": "and", "|": "or", "^": "xor", "<<": "lshift", ">>": "rshift",
}  # fmt: skip
_METHODS = {sign: (f"__{x}__", f"__r{x}__") for sign, x in _OPERATORS.items()}
_METHODS.update({f"{sign}=": (f"__i{x}__", f"__{x}__") for sign, x in _OPERATORS.items()})
_METHODS.update({
    "<": ("__lt__", "__gt__"), ">": ("__gt__", "__lt__"), "<=": ("__le__", "__ge__"),
    ">=": ("__ge__", "__le__"), "==": ("__eq__",), "!=": ("__ne__",), "[]": ("__getitem__",),
    "BINARY_SUBSCR": ("__getitem__",), "BINARY_SLICE": ("__getitem__",),
    "STORE_SUBSCR": ("__setitem__",), "STORE_SLICE": ("__setitem__",),
    "UNARY_NEGATIVE": ("__neg__",), "UNARY_INVERT": ("__invert__",), "GET_ITER": ("__iter__",),
    "CONTAINS_OP": ("__contains__",), "FORMAT_VALUE": ("__format__",),
    "FORMAT_SIMPLE": ("__format__",), "FORMAT_WITH_SPEC": ("__format__",),
})  # fmt: skip


@functools.cache
def _places() -> tuple:
    """The folders of the packages that ours calls, which need not be where this one is."""
    specs = [importlib.util.find_spec(name) for name in _PACKAGES]
    found = [path for s in specs if s for path in s.submodule_search_locations or ()]
    return "<frozen ", *(path + os.sep for path in found)


@functools.cache
def is_librarys(path: str) -> bool:
    """Whether a file is the standard library's, or of a package that ours calls."""
    if path.startswith(_places()):
        return True
    return path.startswith(_STANDARD) and not any(part in path for part in _INSTALLED)


def is_pure(function) -> bool:
    """Whether a function in C does nothing but compute from, or change, what it is given."""
    if getattr(function, "__name__", None) == "__subclasses__":  # others may come to be
        return False
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
    if issubclass(kind, _PLAIN) or (owner is kind and hasattr(type, function.__name__)):
        return True
    return kind.__module__ in _PURE_MODULES or kind.__module__.startswith("numpy.dtype")


def _is_format(function) -> bool:
    return (
        isinstance(getattr(function, "__self__", None), str)
        and function.__name__ in ("format", "format_map")
    )  # fmt: skip


def _is_made_for_us(frame) -> bool:
    """Whether this is code that the standard library made for a class of ours, or of a library."""
    if frame.f_code.co_filename != "<string>":
        return False
    name = (frame.f_globals.get("__name__") or "").split(".")[0]
    ours = name in ("torchlike", *_PACKAGES) or name.startswith("namedtuple_")
    return ours or name in sys.stdlib_module_names


def _is_bookkeeping(function, frame) -> bool:
    """Whether the standard library asks for its own ends only: ``copy`` for what it has copied."""
    path = frame.f_code.co_filename
    return (
        (function is id and path in _ASKS_FOR_IDS)
        or (function is sys.exc_info and path == contextlib.__file__)
        or (function is hash and frame.f_code.co_name == "__hash__")  # a dict asks
    )


def _is_value(instruction) -> bool:
    """Whether what is loaded is not called by the next instructions."""
    return instruction.argrepr == instruction.argval  # else it says that there is a place for self


def _line(code, instruction) -> int:
    lines = (n for start, end, n in code.co_lines() if start <= instruction.offset < end)
    return next(lines, None) or code.co_firstlineno


@functools.lru_cache(1000)
def _spelled(code: types.CodeType, offset: int) -> str | None:
    """The name in ``getattr(x, "name")``, called at an offset; None if no name stands there."""
    found = list(dis.get_instructions(code))
    at = next((n for n, i in enumerate(found) if i.offset == offset), 0)
    if found[at].opname != "CALL":
        return None
    first = at - (found[at - 1].opname == "PRECALL") - (found[at].arg - 1)
    if first < 0 or any(i.is_jump_target for i in found[first : at + 1]):
        return None
    name, *default = found[first : first + found[at].arg - 1]
    plain = all(i.opname.startswith("LOAD_") and i.opname != "LOAD_ATTR" for i in default)
    return name.argval if plain and name.opname == "LOAD_CONST" else None


def _makes_up_names(code: types.CodeType) -> bool:
    """Whether code may look for other attributes than those that it spells out, or, if it makes
    them up, is asked for."""
    if code.co_name in _FILLS_ITS_OWN or (_ANY_NAME | _MAKES_UP).isdisjoint(code.co_names):
        return False
    found = [i for i in dis.get_instructions(code) if i.opname not in _NO_VALUE]
    changed = {i.argval for i in found if i.opname.startswith(("STORE_FAST", "DELETE_FAST"))}
    told = set()
    if code.co_name in _MAKES_UP:
        told.update(code.co_varnames[: code.co_argcount])
        told -= changed

    def is_told(n: int) -> bool:
        i = found[n] if 0 <= n < len(found) else None
        if i is None or not i.opname.startswith("LOAD_"):
            return False
        return i.opname == "LOAD_CONST" or (i.opname.startswith("LOAD_FAST") and i.argval in told)

    def is_handed_on(n: int) -> bool:
        """Whether the value that an instruction loads is given to the next call as it is."""
        depth = 1
        for i in found[n + 1 :]:
            depth += dis.stack_effect(i.opcode, i.arg, jump=False)
            if i.opname.startswith("CALL") and depth <= 1:
                return True
            if depth <= 1 or (n + 1 < len(found) and _is_method(found[n + 1])):
                return False
        return False

    for n, i in enumerate(found):
        if not i.opname.startswith("LOAD_") or i.argval.__class__ is not str:
            continue
        if i.argval in _MAKES_UP:
            owner = code.co_varnames[:1] == (found[n + 1].argval,)
            known = is_told(n + 1 + owner) and is_handed_on(n + 1 + owner)
        elif i.argval == "__dict__" and i.opname != "LOAD_CONST":
            after = found[n + 1]
            if after.opname == "CONTAINS_OP":
                known = is_told(n - 2) and found[n - 1].opname.startswith("LOAD_FAST")
            elif _is_method(after) and after.argval in ("get", "pop", "setdefault"):
                known = is_told(n + 2) and is_handed_on(n + 2)
            else:
                last = found[n + 2]
                known = is_told(n + 1) and ("SUBSCR" in last.opname or last.argrepr == "[]")
        else:
            continue
        if not known:
            return True
    return False


def _is_method(instruction) -> bool:
    return instruction.opname in ("LOAD_METHOD", "LOAD_ATTR")


class Watch:
    """What the calls of one compiled function have run so far.

    codes      user's code -> (the globals that it names, all its globals, modules it imports)
    names      what that code reads of modules and objects; complete unless ``anything``
    asked      those of them that may be missing, as ``getattr`` and ``hasattr`` are told them
    imported   the modules that it imports by functions
    switches   the modules of ours that keep switches of which functions ran
    anything   whether names were looked up that no code spells out
    effects    (what, line) of the calls that a replay may not leave out, in the call watched last
    handed     those of them that code in C may have made unseen
    """

    def __init__(self):
        self.codes: dict[types.CodeType, tuple] = {}
        self.names: set[str] = set()
        self.asked: set[str] = set()
        self.anything = False
        self.imported: set[str] = set()
        self.switches: set[str] = set()
        self.ran = False  # whether a whole call has been watched
        self.effects: list[tuple[str, str]] = []
        self.handed: list[tuple[str, str]] = []

    def add(self, code: types.CodeType, scope: dict) -> None:
        """Note a piece of code that ran."""
        named, imported = {}, {}
        given = None  # what the last instruction has put on the stack, not to be called at once
        for i in dis.get_instructions(code):
            sign = {"BINARY_OP": i.argrepr, "COMPARE_OP": i.argval}.get(i.opname, i.opname)
            self.names.update(_METHODS.get(sign, ()))
            of = vars(given) if isinstance(given, types.ModuleType) else {}
            given = None
            if i.opname == "LOAD_ATTR" and _is_value(i):
                given = of.get(i.argval)
                self._give(given, code, i)
                self.anything |= i.argval in ("format", "format_map")  # a text's, handed on
            if i.opname in _GLOBAL:
                named[i.argval] = None
                if i.opname == "LOAD_GLOBAL" and _is_value(i):
                    given = scope.get(i.argval, getattr(builtins, i.argval, None))
                    self._give(given, code, i)
            elif i.opname == "IMPORT_NAME":
                imported[i.argval] = None
            elif i.opname == "MATCH_CLASS":  # by position, it reads names that the class tells
                self.anything = True
        if not _GETTERS.isdisjoint(code.co_names) or not _GETTERS.isdisjoint(
            [x.__name__ for x in map(scope.get, named) if isinstance(x, type)]
        ):
            self.anything = True
        self.codes[code] = tuple(named), scope, tuple(imported)
        self.names.update(code.co_names)
        if "__getattr__" in code.co_names or not _ANY_NAME.isdisjoint(code.co_names):
            # With a name that stands there, or, if this makes up attributes, with one asked for.
            self.names.update(x for x in code.co_consts if isinstance(x, str))
        if _makes_up_names(code):
            self.anything = True

    def _give(self, function, code, instruction) -> None:
        """Note that a function in C is given to somebody, who may call it unseen from C."""
        if isinstance(function, types.BuiltinFunctionType) and function in LOOKS_ANYWHERE:
            self.anything = True
        elif isinstance(function, types.BuiltinFunctionType) and not is_pure(function):
            what = f"it hands on {function.__qualname__}"
            self._effect(what, code, _line(code, instruction))
            self.handed += self.effects[-1:]

    def _effect(self, what: str, code, line) -> None:
        if len(self.effects) < 10:
            self.effects.append((what, f"{code.co_filename}:{line}"))

    def _looked(self, function, frame) -> None:
        """Note what a function that looks anywhere was told to look at."""
        code, owner = frame.f_code, getattr(function, "__self__", None)
        if isinstance(owner, str):  # its format method
            for _, field, _, _ in string.Formatter().parse(owner):
                self.names.update((field or "").replace("[", ".").replace("]", ".").split("."))
            return
        name = _spelled(code, frame.f_lasti) if function in _TOLD_A_NAME else None
        if name is None:
            self.anything = True
        else:
            self.names.add(name)
            self.asked.add(name)

    def _extent(self) -> tuple:
        known = self.codes, self.names, self.asked, self.imported, self.switches
        return *map(len, known), self.anything

    @contextmanager
    def running(self):
        """Note what runs inside the block on this thread; yields a function: is it all known?"""
        before = sys.getprofile()
        known = self._extent()
        # Per open frame: 0 the user's, 1 ours or a library's that ours has called, 2 an import.
        inside = [1]
        codes, ours = self.codes, set()
        # What the collector of garbage calls, it may call anywhere.
        anywhere = {getattr(f, "__code__", None) for f in gc.callbacks}

        def told(frame, event, arg):
            if event == "call":
                code = frame.f_code
                name = code.co_filename
                around = inside[-1]
                if around == 2 or name.startswith("<frozen importlib") or code in anywhere:
                    kind = 2
                else:
                    library = around == 1 and (is_librarys(name) or _is_made_for_us(frame))
                    kind = 1 if library or name.startswith(PACKAGE) else 0
                inside.append(kind)
                if kind == 1 and name not in ours:
                    ours.add(name)
                    module = frame.f_globals.get("__name__", "")
                    if keeps_switches(module):
                        self.switches.add(module)
                if kind == 0 and code not in codes:
                    self.add(code, frame.f_globals)
                if kind == 0 and code is importlib.import_module.__code__:
                    told_name, package = frame.f_locals["name"], frame.f_locals["package"]
                    self.imported.add(importlib.util.resolve_name(told_name, package))
            elif event == "return":
                if len(inside) > 1:
                    inside.pop()
            elif event == "c_call" and not inside[-1]:
                if arg in LOOKS_ANYWHERE or _is_format(arg):
                    self._looked(arg, frame)
                elif arg.__name__ == "__reduce_ex__":  # of ``copy``: takes all that there is
                    self.anything = True
                elif not is_pure(arg) and not _is_bookkeeping(arg, frame):
                    name = getattr(arg, "__qualname__", arg)
                    self._effect(f"it calls {name}", frame.f_code, frame.f_lineno)

        sys.setprofile(told)
        try:
            yield lambda: self._extent() == known
            self.ran = True
        finally:
            if hasattr(before, "enable"):  # cProfile's, which setprofile does not take
                before.enable()
            else:
                sys.setprofile(before)
