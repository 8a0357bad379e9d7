"""Parameter and Buffer: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from torchlike._tensor.dispatch import TENSORS, value_of
from torchlike._tensor.tensor import Tensor


class Parameter(Tensor):
    """A tensor that is a module's parameter (https://pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html)."""

    _is_parameter = True

    def __new__(cls, data=None, requires_grad: bool = True):
        if data is None:
            from torchlike._tensor.creation import zeros

            data = zeros(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter data must be a Tensor, not {type(data).__name__}")
        data = data.detach()
        out = object.__new__(cls)
        # It shares the storage of data, as PyTorch's does, but is a leaf of its own.
        out._value = value_of(data)
        storage = data._storage
        if storage is not None:
            out._storage, out._chain, out._base = storage, data._chain, data._base
            out._seen, out._detached = data._seen, True
        return out.requires_grad_(requires_grad)

    def __init__(self, data=None, requires_grad: bool = True):
        pass

    def __reduce_ex__(self, protocol):
        import numpy as np

        return _rebuild_parameter, (np.array(self._host()), self._requires_grad)


def _rebuild_parameter(array, requires_grad):
    from torchlike._core import devices
    from torchlike._tensor.creation import from_host

    return Parameter(from_host(array, devices.CPU), requires_grad)


class Buffer(Tensor):
    """A tensor that is a module's buffer (https://pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html)."""

    def __new__(cls, data=None, *, persistent: bool = True):
        if data is None:
            from torchlike._tensor.creation import zeros

            data = zeros(0)
        out = object.__new__(cls)
        out._value = value_of(data)
        out._requires_grad = data._requires_grad
        out.persistent = persistent
        return out

    def __init__(self, data=None, *, persistent: bool = True):
        pass


TENSORS.add(Parameter)
