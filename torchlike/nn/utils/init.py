"""Modules without initial values."""

from __future__ import annotations

import inspect

from torchlike.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls, *args, **kwargs):
    """A module whose parameters and buffers nobody has initialised
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.skip_init.html).

    The class must take ``device``; ``RuntimeError`` if not.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=device)
