"""torch._dynamo: what torchlike says of it, and the names that libraries look for beside that."""

from __future__ import annotations

from torchlike._dynamo import InvalidBackend as InvalidBackend
from torchlike._dynamo import disable as disable
from torchlike._dynamo import explain as explain
from torchlike._dynamo import graph_break as graph_break
from torchlike._dynamo import is_compiling as is_compiling
from torchlike._dynamo import list_backends as list_backends
from torchlike._dynamo import lookup_backend as lookup_backend
from torchlike._dynamo import mark_dynamic as mark_dynamic
from torchlike._dynamo import mark_static as mark_static
from torchlike._dynamo import mark_static_address as mark_static_address
from torchlike._dynamo import maybe_mark_dynamic as maybe_mark_dynamic
from torchlike._dynamo import register_backend as register_backend
from torchlike._dynamo import reset as reset
from torchlike._runner.shims._dynamo import config as config
from torchlike._runner.shims._dynamo import eval_frame as eval_frame
from torchlike._runner.shims._dynamo import exc as exc
from torchlike.compiler import allow_in_graph as allow_in_graph
from torchlike.compiler import assume_constant_result as assume_constant_result
from torchlike.compiler import compile as _compile
from torchlike.compiler import set_stance as set_stance
from torchlike.compiler import substitute_in_graph as substitute_in_graph

OptimizedModule = eval_frame.OptimizedModule
is_dynamo_supported = eval_frame.is_dynamo_supported


def optimize(backend="inductor", *, nopython: bool = False, dynamic: bool | None = None, **named):
    """A decorator: ``torch.compile`` by its older name."""
    return _compile(backend=backend, fullgraph=nopython, dynamic=dynamic)
