"""torch.fx.graph: Graph, a function as a list of Nodes."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torchlike.fx import _codegen, _names
from torchlike.fx._codegen import CodeGen as CodeGen
from torchlike.fx._codegen import PythonCode as PythonCode
from torchlike.fx.node import Argument, Node, Target, _key, map_arg

__all__ = ["CodeGen", "Graph", "PythonCode"]

_PyTreeCodeGen, _PyTreeInfo = _codegen._PyTreeCodeGen, _codegen._PyTreeInfo
_Namespace, _format_target = _codegen.Names, _codegen.format_target
for _kind in (CodeGen, PythonCode, _PyTreeCodeGen, _PyTreeInfo):
    _kind.__module__ = "torchlike.fx.graph"


def _is_magic(x: str) -> bool:
    return x.startswith("__") and x.endswith("__") and len(x) > 4


def _snake_case(s: str) -> str:
    """``fooBar`` as ``foo_bar``."""
    return "".join(
        f"_{c}" if c.isupper() and i and s[i - 1].islower() else c for i, c in enumerate(s)
    ).lower()


class _node_list:
    """The nodes of a graph, in order; it may change while somebody walks through it."""

    def __init__(self, graph: Graph, direction: str = "_next"):
        self.graph, self.direction = graph, direction

    def __len__(self) -> int:
        return self.graph._len

    def __iter__(self) -> Iterator[Node]:
        root, direction = self.graph._root, self.direction
        node = getattr(root, direction)
        while node is not root:
            if not node._erased:
                yield node
            node = getattr(node, direction)

    def __reversed__(self) -> _node_list:
        return _node_list(self.graph, "_prev" if self.direction == "_next" else "_next")


class _InsertPoint:
    """Where new nodes go; as a context, until its end."""

    def __init__(self, graph: Graph, new_insert: Callable):
        self.graph = graph
        self.before, graph._insert = graph._insert, new_insert

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc) -> None:
        self.graph._insert = self.before


class Graph:
    """A function as a list of Nodes, which can be changed and turned into Python
    (https://pytorch.org/docs/stable/fx.html#torch.fx.Graph)."""

    def __init__(self, owning_module=None, tracer_cls=None, tracer_extras=None):
        self._counted = False  # whether the nodes know their places
        self._table: dict = {}  # (op, function) -> its nodes
        self._graph_namespace = _Namespace()
        self._root = Node(self, "", "root", "", (), {})
        self._insert = self._root.prepend
        self._len = 0
        self._owning_module = owning_module
        self._owners = 0
        self._tracer_cls = tracer_cls
        self._tracer_extras = tracer_extras
        self._codegen = CodeGen()

    # ---- its nodes ----

    @property
    def owning_module(self):
        """The GraphModule whose graph it is."""
        return self._owning_module

    @owning_module.setter
    def owning_module(self, module) -> None:
        self._owning_module = module

    @property
    def nodes(self) -> _node_list:
        """The nodes, in the order of execution; ``reversed`` works on them."""
        return _node_list(self)

    def output_node(self) -> Node:
        """The output node; raises ``AssertionError`` if the last node is no output."""
        node = next(iter(reversed(self.nodes)))
        if node.op != "output":
            raise AssertionError(f"Expected output node, got op={node.op}")
        return node

    def find_nodes(self, *, op: str, target: Target | None = None, sort: bool = True) -> list:
        """The nodes of a kind, and for functions of a target; raises ``AssertionError`` if a
        function is to be found and none is given."""
        if op == "call_function":
            if target is None:
                raise AssertionError("target must not be None for call_function op")
            found = list(self._table.get((op, target), ()))
        else:
            found = [n for n in self._table.get((op, None), ()) if target in (None, n.target)]
        return sorted(found) if sort else found

    def _note(self, node: Node) -> None:
        self._table.setdefault((node.op, _key(node)), {})[node] = None

    def _forget(self, node: Node) -> None:
        self._table.get((node.op, _key(node)), {}).pop(node, None)

    def create_node(
        self, op: str, target: Target, args: tuple | None = None, kwargs: dict | None = None,
        name: str | None = None, type_expr: Any | None = None,
    ) -> Node:  # fmt: skip
        """Add a node at the insert point, under ``name`` or one made from its target."""
        args = () if args is None else args
        kwargs = {} if kwargs is None else kwargs
        if not isinstance(args, tuple):
            raise AssertionError(f"args must be a tuple, got {type(args)}")
        if not isinstance(kwargs, dict):
            raise AssertionError(f"kwargs must be a dict, got {type(kwargs)}")
        candidate = name if name is not None else self._target_to_str(target)
        name = self._graph_namespace.create_name(candidate, None)
        node = Node(self, name, op, target, args, kwargs, type_expr)
        for hook in node._hooks("_create_node_hooks"):
            hook(node)
        self._graph_namespace.associate_name_with_obj(name, node)
        self._insert(node)
        self._note(node)
        self._len += 1
        return node

    def erase_node(self, to_erase: Node) -> None:
        """Take a node out; raises ``RuntimeError`` if others use it or it is of another graph."""
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in "
                f"the graph: {to_erase.users}!"
            )
        if to_erase.graph is not self:
            raise RuntimeError(f"Attempting to remove {to_erase} from wrong graph!")
        if to_erase._erased:
            warnings.warn(f"erase_node({to_erase}) on an already erased node", stacklevel=2)
            return
        for hook in to_erase._hooks("_erase_node_hooks"):
            hook(to_erase)
        self._forget(to_erase)
        to_erase._remove_from_list()
        to_erase._erased = True
        self._len -= 1
        to_erase._set_args((), {})

    def _clear_nodes(self) -> None:
        for node in reversed(list(self.nodes)):
            node.users.clear()
            self.erase_node(node)

    def inserting_before(self, n: Node | None = None) -> _InsertPoint:
        """Let new nodes go before a node, at the graph's begin without one; a context."""
        if n is None:
            return self.inserting_after(self._root)
        if n.graph is not self:
            raise AssertionError("Node to insert before is not in graph.")
        return _InsertPoint(self, n.prepend)

    def inserting_after(self, n: Node | None = None) -> _InsertPoint:
        """Let new nodes go behind a node, at the graph's end without one; a context."""
        if n is None:
            return self.inserting_before(self._root)
        if n.graph is not self:
            raise AssertionError("Node to insert after is not in graph.")
        return _InsertPoint(self, n.append)

    # ---- the kinds of nodes ----

    def placeholder(
        self, name: str, type_expr: Any | None = None, default_value: Any = inspect.Signature.empty
    ) -> Node:
        """Add an input."""
        args = () if default_value is inspect.Signature.empty else (default_value,)
        return self.create_node("placeholder", name, args=args, type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any | None = None) -> Node:
        """Add a node that reads an attribute of the module, by its dotted name."""
        if self.owning_module is not None and not self._has_attribute(qualified_name):
            warnings.warn(
                "Attempted to insert a get_attr Node with no underlying reference in the owning "
                "GraphModule! Call GraphModule.add_submodule to add the necessary submodule, "
                "GraphModule.add_parameter to add the necessary Parameter, or "
                "nn.Module.register_buffer to add the necessary buffer",
                stacklevel=2,
            )
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def _has_attribute(self, qualified_name: str) -> bool:
        place = self.owning_module
        for part in qualified_name.split("."):
            if not hasattr(place, part):
                return False
            place = getattr(place, part)
        return True

    def call_module(
        self, module_name: str, args: tuple | None = None, kwargs: dict | None = None,
        type_expr: Any | None = None,
    ) -> Node:  # fmt: skip
        """Add the call of a module of the module."""
        if self.owning_module and self.owning_module.get_submodule(module_name) is None:
            warnings.warn(
                "Attempted to insert a call_module Node with no underlying reference in the owning "
                "GraphModule! Call GraphModule.add_submodule to add the necessary submodule",
                stacklevel=2,
            )
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def call_method(
        self, method_name: str, args: tuple | None = None, kwargs: dict | None = None,
        type_expr: Any | None = None,
    ) -> Node:  # fmt: skip
        """Add the call of a method of the first argument."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_function(
        self, the_function: Callable, args: tuple | None = None, kwargs: dict | None = None,
        type_expr: Any | None = None, name: str | None = None,
    ) -> Node:  # fmt: skip
        """Add the call of a function."""
        return self.create_node("call_function", the_function, args, kwargs, name, type_expr)

    def output(self, result: Argument, type_expr: Any | None = None) -> Node:
        """Add what the function returns."""
        return self.create_node("output", "output", args=(result,), type_expr=type_expr)

    def _target_to_str(self, target: Target | None) -> str:
        if callable(target):
            op = _names.node_name(target)
        else:
            if not isinstance(target, str):
                raise AssertionError(f"Expected str target, got {type(target)}")
            op = target
            if _is_magic(op):
                op = op[2:-2]
        return _snake_case(op)

    # ---- copies ----

    def node_copy(
        self, node: Node, arg_transform: Callable[[Node], Argument] = lambda x: x
    ) -> Node:
        """Add a copy of a node, of another graph maybe; ``arg_transform`` gives its arguments."""
        args, kwargs = map_arg(node.args, arg_transform), map_arg(node.kwargs, arg_transform)
        if not isinstance(args, tuple):
            raise AssertionError(f"Expected args to be tuple, got {type(args)}")
        if not isinstance(kwargs, dict):
            raise AssertionError(f"Expected kwargs to be dict, got {type(kwargs)}")
        made = self.create_node(node.op, node.target, args, dict(kwargs), node.name, node.type)
        made.meta = copy.copy(node.meta)
        return made

    def graph_copy(
        self, g: Graph, val_map: dict[Node, Node], return_output_node: bool = False
    ) -> Argument | None:
        """Add copies of another graph's nodes; returns what that graph's output would be here.

        ``val_map`` holds nodes that stand for some of the other's, and gets the copies.
        """
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                found = map_arg(node.args[0], lambda n: val_map[n])
                return (found, node) if return_output_node else found
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def __deepcopy__(self, memo: dict | None = None) -> Graph:
        memo = {} if memo is None else memo
        made = Graph(tracer_cls=self._tracer_cls)
        memo[id(self)] = made
        found = made.graph_copy(self, val_map=(copies := {}), return_output_node=True)
        made._codegen = copy.deepcopy(self._codegen, memo)
        if found is not None:
            result, old = found
            new = made.output(result, type_expr=getattr(old, "type", None))
            copies[old] = new
            new.meta = copy.copy(old.meta)
        return made

    def __getstate__(self):
        raise TypeError("cannot pickle a Graph: pickle the GraphModule that has it")

    # ---- code ----

    def process_inputs(self, *args) -> Any:
        """The values of the placeholders for a call's arguments."""
        return self._codegen.process_inputs(*args)

    def process_outputs(self, out: Any) -> Any:
        """What a call returns for the value of the output node."""
        return self._codegen.process_outputs(out)

    def set_codegen(self, codegen: CodeGen) -> None:
        """Let another CodeGen write the code."""
        self._codegen = codegen

    def python_code(
        self, root_module: str, *, verbose: bool = False, include_stride: bool = False,
        include_device: bool = False, colored: bool = False, expanded_def: bool = False,
        record_func: bool = False, additional_meta: list[str] | None = None,
    ) -> PythonCode:  # fmt: skip
        """The graph as Python; ``root_module`` is the name of the module in it, say ``self``."""
        names = _Namespace()
        before = {node: node._repr_fn for node in self.nodes}
        for node in self.nodes:
            node.__dict__["_repr_fn"] = lambda n: names.create_name(n.name, n)
        try:
            return self._codegen._gen_python_code(
                self.nodes, root_module, names, verbose=verbose, expanded_def=expanded_def
            )
        finally:
            for node, function in before.items():
                node.__dict__["_repr_fn"] = function

    def __str__(self) -> str:
        names: list[str] = []
        lines = [node.format_node(names) for node in self.nodes]
        head = f"graph({', '.join(names)}):"
        return "".join([head, *(f"\n    {line}" for line in lines if line)])

    def print_tabular(self) -> None:
        """Print the nodes as a table; raises ``ImportError`` without the package tabulate."""
        try:
            from tabulate import tabulate
        except ImportError:
            print(  # noqa: T201
                "`print_tabular` relies on the library `tabulate`, which could not be found on "
                "this machine. Run `pip install tabulate` to install the library."
            )
            raise
        rows = [[n.op, n.name, n.target, n.args, n.kwargs] for n in self.nodes]
        print(  # noqa: T201  (what it is asked for)
            tabulate(rows, headers=["opcode", "name", "target", "args", "kwargs"])
        )

    def on_generate_code(self, make_transformer: Callable):
        """Let a function change the lines of the code before it is compiled; a context undoes it.

        ``make_transformer`` gets the present one, or None, and returns the new.
        """
        codegen, before = self._codegen, self._codegen._body_transformer
        codegen._body_transformer = make_transformer(before)

        @contextmanager
        def undo():
            try:
                yield
            finally:
                codegen._body_transformer = before

        return undo()

    # ---- checks and clean-up ----

    def lint(self) -> None:
        """Raise ``RuntimeError`` unless the graph is whole: nodes of its own, defined before they
        are used, with names and targets that exist."""
        names: set[str] = set()
        values: set[Node] = set()
        for node in self.nodes:
            if node.graph is not self:
                raise RuntimeError(f"Node '{node}' does not belong to this Graph!")
            if node not in self._table.get((node.op, _key(node)), ()):
                raise RuntimeError(f"Node '{node}' is not added to the side table")
            for arg in node._input_nodes:
                if arg.graph is not self:
                    raise RuntimeError(
                        f"Argument '{arg}' of Node '{node}' does not belong to this Graph, but was "
                        "used as an argument! If you are copying nodes from another graph, make "
                        "sure to use ``arg_transform`` on node_copy() to remap values\n"
                        f"{self}"
                    )
                if arg not in values:
                    raise RuntimeError(
                        f"Argument '{arg}' of Node '{node}' was used before it has been defined! "
                        "Please check that Nodes in the graph are topologically ordered\n"
                        f"{self}"
                    )
            values.add(node)
            if node.name in names:
                raise RuntimeError(f"Node redefined name {node.name}!")
            names.add(node.name)
        if self.owning_module is not None:
            for node in self.nodes:
                if node.op in ("get_attr", "call_module"):
                    self._lint_target(node)

    def _lint_target(self, node: Node) -> None:
        from torchlike import nn

        place = self.owning_module
        parts = node.target.split(".")
        for i, part in enumerate(parts):
            found = getattr(place, part, None)
            if not hasattr(place, part):
                raise RuntimeError(
                    f"Node {node} target {node.target} references nonexistent attribute {part} of "
                    f"{'.'.join(parts[:i])}"
                )
            if node.op == "call_module" and not isinstance(found, nn.Module):
                raise RuntimeError(
                    f"Node {node} target {node.target} {part} of {'.'.join(parts[:i])} does not "
                    "reference an nn.Module"
                )
            place = found

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Take out what nobody uses and has no effect; whether anything was."""
        self.lint()
        impure = is_impure_node if is_impure_node is not None else Node.is_impure
        changed = False
        for node in reversed(self.nodes):
            if not impure(node) and not node.users:
                self.erase_node(node)
                changed = True
        return changed
