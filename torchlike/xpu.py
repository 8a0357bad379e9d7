"""torch.xpu: Intel's GPUs, which JAX does not drive; what PyTorch says on a machine without one."""

from __future__ import annotations

import collections


def _zero(name: str, result, text: str):
    def function(*args, **kwargs):
        return result() if callable(result) else result

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


def _absent(name: str):
    def function(*args, **kwargs):
        raise AssertionError("Torch not compiled with XPU enabled")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises ``AssertionError``: there is no such device."
    return function


_FALSE = ("is_available", "is_bf16_supported", "is_initialized")
_ZERO = (
    "device_count", "max_memory_allocated", "max_memory_reserved", "memory_allocated",
    "memory_reserved",
)  # fmt: skip
_HARMLESS = ("empty_cache", "manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state")
_EMPTY = {"get_rng_state_all": list, "memory_stats": collections.OrderedDict}
_ABSENT = (
    "current_device", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "init", "initial_seed", "mem_get_info", "set_device", "synchronize",
)  # fmt: skip
__all__ = sorted((*_FALSE, *_ZERO, *_HARMLESS, *_EMPTY, *_ABSENT))

globals().update({_name: _zero(_name, False, "False.") for _name in _FALSE})
globals().update({_name: _zero(_name, 0, "0.") for _name in _ZERO})
globals().update(
    {_name: _zero(_name, None, "Harmless, as there is no such device.") for _name in _HARMLESS}
)
globals().update({_name: _zero(_name, _make, "Empty.") for _name, _make in _EMPTY.items()})
globals().update({_name: _absent(_name) for _name in _ABSENT})
