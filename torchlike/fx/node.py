"""torch.fx.node: Node, one step of a Graph, and functions on nested arguments."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from torchlike.fx import _names
from torchlike.fx.immutable_collections import immutable_dict, immutable_list

__all__ = ["Node", "has_side_effect", "map_aggregate", "map_arg"]

Argument = Any  # nested tuples, lists, dicts and slices of nodes and constants
Target = Callable | str
_legal_ops = frozenset(
    ("placeholder", "call_method", "call_module", "call_function", "get_attr", "output", "root")
)
_side_effectful_functions: set = {operator.setitem}
_RANDOM = (
    "bernoulli", "multinomial", "normal", "poisson", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm",
)  # fmt: skip
_get_qualified_name = _names.qualified_name
_find_module_of_method = _names.method_module
_type_repr = _names.type_text


def has_side_effect(fn: Callable) -> Callable:
    """Let ``eliminate_dead_code`` keep the calls of a function; returns it."""
    _side_effectful_functions.add(fn)
    return fn


# ---- nested arguments --------------------------------------------------------------------------


def map_arg(a: Argument, fn: Callable[[Node], Argument]) -> Argument:
    """The arguments with each Node replaced by what ``fn`` gives for it; raises ``TypeError`` if
    ``fn`` cannot be called."""
    if not callable(fn):
        raise AssertionError("torch.fx.map_arg(a, fn): fn must be a callable")
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


def map_aggregate(a: Argument, fn: Callable[[Argument], Argument]) -> Argument:
    """The arguments with ``fn`` of every leaf; its lists and dicts are immutable."""
    if isinstance(a, tuple):
        parts = [map_aggregate(x, fn) for x in a]
        return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
    if isinstance(a, list):
        return immutable_list([map_aggregate(x, fn) for x in a])
    if isinstance(a, dict):
        return immutable_dict((k, map_aggregate(v, fn)) for k, v in a.items())
    if isinstance(a, slice):
        return slice(
            map_aggregate(a.start, fn), map_aggregate(a.stop, fn), map_aggregate(a.step, fn)
        )
    return fn(a)


def _nodes_in(a: Argument, found: dict) -> None:
    """Note the nodes of nested arguments, in order."""
    kind = a.__class__
    if kind is Node or isinstance(a, Node):
        found.setdefault(a)
    elif isinstance(a, (tuple, list)):
        for x in a:
            _nodes_in(x, found)
    elif isinstance(a, dict):
        for x in a.values():
            _nodes_in(x, found)
    elif kind is slice:
        for x in (a.start, a.stop, a.step):
            _nodes_in(x, found)


def _format_arg(arg: object, max_list_len: float = math.inf) -> str:
    """An argument as printed graphs show it."""
    own = getattr(arg, "_custom_fx_repr_fn", None)
    if own is not None and not isinstance(arg, Node):
        return own()
    if isinstance(arg, (list, tuple)):
        few = arg[: int(max_list_len)] if len(arg) > max_list_len else arg
        items = ", ".join(_format_arg(x, max_list_len) for x in few)
        more = f", ...[total_len={len(arg)}]" if len(arg) > max_list_len else ""
        if isinstance(arg, list):
            return f"[{items}{more}]"
        return f"({items}{more}{',' if len(arg) == 1 else ''})"
    if isinstance(arg, dict):
        return "{" + ", ".join(f"{k}: {_format_arg(v)}" for k, v in arg.items()) + "}"
    if isinstance(arg, Node):
        return f"%{arg}"
    return str(arg)


# ---- nodes -------------------------------------------------------------------------------------


class Node:
    """A step of a Graph: ``op``, its ``target`` and arguments; Graph makes them
    (https://pytorch.org/docs/stable/fx.html#torch.fx.Node)."""

    _erased = False
    _repr_fn = None

    def __init__(
        self, graph, name: str, op: str, target: Target, args: tuple, kwargs: dict,
        return_type: Any | None = None,
    ):  # fmt: skip
        if op not in _legal_ops:
            raise AssertionError(f"op '{op}' is not in _legal_ops")
        if op == "call_function":
            if not callable(target):
                raise ValueError(
                    f"Node [graph = {graph}, name = '{name}'] target {target} has type "
                    f"{_type_repr(type(target))} but a Callable is expected"
                )
        elif not isinstance(target, str):
            raise ValueError(
                f"Node [graph = {graph}, name = '{name}'] target {target} has type "
                f"{_type_repr(type(target))} but a str is expected"
            )
        self.graph = graph
        self.name = name
        self.op = op
        self.target = target
        self.type = return_type
        self.users: dict[Node, None] = {}
        self.meta: dict[str, Any] = {}
        self._input_nodes: dict[Node, None] = {}
        self._prev = self._next = self
        self._place = 0  # in the graph, as of its last count
        self._args, self._kwargs = (), immutable_dict()
        self._set_args(args, kwargs)

    # ---- arguments ----

    def _set_args(self, args, kwargs) -> None:
        self._args = map_aggregate(args, lambda x: x)
        self._kwargs = map_aggregate(kwargs, lambda x: x)
        found: dict[Node, None] = {}
        _nodes_in(self._args, found)
        _nodes_in(self._kwargs, found)
        for node in self._input_nodes:
            if node not in found:
                node.users.pop(self, None)
        for node in found:
            node.users.setdefault(self)
        self._input_nodes = found

    @property
    def args(self) -> tuple:
        """The positional arguments; assign a new tuple to change them."""
        return self._args

    @args.setter
    def args(self, a: tuple) -> None:
        self._set_args(a, self._kwargs)

    @property
    def kwargs(self) -> dict:
        """The arguments by name; assign a new dict to change them."""
        return self._kwargs

    @kwargs.setter
    def kwargs(self, k: dict) -> None:
        self._set_args(self._args, k)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once."""
        return list(self._input_nodes)

    def update_arg(self, idx: int, arg: Argument) -> None:
        """Replace one positional argument."""
        args = list(self.args)
        args[idx] = arg
        self.args = tuple(args)

    def insert_arg(self, idx: int, arg: Argument) -> None:
        """Put a positional argument before the one at ``idx``."""
        if not 0 <= idx <= len(self.args):
            raise AssertionError("insert_args index must be between 0 and len(self.args)")
        self.args = (*self.args[:idx], arg, *self.args[idx:])

    def update_kwarg(self, key: str, arg: Argument) -> None:
        """Replace, or add, an argument by name."""
        self.kwargs = {**self.kwargs, key: arg}

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Use another node wherever ``old_input`` is among the arguments."""
        for hook in self._hooks("_replace_hooks"):
            hook(old=old_input, new=new_input.name, user=self)

        def exchange(n: Node) -> Node:
            return new_input if n is old_input else n

        self._set_args(map_arg(self.args, exchange), map_arg(self.kwargs, exchange))

    def replace_all_uses_with(
        self, replace_with: Node, delete_user_cb: Callable[[Node], bool] | None = None, *,
        propagate_meta: bool = False,
    ) -> list[Node]:  # fmt: skip
        """Let the nodes that use this one use another; returns them.

        ``delete_user_cb`` says for which of them; raises ``AssertionError`` if the meta data is to
        go along and the other has some.
        """
        if propagate_meta:
            if replace_with.meta:
                raise AssertionError(
                    "Called node.replace_all_uses_with(replace_with, propagate_meta=True), "
                    "but replace_with already has .meta keys"
                )
            replace_with.meta.update(self.meta)
        changed = []
        for user in list(self.users):
            if delete_user_cb is not None and not delete_user_cb(user):
                continue
            changed.append(user)
            user.replace_input_with(self, replace_with)
        return changed

    # ---- place in the graph ----

    @property
    def next(self) -> Node:
        """The node after this one."""
        return self._next

    @property
    def prev(self) -> Node:
        """The node before this one."""
        return self._prev

    def prepend(self, x: Node) -> None:
        """Move a node before this one; raises ``AssertionError`` if it is of another graph."""
        if self.graph is not x.graph:
            raise AssertionError("Attempting to move a Node into a different Graph")
        if self is x:
            return
        x._remove_from_list()
        before = self._prev
        before._next, x._prev = x, before
        x._next, self._prev = self, x
        self.graph._counted = False

    def append(self, x: Node) -> None:
        """Move a node behind this one."""
        self._next.prepend(x)

    def _remove_from_list(self) -> None:
        self._prev._next, self._next._prev = self._next, self._prev

    def _number(self) -> int:
        if not self.graph._counted:
            for i, node in enumerate(self.graph.nodes):
                node._place = i
            self.graph._counted = True
        return self._place

    def __lt__(self, other: Node) -> bool:
        return self._number() < other._number()

    def __gt__(self, other: Node) -> bool:
        return self._number() > other._number()

    def __le__(self, other: Node) -> bool:
        return self is other or self < other

    def __ge__(self, other: Node) -> bool:
        return self is other or self > other

    # ---- names and text ----

    def _hooks(self, name: str) -> Iterator:
        module = getattr(self.graph, "_owning_module", None)
        return iter(getattr(module, name, ()) if module is not None else ())

    def __setattr__(self, name: str, value) -> None:
        if name == "name" and "name" in self.__dict__:
            for hook in self._hooks("_replace_hooks"):
                for user in self.users:
                    hook(old=self, new=value, user=user)
        elif name in ("op", "target") and "_kwargs" in self.__dict__:
            table = self.graph._table
            if self in table.get((self.op, _key(self)), ()):
                self.graph._forget(self)
                object.__setattr__(self, name, value)
                self.graph._note(self)
                return
        object.__setattr__(self, name, value)

    def _rename(self, candidate: str) -> None:
        """Take another name, or one like it that is free."""
        if candidate != self.name:
            self.name = self.graph._graph_namespace.create_name(candidate, None)
            self.graph._graph_namespace._rename_object(self, self.name)

    @property
    def stack_trace(self) -> str | None:
        """Where the user's program made this node, if the tracer recorded it."""
        return self.meta.get("stack_trace")

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    def __repr__(self) -> str:
        return self._repr_fn(self) if self._repr_fn else self.name

    @staticmethod
    def _pretty_print_target(target: object) -> str:
        """A target as printed graphs show it."""
        if isinstance(target, str):
            return target
        module = getattr(target, "__module__", None)
        if module is not None:
            name = getattr(target, "__name__", None)
            if name is None:
                return _get_qualified_name(target)
            if module == "builtins":
                return f"builtins.{name}"
            if module == "_operator":
                return f"operator.{name}"
        return _get_qualified_name(target)

    def format_node(
        self, placeholder_names: list[str] | None = None,
        maybe_return_typename: list[str] | None = None, *, include_tensor_metadata: bool = False,
    ) -> str | None:  # fmt: skip
        """The line that a printed graph has for this node."""
        kind = f"{_type_repr(self.type)} " if self.type else ""
        start = f"%{self.name} : {kind}[num_users={len(self.users)}] = {self.op}"
        meta = f" {_meta_text(self)}" if include_tensor_metadata else ""
        if self.op == "placeholder":
            if placeholder_names is not None and placeholder_names:
                shown = f": {_type_repr(self.type)}" if self.type else ""
                placeholder_names.append(f"{self.target}{shown}")
                return None
            default = f"(default={self.args[0]!s})" if self.args else ""
            return f"{start}[target={self.target}]{default}{meta.rstrip()}"
        if self.op == "get_attr":
            return f"{start}[target={self._pretty_print_target(self.target)}]{meta.rstrip()}"
        if self.op == "output":
            if self.type and maybe_return_typename:
                maybe_return_typename[0] = f" -> {_type_repr(self.type)}"
            return f"return {self.args[0]}"
        return (
            f"{start}[target={self._pretty_print_target(self.target)}]"
            f"(args = {_format_arg(self.args)}, kwargs = {_format_arg(self.kwargs)})"
            f"{meta.rstrip()}"
        )

    # ---- questions ----

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether ``eliminate_dead_code`` keeps this node although nobody uses it."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_function":
            if getattr(self.target, "__module__", None) == "torchlike._aten":
                return self.target.__name__.partition(".")[0].endswith("_")
            return self.target in _side_effects()
        if self.op == "call_module":
            module = self.graph.owning_module
            if module is None:
                raise AssertionError("self.graph.owning_module not set for purity check")
            called = module.get_submodule(self.target)
            if called is None:
                raise AssertionError(f"Did not find expected submodule target {self.target}")
            return getattr(called, "_is_impure", False)
        return False

    def normalized_arguments(
        self, root, arg_types: tuple | None = None, kwarg_types: dict | None = None,
        normalize_to_only_use_kwargs: bool = False,
    ):  # fmt: skip
        """The arguments by the target's signature, or None where it is not known."""
        from torchlike.fx.operator_schemas import normalize_function, normalize_module

        if self.op == "call_function":
            return normalize_function(
                self.target, self.args, self.kwargs, arg_types, kwarg_types,
                normalize_to_only_use_kwargs,
            )  # fmt: skip
        if self.op == "call_module":
            return normalize_module(
                root, self.target, self.args, self.kwargs, normalize_to_only_use_kwargs
            )
        return None


def _key(node: Node):
    return node.target if node.op == "call_function" else None


def _side_effects() -> set:
    """The functions whose calls are kept, with ours of that kind, which stand above."""
    torch = _names.torch
    if torch._assert not in _side_effectful_functions:
        _side_effectful_functions.update(getattr(torch, name) for name in _RANDOM)
        _side_effectful_functions.add(torch._assert)
    return _side_effectful_functions


def _meta_text(node: Node) -> str:
    value = node.meta.get("tensor_meta", node.meta.get("val"))
    return "" if value is None else f"({value})"
