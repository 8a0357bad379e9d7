"""torch.fx.passes.graph_manipulation: targets exchanged, and what nodes weigh."""

from __future__ import annotations

from typing import NamedTuple

from torchlike._tensor.tensor import Tensor
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import Node, Target, map_aggregate
from torchlike.fx.passes.shape_prop import ShapeProp, TensorMetadata

__all__ = [
    "get_size_of_all_nodes", "get_size_of_node", "get_tensor_meta", "replace_target_nodes_with",
    "size_bytes",
]  # fmt: skip


def replace_target_nodes_with(
    fx_module: GraphModule, old_op: str, old_target: Target, new_op: str, new_target: Target
) -> None:
    """Let all nodes with one op and target have others."""
    made, copies = Graph(), {}
    for node in fx_module.graph.nodes:
        if node.op == old_op and node.target == old_target:
            args = map_aggregate(
                node.args, lambda n: copies.get(n, n) if isinstance(n, Node) else n
            )
            kwargs = map_aggregate(
                node.kwargs, lambda n: copies.get(n, n) if isinstance(n, Node) else n
            )
            copies[node] = made.create_node(new_op, new_target, args, kwargs, node.name)
        else:
            copies[node] = made.node_copy(node, lambda n: copies[n])
    fx_module.graph = made


class size_bytes(NamedTuple):
    """The bytes of a node's result, and with those of its parameters."""

    output_size: int
    total_size: int


def get_size_of_all_nodes(fx_module: GraphModule, args: list[Tensor] | None = None) -> None:
    """Note on all nodes what they weigh; with arguments, after finding shapes for them."""
    if args is not None:
        ShapeProp(fx_module).propagate(*args)
    for node in fx_module.graph.nodes:
        if node.op == "output":
            break
        node.size_bytes = get_size_of_node(fx_module, node)


def get_tensor_meta(node: Node) -> TensorMetadata:
    """What ShapeProp noted; raises ``RuntimeError`` if it has not been there."""
    found = node.meta.get("tensor_meta")
    if not found:
        raise RuntimeError(
            f"Node {node} has no tensor metadata associated with it! Check that shape propagation "
            "has run."
        )
    return found


def get_size_of_node(fx_module: GraphModule, node: Node) -> size_bytes:
    """What a node weighs."""
    total = 0
    if node.op == "call_module":
        module = dict(fx_module.named_modules())[node.target]
        total = sum(p.numel() for _, p in module.named_parameters())
    meta = get_tensor_meta(node)
    count = 1
    for size in meta.shape:
        count *= size
    width = meta.dtype.itemsize
    return size_bytes(width * count, width * (total + count))
