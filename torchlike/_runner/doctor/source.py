"""Reading source files: which names of PyTorch they use, and where. Nothing is run."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from torchlike._runner.doctor import tensors
from torchlike._runner.stand_in import known_names

ROOTS = ("torch", "torchvision", "torchaudio", "functorch")
_MAX_BYTES = 4 << 20  # a source file that is longer was written by a program
_TENSOR = "tensor"  # stands for what is known to be one


@dataclass(frozen=True)
class Use:
    """A name of PyTorch's at a place of a file."""

    symbol: str  # "torch.nn.functional.relu", "torch.Tensor.unsqueeze"
    file: str
    line: int
    cell: int | None = None  # of a notebook, from 1
    certain: bool = True  # False: a method with a tensor's name, of something unknown
    given: tuple[str, ...] = ()  # to a call of it: keywords and texts
    guarded: bool = False  # where the program is ready for an ImportError, or asks before

    @property
    def place(self) -> str:
        """``file:line``, with the cell of a notebook."""
        cell = "" if self.cell is None else f"[{self.cell}]"
        return f"{self.file}{cell}:{self.line}"


@dataclass
class Reading:
    """What was found in a source tree."""

    uses: list[Use] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)  # (place, what is wrong)
    files: int = 0


def read(paths: list[str]) -> Reading:
    """The uses in files and folders; what cannot be read is among the errors.

    Raises ``FileNotFoundError`` for a path that does not exist.
    """
    found = Reading()
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(f"no such file or folder: {path}")
        for file in _files(path):
            found.files += 1
            _read_file(file, found)
    own = {u.symbol.rpartition(".")[2] for u in found.uses if u.symbol.startswith(_DEFINED)}
    found.uses = [
        u for u in found.uses
        if not u.symbol.startswith(_DEFINED)
        and (u.certain or u.symbol.rpartition(".")[2] not in own)
    ]  # fmt: skip
    return found


def _files(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(
            f for f in folders
            if f[0] != "." and f not in ("__pycache__", "node_modules")
            and not os.path.exists(os.path.join(folder, f, "pyvenv.cfg"))
        )  # fmt: skip
        yield from (
            os.path.normpath(os.path.join(folder, n))
            for n in sorted(names)
            if n.endswith((".py", ".ipynb"))
        )


def _read_file(file: str, found: Reading) -> None:
    try:
        if os.path.getsize(file) > _MAX_BYTES:
            found.errors.append((file, f"longer than {_MAX_BYTES >> 20} MiB: not read"))
            return
        data = Path(file).read_bytes()
    except OSError as error:
        found.errors.append((file, f"cannot be read: {error.strerror}"))
        return
    reader = Reader(file, found.uses)
    if file.endswith(".ipynb"):
        try:
            cells = list(_cells(data))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            found.errors.append((file, "is no notebook"))
            return
    else:
        cells = [(None, data)]
    for number, source in cells:
        reader.cell = number
        where = file if number is None else f"{file}[{number}]"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                tree = compile(source, file, "exec", flags, dont_inherit=True)
            reader.read(tree)
        except SyntaxError as error:
            found.errors.append((f"{where}:{error.lineno or 0}", f"syntax error: {error.msg}"))
        except (ValueError, RecursionError, MemoryError) as error:
            found.errors.append((where, f"cannot be parsed: {type(error).__name__}: {error}"))


def _cells(data: bytes) -> Iterator[tuple[int, str]]:
    """(number, Python) of a notebook's cells of code; magics become comments."""
    book = json.loads(data)
    sheets = (
        book["cells"] if "cells" in book else [c for w in book["worksheets"] for c in w["cells"]]
    )
    for number, cell in enumerate(sheets, 1):
        if cell["cell_type"] != "code":
            continue
        text = cell.get("source", cell.get("input", ""))
        lines = (text if isinstance(text, str) else "".join(text)).split("\n")
        if lines[0].startswith("%%") and not lines[0].startswith(("%%time", "%%capture")):
            continue
        yield number, "\n".join(_without_magic(line) for line in lines)


def _without_magic(line: str) -> str:
    start = line.lstrip()
    if start.startswith(("%", "!", "?")) or start.rstrip().endswith("?"):
        return line[: len(line) - len(start)] + "pass"
    return line


_DEFINED = ".defined."  # before the name of a method that the sources define themselves


@functools.cache
def _everything(module: str) -> frozenset[str]:
    """What ``from module import *`` gives: PyTorch's names, and those that are here."""
    names = set(known_names().get(module, ()))
    try:
        here = importlib.import_module("torchlike" + module.removeprefix("torch"))
    except ModuleNotFoundError:
        return frozenset(names)
    return frozenset(names.union(n for n in dir(here) if n[0] != "_"))


def _is_symbol(kind) -> bool:
    return isinstance(kind, str) and kind != _TENSOR


class Reader(ast.NodeVisitor):
    """Follows the names of a file that stand for PyTorch's, or for tensors.

    A name's kind is a dotted symbol ("torch.nn"), ``_TENSOR``, a pair ("object", symbol) for an
    instance of a class of PyTorch's, or None for all else. Statements are followed in their
    order, branches are joined; functions are read last, when all imports have been seen.
    """

    def __init__(self, file: str, uses: list[Use]):
        self.file, self.uses, self.cell = file, uses, None
        self.scopes: list[dict] = [{}]
        self.stars: list[str] = []  # torch modules of which everything was imported
        self.later: list = []  # functions whose bodies are to be read
        self.attributes: dict | None = None  # what is known of self.x in the class around
        self.guarded = False
        self.safe: set[str] = set()  # symbols that were imported where the program was ready
        self.only = tensors.only_tensors()

    def read(self, tree: ast.Module) -> None:
        """Read a module, or one more cell of a notebook."""
        del self.scopes[1:]
        self.statements(tree.body)
        while self.later:
            node, scopes, attributes, cell, guarded = self.later.pop(0)
            outer = self.scopes, self.attributes, self.cell, self.guarded
            self.scopes, self.attributes = [*scopes, {}], attributes
            self.cell, self.guarded = cell, guarded
            self.function_body(node)
            self.scopes, self.attributes, self.cell, self.guarded = outer

    # ---- names -----------------------------------------------------------------------------

    def bind(self, name: str, kind) -> None:
        self.scopes[-1][name] = kind

    def look_up(self, name: str):
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        for module in self.stars:
            if name in _everything(module):
                return f"{module}.{name}"
        return None

    def report(self, symbol: str, node, certain: bool = True) -> None:
        guarded = self.guarded or symbol in self.safe
        use = Use(symbol, self.file, node.lineno, self.cell, certain, guarded=guarded)
        self.uses.append(use)

    # ---- statements ------------------------------------------------------------------------

    def statements(self, body: list) -> None:
        for node in body:
            self.visit(node)

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.partition(".")[0] in ROOTS:
                self.report(alias.name, node)
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.bind(alias.asname or whole, whole)
            else:
                self.bind(alias.asname or alias.name.partition(".")[0], None)

    def visit_ImportFrom(self, node):
        ours = not node.level and (node.module or "").partition(".")[0] in ROOTS
        for alias in node.names:
            if not ours:
                self.bind(alias.asname or alias.name, None)
            elif alias.name == "*":
                self.report(node.module, node)
                self.stars.append(node.module)
            else:
                symbol = f"{node.module}.{alias.name}"
                if self.guarded:
                    self.safe.add(symbol)
                self.report(symbol, node)
                self.bind(alias.asname or alias.name, symbol)

    def visit_FunctionDef(self, node):
        for d in node.decorator_list:
            self.visit(d)
        self.arguments(node.args, outside=True)
        if node.returns is not None:
            self.annotation(node.returns)
        if self.attributes is not None:
            self.report(_DEFINED + node.name, node)
        self.bind(node.name, None)
        scopes = self.scopes[:-1] if self.attributes is not None else self.scopes
        self.later.append((node, list(scopes), self.attributes, self.cell, self.guarded))

    visit_AsyncFunctionDef = visit_FunctionDef

    def function_body(self, node) -> None:
        attributes, self.attributes = self.attributes, None
        self.method_of = attributes
        self.arguments(node.args, outside=False)
        self.first = node.args.args[0].arg if attributes is not None and node.args.args else None
        self.statements(node.body)
        self.method_of = self.first = None

    method_of = first = None

    def arguments(self, args, outside: bool) -> None:
        """Read defaults and annotations (outside) or bind the parameters (inside)."""
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        extra = [a for a in (args.vararg, args.kwarg) if a is not None]
        if outside:
            for default in [*args.defaults, *args.kw_defaults]:
                if default is not None:
                    self.visit(default)
            for a in every + extra:
                if a.annotation is not None:
                    self.annotation(a.annotation)
            return
        for a in every:
            kind = None if a.annotation is None else self.quietly(self.annotation, a.annotation)
            self.bind(a.arg, kind)
        for a in extra:
            self.bind(a.arg, None)

    def quietly(self, function, node):
        """A kind without a report: what was read before."""
        before = len(self.uses)
        kind = function(node)
        del self.uses[before:]
        return kind

    def visit_ClassDef(self, node):
        for part in [*node.decorator_list, *node.bases, *[k.value for k in node.keywords]]:
            self.visit(part)
        self.bind(node.name, None)
        outer, self.attributes = self.attributes, {}
        self.scopes.append({})
        first = [n for n in node.body if getattr(n, "name", "") == "__init__"]
        self.statements(first + [n for n in node.body if n not in first])
        self.scopes.pop()
        self.attributes = outer

    def visit_Assign(self, node):
        kind = self.visit(node.value)
        for target in node.targets:
            self.assign(target, kind, node.value)

    def visit_AnnAssign(self, node):
        declared = self.annotation(node.annotation)
        kind = self.visit(node.value) if node.value is not None else None
        self.assign(node.target, declared or kind, None)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        kind = self.visit(node.target)
        if kind != _TENSOR:
            self.assign(node.target, None, None)

    def visit_NamedExpr(self, node):
        kind = self.visit(node.value)
        self.assign(node.target, kind, node.value)
        return kind

    def assign(self, target, kind, value) -> None:
        if isinstance(target, ast.Name):
            self.bind(target.id, kind)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, None, None)
        elif isinstance(target, ast.Tuple | ast.List):
            parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            same = len(parts) == len(target.elts)
            for i, t in enumerate(target.elts):
                part = parts[i] if same else None
                self.assign(t, self.quietly(self.visit, part) if same else None, part)
        elif isinstance(target, ast.Attribute) and self.is_self(target.value):
            known = self.method_of
            known[target.attr] = kind if known.get(target.attr, kind) == kind else None
        else:
            self.visit(target)

    def is_self(self, node) -> bool:
        return self.method_of is not None and isinstance(node, ast.Name) and node.id == self.first

    def visit_If(self, node):
        careful = self.careful(node.test)
        self.branches([(node.body, careful), (node.orelse, careful)])

    def careful(self, test) -> bool:
        """Read a condition; whether it asks if a name is there."""
        asks = any(
            (n.id if isinstance(n, ast.Name) else n.attr) in ("hasattr", "TYPE_CHECKING")
            for n in ast.walk(test)
            if isinstance(n, ast.Name | ast.Attribute)
        )
        outer, self.guarded = self.guarded, self.guarded or asks
        self.visit(test)
        self.guarded = outer
        return asks

    def branches(self, bodies) -> None:
        """Read alternatives, and know after them what all agree on."""
        before, ends = dict(self.scopes[-1]), []
        outer = self.guarded
        for body, careful in bodies:
            self.scopes[-1].clear()
            self.scopes[-1].update(before)
            self.guarded = outer or careful
            self.statements(body)
            ends.append(dict(self.scopes[-1]))
        self.guarded = outer
        for end in ends:
            for name, kind in end.items():
                now = self.scopes[-1].get(name, kind)
                if now != kind:  # an import wins: the other branch is for who has not got it
                    symbols = [k for k in (now, kind) if _is_symbol(k)]
                    now = symbols[0] if symbols else None
                self.scopes[-1][name] = now

    def visit_Try(self, node):
        careful = any(self.catches(h.type) for h in node.handlers)
        handlers = [(h.body, careful) for h in node.handlers]  # the other way, if that fails
        for h in node.handlers:
            if h.type is not None:
                self.visit(h.type)
            if h.name is not None:
                self.bind(h.name, None)
        self.branches([([*node.body, *node.orelse], careful), *handlers])
        self.statements(node.finalbody)

    visit_TryStar = visit_Try

    @staticmethod
    def catches(kind) -> bool:
        names = {n.id for n in ast.walk(kind) if isinstance(n, ast.Name)} if kind else {"Exception"}
        expected = ("ImportError", "ModuleNotFoundError", "AttributeError", "Exception")
        return bool(names.intersection(expected))

    def visit_For(self, node):
        kind = self.visit(node.iter)
        self.loses(node.body)
        self.assign(node.target, kind if kind == _TENSOR else None, None)
        self.branches([(node.body, False), ([], False)])
        self.statements(node.orelse)

    def loses(self, body) -> None:
        """Forget that a name is a tensor if the loop that begins here may say otherwise."""
        for statement in body:
            for n in ast.walk(statement):
                stored = isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                if stored and self.scopes[-1].get(n.id) == _TENSOR:
                    self.bind(n.id, None)

    visit_AsyncFor = visit_For

    def visit_While(self, node):
        self.visit(node.test)
        self.loses(node.body)
        self.branches([(node.body, False), ([], False)])
        self.statements(node.orelse)

    def visit_With(self, node):
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, None, None)
        self.statements(node.body)

    visit_AsyncWith = visit_With

    # ---- expressions: each visit returns a kind ----------------------------------------------

    def visit_Expr(self, node):
        self.visit(node.value)

    def visit_Name(self, node):
        kind = self.look_up(node.id)
        if _is_symbol(kind):
            self.report(kind, node)
        return kind

    def visit_Attribute(self, node):
        if self.is_self(node.value):
            return self.method_of.get(node.attr)
        before = len(self.uses)
        kind = self.visit(node.value)
        if _is_symbol(kind):
            symbol = f"{kind}.{node.attr}"
            if isinstance(node.value, ast.Name | ast.Attribute):
                del self.uses[before:]  # the longest chain is what is used
            self.report(symbol, node)
            return symbol
        if kind == _TENSOR:
            self.report(f"torch.Tensor.{node.attr}", node)
            return _TENSOR if node.attr in tensors.ATTRIBUTES else ("method", node.attr)
        if kind is None and node.attr in self.only:
            self.report(f"torch.Tensor.{node.attr}", node, certain=False)
        return None

    def visit_Call(self, node):
        self.asked_by_name(node)
        kind = self.visit(node.func)
        if kind is not None and kind != _TENSOR and kind[0] != "object":
            given = [k.arg for k in node.keywords if k.arg]
            texts = [*node.args, *[k.value for k in node.keywords]]
            given += [a.value for a in texts if isinstance(getattr(a, "value", None), str)]
            if given and self.uses:
                self.uses[-1] = replace(self.uses[-1], given=tuple(given))
        for argument in [*node.args, *[k.value for k in node.keywords]]:
            self.visit(argument)
        self.register_buffer(node)
        if _is_symbol(kind):
            if kind in tensors.FUNCTIONS:
                given_out = any(k.arg == "out" for k in node.keywords)
                return None if given_out else _TENSOR
            name = kind.rpartition(".")[2]
            return ("object", kind) if name[:1].isupper() else None
        if isinstance(kind, tuple):
            what, name = kind
            if what == "method":
                return _TENSOR if name in tensors.METHODS else None
            return _TENSOR if name in tensors.LAYERS else None
        return None

    def asked_by_name(self, node) -> None:
        """``getattr(torch, "name")`` is a use; ``hasattr`` is a question."""
        match node:
            case ast.Call(
                func=ast.Name(id="getattr"), args=[module, ast.Constant(value=str(name)), *rest]
            ):
                kind = self.quietly(self.visit, module)
                if _is_symbol(kind) and not rest:
                    self.report(f"{kind}.{name}", node)

    def register_buffer(self, node) -> None:
        match node:
            case ast.Call(
                func=ast.Attribute(value=owner, attr="register_buffer" | "register_parameter"),
                args=[ast.Constant(value=str(name)), value, *_],
            ) if self.is_self(owner):
                self.method_of[name] = self.quietly(self.visit, value)

    def visit_BinOp(self, node):
        kinds = self.visit(node.left), self.visit(node.right)
        return _TENSOR if _TENSOR in kinds else None

    def visit_UnaryOp(self, node):
        kind = self.visit(node.operand)
        return kind if kind == _TENSOR and not isinstance(node.op, ast.Not) else None

    def visit_Compare(self, node):
        kinds = [self.visit(x) for x in (node.left, *node.comparators)]
        plain = all(isinstance(o, ast.Eq | ast.NotEq | ast.Lt | ast.LtE | ast.Gt | ast.GtE)
                    for o in node.ops)  # fmt: skip
        return _TENSOR if plain and len(kinds) == 2 and _TENSOR in kinds else None

    def visit_Subscript(self, node):
        kind = self.visit(node.value)
        self.visit(node.slice)
        return kind if kind == _TENSOR else None

    def visit_IfExp(self, node):
        outer, self.guarded = self.guarded, self.careful(node.test) or self.guarded
        first, second = self.visit(node.body), self.visit(node.orelse)
        self.guarded = outer
        return first if first == second else None

    def visit_Lambda(self, node):
        self.arguments(node.args, outside=True)
        self.scopes.append({})
        self.arguments(node.args, outside=False)
        self.visit(node.body)
        self.scopes.pop()

    def comprehension(self, node):
        self.scopes.append({})
        for part in node.generators:
            kind = self.visit(part.iter)
            self.assign(part.target, kind if kind == _TENSOR else None, None)
            for test in part.ifs:
                self.visit(test)
        for name in ("key", "value", "elt"):
            if hasattr(node, name):
                self.visit(getattr(node, name))
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension

    def annotation(self, node):
        """Read an annotation; ``_TENSOR`` if it says that a name is a tensor (or None)."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                parsed = ast.parse(node.value, mode="eval").body
            except (SyntaxError, ValueError):
                return None
            for n in ast.walk(parsed):
                ast.copy_location(n, node)
            return self.annotation(parsed)
        match node:
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                kinds = [self.annotation(x) for x in (left, right)]
                none = any(isinstance(x, ast.Constant) and x.value is None for x in (left, right))
                return _TENSOR if _TENSOR in kinds and none else None
            case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
                return self.annotation(inner)
            case ast.Subscript(value=ast.Attribute(attr="Optional"), slice=inner):
                return self.annotation(inner)
        kind = self.visit(node)
        return _TENSOR if isinstance(kind, str) and kind in tensors.CLASSES else None
