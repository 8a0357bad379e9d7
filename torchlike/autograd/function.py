"""torch.autograd.function: what user code imports for custom functions."""

import functools

from torchlike._core.errors import NotSupported
from torchlike._tensor.function import BackwardCFunction as BackwardCFunction
from torchlike._tensor.function import Function as Function
from torchlike._tensor.function import FunctionCtx as FunctionCtx
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.tensor import Tensor

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


def once_differentiable(backward):
    """Decorator for ``backward``: differentiating it again raises
    (https://pytorch.org/docs/stable/generated/torch.autograd.function.once_differentiable.html)."""

    @functools.wraps(backward)
    def wrapped(ctx, *grads):
        with no_grad():
            out = backward(ctx, *grads)
        if not modes.grad or not any(g is not None and g.requires_grad for g in grads):
            return out
        outs = out if isinstance(out, tuple) else (out,)
        results = [
            _NoSecond.apply(o.detach(), *[g for g in grads if g is not None])
            if isinstance(o, Tensor) else o
            for o in outs
        ]  # fmt: skip
        return tuple(results) if isinstance(out, tuple) else results[0]

    return wrapped


class _NoSecond(Function):
    """Stands between a once-differentiable result and a second derivative."""

    @staticmethod
    def forward(ctx, out, *grads):
        return out.clone()

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
