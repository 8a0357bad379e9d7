"""torchvision.datasets.vision: the base of datasets."""

from __future__ import annotations

from pathlib import Path

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
