"""torchvision.datasets.folder: a directory for each class, a file for each sample."""

from __future__ import annotations

import os

from torchlike._runner.torchvision.datasets.vision import VisionDataset

IMG_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip


def has_file_allowed_extension(filename: str, extensions) -> bool:
    """Whether a name ends in one of the extensions, in any case."""
    ends = extensions if isinstance(extensions, str) else tuple(extensions)
    return filename.lower().endswith(ends)


def is_image_file(filename: str) -> bool:
    """Whether a name is an image's."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory) -> tuple[list[str], dict[str, int]]:
    """The names of the directories inside, sorted, and their numbers."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: i for i, name in enumerate(classes)}


def make_dataset(
    directory, class_to_idx=None, extensions=None, is_valid_file=None, allow_empty: bool = False
) -> list[tuple[str, int]]:
    """(path, class) of each file, sorted; raises ``FileNotFoundError`` for a class without one."""
    if (extensions is None) == (is_valid_file is None):
        raise ValueError(
            "Both extensions and is_valid_file cannot be None or not None at the same time"
        )
    directory = os.path.expanduser(directory)
    class_to_idx = find_classes(directory)[1] if class_to_idx is None else class_to_idx
    if not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    wanted = is_valid_file or (lambda path: has_file_allowed_extension(path, extensions))
    found, empty = [], set(class_to_idx)
    for name in sorted(class_to_idx):
        for root, _, files in sorted(os.walk(os.path.join(directory, name), followlinks=True)):
            paths = [os.path.join(root, file) for file in sorted(files)]
            mine = [(path, class_to_idx[name]) for path in paths if wanted(path)]
            found += mine
            if mine:
                empty.discard(name)
    if empty and not allow_empty:
        text = f"Found no valid file for the classes {', '.join(sorted(empty))}. "
        if extensions is not None:
            ends = extensions if isinstance(extensions, str) else ", ".join(extensions)
            text += f"Supported extensions are: {ends}"
        raise FileNotFoundError(text)
    return found


def pil_loader(path):
    """The image in a file, in RGB."""
    from PIL import Image

    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


default_loader = pil_loader


class DatasetFolder(VisionDataset):
    """The files of a directory's directories, each of which is a class."""

    def __init__(
        self, root, loader, extensions=None, transform=None, target_transform=None,
        is_valid_file=None, allow_empty: bool = False,
    ):  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.loader, self.extensions = loader, extensions
        self.samples = self.make_dataset(
            self.root, self.class_to_idx, extensions, is_valid_file, allow_empty
        )
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(
        directory, class_to_idx, extensions=None, is_valid_file=None, allow_empty=False
    ):
        """``folder.make_dataset`` with these classes."""
        if class_to_idx is None:
            raise ValueError("The class_to_idx parameter cannot be None.")
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory):
        """``folder.find_classes``; a subclass may choose others."""
        return find_classes(directory)

    def __getitem__(self, index: int):
        path, target = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return sample, target

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """The images of a directory's directories, each of which is a class."""

    def __init__(
        self, root, transform=None, target_transform=None, loader=default_loader,
        is_valid_file=None, allow_empty: bool = False,
    ):  # fmt: skip
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(
            root, loader, extensions, transform, target_transform, is_valid_file, allow_empty
        )
        self.imgs = self.samples
