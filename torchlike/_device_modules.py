"""torch.get_device_module: the namespace of a kind of device."""

from __future__ import annotations

from torchlike import accelerator, cpu, cuda, mps, xpu
from torchlike._core import devices

_MODULES = {"cpu": cpu, "cuda": cuda, "mps": mps, "xpu": xpu, "tpu": accelerator}


def get_device_module(device: devices.device | str | None = None):
    """``torch.cuda`` for "cuda", ``torch.accelerator`` for "tpu"; None means the accelerator that
    there is, or the CPU (https://pytorch.org/docs/stable/generated/torch.get_device_module.html).

    Raises ``RuntimeError`` for a kind of device without a namespace.
    """
    if device is None:
        found = accelerator.current_accelerator()
        kind = "cpu" if found is None else found.type
    elif isinstance(device, (devices.device, str)):
        kind = devices.device(device).type
    else:
        raise RuntimeError(f"Invalid value of device '{device}', expect torch.device, str, or None")
    if kind not in _MODULES:
        raise RuntimeError(
            f"Device '{kind}' does not have a corresponding module registered as 'torch.{kind}'."
        )
    return _MODULES[kind]


get_device_module.__module__ = "torchlike"
