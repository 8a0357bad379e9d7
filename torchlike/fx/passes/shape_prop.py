"""torch.fx.passes.shape_prop: shapes and dtypes of a graph's values, by running it."""

from __future__ import annotations

from typing import Any, NamedTuple

from torchlike._core.dtypes import dtype as Dtype
from torchlike._core.errors import NotSupported
from torchlike._core.sizes import Size
from torchlike._tensor import layouts
from torchlike._tensor.tensor import Tensor
from torchlike.fx.interpreter import Interpreter
from torchlike.fx.node import Node, map_aggregate

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What a node's ``meta["tensor_meta"]`` says of a tensor."""

    shape: Size
    dtype: Dtype
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: Any
    is_quantized: bool
    qparams: dict[str, Any]


def _extract_tensor_metadata(result: Tensor, include_contiguity: bool = True) -> TensorMetadata:
    """What there is to say of a tensor."""
    form = layouts.contiguous_format if include_contiguity and result.is_contiguous() else None
    return TensorMetadata(
        result.shape, result.dtype, result.requires_grad, result.stride(), form, False, {}
    )


class ShapeProp(Interpreter):
    """Runs a graph and notes in ``node.meta`` what its values are
    (https://pytorch.org/docs/stable/fx.html#interpreter)."""

    def __init__(self, gm, fake_mode: Any = None):
        super().__init__(gm)
        if fake_mode is not None:
            raise NotSupported("FakeTensorMode", "give tensors on the device 'meta'")

    def run_node(self, n: Node) -> Any:
        """The node's value, once it is noted; raises ``RuntimeError`` where it cannot be found."""
        try:
            result = super().run_node(n)
        except Exception as error:
            raise RuntimeError(
                f"ShapeProp error for: node={n.format_node()} with meta={n.meta}"
            ) from error
        found = False

        def describe(x):
            nonlocal found
            if isinstance(x, Tensor):
                found = True
                return _extract_tensor_metadata(x)
            return x

        meta = map_aggregate(result, describe)
        if found:
            n.meta["tensor_meta"] = meta
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args) -> Any:
        """Run the graph for these arguments; returns what it returns."""
        return super().run(*args)
