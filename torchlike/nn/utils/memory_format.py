"""Weights of convolutions in another memory format."""

from __future__ import annotations

from torchlike.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _converted(module, memory_format, kinds):
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module, memory_format):
    """Store the weights of all 2-d convolutions in a memory format; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv2d_weight_memory_format.html)."""
    return _converted(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module, memory_format):
    """Store the weights of all 3-d convolutions in a memory format; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv3d_weight_memory_format.html)."""
    return _converted(module, memory_format, (Conv3d, ConvTranspose3d))
