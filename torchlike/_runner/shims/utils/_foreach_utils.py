"""torch.utils._foreach_utils: lists of tensors sorted for ops that take lists."""

from __future__ import annotations

from torchlike._tensor.foreach import group_tensors as _group_tensors_by_device_and_dtype  # noqa: F401


def _get_foreach_kernels_supported_devices() -> list[str]:
    """The kinds of device where ops on lists are worth their while: every loop fuses here."""
    return ["cuda", "xpu", "mtia"]


def _get_fused_kernels_supported_devices() -> list[str]:
    """The kinds of device with optimizers of one kernel."""
    return ["mps", "cuda", "xpu", "hpu", "cpu", "mtia"]


def _device_has_foreach_support(device) -> bool:
    """Whether ops on lists are worth their while on a device."""
    return device.type in _get_foreach_kernels_supported_devices()


def _has_foreach_support(tensors, device) -> bool:
    """Whether ops on lists are worth their while for these tensors."""
    return _device_has_foreach_support(device)
