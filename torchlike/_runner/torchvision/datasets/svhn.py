"""torchvision.datasets.svhn: numbers of houses, from MATLAB's files that SciPy reads."""

from __future__ import annotations

import os

import numpy as np

from torchlike._runner.torchvision.datasets.utils import (
    check_integrity,
    download_url,
    verify_str_arg,
)
from torchlike._runner.torchvision.datasets.vision import PictureDataset

_URL = "http://ufldl.stanford.edu/housenumbers/"


class SVHN(PictureDataset):
    """Images 32 x 32 of digits; ``data`` is an array (N, 3, 32, 32), ``labels`` (N,)."""

    split_list = {  # noqa: RUF012
        name: [f"{_URL}{name}_32x32.mat", f"{name}_32x32.mat", md5]
        for name, md5 in (
            ("train", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test", "eb5a983be6a315427106f1b164d9cef3"),
            ("extra", "a93ce644f1a588dc4d68dda5feec44a7"),
        )
    }

    def __init__(
        self, root, split="train", transform=None, target_transform=None, download: bool = False
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", tuple(self.split_list))
        self.url, self.filename, self.file_md5 = self.split_list[split]
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError(
                "Dataset not found or corrupted. You can use download=True to download it"
            )
        from scipy.io import loadmat

        found = loadmat(os.path.join(self.root, self.filename))
        self.labels = found["y"].astype(np.int64).squeeze()
        np.place(self.labels, self.labels == 10, 0)  # the file calls the digit 0 by 10
        self.data = np.transpose(found["X"], (3, 2, 0, 1))

    def _check_integrity(self) -> bool:
        return check_integrity(os.path.join(self.root, self.filename), self.file_md5)

    def download(self) -> None:
        """Fetch the file unless it is there."""
        download_url(self.url, self.root, self.filename, self.file_md5)

    def _item(self, index: int):
        return self.data[index].transpose(1, 2, 0), int(self.labels[index])

    def extra_repr(self) -> str:
        return f"Split: {self.split}"
