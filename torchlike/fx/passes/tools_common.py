"""torch.fx.passes.tools_common: small questions about nodes, and nodes put in order."""

from __future__ import annotations

from collections.abc import Mapping

from torchlike import nn
from torchlike._tensor.tensor import Tensor
from torchlike.fx import _names
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import Node

__all__ = [
    "get_acc_ops_name", "get_node_target", "is_node_output_tensor", "legalize_graph",
    "stable_topological_sort",
]  # fmt: skip


def get_acc_ops_name(k) -> str:
    """A function's name with its module's."""
    if isinstance(k, str):
        return k
    if k.__module__ and "acc_ops" in k.__module__:
        return f"acc_ops.{k.__name__}"
    module = _names.public(k.__module__).replace("torch._ops", "torch.ops")
    return f"{module}.{k.__name__}"


def get_node_target(submodules: Mapping[str, nn.Module], node: Node) -> str:
    """What a node calls, as text; raises ``AssertionError`` for one that calls nothing."""
    if node.op not in ("call_function", "call_method", "call_module", "get_attr"):
        raise AssertionError(
            "Expect op types of call_function, call_method, call_module, get_attr, but found "
            f"{node.op}"
        )
    if node.op == "call_module":
        module = submodules[node.target]
        return _names.type_text(getattr(module, "_base_class_origin", type(module)))
    if node.op == "call_function":
        return get_acc_ops_name(node.target)
    return node.target


def is_node_output_tensor(node: Node) -> bool:
    """Whether ``meta["type"]``, as ShapeProp notes it, is a tensor's."""
    kind = node.meta.get("type")
    return kind is not None and issubclass(kind, Tensor)


def legalize_graph(gm: GraphModule) -> GraphModule:
    """Put the nodes in an order in which each stands behind those that it uses.

    Raises ``RuntimeError`` if there is none.
    """
    left = {node: len(node.all_input_nodes) for node in gm.graph.nodes}
    ready = [node for node, count in left.items() if not count]
    return _rebuilt(gm, left, ready, stable=False)


def stable_topological_sort(gm: GraphModule) -> GraphModule:
    """``legalize_graph`` that moves no node without need."""
    left = {node: len(node.all_input_nodes) for node in gm.graph.nodes}
    ready = [node for node, count in left.items() if not count]
    return _rebuilt(gm, left, ready, stable=True)


def _rebuilt(gm: GraphModule, left: dict, ready: list, stable: bool) -> GraphModule:
    place = {node: i for i, node in enumerate(left)}
    made, copies = Graph(), {}
    while ready:
        node = min(ready, key=place.get) if stable else ready[0]
        ready.remove(node)
        copies[node] = made.node_copy(node, lambda n: copies[n])
        for user in node.users:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    if len(made.nodes) < len(gm.graph.nodes):
        raise RuntimeError(
            f"Input graph has cycles, unable to add {[n for n, c in left.items() if c]}"
        )
    made._codegen = gm.graph._codegen
    gm.graph = made
    return gm
