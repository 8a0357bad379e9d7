"""torch._C._nn: how arguments of ``to`` are told apart."""

from torchlike.nn.modules.module import _parse_to as _arguments


def _parse_to(*args, device=None, dtype=None, non_blocking=False, copy=False, memory_format=None):
    """(device, dtype, non_blocking, memory format) of the arguments of ``Tensor.to``."""
    device, dtype = _arguments(args, device, dtype)
    return device, dtype, non_blocking, memory_format


def __getattr__(name: str):
    """A native function by the name that it has there."""
    from torchlike.fx._names import torch

    return getattr(torch._C._nn, name)
