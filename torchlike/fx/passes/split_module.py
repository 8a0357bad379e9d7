"""torch.fx.passes.split_module: a graph as several modules and a graph that calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torchlike import nn
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import Node, map_arg
from torchlike.fx.proxy import Proxy

__all__ = ["Partition", "split_module"]


class Partition:
    """The part of a graph that becomes one module."""

    def __init__(self, name: str):
        self.name = name
        self.submod_name = f"submod_{name}"
        self.node_names: list[str] = []
        self.inputs: dict[str, None] = {}
        self.outputs: dict[str, None] = {}
        self.dependencies: dict[str, None] = {}
        self.dependents: dict[str, None] = {}
        self.graph = Graph()
        self.environment: dict[Node, Node] = {}
        self.targets: dict[str, Any] = {}

    def __repr__(self) -> str:
        return (
            f"name: {self.name},\n nodes: {self.node_names},\n inputs: {self.inputs},\n "
            f"outputs: {self.outputs},\n partitions depended on: {self.dependencies},\n "
            f"partition dependents: {self.dependents}"
        )


def _attribute(module: nn.Module, target: str) -> Any:
    for part in target.split("."):
        if not hasattr(module, part):
            raise AttributeError(f"Node target {target} not found!")
        module = getattr(module, part)
    return module


def _in_order(partitions: dict[str, Partition]) -> list[str]:
    """The partitions, each behind those that it needs."""
    waiting = {name: dict(p.dependencies) for name, p in partitions.items()}
    ready = [name for name, needs in waiting.items() if not needs]
    order: list[str] = []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for other in partitions[name].dependents:
            waiting[other].pop(name, None)
            if not waiting[other]:
                ready.append(other)
    if len(order) != len(partitions):
        raise RuntimeError("cycle exists between partitions!")
    return order


def split_module(
    m: GraphModule, root_m: nn.Module, split_callback: Callable[[Node], int],
    qualname_map: dict[str, str] | None = None, keep_original_order: bool | None = False,
    keep_original_node_name: bool | None = False, keep_original_input_name: bool = True, *,
    partition_affix: str | None = None,
) -> GraphModule:  # fmt: skip
    """A module of modules ``submod_0``, ...: ``split_callback`` says to which a node belongs.

    ``qualname_map`` gets the names that the parts' modules had.  Raises ``RuntimeError`` if parts
    need one another in a circle.
    """
    partitions: dict[str, Partition] = {}
    nodes = {node.name: node for node in m.graph.nodes}
    home: dict[Node, str] = {}
    for node in m.graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        name = str(split_callback(node))
        part = partitions.get(name)
        if part is None:
            part = partitions[name] = Partition(name)
            if partition_affix is not None:
                part.submod_name = f"submod_{partition_affix}_{name}"
        part.node_names.append(node.name)
        home[node] = name
    for node in m.graph.nodes:
        for used in node.all_input_nodes:
            _note_use(partitions, home, used, node)
    dependent = _in_order(partitions)
    order = list(partitions) if keep_original_order else dependent
    for name in dependent:
        part = partitions[name]
        for given in part.inputs:
            node = nodes[given]
            made = part.graph.placeholder(given, type_expr=node.type)
            made.meta = node.meta.copy()
            part.environment[node] = made
    for node in m.graph.nodes:
        if node in home:
            _copy_node(m, node, partitions[home[node]], qualname_map, keep_original_node_name)
    return _assembled(m, partitions, order, nodes, bool(keep_original_order))


def _note_use(partitions: dict, home: dict, used: Node, user: Node) -> None:
    made, needed = home.get(used), home.get(user)
    if made == needed:
        return
    if made is not None:
        partitions[made].outputs.setdefault(used.name)
        if needed is not None:
            partitions[made].dependents.setdefault(needed)
    if needed is not None:
        partitions[needed].inputs.setdefault(used.name)
        if made is not None:
            partitions[needed].dependencies.setdefault(made)


def _copy_node(m, node: Node, part: Partition, names: dict | None, keep_name) -> None:
    target = node.target
    if node.op in ("call_module", "get_attr"):
        target = node.target.replace(".", "_")
        part.targets[target] = _attribute(m, node.target)
        if names is not None:
            names[f"{part.submod_name}.{target}"] = node.target
    made = part.graph.create_node(
        node.op, target, map_arg(node.args, lambda n: part.environment[n]),
        map_arg(node.kwargs, lambda n: part.environment[n]),
        name=node.name if keep_name else None, type_expr=node.type,
    )  # fmt: skip
    made.meta = node.meta.copy()
    part.environment[node] = made


def _assembled(
    m, partitions: dict[str, Partition], order: list[str], nodes: dict, late: bool
) -> GraphModule:
    """The graph that calls the parts; with ``late`` it reads an attribute where it is used."""
    graph, values, attributes = Graph(), {}, {}

    def begin(node: Node) -> None:
        if node.name in values:
            return
        if node.op == "placeholder":
            default = node.args[0] if node.args else inspect.Signature.empty
            values[node.name] = graph.placeholder(node.target, node.type, default)
        elif node.op == "get_attr":
            values[node.name] = graph.get_attr(node.target)
            attributes[node.target] = _attribute(m, node.target)
        else:
            return
        values[node.name].meta = node.meta.copy()

    for node in m.graph.nodes:
        if node.op == "placeholder" or not late:
            begin(node)
    for name in order:
        part = partitions[name]
        for given in part.inputs:
            begin(nodes[given])
        results = tuple(part.environment[nodes[n]] for n in part.outputs)
        part.graph.output(results[0] if len(results) == 1 else results)
        attributes[part.submod_name] = GraphModule(part.targets, part.graph)
        called = graph.call_module(part.submod_name, tuple(values[n] for n in part.inputs))
        if len(results) == 1:
            values[next(iter(part.outputs))] = called
        elif results:
            proxy = Proxy(called)
            for i, output in enumerate(part.outputs):
                values[output] = proxy[i].node
    for node in m.graph.nodes:
        if node.op == "output":
            for used in node.all_input_nodes:
                begin(used)
            graph.output(map_arg(node.args[0], lambda n: values[n.name]))
    return GraphModule(attributes, graph)
