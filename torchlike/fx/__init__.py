"""torch.fx: functions and modules as graphs, which can be changed and are Python again
(https://pytorch.org/docs/stable/fx.html)."""

from torchlike._core.later import later as _later
from torchlike.fx._wrapped import wrap as wrap

_LATER = {
    "PH": "_symbolic_trace", "ProxyableClassMeta": "_symbolic_trace", "Tracer": "_symbolic_trace",
    "symbolic_trace": "_symbolic_trace", "CodeGen": "graph", "Graph": "graph",
    "GraphModule": "graph_module", "Interpreter": "interpreter", "Transformer": "interpreter",
    "Node": "node", "has_side_effect": "node", "map_arg": "node", "Proxy": "proxy",
    "TraceError": "proxy", "replace_pattern": "subgraph_rewriter",
}  # fmt: skip
__getattr__, __dir__ = _later(
    "torchlike.fx",
    (
        "_compatibility", "_symbolic_trace", "annotate", "config", "experimental", "graph",
        "graph_module", "immutable_collections", "interpreter", "node", "operator_schemas",
        "passes", "proxy", "subgraph_rewriter", "tensor_type", "traceback",
    ),
    _LATER,
)  # fmt: skip

__all__ = ["wrap", *_LATER]
