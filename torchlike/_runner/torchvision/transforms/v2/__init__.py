"""torchvision.transforms.v2: transforms of images with their masks and boxes, in any nest."""

from torchlike._core.later import later as _later
from torchlike._runner.torchvision.transforms.functional import (
    InterpolationMode as InterpolationMode,
)
from torchlike._runner.torchvision.transforms.v2.augment import *  # noqa: F403
from torchlike._runner.torchvision.transforms.v2.base import *  # noqa: F403
from torchlike._runner.torchvision.transforms.v2.color import *  # noqa: F403
from torchlike._runner.torchvision.transforms.v2.detection import *  # noqa: F403
from torchlike._runner.torchvision.transforms.v2.geometry import *  # noqa: F403
from torchlike._runner.torchvision.transforms.v2.types import *  # noqa: F403

__getattr__, __dir__ = _later(__name__, ("functional",))
