"""torch._C._fft: the native functions of torch.fft."""


def __getattr__(name: str):
    """A native function by the name that it has there."""
    from torchlike.fx._names import torch

    return getattr(torch._C._fft, name)
