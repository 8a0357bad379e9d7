"""torch.fx.subgraph_rewriter: parts of a graph exchanged for others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torchlike import nn
from torchlike.fx._symbolic_trace import symbolic_trace
from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import Node
from torchlike.fx.passes.utils.matcher_utils import InternalMatch, SubgraphMatcher

__all__ = ["Match", "ReplacedPatterns", "replace_pattern", "replace_pattern_with_filters"]


class Match(NamedTuple):
    """A place where a pattern was found: its last node, and each of the pattern's nodes there."""

    anchor: Node
    nodes_map: dict[Node, Node]


@dataclass
class ReplacedPatterns:
    """A Match, and the nodes that stand there now."""

    anchor: Node
    nodes_map: dict[Node, Node]
    replacements: list[Node]


def _graph_of(what: Callable | Graph | GraphModule) -> Graph:
    if isinstance(what, GraphModule):
        return what.graph
    return what if isinstance(what, Graph) else symbolic_trace(what).graph


def _find(module: nn.Module, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part, None)
        if module is None:
            return None
    return module


def _replace_attributes(gm: GraphModule, replacement: nn.Module) -> None:
    """Give a module what the nodes of a replacement call and read."""
    gm.delete_all_unused_submodules()
    if isinstance(replacement, GraphModule):
        replacement.graph.lint()
    for node in gm.graph.nodes:
        if node.op not in ("call_module", "get_attr") or _find(gm, node.target) is not None:
            continue
        found = _find(replacement, node.target)
        if found is None:
            raise RuntimeError(
                'Attempted to create a "', node.op, '" node during subgraph rewriting with target '
                f"{node.target}, but the referenced attribute does not exist in the replacement "
                "GraphModule",
            )  # fmt: skip
        made = copy.deepcopy(found)
        if isinstance(made, nn.Module):
            gm.add_submodule(node.target, made)
        else:
            setattr(gm, node.target, made)


def replace_pattern(
    gm: GraphModule, pattern: Callable | GraphModule, replacement: Callable | GraphModule
) -> list[Match]:
    """Exchange all that does what ``pattern`` does for what ``replacement`` does, in place
    (https://pytorch.org/docs/stable/fx.html#torch.fx.replace_pattern)."""
    found = _replace_pattern(gm, pattern, replacement)
    return [Match(anchor=m.anchor, nodes_map=m.nodes_map) for m in found]


def replace_pattern_with_filters(
    gm: GraphModule, pattern: Callable | Graph | GraphModule,
    replacement: Callable | Graph | GraphModule | None = None,
    match_filters: list[Callable[[InternalMatch, Graph, Graph], bool]] | None = None,
    ignore_literals: bool = False,
    replacement_callback: Callable[[InternalMatch, Graph, Graph], Graph] | None = None,
    node_name_match: str = "",
) -> list[ReplacedPatterns]:  # fmt: skip
    """``replace_pattern`` where all filters hold; a callback may make the replacement.

    Raises ``AssertionError`` without a replacement and a callback.
    """
    return _replace_pattern(
        gm, pattern, replacement, match_filters, ignore_literals, replacement_callback,
        node_name_match,
    )  # fmt: skip


def _replace_pattern(
    gm, pattern, replacement=None, match_filters=None, ignore_literals=False,
    replacement_callback=None, node_name_match="",
) -> list[ReplacedPatterns]:  # fmt: skip
    graph, pattern_graph = gm.graph, _graph_of(pattern)
    matcher = SubgraphMatcher(pattern_graph, ignore_literals=ignore_literals)
    matches = [
        m
        for m in matcher.match(graph, node_name_match)
        if all(keep(m, graph, pattern_graph) for keep in match_filters or ())
    ]
    common = _graph_of(replacement) if replacement is not None else None
    if common is None and replacement_callback is None:
        raise AssertionError(
            "Must provide either a replacement GraphModule or a replacement callback"
        )
    done, changed = [], {}
    for match in matches:
        other = common
        if replacement_callback is not None:
            other = replacement_callback(match, graph, pattern_graph)
        done.append(_replace_one(graph, pattern_graph, match, other, changed))
    gm.recompile()
    if isinstance(replacement, nn.Module):
        _replace_attributes(gm, replacement)
    return done


def _replace_one(
    graph: Graph, pattern: Graph, match: InternalMatch, other: Graph, changed: dict
) -> ReplacedPatterns:
    inputs = [n for n in other.nodes if n.op == "placeholder"]
    if len(match.placeholder_nodes) != len(inputs):
        raise AssertionError(
            f"Expected {len(match.placeholder_nodes)} placeholders, got {len(inputs)}"
        )
    given = [changed.get(n, n) if isinstance(n, Node) else n for n in match.placeholder_nodes]
    for pn, gn in match.nodes_map.items():  # what stood there may have been exchanged before
        if pn.op == "placeholder" and isinstance(gn, Node):
            match.nodes_map[pn] = changed.get(gn, gn)
    copies: dict = dict(zip(inputs, given, strict=True))
    place = _first_user(graph, match)
    if place is None:
        raise AssertionError("The insert point can't be None")
    with graph.inserting_before(place):
        results = graph.graph_copy(other, copies)
    if isinstance(results, Node):
        results = (results,)
    placed = set(map(id, given))
    made = [n for n in copies.values() if id(n) not in placed]
    if len(match.returning_nodes) != len(results or ()):
        raise AssertionError(
            f"Expected {len(match.returning_nodes)} returning nodes, got {len(results or ())}"
        )
    for old, new in zip(match.returning_nodes, results, strict=True):
        old.replace_all_uses_with(new)
        changed[old] = new
    for node in reversed(pattern.nodes):
        if node.op not in ("placeholder", "output"):
            graph.erase_node(match.nodes_map[node])
    return ReplacedPatterns(match.anchors[0], match.nodes_map, made)


def _first_user(graph: Graph, match: InternalMatch) -> Node | None:
    """The first node that uses a result of what was found, or else the one behind it."""
    users = {user for node in match.returning_nodes for user in node.users}
    after = None
    for node in graph.nodes:
        if node in users:
            return node
    for node in reversed(graph.nodes):
        if node in match.returning_nodes:
            return after
        after = node
    return after
