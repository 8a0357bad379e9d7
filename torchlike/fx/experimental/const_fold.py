"""torch.fx.experimental.const_fold: what depends on no input, computed once."""

from __future__ import annotations

import re
from collections.abc import Callable

from torchlike import nn
from torchlike._tensor.creation import zeros
from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.fx._symbolic_trace import symbolic_trace
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import Node, map_arg
from torchlike.fx.passes.split_module import split_module
from torchlike.nn.parameter import Parameter

__all__ = ["FoldedGraphModule", "get_unique_attr_name_in_module", "split_const_subgraphs"]


class FoldedGraphModule(GraphModule):
    """A module whose constant part is computed at its first call, or by ``run_folding``."""

    def __init__(
        self, root: nn.Module, graph: Graph, const_subgraph: Graph | None = None,
        fx_const_folded_attrs_name: str | None = None, device_for_folded_attrs: str = "cuda",
    ):  # fmt: skip
        super().__init__(root, graph)
        self.const_subgraph_module = (
            None if const_subgraph is None else GraphModule(root, const_subgraph)
        )
        self.has_folding_been_run = False
        self.fx_const_folded_attrs_name = fx_const_folded_attrs_name
        self.device_for_folded_attrs = device_for_folded_attrs

    def __call__(self, *args, **kwargs):
        if not self.has_folding_been_run:
            self.run_folding()
        return super().__call__(*args)

    def run_folding(self) -> None:
        """Compute the constant part; raises ``AssertionError`` if that is done."""
        if self.const_subgraph_module is None or self.fx_const_folded_attrs_name is None:
            return
        if self.has_folding_been_run:
            raise AssertionError("Folding has already been run")
        self.has_folding_been_run = True
        found = self.const_subgraph_module()

        def stored(x):
            if not isinstance(x, Tensor):
                return x
            return Parameter(x.detach(), requires_grad=x.requires_grad)

        with no_grad():
            value = (
                nn.ParameterList([stored(x) for x in found])
                if isinstance(found, tuple)
                else stored(found)
            )
        setattr(self, self.fx_const_folded_attrs_name, value)


def get_unique_attr_name_in_module(mod_traced: GraphModule, name: str) -> str:
    """A name like ``name`` that the module has not."""
    name = re.sub("[^0-9a-zA-Z_]+", "_", name)
    if name[0].isdigit():
        name = f"_{name}"
    while hasattr(mod_traced, name):
        found = re.match(r"(.*)_(\d+)$", name)
        name = f"{found[1]}_{int(found[2]) + 1}" if found else f"{name}_1"
    return name


def _inline(gm: GraphModule, name: str) -> None:
    """Put the nodes of a called module in the place of its call."""
    inner = dict(gm.named_modules())[name]
    call = next(n for n in gm.graph.nodes if n.op == "call_module" and n.target == name)
    given, copies, result = iter(call.args), {}, ()

    def value(node: Node):
        return copies[node]

    for node in inner.graph.nodes:
        if node.op == "placeholder":
            copies[node] = next(given)
        elif node.op == "output":
            result = map_arg(node.args[0], value)
        else:
            with gm.graph.inserting_before(call):
                made = gm.graph.node_copy(node, value)
            copies[node] = made
    if isinstance(result, tuple):
        for user in list(call.users):  # the entries that are read of it
            user.replace_all_uses_with(result[user.args[1]])
            gm.graph.erase_node(user)
    else:
        call.replace_all_uses_with(result)
    gm.graph.erase_node(call)
    gm.graph.eliminate_dead_code()


def split_const_subgraphs(
    module: nn.Module | GraphModule, skip_folding_node_fn: Callable[[Node], bool] | None = None,
    device_for_folded_attrs: str = "cpu",
) -> FoldedGraphModule:  # fmt: skip
    """A module that computes what depends on no input once, and all else at each call."""
    traced = module if isinstance(module, GraphModule) else symbolic_trace(module)
    constant: set[Node] = set()
    folds = False
    for node in traced.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        if node.op != "get_attr" and not set(node.all_input_nodes) <= constant:
            continue
        if skip_folding_node_fn is not None and skip_folding_node_fn(node):
            continue
        if node.is_impure():
            continue
        constant.add(node)
        folds = folds or node.op != "get_attr"
    if not folds:
        return FoldedGraphModule(traced, traced.graph)
    split = split_module(traced, module, lambda node: 0 if node in constant else 1)
    inner = split.submod_0
    outer = split.submod_1 if hasattr(split, "submod_1") else None
    _lift_attributes(split, (inner, outer))
    call = next(n for n in split.graph.nodes if n.op == "call_module" and n.target == "submod_0")
    given = [n.target for n in call.args]
    for placeholder, target in zip(
        [n for n in inner.graph.nodes if n.op == "placeholder"], given, strict=True
    ):
        with inner.graph.inserting_before(placeholder):
            read = inner.graph.create_node("get_attr", target)
        placeholder.replace_all_uses_with(read)
        inner.graph.erase_node(placeholder)
    name = get_unique_attr_name_in_module(split, "_FX_CONST_FOLDED_ATTRS")
    several = isinstance(inner.graph.output_node().args[0], tuple)
    setattr(split, name, nn.ParameterList() if several else Parameter(zeros(1)))
    with split.graph.inserting_before(call):
        read = split.graph.create_node("get_attr", name)
    call.replace_all_uses_with(read)
    split.graph.erase_node(call)
    if outer is not None:
        _inline(split, "submod_1")
    else:
        split.graph.eliminate_dead_code()
    return FoldedGraphModule(split, split.graph, inner.graph, name, device_for_folded_attrs)


def _lift_attributes(split: GraphModule, parts: tuple) -> None:
    """Let the module have what its parts call and read, as their nodes will be its own."""
    for part in parts:
        if part is None:
            continue
        for node in part.graph.nodes:
            if node.op in ("call_module", "get_attr") and not hasattr(split, node.target):
                setattr(split, node.target, getattr(part, node.target))
