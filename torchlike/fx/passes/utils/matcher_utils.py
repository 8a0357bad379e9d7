"""torch.fx.passes.utils.matcher_utils: where a graph does what a small one does."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from torchlike._tensor.tensor import Tensor
from torchlike.fx.graph import Graph
from torchlike.fx.node import Node

__all__ = ["InternalMatch", "SubgraphMatcher"]


@dataclass
class InternalMatch:
    """A place where a pattern was found."""

    anchors: list[Node]
    nodes_map: dict[Node, Node] = field(default_factory=dict)
    placeholder_nodes: list[Node] = field(default_factory=list)
    returning_nodes: list[Node] = field(default_factory=list)
    name_node_map: dict[str, Node] = field(default_factory=dict)

    def __copy__(self) -> InternalMatch:
        return InternalMatch(
            self.anchors, self.nodes_map.copy(), self.placeholder_nodes.copy(),
            self.returning_nodes.copy(),
        )  # fmt: skip


class SubgraphMatcher:
    """Finds a pattern in graphs; raises ``ValueError`` for an empty one, ``RuntimeError`` for one
    with nodes that nobody uses."""

    def __init__(
        self, pattern: Graph, match_output: bool = False, match_placeholder: bool = False,
        remove_overlapping_matches: bool = True, ignore_literals: bool = False,
    ):  # fmt: skip
        self.pattern = pattern
        self.match_output = match_output
        self.match_placeholder = match_placeholder
        self.remove_overlapping_matches = remove_overlapping_matches
        self.ignore_literals = ignore_literals
        if not len(pattern.nodes):
            raise ValueError("SubgraphMatcher cannot be initialized with an empty pattern")
        for node in pattern.nodes:
            if node.op not in ("output", "placeholder") and not node.users:
                raise AssertionError(
                    "SubgraphMatcher cannot be initialized with an pattern with dead code"
                )
        self.pattern_placeholder_nodes = [n for n in pattern.nodes if n.op == "placeholder"]
        output = next(iter(reversed(pattern.nodes)))
        self.pattern_returning_nodes = output.all_input_nodes
        if match_output:
            self.pattern_anchors = [output]
        else:
            self.pattern_anchors = [n for n in output.all_input_nodes if len(n.users) == 1]

    def _match_attributes(self, pn: Node, gn: Node) -> bool:
        """Whether two nodes read alike things: both tensors, or of one class."""

        def value(node: Node) -> Any:
            place = node.graph.owning_module
            for part in node.target.split("."):
                place = getattr(place, part)
            return place

        one, other = value(pn), value(gn)
        if type(one) is not type(other):
            return False
        if isinstance(one, Tensor):
            return True
        raise RuntimeError(f"Unsupported type {one} when matching attributes")

    def _nodes_are_equal(self, pn: Node, gn: Node, node_name_match: str = "") -> bool:
        """Whether two nodes do the same, whatever their arguments."""
        if not self.match_placeholder and pn.op == "placeholder":
            return True
        if node_name_match and node_name_match in gn.name:
            return True
        if pn.op != gn.op:
            return False
        if pn.op in ("placeholder", "output"):
            return True
        if pn.op == "get_attr":
            return self._match_attributes(pn, gn)
        return pn.target == gn.target

    def _is_contained(self, nodes_map: dict[Node, Node]) -> bool:
        """Whether nobody else uses what is inside."""
        inside = {gn: pn for pn, gn in nodes_map.items() if isinstance(gn, Node)}
        return all(
            pn.op == "placeholder"
            or pn in self.pattern_returning_nodes
            or all(user in inside for user in gn.users)
            for gn, pn in inside.items()
        )

    def _remove_overlapping_matches(self, matches: list[InternalMatch]) -> list[InternalMatch]:
        kept: list[InternalMatch] = []
        taken: set[Node] = set()
        for match in matches:
            own = {
                gn for pn, gn in match.nodes_map.items() if pn.op not in ("placeholder", "output")
            }
            if not own & taken:
                kept.append(match)
                taken |= own
        return kept

    def _match_literals(self, pn: Any, gn: Any, match: InternalMatch) -> bool:
        """Whether two arguments, one of which at least is no node, are the same."""
        if isinstance(pn, Node) and isinstance(gn, Node):
            raise AssertionError("pn and gn cannot both be Node")
        if isinstance(pn, Node):
            if pn.op != "placeholder":
                return False
            if pn in match.nodes_map:
                return match.nodes_map[pn] == gn
            match.nodes_map[pn] = gn
            return True
        if isinstance(gn, Node):
            return False
        return type(gn) is type(pn) and gn == pn

    def _match_nodes(
        self, pn: Node, gn: Node, match: InternalMatch, node_name_match: str = ""
    ) -> bool:
        """Whether two nodes and all before them do the same; notes which belong together."""
        if pn in match.nodes_map:
            return match.nodes_map[pn] is gn
        if any(gn is n for n in match.nodes_map.values()):
            return False
        if not self._nodes_are_equal(pn, gn, node_name_match):
            return False
        before = dict(match.nodes_map)
        match.nodes_map[pn] = gn
        if pn.op == "placeholder":
            return True
        if (
            len(pn.args) == len(gn.args)
            and set(pn.kwargs) == set(gn.kwargs)
            and self._alike(pn.args, gn.args, match)
            and self._alike(pn.kwargs, gn.kwargs, match)
        ):
            return True
        match.nodes_map.clear()
        match.nodes_map.update(before)
        return False

    def _alike(self, one: Any, other: Any, match: InternalMatch) -> bool:
        """Whether nested arguments are the same."""
        if isinstance(one, Node) and isinstance(other, Node):
            return self._match_nodes(one, other, match)
        if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            return len(one) == len(other) and all(
                self._alike(a, b, match) for a, b in zip(one, other, strict=True)
            )
        if isinstance(one, dict) and isinstance(other, dict):
            return set(one) == set(other) and all(self._alike(one[k], other[k], match) for k in one)
        if isinstance(one, slice) and isinstance(other, slice):
            return all(
                self._alike(getattr(one, k), getattr(other, k), match)
                for k in ("start", "stop", "step")
            )
        return self._match_literals(one, other, match) or self.ignore_literals

    def match(self, graph: Graph, node_name_match: str = "") -> list[InternalMatch]:
        """All places where the pattern is, those that overlap earlier ones left out."""
        candidates = [
            [node for node in graph.nodes if self._nodes_are_equal(anchor, node, node_name_match)]
            for anchor in self.pattern_anchors
        ]
        found: list[InternalMatch] = []

        def search(at: int, match: InternalMatch) -> None:
            if at == len(candidates):
                match.placeholder_nodes = [
                    match.nodes_map[pn] for pn in self.pattern_placeholder_nodes
                ]
                match.returning_nodes = [match.nodes_map[pn] for pn in self.pattern_returning_nodes]
                found.append(match)
                return
            for node in candidates[at]:
                tried = copy.copy(match)
                if self._match_nodes(self.pattern_anchors[at], node, tried, node_name_match):
                    search(at + 1, tried)

        if candidates:
            search(0, InternalMatch(anchors=self.pattern_anchors))
        found = [m for m in found if self._is_contained(m.nodes_map)]
        return self._remove_overlapping_matches(found) if self.remove_overlapping_matches else found
