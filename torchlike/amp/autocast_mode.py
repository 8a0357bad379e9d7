"""autocast: the context that lets ops choose their precision, and what Functions need of it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import type_name
from torchlike._tensor import autocast as _casts
from torchlike._tensor.tensor import Tensor

__all__ = ["autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "is_autocast_available"]


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast has lists of ops for a kind of device: cpu, cuda and tpu."""
    return devices.device(device_type).type in _casts.POLICIES


def autocast_decorator(autocast_instance, func):
    """The function, each call of which runs within ``autocast_instance``."""

    @functools.wraps(func)
    def within(*args, **kwargs):
        with autocast_instance:
            return func(*args, **kwargs)

    return within


class autocast:
    """Context and decorator: products of matrices in lower precision, sums and losses in float32
    (https://pytorch.org/docs/stable/amp.html#torch.autocast).

    The lists are PyTorch's for ``cpu`` and ``cuda``; ``tpu`` uses cuda's with bfloat16.
    """

    def __init__(self, device_type: str, dtype=None, enabled: bool = True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if dtype is not None and not isinstance(dtype, dt.dtype):
            raise TypeError(
                "set_autocast_dtype(): argument 'dtype' (position 2) must be torch.dtype, not "
                f"{type_name(dtype)}"
            )
        self.fast_dtype = _casts.get_autocast_dtype(device_type) if dtype is None else dtype
        self.device = devices.device(device_type).type
        if self.device not in _casts.POLICIES:
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        self._cache_enabled = (
            _casts.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        )
        if enabled and self.device == "cuda" and not devices.device_count("cuda"):
            warnings.warn(
                "CUDA is not available or torch_xla is imported. Disabling autocast.",
                stacklevel=2,
            )
            enabled = False
        elif enabled and self.fast_dtype not in dt.HALF:
            name = {"cpu": "CPU", "cuda": "CUDA", "tpu": "TPU"}[self.device]
            warnings.warn(
                f"In {name} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{name} Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = bool(enabled)
        self._before: list = []

    def __enter__(self):
        state = _casts.state
        self._before.append(
            (state.enabled.get(self.device, False), state.dtypes[self.device], state.cache)
        )
        state.nesting += 1
        self._set(self._enabled, self.fast_dtype, self._cache_enabled)
        return self

    def __exit__(self, *exc):
        state = _casts.state
        state.nesting -= 1
        if not state.nesting:
            state.casts.clear()
        self._set(*self._before.pop())
        return False

    def _set(self, enabled, dtype, cache) -> None:
        state = _casts.state
        state.enabled[self.device], state.dtypes[self.device], state.cache = enabled, dtype, cache
        state.update()

    def __call__(self, func):
        return autocast_decorator(self, func)


def _cast(value, device_type: str, dtype):
    """Floating tensors of the device in another dtype, in lists and dicts too; doubles stay."""
    if isinstance(value, Tensor):
        if (
            value.is_floating_point() and value.device.type == device_type
            and value.dtype is not dt.float64
        ):  # fmt: skip
            return value.to(dtype)
        return value
    if isinstance(value, (str, bytes)) or type(value).__module__ == "numpy":
        return value
    if isinstance(value, Mapping):
        return {
            _cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        items = [_cast(v, device_type, dtype) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _check_kind(name: str, device_type) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Decorator for a Function's ``forward``: run it with autocast's state, or with the inputs in
    ``cast_inputs`` and autocast off (https://pytorch.org/docs/stable/amp.html#torch.amp.custom_fwd)."""
    _check_kind("custom_fwd", device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args, **kwargs):
        ctx = args[0]
        ctx._dtype = _casts.get_autocast_dtype(device_type)
        on = _casts.is_autocast_enabled(device_type)
        if cast_inputs is None:
            ctx._fwd_used_autocast = on
            return fwd(*args, **kwargs)
        ctx._fwd_used_autocast = False
        if not on:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(
                *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs)
            )

    return forward


def custom_bwd(bwd=None, *, device_type: str):
    """Decorator for a Function's ``backward``: autocast is on there if it was in ``forward``
    (https://pytorch.org/docs/stable/amp.html#torch.amp.custom_bwd)."""
    _check_kind("custom_bwd", device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args, **kwargs):
        ctx = args[0]
        with autocast(device_type, dtype=ctx._dtype, enabled=ctx._fwd_used_autocast):
            return bwd(*args, **kwargs)

    return backward
