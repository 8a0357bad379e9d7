"""torchvision.datasets: folders of images and the small published datasets, from their files."""

from torchlike._core.later import later as _later
from torchlike._runner.torchvision.datasets.vision import VisionDataset as VisionDataset

_NAMES = {
    "cifar": ("CIFAR10", "CIFAR100"),
    "fakedata": ("FakeData",),
    "folder": ("DatasetFolder", "ImageFolder"),
    "mnist": ("EMNIST", "FashionMNIST", "KMNIST", "MNIST", "QMNIST"),
    "stl10": ("STL10",),
    "svhn": ("SVHN",),
}
__getattr__, __dir__ = _later(
    __name__, (*_NAMES, "utils", "vision"), {n: m for m, names in _NAMES.items() for n in names}
)
