"""torchvision.datasets: folders of images; the datasets that are downloaded are stand-ins."""

from torchlike._runner.torchvision.datasets.fakedata import FakeData as FakeData
from torchlike._runner.torchvision.datasets.folder import DatasetFolder as DatasetFolder
from torchlike._runner.torchvision.datasets.folder import ImageFolder as ImageFolder
from torchlike._runner.torchvision.datasets.vision import VisionDataset as VisionDataset
