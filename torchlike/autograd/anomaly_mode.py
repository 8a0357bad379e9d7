"""Anomaly detection: backward raises where a derivative gives nan."""

from __future__ import annotations

import warnings

from torchlike._tensor.modes import modes

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Turn anomaly detection on or off, at once and for a ``with`` block
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.set_detect_anomaly)."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self._before = modes.anomaly
        modes.anomaly = "nan" if mode and check_nan else "quiet" if mode else None

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        modes.anomaly = self._before


class detect_anomaly:
    """Anomaly detection for a ``with`` block
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.detect_anomaly)."""

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        self._mode = set_detect_anomaly(True, self.check_nan)

    def __exit__(self, *exc):
        self._mode.__exit__()
