"""The Python that a Graph stands for."""

from __future__ import annotations

import builtins
import enum
import inspect
import keyword
import math
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torchlike._core.devices import device
from torchlike._tensor.tensor import Tensor
from torchlike.fx import _names, _pytree
from torchlike.fx.node import Argument, Node, _nodes_in

magic_methods = {
    "eq": "{} == {}", "ne": "{} != {}", "lt": "{} < {}", "gt": "{} > {}", "le": "{} <= {}",
    "ge": "{} >= {}", "pos": "+{}", "neg": "-{}", "invert": "~{}", "add": "{} + {}",
    "sub": "{} - {}", "mul": "{} * {}", "floordiv": "{} // {}", "truediv": "{} / {}",
    "div": "{} / {}", "mod": "{} % {}", "pow": "{} ** {}", "lshift": "{} << {}",
    "rshift": "{} >> {}", "and_": "{} & {}", "or_": "{} | {}", "xor": "{} ^ {}",
    "getitem": "{}[{}]", "matmul": "{} @ {}",
}  # fmt: skip
inplace_methods = {
    "iadd": "{} += {}", "iand": "{} &= {}", "ifloordiv": "{} //= {}", "ilshift": "{} <<= {}",
    "imod": "{} %= {}", "imul": "{} *= {}", "imatmul": "{} @= {}", "ior": "{} |= {}",
    "ipow": "{} **= {}", "irshift": "{} >>= {}", "isub": "{} -= {}", "itruediv": "{} /= {}",
    "ixor": "{} ^= {}", "setitem": "{}[{}] = {}",
}  # fmt: skip
_TREES = types.ModuleType("torch.utils._pytree", _pytree.__doc__)
vars(_TREES).update((name, f) for name, f in vars(_pytree).items() if name.startswith("tree_"))


class CustomBuiltin(NamedTuple):
    """What generated code finds without importing it, and how a file imports it."""

    import_str: str
    obj: Any


CUSTOM_BUILTINS = {
    "inf": CustomBuiltin("from math import inf", math.inf),
    "nan": CustomBuiltin("from math import nan", math.nan),
    "NoneType": CustomBuiltin("NoneType = type(None)", type(None)),
    "torch": CustomBuiltin("import torch", _names.torch),
    "device": CustomBuiltin("from torch import device", device),
    "fx_pytree": CustomBuiltin("import torch.fx._pytree as fx_pytree", _pytree),
    "pytree": CustomBuiltin("import torch.utils._pytree as pytree", _TREES),
}


# ---- names -------------------------------------------------------------------------------------


class Names:
    """The names that a graph's nodes, or a piece of code, have taken."""

    def __init__(self):
        self._obj_to_name: dict = {}
        self._used_names: set[str] = set()
        self._base_count: dict[str, int] = {}

    def create_name(self, candidate: str, obj: object | None) -> str:
        """A free name like ``candidate``; an object gets the same one again."""
        if obj is not None and obj in self._obj_to_name:
            return self._obj_to_name[obj]
        candidate = re.sub(r"[^0-9a-zA-Z_]+", "_", candidate) or "_unnamed"
        if candidate[0].isdigit():
            candidate = f"_{candidate}"
        base, number = candidate, None
        if found := re.match(r"(.*)_(\d+)$", candidate):
            base, number = found[1], int(found[2])
        number = number or self._base_count.get(base, 0)
        while candidate in self._used_names or self._taken(candidate, obj):
            number += 1
            candidate = f"{base}_{number}"
        self._used_names.add(candidate)
        self._base_count[base] = number
        if obj is not None:
            self._obj_to_name[obj] = candidate
        return candidate

    def associate_name_with_obj(self, name: str, obj: object) -> None:
        """Note whose name it is."""
        self._obj_to_name.setdefault(obj, name)

    def _rename_object(self, obj: object, name: str) -> None:
        self._obj_to_name[obj] = name
        self._used_names.add(name)

    @staticmethod
    def _taken(name: str, obj: object | None) -> bool:
        """Whether a name means something else in every Python program, or in generated code."""
        if keyword.iskeyword(name):
            return True
        if name in vars(builtins):
            return obj is not vars(builtins)[name]
        if name in CUSTOM_BUILTINS:
            return obj is not CUSTOM_BUILTINS[name].obj
        return False


@dataclass
class PythonCode:
    """A graph as source, the names that it needs, and the lines of its nodes."""

    src: str
    globals: dict[str, Any]
    _lineno_map: dict[int, int | None] | None = None
    _prologue_start: int = 0


def format_target(base: str, target: str) -> str:
    """The expression for an attribute by its dotted name."""
    for part in target.split("."):
        base = f"{base}.{part}" if part.isidentifier() else f'getattr({base}, "{part}")'
    return base


# ---- one piece of code -------------------------------------------------------------------------


@dataclass
class _Writer:
    """The code of one graph while it is written."""

    root: str
    names: Names
    verbose: bool = False
    globals: dict[str, Any] = field(default_factory=dict)
    wrapped: dict[str, None] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    returned: str = ""
    last_uses: dict[Node, list[Node]] = field(default_factory=dict)
    trace: Any = ""  # of the last node; "" before the first

    def add_global(self, hint: str, obj: Any) -> str:
        """The name under which the code finds an object."""
        if _names.is_from_torch(obj) and obj is not device:
            return _names.type_text(obj) if isinstance(obj, type) else _names.qualified_name(obj)
        name = hint.replace(".", "_")
        if self.globals.get(name, self) is obj:
            return name
        name = self.names.create_name(name, obj)
        self.globals[name] = obj
        return name

    def type_repr(self, o: Any) -> str:
        """A type annotation."""
        if o == ():
            return "()"
        origin = getattr(o, "__origin__", None)
        if origin is None:
            return self.add_global(_names.type_text(o), o)
        plain = {
            list: typing.List, dict: typing.Dict, set: typing.Set, tuple: typing.Tuple,  # noqa: UP006
            frozenset: typing.FrozenSet,  # noqa: UP006
        }  # fmt: skip
        origin = plain.get(origin, origin) if not isinstance(o, types.GenericAlias) else origin
        name = self.add_global(_names.type_text(origin), origin)
        args = getattr(o, "__args__", ())
        return f"{name}[{','.join(map(self.type_repr, args))}]" if args else name

    def show(self, arg: Any) -> str:
        """An argument as an expression."""
        if isinstance(arg, Node):
            return repr(arg)
        if isinstance(arg, tuple):
            if hasattr(arg, "_fields"):
                name = self.add_global(_names.type_text(type(arg)), type(arg))
                return f"{name}{self._items(arg, one='')}"
            return self._items(arg)
        if isinstance(arg, list):
            return f"[{', '.join(map(self.show, arg))}]"
        if isinstance(arg, dict):
            return "{" + ", ".join(f"{k!r}: {self.show(v)}" for k, v in arg.items()) + "}"
        if isinstance(arg, slice):
            parts = (self.show(x) for x in (arg.start, arg.stop, arg.step))
            return f"slice({', '.join(parts)})"
        if isinstance(arg, enum.Enum):
            kind = type(arg)
            return f"{self.add_global(kind.__name__, kind)}.{arg.name}"
        if isinstance(arg, Tensor):
            dtype = str(arg.dtype).removeprefix("torch.")
            return f"torch.{type(arg).__name__}(size={list(arg.shape)}, dtype={dtype})"
        return repr(arg)

    def _items(self, args, one: str = ",") -> str:
        return f"({', '.join(map(self.show, args))}{one if len(args) == 1 else ''})"

    def arguments(self, args: tuple, kwargs: dict) -> str:
        """The arguments of a call."""
        parts = [self.show(a) for a in args]
        parts += [f"{k} = {self.show(v)}" for k, v in kwargs.items()]
        return ", ".join(parts)

    def find_last_uses(self, nodes: list[Node]) -> None:
        """Which nodes each one is the last to use."""
        seen = set()
        for node in reversed(nodes):
            inputs: dict[Node, None] = {}
            _nodes_in(node.args, inputs)
            _nodes_in(node.kwargs, inputs)
            for n in inputs:
                if n not in seen:
                    seen.add(n)
                    self.last_uses.setdefault(node, []).append(n)

    def end(self, node: Node) -> None:
        """End a node's line: what it was the last to use is let go of."""
        if node.op == "placeholder":
            return
        gone = [] if node.op == "output" else list(self.last_uses.get(node, ()))
        if not node.users and node.op != "output":
            gone.append(node)
        text = " = ".join([*map(repr, gone), "None"])
        self.body.append(f";  {text}\n" if gone else "\n")

    def comment(self, node: Node) -> None:
        """In verbose code: where the user's program made the nodes that follow."""
        if node.op in ("placeholder", "output") or node.stack_trace == self.trace:
            return
        self.trace = node.stack_trace
        line = "No stacktrace found for following nodes"
        if self.trace:
            line = summary(self.trace)
        if line:
            self.body.append(f"\n# {line}\n")

    # ---- the kinds of nodes ----

    def placeholder(self, node: Node, kind: str) -> None:
        default = f" = {self.show(node.args[0])}" if node.args else ""
        self.free.append(f"{node.target}{kind}{default}")
        raw = node.target.replace("*", "")
        if raw != repr(node):
            self.body.append(f"{node!r} = {raw}\n")

    def call_method(self, node: Node, kind: str) -> None:
        place = format_target(self.show(node.args[0]), node.target)
        self.body.append(f"{node!r}{kind} = {place}({self.arguments(node.args[1:], node.kwargs)})")

    def call_function(self, node: Node, kind: str) -> None:
        target, args = node.target, node.args
        if getattr(target, "__module__", None) == "_operator":
            if target.__name__ in magic_methods and not node.kwargs:
                text = magic_methods[target.__name__].format(*map(self.show, args))
                self.body.append(f"{node!r}{kind} = {text}")
                return
            if target.__name__ in inplace_methods:
                text = inplace_methods[target.__name__].format(*map(self.show, args))
                self.body.append(f"{text};  {node!r}{kind} = {self.show(args[0])}")
                return
        full = _names.qualified_name(target)
        name = self.add_global(full, target)
        if (
            name == "getattr" and len(args) == 2
            and isinstance(args[1], str) and args[1].isidentifier()
        ):  # fmt: skip
            self.body.append(f"{node!r}{kind} = {format_target(self.show(args[0]), args[1])}")
            return
        self.body.append(f"{node!r}{kind} = {name}({self.arguments(args, node.kwargs)})")
        if node.meta.get("is_wrapped", False):
            self.wrapped.setdefault(name)

    def call_module(self, node: Node, kind: str) -> None:
        place = format_target(self.root, node.target)
        self.body.append(f"{node!r}{kind} = {place}({self.arguments(node.args, node.kwargs)})")

    def get_attr(self, node: Node, kind: str) -> None:
        self.body.append(f"{node!r}{kind} = {format_target(self.root, node.target)}")


class CodeGen:
    """How a Graph becomes Python; subclasses change the head of the function and what it returns
    (https://pytorch.org/docs/stable/fx.html)."""

    def __init__(self):
        self._body_transformer: Callable | None = None
        self._func_name = "forward"

    def gen_fn_def(
        self, free_vars: list[str], maybe_return_annotation: str, *, expanded_def: bool = False
    ) -> str:
        """The head of the function, and lines that belong before its body."""
        if not free_vars or free_vars[0] != "self":
            free_vars.insert(0, "self")
        if expanded_def:
            lines = "".join(f"    {name},\n" for name in free_vars)
            return f"def {self._func_name}(\n{lines}){maybe_return_annotation}:"
        return f"def {self._func_name}({', '.join(free_vars)}){maybe_return_annotation}:"

    def generate_output(
        self, output_args: Argument, *, descs: Any = None, repr_fn: Callable | None = None
    ) -> str:
        """The return statement."""
        return f"return {(repr_fn or repr)(output_args)}"

    def process_inputs(self, *args) -> Any:
        """The values of the placeholders for a call's arguments."""
        return args

    def process_outputs(self, outputs: Any) -> Any:
        """What a call returns for the value of the output node."""
        return outputs

    def additional_globals(self) -> list[tuple[str, Any]]:
        """Names that the code needs beside those of its nodes."""
        return []

    def _gen_python_code(
        self, nodes: Iterable[Node], root_module: str, namespace: Names, *, verbose: bool = False,
        expanded_def: bool = False, **shown,
    ) -> PythonCode:  # fmt: skip
        nodes = list(nodes)
        writer = _Writer(root_module, namespace, verbose)
        for name, value in self.additional_globals():
            writer.add_global(name, value)
        for name, (_, value) in CUSTOM_BUILTINS.items():
            writer.globals[namespace.create_name(name, value)] = value
        writer.find_last_uses(nodes)
        marks = []
        for i, node in enumerate(nodes):
            if verbose:
                writer.comment(node)
            marks.append(len(writer.body))
            kind = "" if node.type is None else f" : {writer.type_repr(node.type)}"
            if node.op == "output":
                if node.type is not None:
                    writer.returned = f" -> {writer.type_repr(node.type)}"
                writer.body.append(self._output(node, writer))
            else:
                getattr(writer, node.op)(node, kind)
            writer.end(node)
            marks[i] = (marks[i], len(writer.body))
        body = writer.body or ["pass\n"]
        if self._body_transformer is not None:
            body = self._body_transformer(body)
        wraps = "\n".join(f'torch.fx._symbolic_trace.wrap("{name}")' for name in writer.wrapped)
        head = self._call_head(writer, expanded_def)
        text = "".join(body).lstrip("\n")
        text = "\n".join("    " + line for line in text.split("\n"))
        lines = {i + 1: i + 1 for i in range(len(nodes) - len(writer.free))}
        start = wraps.count("\n") + head.count("\n") + 4
        return PythonCode(f"\n{wraps}\n\n{head}\n{text}", writer.globals, lines, start)

    def _output(self, node: Node, writer: _Writer) -> str:
        if "repr_fn" in inspect.signature(self.generate_output).parameters:
            return self.generate_output(node.args[0], repr_fn=writer.show)
        return self.generate_output(node.args[0])  # of a subclass written for older PyTorch

    def _call_head(self, writer: _Writer, expanded_def: bool) -> str:
        if expanded_def:
            return self.gen_fn_def(writer.free, writer.returned, expanded_def=True)
        return self.gen_fn_def(writer.free, writer.returned)


class _PyTreeInfo(NamedTuple):
    """The structure of a function's arguments, and of what it returns."""

    orig_args: list[str]
    in_spec: Any
    out_spec: Any


class _PyTreeCodeGen(CodeGen):
    """For arguments that are trees: the function takes them apart, and builds its result."""

    def __init__(self, pytree_info: _PyTreeInfo):
        super().__init__()
        self.pytree_info = pytree_info

    def process_inputs(self, *inputs) -> Any:
        """The leaves."""
        return _pytree.arg_tree_leaves(*inputs)

    def process_outputs(self, out: Any) -> Any:
        """The tree of the leaves that the graph returns."""
        if not isinstance(out, (list, tuple)):
            out = [out]
        if self.pytree_info.out_spec is None:
            raise AssertionError("pytree_info.out_spec must not be None")
        return _pytree.tree_unflatten(out, self.pytree_info.out_spec)

    def gen_fn_def(
        self, free_vars: list[str], maybe_return_annotation: str, *, expanded_def: bool = False
    ) -> str:
        """The head with the arguments as the user gives them, and the line that flattens them."""
        if self.pytree_info is None:
            return super().gen_fn_def(free_vars, maybe_return_annotation)
        given = list(self.pytree_info.orig_args)
        has_self = given and given[0] == "self"
        if has_self:
            free_vars.insert(0, "self")
        head = super().gen_fn_def(given, maybe_return_annotation)
        names = free_vars[1:] if has_self else free_vars
        if not names:
            return head
        plain = [name.partition(":")[0].partition("=")[0].strip() for name in names]
        taken = [name for name in given if name != "self"]
        if len(taken) == self._count_of_keywords():
            trees = ", ".join(f"'{k}':{k}" for k in taken)
            spread = f"[], {{{trees}}}"
        else:
            count = self._count_of_keywords()
            at = len(taken) - count
            spread = f"[{', '.join(taken[:at])}]"
            if count:
                spread = f"({spread}, {{{', '.join(f'{k!r}:{k}' for k in taken[at:])}}})"
        leaves = ", ".join(plain)
        return f"{head}\n    {leaves}, = fx_pytree.tree_flatten_spec({spread}, self._in_spec)"

    def _count_of_keywords(self) -> int:
        spec = self.pytree_info.in_spec
        two = spec.kind is tuple and len(spec.parts) == 2 and spec.parts[1].kind is dict
        return len(spec.parts[1].context) if two and spec.parts[0].kind is tuple else 0

    def generate_output(
        self, output_args: Argument, *, descs: Any = None, repr_fn: Callable | None = None
    ) -> str:
        """The return statement, which builds the tree."""
        text = (repr_fn or repr)(output_args)
        if self.pytree_info is not None and self.pytree_info.out_spec is not None:
            return f"return pytree.tree_unflatten({text}, self._out_spec)"
        return f"return {text}"


def summary(trace: str) -> str:
    """The last line of a stack trace in short: file, line, function and code."""
    lines = trace.strip().split("\n")
    for i in range(len(lines) - 1, -1, -1):
        found = re.match(r'^File "(.+)", line (\d+), in (.+)$', lines[i].strip())
        if found:
            code = lines[i + 1].strip() if i + 1 < len(lines) else ""
            return f"File: {found[1]}:{found[2]} in {found[3]}, code: {code}"
    return ""
