"""torch.autograd.function: what user code imports for custom functions."""

from torchlike._core.errors import NotSupported
from torchlike._tensor.function import BackwardCFunction as BackwardCFunction
from torchlike._tensor.function import Function as Function
from torchlike._tensor.function import FunctionCtx as FunctionCtx
from torchlike._tensor.function import once_differentiable as once_differentiable

__all__ = [
    "BackwardCFunction", "Function", "FunctionCtx", "FunctionMeta", "InplaceFunction",
    "NestedIOFunction", "once_differentiable",
]  # fmt: skip


class FunctionMeta(type):
    """What classes of Functions are instances of."""

    def __instancecheck__(cls, other) -> bool:
        return isinstance(other, type) and issubclass(other, Function)


class InplaceFunction(Function):
    """A Function that is told at construction whether it works in place; as PyTorch's, legacy."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """Legacy: a Function of nested structures. Not supported."""

    @classmethod
    def apply(cls, *args, **kwargs):
        """Raise ``NotSupported``."""
        raise NotSupported(
            "autograd.function.NestedIOFunction",
            "subclass torch.autograd.Function and pass the tensors one by one",
        )
