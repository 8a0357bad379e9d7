"""torch.fx: functions and modules as graphs, which can be changed and are Python again
(https://pytorch.org/docs/stable/fx.html)."""

from torchlike._core.later import later as _later
from torchlike.fx._symbolic_trace import PH as PH
from torchlike.fx._symbolic_trace import ProxyableClassMeta as ProxyableClassMeta
from torchlike.fx._symbolic_trace import Tracer as Tracer
from torchlike.fx._symbolic_trace import symbolic_trace as symbolic_trace
from torchlike.fx._symbolic_trace import wrap as wrap
from torchlike.fx.graph import CodeGen as CodeGen
from torchlike.fx.graph import Graph as Graph
from torchlike.fx.graph_module import GraphModule as GraphModule
from torchlike.fx.interpreter import Interpreter as Interpreter
from torchlike.fx.interpreter import Transformer as Transformer
from torchlike.fx.node import Node as Node
from torchlike.fx.node import has_side_effect as has_side_effect
from torchlike.fx.node import map_arg as map_arg
from torchlike.fx.proxy import Proxy as Proxy
from torchlike.fx.proxy import TraceError as TraceError
from torchlike.fx.subgraph_rewriter import replace_pattern as replace_pattern

for _kind in (ProxyableClassMeta, Tracer):
    _kind.__module__ = "torchlike.fx"

__getattr__, __dir__ = _later(
    "torchlike.fx",
    (
        "annotate", "config", "experimental", "operator_schemas", "passes", "proxy",
        "subgraph_rewriter", "tensor_type", "traceback",
    ),
)  # fmt: skip

__all__ = [
    "PH", "CodeGen", "Graph", "GraphModule", "Interpreter", "Node", "Proxy", "ProxyableClassMeta",
    "TraceError", "Tracer", "Transformer", "has_side_effect", "map_arg", "replace_pattern",
    "symbolic_trace", "wrap",
]  # fmt: skip
