"""torchvision.datasets.vision: the bases of datasets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from torchlike._runner.torchvision.datasets.utils import (
    check_integrity,
    download_and_extract_archive,
)
from torchlike.utils.data import Dataset


class StandardTransform:
    """One transform for the image, one for its target."""

    def __init__(self, transform=None, target_transform=None):
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input, target):
        input = input if self.transform is None else self.transform(input)
        return input, target if self.target_transform is None else self.target_transform(target)


class VisionDataset(Dataset):
    """A dataset under a directory, with transforms for both, or one for each.

    Raises ``ValueError`` for both kinds.
    """

    def __init__(self, root=None, transforms=None, transform=None, target_transform=None):
        self.root = str(Path(root).expanduser()) if isinstance(root, (str, Path)) else root
        each = transform is not None or target_transform is not None
        if transforms is not None and each:
            raise ValueError(
                "Only transforms or transform/target_transform can be passed as argument"
            )
        self.transform, self.target_transform = transform, target_transform
        self.transforms = StandardTransform(transform, target_transform) if each else transforms

    def __getitem__(self, index):
        raise NotImplementedError

    def __len__(self):
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        if self.root is not None:
            lines.append(f"    Root location: {self.root}")
        return "\n".join(lines + [f"    {line}" for line in self.extra_repr().splitlines()])

    def extra_repr(self) -> str:
        """What else the repr tells."""
        return ""


class PictureDataset(VisionDataset):
    """Images in an array ``data``, of which ``_item(index)`` gives one and its target."""

    def __getitem__(self, index: int):
        from PIL import Image

        array, target = self._item(index)
        img = Image.fromarray(np.ascontiguousarray(array))
        if self.transform is not None:
            img = self.transform(img)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return img, target

    def __len__(self) -> int:
        return len(self.data)


class ArchiveDataset(PictureDataset):
    """Images of files that are published in one archive, and checked one by one."""

    def _path(self, name: str) -> str:
        return os.path.join(self.root, self.base_folder, name)

    def _check_integrity(self) -> bool:
        files = self.train_list + self.test_list
        return all(check_integrity(self._path(name), md5) for name, md5 in files)

    def download(self) -> None:
        """Fetch the files unless they are there."""
        if not self._check_integrity():
            download_and_extract_archive(
                self.url, self.root, filename=self.filename, md5=self.tgz_md5
            )
