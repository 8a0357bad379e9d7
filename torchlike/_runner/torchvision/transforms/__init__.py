"""torchvision.transforms: changes to images, and how they are chained."""

from torchlike._core.later import later as _later
from torchlike._runner.torchvision.transforms.autoaugment import *  # noqa: F403
from torchlike._runner.torchvision.transforms.chance import *  # noqa: F403
from torchlike._runner.torchvision.transforms.functional import (
    InterpolationMode as InterpolationMode,
)
from torchlike._runner.torchvision.transforms.transforms import *  # noqa: F403

__getattr__, __dir__ = _later(
    __name__, ("_presets", "autoaugment", "functional", "transforms", "v2")
)
