"""torch._C._linalg: the native functions of torch.linalg."""


def __getattr__(name: str):
    """A native function by the name that it has there."""
    from torchlike.fx._names import torch

    return getattr(torch._C._linalg, name)
