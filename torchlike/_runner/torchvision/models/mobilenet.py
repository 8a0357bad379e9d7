"""torchvision.models.mobilenet: versions 2 and 3."""

from torchlike._runner.torchvision.models import mobilenetv2 as _v2
from torchlike._runner.torchvision.models import mobilenetv3 as _v3
from torchlike._runner.torchvision.models.mobilenetv2 import *  # noqa: F403
from torchlike._runner.torchvision.models.mobilenetv3 import *  # noqa: F403

__all__ = _v2.__all__ + _v3.__all__
