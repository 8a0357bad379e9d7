"""torchvision.datasets.mnist: MNIST and the datasets of its format.

The files are read as they are published: ``<root>/MNIST/raw/train-images-idx3-ubyte`` and so on,
packed (``.gz``) or not.
"""

from __future__ import annotations

import codecs
import os
import string
import warnings
from urllib.error import URLError

import numpy as np

import torchlike as torch
from torchlike._runner.torchvision.datasets.utils import (
    check_integrity,
    download_and_extract_archive,
    extract_archive,
    open_packed,
    verify_str_arg,
)
from torchlike._runner.torchvision.datasets.vision import PictureDataset
from torchlike._tensor.host_reads import host_data

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_NAMES = tuple(
    f"{part}-{kind}-ubyte.gz"
    for part in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def _row(tensor, index: int) -> np.ndarray:
    """One of a tensor's rows as an array, without a window on the whole that has to be watched."""
    array = host_data(tensor) if isinstance(tensor, torch.Tensor) else None
    if array is not None:
        return array[index]
    row = tensor[index]
    return row.clone().numpy() if isinstance(row, torch.Tensor) else np.asarray(row)


def _resources(*sums: str) -> list[tuple[str, str]]:
    return list(zip(_NAMES, sums, strict=True))


class MNIST(PictureDataset):
    """Images 28 x 28 of digits; ``data`` is (N, 28, 28) of bytes, ``targets`` (N,)."""

    mirrors = [  # noqa: RUF012
        "https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/",
    ]  # fmt: skip
    resources = _resources(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c",
    )  # fmt: skip
    training_file, test_file = "training.pt", "test.pt"
    classes = [f"{i} - {name}" for i, name in enumerate(_DIGITS)]  # noqa: RUF012

    def __init__(
        self, root, train=True, transform=None, target_transform=None, download: bool = False
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        elif not self._check_exists():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.data, self.targets = self._load_data()

    def _old(name, instead):
        def get(self):
            warnings.warn(f"{name} has been renamed {instead}", stacklevel=2)
            return getattr(self, instead)

        return property(get, doc=f"The old name of ``{instead}``.")

    train_labels, test_labels = _old("train_labels", "targets"), _old("test_labels", "targets")
    train_data, test_data = _old("train_data", "data"), _old("test_data", "data")
    del _old

    @property
    def raw_folder(self) -> str:
        """Where the files are."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def processed_folder(self) -> str:
        """Where torchvision kept them before version 0.9."""
        return os.path.join(self.root, type(self).__name__, "processed")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: i for i, name in enumerate(self.classes)}

    def _found(self, name: str) -> str | None:
        """The path of a file, or of its packed form."""
        for path in (os.path.join(self.raw_folder, name + end) for end in ("", ".gz")):
            if check_integrity(path):
                return path
        return None

    def _check_exists(self) -> bool:
        names = [os.path.splitext(os.path.basename(url))[0] for url, _ in self.resources]
        return all(self._found(name) for name in names)

    def download(self) -> None:
        """Fetch what is not there; raises ``RuntimeError`` that tells of each mirror."""
        if self._check_exists():
            return
        os.makedirs(self.raw_folder, exist_ok=True)
        for name, md5 in self.resources:
            errors = []
            for mirror in self.mirrors:
                try:
                    download_and_extract_archive(
                        f"{mirror}{name}", self.raw_folder, filename=name, md5=md5
                    )
                    break
                except (URLError, TimeoutError) as error:
                    errors.append(f"Tried {mirror}, got:\n{error}\n")
            else:
                raise RuntimeError(f"Error downloading {name}:\n{''.join(errors)}")

    def _load_data(self):
        part = "train" if self.train else "t10k"
        return (
            read_image_file(self._found(f"{part}-images-idx3-ubyte")),
            read_label_file(self._found(f"{part}-labels-idx1-ubyte")),
        )

    def _item(self, index: int):
        return _row(self.data, index), int(_row(self.targets, index))

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train is True else 'Test'}"


class FashionMNIST(MNIST):
    """Images 28 x 28 of clothes."""

    mirrors = [  # noqa: RUF012
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ]
    resources = _resources(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310",
    )  # fmt: skip
    classes = [  # noqa: RUF012
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """Images 28 x 28 of Japanese characters."""

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]  # noqa: RUF012
    resources = _resources(
        "bdb82020997e1d708af4cf47b453dcf7", "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7", "7320c461ea6c1c855c0b718fb2a4b134",
    )  # fmt: skip
    classes = "o ki su tsu na ha ma ya re wo".split()  # noqa: SIM905


def _merged(but: str = "") -> list[str]:
    return sorted(set(string.digits + string.ascii_letters) - set(but))


class EMNIST(MNIST):
    """Images 28 x 28 of letters and digits, of one of six splits."""

    url = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    classes_split_dict = {  # noqa: RUF012
        "byclass": _merged(), "bymerge": _merged("cijklmopsuvwxyz"),
        "balanced": _merged("cijklmopsuvwxyz"), "letters": ["N/A", *string.ascii_lowercase],
        "digits": [*string.digits], "mnist": [*string.digits],
    }  # fmt: skip

    def __init__(self, root, split: str, **kwargs):
        self.split = verify_str_arg(split, "split", self.splits)
        super().__init__(root, **kwargs)
        self.classes = self.classes_split_dict[self.split]

    def _files(self) -> list[str]:
        part = "train" if self.train else "test"
        kinds = ("images-idx3", "labels-idx1")
        return [f"emnist-{self.split}-{part}-{kind}-ubyte" for kind in kinds]

    def _check_exists(self) -> bool:
        return all(self._found(name) for name in self._files())

    def download(self) -> None:
        """Fetch what is not there."""
        if self._check_exists():
            return
        download_and_extract_archive(self.url, self.raw_folder, md5=self.md5)
        packed = os.path.join(self.raw_folder, "gzip")
        for name in os.listdir(packed):
            if name.endswith(".gz"):
                extract_archive(os.path.join(packed, name), self.raw_folder)

    def _load_data(self):
        images, labels = (self._found(name) for name in self._files())
        return read_image_file(images), read_label_file(labels)


class QMNIST(MNIST):
    """MNIST as it was made anew, with what is known of each digit in (N, 8) targets."""

    subsets = {  # noqa: RUF012
        "train": "train", "test": "test", "test10k": "test", "test50k": "test", "nist": "nist",
    }  # fmt: skip
    _home = "https://raw.githubusercontent.com/facebookresearch/qmnist/master/"
    resources = {  # noqa: RUF012
        "train": [
            (_home + "qmnist-train-images-idx3-ubyte.gz", "ed72d4157d28c017586c42bc6afe6370"),
            (_home + "qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
        ],
        "test": [
            (_home + "qmnist-test-images-idx3-ubyte.gz", "1394631089c404de565df7b7aeaf9412"),
            (_home + "qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
        ],
        "nist": [
            (_home + "xnist-images-idx3-ubyte.xz", "7f124b3b8ab81486c9d8c2749c17f834"),
            (_home + "xnist-labels-idx2-int.xz", "5ed0e788978e45d4a8bd4b7caec3d79d"),
        ],
    }

    def __init__(self, root, what: str | None = None, compat=True, train: bool = True, **kwargs):
        what = ("train" if train else "test") if what is None else what
        self.what, self.compat = verify_str_arg(what, "what", tuple(self.subsets)), compat
        super().__init__(root, train, **kwargs)

    def _urls(self) -> list[tuple[str, str]]:
        return self.resources[self.subsets[self.what]]

    def _files(self) -> list[str]:
        return [os.path.splitext(os.path.basename(url))[0] for url, _ in self._urls()]

    def _check_exists(self) -> bool:
        return all(self._found(name) for name in self._files())

    def download(self) -> None:
        """Fetch what is not there."""
        if not self._check_exists():
            for url, md5 in self._urls():
                download_and_extract_archive(url, self.raw_folder, md5=md5)

    def _load_data(self):
        images, labels = (read_sn3_pascalvincent_tensor(self._found(n)) for n in self._files())
        if images.dtype != torch.uint8 or images.ndimension() != 3 or labels.ndimension() != 2:
            raise TypeError(f"data should be of uint8 and 3 dimensions, got {images.dtype}")
        span = {"test10k": slice(0, 10000), "test50k": slice(10000, None)}.get(self.what)
        return (images, labels.long()) if span is None else (images[span], labels[span].long())

    def __getitem__(self, index: int):
        from PIL import Image

        img, target = Image.fromarray(_row(self.data, index)), self.targets[index]
        if self.transform is not None:
            img = self.transform(img)
        if self.compat:
            target = int(target[0])
        if self.target_transform is not None:
            target = self.target_transform(target)
        return img, target

    def extra_repr(self) -> str:
        return f"Split: {self.what}"


# ---- the format: two zeros, a type, the number of sides, the sides, the values ------------------

SN3_PASCALVINCENT_TYPEMAP = {
    8: torch.uint8, 9: torch.int8, 11: torch.int16, 12: torch.int32, 13: torch.float32,
    14: torch.float64,
}  # fmt: skip
_KINDS = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def get_int(b: bytes) -> int:
    """Bytes as a number, the highest first."""
    return int(codecs.encode(b, "hex"), 16)


def read_sn3_pascalvincent_tensor(path, strict: bool = True):
    """The tensor in a file of this format; raises ``ValueError`` for one that is none,
    ``RuntimeError`` for one that is cut."""
    with open_packed(os.fspath(path)) as file:
        data = file.read()
    magic = get_int(data[:4]) if len(data) >= 4 else -1
    rank, kind = magic % 256, magic // 256
    if not 1 <= rank <= 3 or kind not in _KINDS or len(data) < 4 * (rank + 1):
        raise ValueError(f"{os.fspath(path)} is no file of the IDX format")
    shape = [get_int(data[4 * (i + 1) : 4 * (i + 2)]) for i in range(rank)]
    dtype = np.dtype(_KINDS[kind])
    count = int(np.prod(shape, dtype=np.int64))
    values = np.frombuffer(data, dtype, offset=4 * (rank + 1), count=-1)
    if len(values) < count or (strict and len(values) != count):
        raise RuntimeError(
            f"{os.fspath(path)} should hold {count} values of the shape {tuple(shape)}, but has "
            f"{len(values)}"
        )
    return torch.tensor(values[:count].reshape(shape).astype(dtype.newbyteorder("=")))


def read_label_file(path):
    """Labels as (N,) of int64; raises ``TypeError`` for what is none."""
    x = read_sn3_pascalvincent_tensor(path, strict=False)
    if x.dtype != torch.uint8:
        raise TypeError(f"x should be of dtype torch.uint8 instead of {x.dtype}")
    if x.ndimension() != 1:
        raise ValueError(f"x should have 1 dimension instead of {x.ndimension()}")
    return x.long()


def read_image_file(path):
    """Images as (N, H, W) of bytes; raises ``TypeError`` for what is none."""
    x = read_sn3_pascalvincent_tensor(path, strict=False)
    if x.dtype != torch.uint8:
        raise TypeError(f"x should be of dtype torch.uint8 instead of {x.dtype}")
    if x.ndimension() != 3:
        raise ValueError(f"x should have 3 dimension instead of {x.ndimension()}")
    return x
