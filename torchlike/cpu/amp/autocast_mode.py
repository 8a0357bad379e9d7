"""torch.cpu.amp.autocast: the spelling of before torch.amp."""

from __future__ import annotations

import warnings

from torchlike._core import dtypes as dt
from torchlike.amp import autocast_mode as _mode

__all__ = ["autocast"]


class autocast(_mode.autocast):
    """Deprecated spelling of ``torch.amp.autocast("cpu", ...)``."""

    def __init__(self, enabled: bool = True, dtype=dt.bfloat16, cache_enabled: bool = True):
        warnings.warn(
            "`torch.cpu.amp.autocast(args...)` is deprecated. Please use "
            "`torch.amp.autocast('cpu', args...)` instead.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__("cpu", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)
