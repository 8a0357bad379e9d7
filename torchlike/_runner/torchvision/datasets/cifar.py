"""torchvision.datasets.cifar: CIFAR10 and CIFAR100, from the published files."""

from __future__ import annotations

import pickle

import numpy as np

from torchlike._runner.torchvision.datasets.utils import (
    check_integrity,
)
from torchlike._runner.torchvision.datasets.vision import ArchiveDataset

_MISSING = "Dataset not found or corrupted. You can use download=True to download it"


class _Unpickler(pickle.Unpickler):
    """Arrays, and nothing that could run: the files come from the network."""

    _ALLOWED = {  # noqa: RUF012
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
        *((f"numpy.{core}.multiarray", name)
          for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    }  # fmt: skip

    def find_class(self, module: str, name: str):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"a file of CIFAR holds no {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read(path: str) -> dict:
    with open(path, "rb") as file:
        return _Unpickler(file, encoding="latin1").load()


class CIFAR10(ArchiveDataset):
    """Images 32 x 32 of ten classes; ``data`` is an array (N, 32, 32, 3), ``targets`` a list."""

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list = [  # noqa: RUF012
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"],
        ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"],
        ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"],
    ]
    test_list = [["test_batch", "40351d587109b95175f43aff81a1287e"]]  # noqa: RUF012
    meta = {  # noqa: RUF012
        "filename": "batches.meta", "key": "label_names",
        "md5": "5ff9c542aee3614f3951f8cda6e48888",
    }  # fmt: skip

    def __init__(
        self, root, train=True, transform=None, target_transform=None, download: bool = False
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        elif not self._check_integrity():
            raise RuntimeError(_MISSING)
        batches, self.targets = [], []
        for name, _ in self.train_list if train else self.test_list:
            entry = _read(self._path(name))
            batches.append(entry["data"])
            self.targets.extend(entry["labels"] if "labels" in entry else entry["fine_labels"])
        data = np.vstack(batches).reshape(-1, 3, 32, 32)
        self.data = data.transpose((0, 2, 3, 1))
        self._load_meta()

    def _load_meta(self) -> None:
        path = self._path(self.meta["filename"])
        if not check_integrity(path, self.meta["md5"]):
            raise RuntimeError(
                "Dataset metadata file not found or corrupted. You can use download=True to "
                "download it"
            )
        self.classes = _read(path)[self.meta["key"]]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _item(self, index: int):
        return self.data[index], self.targets[index]

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train is True else 'Test'}"


class CIFAR100(CIFAR10):
    """Images 32 x 32 of a hundred classes."""

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = [["train", "16019d7e3df5f24257cddd939b257f8d"]]  # noqa: RUF012
    test_list = [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]  # noqa: RUF012
    meta = {  # noqa: RUF012
        "filename": "meta", "key": "fine_label_names", "md5": "7973b15100ade9c7d40fb424638fde48",
    }  # fmt: skip
