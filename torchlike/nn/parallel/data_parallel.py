"""DataParallel: a module whose inputs PyTorch would spread over several GPUs."""

from __future__ import annotations

from torchlike._core import devices
from torchlike._tensor.tensor import Tensor
from torchlike.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


def _first(device_ids):
    """The accelerator that does the work, or None on a machine that has none."""
    for kind in ("cuda", "tpu"):
        if devices.device_count(kind):
            chosen = 0 if not device_ids else device_ids[0]
            return devices.canonical(
                devices.device(kind, chosen) if isinstance(chosen, int) else chosen
            )
    return None


def _moved(x, device):
    """Nested tensors on a device, and all else as it is."""
    if isinstance(x, Tensor):
        return x.to(device)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(_moved(y, device) for y in x))
    if isinstance(x, (list, tuple)):
        return type(x)(_moved(y, device) for y in x)
    if isinstance(x, dict):
        return type(x)((k, _moved(v, device)) for k, v in x.items())
    return x


class DataParallel(Module):
    """Calls a module on one device: without an accelerator as it is, with one on the first of
    ``device_ids``, to which inputs are moved
    (https://pytorch.org/docs/stable/generated/torch.nn.DataParallel.html).

    The wrapped module is ``module``, so that state dicts have PyTorch's keys.
    """

    def __init__(self, module: Module, device_ids=None, output_device=None, dim: int = 0):
        super().__init__()
        self.module = module
        device = _first(device_ids)
        self.device_ids = [] if device is None else [device.index]
        if device is not None:
            self.dim = dim
            self.output_device = device.index if output_device is None else output_device
            module.to(device)

    def forward(self, *inputs, **kwargs):
        """The module's result."""
        if self.device_ids:
            device = _first(self.device_ids)
            inputs, kwargs = _moved(inputs, device), _moved(kwargs, device)
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module, inputs, device_ids=None, output_device=None, dim: int = 0, module_kwargs=None
):
    """``DataParallel`` as a function; ``RuntimeError`` on a machine without an accelerator
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.data_parallel.html)."""
    device = _first(device_ids)
    if device is None:
        raise RuntimeError("device type could not be determined")
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs = _moved(module_kwargs or {}, device)
    return module(*_moved(inputs, device), **kwargs)
