"""torchvision.models.inception: Inception v3 (https://arxiv.org/abs/1512.00567)."""

from __future__ import annotations

from collections import namedtuple
from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models.googlenet import (
    BasicConv2d as BasicConv2d,
)
from torchlike._runner.torchvision.models.googlenet import (
    as_trained,
    load_with_classifiers,
    warn_of_initialization,
)
from torchlike.nn import functional as F

__all__ = ["Inception3", "InceptionOutputs", "_InceptionOutputs"]

InceptionOutputs = namedtuple("InceptionOutputs", ["logits", "aux_logits"])
_InceptionOutputs = InceptionOutputs


class _Branches(nn.Module):
    """Layers by their names, and how they follow each other beside each other.

    ``layers`` gives each layer its input's and output's channels and its kernel, stride and padding
    where they are not 1, 1 and 0; ``paths`` are the names in their order: a layer after a bar takes
    what the one before the bar gave, two after it both do.
    """

    paths: tuple = ()

    def _add(self, conv_block, layers) -> None:
        conv = conv_block or BasicConv2d
        for name, inputs, outputs, kernel, *rest in layers:
            options = dict(zip(("stride", "padding"), rest, strict=False))
            setattr(self, name, conv(inputs, outputs, kernel_size=kernel, **options))

    def _run(self, x) -> list:
        out = []
        for path in self.paths:
            y = x
            for step in path:
                if step == "avg":
                    y = F.avg_pool2d(y, kernel_size=3, stride=1, padding=1)
                elif step == "max":
                    y = F.max_pool2d(y, kernel_size=3, stride=2)
                elif isinstance(step, tuple):
                    y = torch.cat([getattr(self, name)(y) for name in step], 1)
                else:
                    y = getattr(self, step)(y)
            out.append(y)
        return out

    def forward(self, x):
        return torch.cat(self._run(x), 1)


class InceptionA(_Branches):
    """Kernels of 1, 5, and 3 twice, and a mean."""

    paths = (
        ("branch1x1",), ("branch5x5_1", "branch5x5_2"),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), ("avg", "branch_pool"),
    )  # fmt: skip

    def __init__(self, in_channels: int, pool_features: int, conv_block=None):
        super().__init__()
        self._add(conv_block, (
            ("branch1x1", in_channels, 64, 1),
            ("branch5x5_1", in_channels, 48, 1), ("branch5x5_2", 48, 64, 5, 1, 2),
            ("branch3x3dbl_1", in_channels, 64, 1), ("branch3x3dbl_2", 64, 96, 3, 1, 1),
            ("branch3x3dbl_3", 96, 96, 3, 1, 1),
            ("branch_pool", in_channels, pool_features, 1),
        ))  # fmt: skip


class InceptionB(_Branches):
    """Kernels of 3 with stride 2, and a maximum."""

    paths = (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), ("max",))

    def __init__(self, in_channels: int, conv_block=None):
        super().__init__()
        self._add(conv_block, (
            ("branch3x3", in_channels, 384, 3, 2),
            ("branch3x3dbl_1", in_channels, 64, 1), ("branch3x3dbl_2", 64, 96, 3, 1, 1),
            ("branch3x3dbl_3", 96, 96, 3, 2),
        ))  # fmt: skip


_WIDE, _TALL = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))


class InceptionC(_Branches):
    """Kernels of 7 in one direction after the other."""

    paths = (
        ("branch1x1",), ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
        tuple(f"branch7x7dbl_{i}" for i in range(1, 6)), ("avg", "branch_pool"),
    )  # fmt: skip

    def __init__(self, in_channels: int, channels_7x7: int, conv_block=None):
        super().__init__()
        c = channels_7x7
        self._add(conv_block, (
            ("branch1x1", in_channels, 192, 1),
            ("branch7x7_1", in_channels, c, 1), ("branch7x7_2", c, c, *_WIDE),
            ("branch7x7_3", c, 192, *_TALL),
            ("branch7x7dbl_1", in_channels, c, 1), ("branch7x7dbl_2", c, c, *_TALL),
            ("branch7x7dbl_3", c, c, *_WIDE), ("branch7x7dbl_4", c, c, *_TALL),
            ("branch7x7dbl_5", c, 192, *_WIDE),
            ("branch_pool", in_channels, 192, 1),
        ))  # fmt: skip


class InceptionD(_Branches):
    """Kernels of 3 and of 7 with stride 2, and a maximum."""

    paths = (
        ("branch3x3_1", "branch3x3_2"),
        ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"), ("max",),
    )  # fmt: skip

    def __init__(self, in_channels: int, conv_block=None):
        super().__init__()
        self._add(conv_block, (
            ("branch3x3_1", in_channels, 192, 1), ("branch3x3_2", 192, 320, 3, 2),
            ("branch7x7x3_1", in_channels, 192, 1), ("branch7x7x3_2", 192, 192, *_WIDE),
            ("branch7x7x3_3", 192, 192, *_TALL), ("branch7x7x3_4", 192, 192, 3, 2),
        ))  # fmt: skip


class InceptionE(_Branches):
    """Kernels of 3 in both directions beside each other."""

    paths = (
        ("branch1x1",), ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
        ("avg", "branch_pool"),
    )  # fmt: skip

    def __init__(self, in_channels: int, conv_block=None):
        super().__init__()
        wide, tall = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        self._add(conv_block, (
            ("branch1x1", in_channels, 320, 1),
            ("branch3x3_1", in_channels, 384, 1), ("branch3x3_2a", 384, 384, *wide),
            ("branch3x3_2b", 384, 384, *tall),
            ("branch3x3dbl_1", in_channels, 448, 1), ("branch3x3dbl_2", 448, 384, 3, 1, 1),
            ("branch3x3dbl_3a", 384, 384, *wide), ("branch3x3dbl_3b", 384, 384, *tall),
            ("branch_pool", in_channels, 192, 1),
        ))  # fmt: skip


class InceptionAux(nn.Module):
    """A classifier from the middle of the network."""

    def __init__(self, in_channels: int, num_classes: int, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.conv0 = conv(in_channels, 128, kernel_size=1)
        self.conv1 = conv(128, 768, kernel_size=5)
        self.conv1.stddev = 0.01
        self.fc = nn.Linear(768, num_classes)
        self.fc.stddev = 0.001

    def forward(self, x):
        x = self.conv1(self.conv0(F.avg_pool2d(x, kernel_size=5, stride=3)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Inception3(nn.Module):
    """Inceptions: (N, 3, 299, 299) to (N, classes), with one more classifier in training."""

    def __init__(
        self, num_classes=1000, aux_logits=True, transform_input=False, inception_blocks=None,
        init_weights=None, dropout: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        blocks = inception_blocks or [
            BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, InceptionAux,
        ]  # fmt: skip
        if init_weights is None:
            warn_of_initialization("inception_v3")
            init_weights = True
        if len(blocks) != 7:
            raise ValueError(f"length of inception_blocks should be 7 instead of {len(blocks)}")
        conv, a, b, c, d, e, aux = blocks
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = a(192, pool_features=32)
        self.Mixed_5c = a(256, pool_features=64)
        self.Mixed_5d = a(288, pool_features=64)
        self.Mixed_6a = b(288)
        for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
            setattr(self, f"Mixed_6{letter}", c(768, channels_7x7=width))
        self.AuxLogits = aux(768, num_classes) if aux_logits else None
        self.Mixed_7a = d(768)
        self.Mixed_7b = e(1280)
        self.Mixed_7c = e(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights:
            for m in self.modules():
                if isinstance(m, (nn.Conv2d, nn.Linear)):
                    std = float(getattr(m, "stddev", 0.1))
                    nn.init.trunc_normal_(m.weight, mean=0.0, std=std, a=-2, b=2)
                elif isinstance(m, nn.BatchNorm2d):
                    nn.init.ones_(m.weight)
                    nn.init.zeros_(m.bias)

    def forward(self, x):
        x = as_trained(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e"):
            x = getattr(self, f"Mixed_{name}")(x)
        extra = self.training and self.aux_logits
        aux = self.AuxLogits(x) if extra else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        x = self.fc(torch.flatten(self.dropout(self.avgpool(x)), 1))
        return InceptionOutputs(x, aux) if extra else x


_loaded = partial(load_with_classifiers, default=True, off=("AuxLogits",))
register(globals(), "inception_v3", Inception3, load=_loaded)
