"""torch.fx.passes.utils.common: subgraphs as modules, and graphs compared."""

from __future__ import annotations

from torchlike import nn
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.passes.utils.matcher_utils import SubgraphMatcher

__all__ = ["HolderModule", "compare_graphs", "lift_subgraph_as_module"]


class HolderModule(nn.Module):
    """Holds modules by name."""

    def __init__(self, d: dict[str, nn.Module | None]):
        super().__init__()
        for name, module in d.items():
            self.add_module(name, module)


def lift_subgraph_as_module(
    gm: GraphModule, subgraph: Graph, comp_name: str = "", class_name: str = "GraphModule"
) -> tuple[GraphModule, dict[str, str]]:
    """A module of a graph with what it needs of another module, and the names of that in both."""
    holder, names = HolderModule({}), {}
    for node in subgraph.nodes:
        if node.op not in ("call_module", "get_attr"):
            continue
        *path, name = node.target.split(".")
        source, to = gm, holder
        for part in path:
            source = getattr(source, part)
            if not hasattr(to, part):
                to.add_module(part, HolderModule({}))
            to = getattr(to, part)
        names[f"{comp_name}.{node.target}"] = node.target
        setattr(to, name, getattr(source, name))
    return GraphModule(holder, subgraph, class_name), names


def compare_graphs(left: Graph, right: Graph) -> bool:
    """Whether two graphs do the same, whatever their nodes are called."""
    matcher = SubgraphMatcher(left, match_output=True, match_placeholder=True)
    return len(matcher.match(right)) > 0
