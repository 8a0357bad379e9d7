"""What a call of a compiled function stands in: the switches of its thread."""

from __future__ import annotations

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.symbolic import tracing
from torchlike._engine.captures import surroundings
from torchlike._engine.prefix import local
from torchlike._tensor.autocast import state as autocast
from torchlike._tensor.modes import modes


def elsewhere() -> bool:
    """Whether this call is part of something that has to see each op."""
    return bool(
        modes.levels or modes.transforms or modes.bodies or modes.around is not None
        or modes.saving is not None or modes.anomaly is not None
        or local.segment.frame is not None or tracing.scope is not None
    )  # fmt: skip


def surrounding() -> tuple:
    """The switches that a recording depends on."""
    return (
        modes.grad, modes.inference, modes.mutation, dt.get_default_dtype(),
        devices.get_default_device(), autocast.active, autocast.cache,
        *[look() for look in surroundings],
    )  # fmt: skip
