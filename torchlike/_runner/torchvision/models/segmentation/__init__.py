"""torchvision.models.segmentation: networks that give each pixel a class."""

from torchlike._runner.torchvision.models._api import import_families as _import_families

_import_families(__name__, ("deeplabv3", "fcn", "lraspp"))
