"""torch.autograd.variable: the name that tensors on the tape once had."""

from __future__ import annotations

from torchlike._core.errors import warn
from torchlike._tensor.backward import queue_callback
from torchlike._tensor.tensor import Tensor

__all__ = ["Variable", "VariableMeta"]


class VariableMeta(type):
    """Lets every tensor be an instance of ``Variable``."""

    def __instancecheck__(cls, other) -> bool:
        return isinstance(other, Tensor)


class _Engine:
    """What programs ask of PyTorch's engine."""

    queue_callback = staticmethod(queue_callback)


class Variable(metaclass=VariableMeta):
    """Makes of a tensor one that shares its data and is a leaf of the tape."""

    _execution_engine = _Engine()

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        if data is None:
            from torchlike._tensor.forms import FUNCTIONS

            data = FUNCTIONS["empty"](0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if volatile:
            warn("volatile was removed and now has no effect. Use `with torch.no_grad():` instead.")
            if requires_grad:
                raise ValueError("Variable can't be volatile and require_grad at the same time!")
        return data.detach().requires_grad_(requires_grad)
