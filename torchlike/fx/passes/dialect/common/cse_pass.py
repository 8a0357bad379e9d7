"""torch.fx.passes.dialect.common.cse_pass: equal calls made once."""

from __future__ import annotations

from typing import Any

from torchlike.fx.graph import Graph
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import Node, _side_effects, map_arg
from torchlike.fx.passes.infra.pass_base import PassBase, PassResult

__all__ = ["CSEPass", "get_CSE_banned_ops"]

_RANDOM = frozenset((
    "alpha_dropout", "bernoulli", "dropout", "dropout1d", "dropout2d", "dropout3d", "empty",
    "empty_like", "feature_alpha_dropout", "gumbel_softmax", "multinomial", "rrelu",
))  # fmt: skip


def get_CSE_banned_ops() -> set:
    """The functions whose calls are never taken together: random ones and those that write."""
    return set(_side_effects())


def _may_be_shared(node: Node, banned: set) -> bool:
    if node.op in ("placeholder", "output", "get_attr", "call_module"):
        return False
    name = getattr(node.target, "__name__", str(node.target)).partition(".")[0]
    return not (node.target in banned or name in _RANDOM or name.endswith("_") or node.is_impure())


def _key(a: Any) -> Any:
    """Nested arguments as what can be looked up."""
    if isinstance(a, (list, tuple)):
        return type(a).__name__, tuple(map(_key, a))
    if isinstance(a, dict):
        return "dict", tuple(sorted((k, _key(v)) for k, v in a.items()))
    if isinstance(a, slice):
        return "slice", _key(a.start), _key(a.stop), _key(a.step)
    return type(a), a


class CSEPass(PassBase):
    """Makes equal calls of functions once; ``banned_ops`` are left alone."""

    def __init__(self, banned_ops: set | None = None):
        super().__init__()
        self.banned_ops = set() if banned_ops is None else banned_ops

    def call(self, graph_module: GraphModule) -> PassResult:
        """A module in which equal calls are one."""
        made, copies, seen, changed = Graph(), {}, {}, False
        banned = self.banned_ops | get_CSE_banned_ops()
        for node in graph_module.graph.nodes:
            if not _may_be_shared(node, banned):
                copies[node] = made.node_copy(node, lambda n: copies[n])
                continue
            args = map_arg(node.args, lambda n: copies[n])
            kwargs = map_arg(node.kwargs, lambda n: copies[n])
            try:
                key = node.op, node.target, _key(args), _key(kwargs)
                before = seen.get(key)
            except TypeError:  # not hashable
                key = before = None
            if before is not None:
                copies[node], changed = before, True
                continue
            copies[node] = made.node_copy(node, lambda n: copies[n])
            if key is not None:
                seen[key] = copies[node]
        return PassResult(GraphModule(graph_module, made), changed)
