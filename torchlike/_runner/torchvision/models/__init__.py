"""torchvision.models: networks for images, with their published weights from the hub's cache."""

from torchlike._core.later import later as _later
from torchlike._runner.torchvision.models._api import Weights as Weights
from torchlike._runner.torchvision.models._api import WeightsEnum as WeightsEnum
from torchlike._runner.torchvision.models._api import get_model as get_model
from torchlike._runner.torchvision.models._api import get_model_builder as get_model_builder
from torchlike._runner.torchvision.models._api import get_model_weights as get_model_weights
from torchlike._runner.torchvision.models._api import get_weight as get_weight
from torchlike._runner.torchvision.models._api import import_families as _import_families
from torchlike._runner.torchvision.models._api import list_models as list_models

_import_families(__name__, (
    "alexnet", "convnext", "densenet", "efficientnet", "googlenet", "inception", "mnasnet",
    "mobilenet", "regnet", "resnet", "shufflenetv2", "squeezenet", "swin_transformer", "vgg",
    "vision_transformer",
))  # fmt: skip

from torchlike._runner.torchvision.models import segmentation as segmentation  # noqa: E402

# Modules whose names are functions' here: an import of one must not put it in the function's place.
_shadowed = ("alexnet", "googlenet")
__getattr__, __dir__ = _later(__name__, ("feature_extraction",))
