"""torchvision.datasets.stl10: STL10, from the published files."""

from __future__ import annotations

import os

import numpy as np

from torchlike._runner.torchvision.datasets.utils import (
    verify_str_arg,
)
from torchlike._runner.torchvision.datasets.vision import ArchiveDataset


class STL10(ArchiveDataset):
    """Images 96 x 96 of ten classes or of none (-1); ``data`` is an array (N, 3, 96, 96)."""

    base_folder = "stl10_binary"
    url = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
    filename = "stl10_binary.tar.gz"
    tgz_md5 = "91f7769df0f17e558f3565bffb0c7dfb"
    class_names_file, folds_list_file = "class_names.txt", "fold_indices.txt"
    train_list = [  # noqa: RUF012
        ["train_X.bin", "918c2871b30a85fa023e0c44e0bee87f"],
        ["train_y.bin", "5a34089d4802c674881badbb80307741"],
        ["unlabeled_X.bin", "5242ba1fed5e4be9e1e742405eb56ca4"],
    ]
    test_list = [  # noqa: RUF012
        ["test_X.bin", "7f263ba9f9e0b06b93213547f721ac82"],
        ["test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"],
    ]
    splits = ("train", "train+unlabeled", "unlabeled", "test")

    def __init__(
        self, root, split="train", folds=None, transform=None, target_transform=None,
        download: bool = False,
    ):  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", self.splits)
        if folds is not None and not isinstance(folds, int):
            raise ValueError(f"Expected type None or int for argument folds, but got type "
                             f"{type(folds)}.")  # fmt: skip
        if folds is not None and not 0 <= folds < 10:
            raise ValueError(
                f"Value for argument folds should be in the range [0, 10), but got {folds}."
            )
        self.folds = folds
        if download:
            self.download()
        elif not self._check_integrity():
            raise RuntimeError(
                "Dataset not found or corrupted. You can use download=True to download it"
            )
        part = "test" if split == "test" else "train"
        self.data, self.labels = None, None
        if split != "unlabeled":
            self.data = self._images(f"{part}_X.bin")
            self.labels = np.fromfile(self._path(f"{part}_y.bin"), np.uint8) - 1  # from 0 on
            if split.startswith("train") and folds is not None:
                with open(self._path(self.folds_list_file)) as file:
                    chosen = np.array(file.read().splitlines()[folds].split(), np.int64)
                self.data, self.labels = self.data[chosen], self.labels[chosen]
        if split.endswith("unlabeled"):
            more = self._images("unlabeled_X.bin")
            none = np.full(len(more), -1, np.int64)
            self.data = more if self.data is None else np.concatenate((self.data, more))
            self.labels = none if self.labels is None else np.concatenate((self.labels, none))
        names = self._path(self.class_names_file)
        if os.path.isfile(names):
            with open(names) as file:
                self.classes = file.read().splitlines()

    def _images(self, name: str) -> np.ndarray:
        images = np.fromfile(self._path(name), np.uint8).reshape(-1, 3, 96, 96)
        return images.transpose(0, 1, 3, 2)  # the file goes down the columns

    def _item(self, index: int):
        return self.data[index].transpose(1, 2, 0), int(self.labels[index])

    def extra_repr(self) -> str:
        return f"Split: {self.split}"
