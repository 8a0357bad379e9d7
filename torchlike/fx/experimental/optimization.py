"""torch.fx.experimental.optimization: layers fused and left out for inference."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torchlike import nn
from torchlike._core.errors import NotSupported
from torchlike.fx._symbolic_trace import Tracer, symbolic_trace
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.interpreter import Transformer
from torchlike.fx.node import Node
from torchlike.nn.utils.fusion import fuse_conv_bn_eval

__all__ = [
    "UnionFind", "extract_subgraph", "fuse", "matches_module_pattern", "optimize_for_inference",
    "remove_dropout", "replace_node_module", "reset_modules",
]  # fmt: skip


def _parent_name(target: str) -> tuple[str, str]:
    """``a.b.c`` as ``a.b`` and ``c``."""
    path, _, name = target.rpartition(".")
    return path, name


def matches_module_pattern(
    pattern: Iterable[type], node: Node, modules: dict[str, nn.Module]
) -> bool:
    """Whether a node calls a module of the second class on what one of the first gives."""
    if not node.args:
        return False
    for expected, current in zip(pattern, (node.args[0], node), strict=True):
        if not isinstance(current, Node) or current.op != "call_module":
            return False
        if type(modules.get(current.target)) is not expected:
            return False
    return True


def replace_node_module(node: Node, modules: dict[str, nn.Module], new_module: nn.Module) -> None:
    """Put another module in the place of that which a node calls."""
    if not isinstance(node.target, str):
        raise AssertionError(f"Expected str target, got {type(node.target)}")
    path, name = _parent_name(node.target)
    modules[node.target] = new_module
    setattr(modules[path], name, new_module)


def fuse(model: nn.Module, inplace: bool = False, no_trace: bool = False) -> nn.Module:
    """The model with its batch norms in the convolutions before them, for inference
    (https://pytorch.org/tutorials/intermediate/fx_conv_bn_fuser.html)."""
    patterns = (
        (nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d)
    )  # fmt: skip
    if not inplace:
        model = copy.deepcopy(model)
    if not no_trace or not isinstance(model, GraphModule):
        traced = symbolic_trace(model)
    else:
        traced = model
    modules = dict(traced.named_modules())
    graph = copy.deepcopy(traced.graph)
    for pattern in patterns:
        for node in graph.nodes:
            if not matches_module_pattern(pattern, node, modules):
                continue
            if len(node.args[0].users) > 1:
                continue  # what the convolution gives is used elsewhere, too
            conv, norm = modules[node.args[0].target], modules[node.target]
            if not norm.track_running_stats:
                continue
            replace_node_module(node.args[0], modules, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return GraphModule(traced, graph)


class _DropoutRemover(Transformer):
    def call_module(self, target: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        if isinstance(self.submodules[target], nn.Dropout):
            if len(args) != 1:
                raise AssertionError(f"Expected 1 arg for Dropout, got {len(args)}")
            return args[0]
        return super().call_module(target, args, kwargs)


def remove_dropout(model: nn.Module) -> nn.Module:
    """The model without its Dropout layers."""
    return _DropoutRemover(symbolic_trace(model)).transform()


def extract_subgraph(
    orig_module: nn.Module, nodes: list[Node], inputs: list[Node], outputs: list[Node]
) -> GraphModule:
    """Some of a module's nodes as a module, which takes the values of others."""
    graph, copies = Graph(), {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
    for node in nodes:
        copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output([copies[node] for node in outputs])
    graph.lint()
    return GraphModule(orig_module, graph)


def reset_modules(
    nodes: Iterable[Node], modules: dict[str, nn.Module], old_modules: dict[nn.Module, nn.Module]
) -> None:
    """Put the old modules back where ``old_modules`` knows those that stand in their place."""
    for node in nodes:
        if node.op == "call_module":
            current = modules[node.target]
            if current in old_modules:
                replace_node_module(node, modules, old_modules[current])


class UnionFind:
    """Sets of numbers that are joined."""

    def __init__(self, n: int):
        self.parent: list[int | None] = [None] * n
        self.size = [0] * n

    def make_set(self, v: int) -> None:
        """Begin a set with one number."""
        self.parent[v], self.size[v] = v, 1

    def find(self, v: int) -> int:
        """The number that stands for a set."""
        root = v
        while self.parent[root] != root:
            root = self.parent[root]
            if root is None:
                raise AssertionError(f"{v} is in no set")
        while self.parent[v] != root:
            self.parent[v], v = root, self.parent[v]
        return root

    def join(self, a: int, b: int) -> int:
        """Join two sets; the number that stands for both."""
        a, b = self.find(a), self.find(b)
        if a == b:
            return a
        if self.size[a] < self.size[b]:
            a, b = b, a
        self.parent[b] = a
        self.size[a] += self.size[b]
        return a


def optimize_for_inference(
    model: nn.Module, pass_config: dict[str, Any] | None = None, tracer: type[Tracer] = Tracer
) -> nn.Module:
    """The model with batch norms fused and dropout left out; raises ``NotSupported`` where the
    layouts of MKL-DNN are asked for."""
    config = {"conv_bn_fuse": True, "remove_dropout": True, **(pass_config or {})}
    if config.pop("mkldnn_layout_optimize", False):
        raise NotSupported("the layouts of MKL-DNN", "XLA chooses how values lie")
    if config["conv_bn_fuse"]:
        model = fuse(model)
    if config["remove_dropout"]:
        model = remove_dropout(model)
    made = tracer()
    graph = made.trace(copy.deepcopy(model))
    return GraphModule(made.root, graph)
