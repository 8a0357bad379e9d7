"""What becomes of a name of PyTorch's: it is here, it is here and differs, or it is missing.

For a process in which ``install()`` was called: names are looked up as programs look them up.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
import textwrap
import types
from dataclasses import dataclass
from importlib import resources

from torchlike._core.errors import NotSupported
from torchlike._runner import finder
from torchlike._runner.stand_in import StandIn, StandInModule

SUPPORTED, DIFFERS, MISSING, MODULE = "supported", "differs", "missing", "module"
_ABSENT = object()


@dataclass(frozen=True)
class Verdict:
    """The status of a name, and how it differs or what to use in its place."""

    name: str  # as far as it is a name of PyTorch's: "torch.__version__" of ".__version__.split"
    status: str
    note: str = ""
    fails_early: bool = False  # there is not even a stand-in to import


@functools.cache
def notes() -> dict[str, dict[str, str]]:
    """The sections of ``notes.txt``: {"differs": {name: how}, "instead": {name: what to use}}."""
    out: dict[str, dict[str, str]] = {}
    text = resources.files(__package__).joinpath("notes.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            section = out.setdefault(line.strip("[]"), {})
        elif line.strip() and not line.startswith("#"):
            name, _, note = line.partition(": ")
            section[name] = note.strip()
    return out


def _noted(section: str, name: str) -> str:
    """The note of a name, or of the longest ``prefix.*`` that it has; empty if there is none."""
    table = notes()[section]
    if name in table:
        return table[name]
    while "." in name:
        name = name.rpartition(".")[0]
        if f"{name}.*" in table:
            return table[f"{name}.*"]
    return ""


def judge_call(symbol: str, given: tuple[str, ...]) -> Verdict:
    """The verdict on a name that is called with some keywords and texts among its arguments."""
    verdict = judge(symbol)
    if verdict.status in (SUPPORTED, DIFFERS):
        for argument in given:
            name = f"{verdict.name}({argument})"
            how = notes()["differs"].get(name)
            if how:
                return Verdict(name, DIFFERS, how)
    return verdict


@functools.cache
def judge(symbol: str) -> Verdict:
    """The verdict on a dotted name: what a program finds under it, and what the notes say."""
    root, *rest = symbol.split(".")
    shown, found = root, _module(root)
    if found is None:
        note = _noted("instead", symbol) or f"there is no {root} here"
        return Verdict(symbol, MISSING, note, fails_early=True)
    for part in rest:
        inside = isinstance(found, types.ModuleType)
        if not inside and not isinstance(found, type | StandIn):
            break  # an attribute of a value is no name of PyTorch's
        name = f"{shown}.{part}"
        found = _inside(found, shown, part) if inside else getattr(found, part, _ABSENT)
        if found is _ABSENT:
            if not inside and not _noted("instead", name):
                found = True  # an attribute that instances have, for all that is known
                break
            return _missing(name)
        shown = name
    if isinstance(found, StandIn | StandInModule):
        if isinstance(found, StandInModule):
            return Verdict(shown, MODULE)
        instead = _noted("instead", shown) or found.__dict__.get("_instead", "")
        return Verdict(shown, MISSING, instead)
    if isinstance(found, types.ModuleType):
        return Verdict(shown, MODULE)
    refusal = _refusal(found)
    if refusal is not None:
        return Verdict(shown, MISSING, _noted("instead", shown) or refusal)
    how = _noted("differs", shown) or _noted("differs", _home(found, shown))
    return Verdict(shown, DIFFERS if how else SUPPORTED, how)


def _missing(name: str) -> Verdict:
    instead = _noted("instead", name)
    if not instead:
        private = any(p.startswith("_") for p in name.split(".")[1:])
        instead = "private to PyTorch" if private else "not among the public names of PyTorch 2.13"
    return Verdict(name, MISSING, instead, fails_early=True)


def _module(name: str):
    """A module as a program under the runner gets it; None if its import fails."""
    if name not in sys.modules and finder.Finder().find_spec(name) is None:
        return None  # another one of that name is not ours to import
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _inside(module, shown: str, part: str):
    """An attribute or a module of a module, a stand-in for it, or ``_ABSENT``."""
    try:
        found = getattr(module, part)
    except (AttributeError, ModuleNotFoundError):
        found = _ABSENT
    if found is _ABSENT or isinstance(found, types.ModuleType):
        imported = _module(f"{shown}.{part}")  # which gives it its stand-ins
        return found if imported is None else imported
    return found


def _home(found, shown: str) -> str:
    """The name that an object has where it is defined: ``torch.jit.script`` for an alias of it."""
    module, name = getattr(found, "__module__", ""), getattr(found, "__qualname__", "")
    if not isinstance(module, str) or not module.startswith("torchlike") or not name:
        return shown
    return f"torch{module.removeprefix('torchlike')}.{name}"


# ---- what is there and only raises --------------------------------------------------------------


_MOST_NAMES = 6  # that a function which only raises looks up


def _refusal(found, deep: bool = True) -> str | None:
    """The way out that a function or class names which does nothing but raise ``NotSupported``;
    empty if it names none, None for all others."""
    for function in _entrances(found):
        code = getattr(function, "__code__", None)
        if code is None or len(code.co_names) > _MOST_NAMES:
            continue
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = getattr(tree, "body", [])
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        match body:
            case [ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=args)), *_]:
                if name.lstrip("_") == NotSupported.__name__:
                    return _text(args[1], function) if len(args) > 1 else ""
            case [ast.Expr(ast.Call(func=ast.Name(id=name)))] | [
                ast.Return(ast.Call(func=ast.Name(id=name)))
            ] if deep:
                return _refusal(function.__globals__.get(name), deep=False)
    return None


def _entrances(found):
    if isinstance(found, types.FunctionType):
        return [found]
    if isinstance(found, type):
        return [vars(found).get("__init__"), vars(found).get("__new__")]
    return []


def _text(node, function) -> str:
    """A constant text in the source of a function: written there, or a global of its module."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return str(function.__globals__.get(node.id, ""))
    return ""
