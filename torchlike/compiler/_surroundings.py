"""What a call of a compiled function stands in: the switches of its thread."""

from __future__ import annotations

from operator import attrgetter

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.symbolic import tracing
from torchlike._engine.captures import surroundings
from torchlike._engine.prefix import local
from torchlike._tensor.autocast import state as autocast
from torchlike._tensor.modes import modes
from torchlike._tensor.overriding import local as overriding

# (open levels of vmap, transforms, traced bodies, what calls or sees ops in their place), in one
# look: all false where a call is part of nothing that has to see each op.
_around = attrgetter("levels", "transforms", "bodies", "around", "saving", "anomaly")
_switches = attrgetter("grad", "inference", "mutation")


def elsewhere() -> bool:
    """Whether this call is part of something that has to see each op."""
    return bool(
        any(_around(modes)) or local.segment.frame is not None or tracing.scope is not None
        or overriding.modes
    )  # fmt: skip


def surrounding() -> tuple:
    """The switches that a recording depends on."""
    return (
        _switches(modes), dt.get_default_dtype(), devices.get_default_device(), autocast.active,
        autocast.cache, *[look() for look in surroundings],
    )  # fmt: skip
