"""What backward makes of the results of operators that have no derivative registered."""

from __future__ import annotations

import warnings

from torchlike._core import dtypes as dt
from torchlike._tensor.function import Function
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees


def as_it_is(name: str, results, leaves):
    """The results of a kernel on tensors of which one requires grad: what it has done on the tape
    counts, with a warning in backward, and from all else no gradient goes back."""

    def warn(*grads):
        warnings.warn(
            f"{name}: an autograd kernel was not registered to the Autograd key(s) but we are "
            "trying to backprop through it. This may lead to silently incorrect behavior. This "
            "behavior is deprecated and will be removed in a future version of PyTorch. If your "
            "operator is differentiable, please ensure you have registered an autograd kernel to "
            "the correct Autograd key (e.g. DispatchKey::Autograd, "
            "DispatchKey::CompositeImplicitAutograd). If your operator is not differentiable, or "
            "to squash this warning and use the previous behavior, please register "
            "torch::CppFunction::makeFallthrough() to DispatchKey::Autograd.",
            stacklevel=2,
        )

    def told(x):
        if not isinstance(x, Tensor) or x.dtype.category < dt.FLOATING:
            return x
        if not x.requires_grad:
            return _Cut.apply(warn, x, *leaves)
        x.register_hook(warn)
        return x

    return trees.map_tree(told, results)


class _Cut(Function):
    """A result that no gradient goes back from."""

    @staticmethod
    def forward(ctx, warn, x, *leaves):
        ctx.warn = warn
        return x.detach()

    @staticmethod
    def backward(ctx, g):
        ctx.warn()
        return (None,) * len(ctx.needs_input_grad)
