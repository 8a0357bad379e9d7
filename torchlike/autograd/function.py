"""torch.autograd.function: what user code imports for custom functions."""

from torchlike._tensor.function import Function as Function
from torchlike._tensor.function import FunctionNode as FunctionCtx
from torchlike._tensor.function import once_differentiable as once_differentiable

__all__ = ["Function", "FunctionCtx", "once_differentiable"]
