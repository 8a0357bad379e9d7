"""torch.cuda.amp.autocast: the spelling of before torch.amp."""

from __future__ import annotations

import functools
import warnings

from torchlike._core import dtypes as dt
from torchlike.amp import autocast_mode as _mode

__all__ = ["autocast", "custom_bwd", "custom_fwd"]


class autocast(_mode.autocast):
    """Deprecated spelling of ``torch.amp.autocast("cuda", ...)``."""

    def __init__(self, enabled: bool = True, dtype=dt.float16, cache_enabled: bool = True):
        warnings.warn(
            "`torch.cuda.amp.autocast(args...)` is deprecated. Please use "
            "`torch.amp.autocast('cuda', args...)` instead.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


def custom_fwd(fwd=None, *, cast_inputs=None):
    """Deprecated spelling of ``torch.amp.custom_fwd(..., device_type="cuda")``."""
    warnings.warn(
        "`torch.cuda.amp.custom_fwd(args...)` is deprecated. Please use "
        "`torch.amp.custom_fwd(args..., device_type='cuda')` instead.",
        FutureWarning,
        stacklevel=2,
    )
    made = functools.partial(_mode.custom_fwd, device_type="cuda", cast_inputs=cast_inputs)
    return made if fwd is None else made(fwd)


def custom_bwd(bwd=None):
    """Deprecated spelling of ``torch.amp.custom_bwd(..., device_type="cuda")``."""
    warnings.warn(
        "`torch.cuda.amp.custom_bwd(args...)` is deprecated. Please use "
        "`torch.amp.custom_bwd(args..., device_type='cuda')` instead.",
        FutureWarning,
        stacklevel=2,
    )
    made = functools.partial(_mode.custom_bwd, device_type="cuda")
    return made if bwd is None else made(bwd)
