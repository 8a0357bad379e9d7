"""torchvision.datasets.fakedata: images of noise."""

from __future__ import annotations

import torchlike as torch
from torchlike._runner.torchvision.datasets.vision import VisionDataset
from torchlike._runner.torchvision.transforms import functional as F


class FakeData(VisionDataset):
    """``size`` random images of Pillow with random classes; each the same at every reading."""

    def __init__(
        self, size=1000, image_size=(3, 224, 224), num_classes=10, transform=None,
        target_transform=None, random_offset: int = 0,
    ):  # fmt: skip
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.image_size, self.num_classes = size, image_size, num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: int):
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        before = torch.get_rng_state()
        torch.manual_seed(index + self.random_offset)
        img = torch.randn(*self.image_size)
        target = torch.randint(0, self.num_classes, size=(1,), dtype=torch.long)[0]
        torch.set_rng_state(before)
        img = F.to_pil_image(img)
        if self.transform is not None:
            img = self.transform(img)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return img, target.item() if isinstance(target, torch.Tensor) else target

    def __len__(self) -> int:
        return self.size
