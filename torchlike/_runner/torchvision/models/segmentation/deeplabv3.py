"""torchvision.models.segmentation.deeplabv3: DeepLab V3 (https://arxiv.org/abs/1706.05587)."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models.segmentation._utils import (
    _SimpleSegmentationModel,
    load,
)
from torchlike._runner.torchvision.models.segmentation.fcn import builder
from torchlike.nn import functional as F

__all__ = ["DeepLabV3"]


class DeepLabV3(_SimpleSegmentationModel):
    """A backbone and a ``DeepLabHead``, with an ``FCNHead`` in its middle."""


def _layers(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> tuple:
    padding = dilation if kernel == 3 else 0
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


class ASPPConv(nn.Sequential):
    """A convolution with holes."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int):
        super().__init__(*_layers(in_channels, out_channels, 3, dilation))


class ASPPPooling(nn.Sequential):
    """The mean of the image, at each pixel."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(nn.AdaptiveAvgPool2d(1), *_layers(in_channels, out_channels, 1))

    def forward(self, x):
        size = x.shape[-2:]
        return F.interpolate(super().forward(x), size=size, mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Convolutions of different reach beside each other."""

    def __init__(self, in_channels: int, atrous_rates, out_channels: int = 256):
        super().__init__()
        layers = [nn.Sequential(*_layers(in_channels, out_channels, 1))]
        layers += [ASPPConv(in_channels, out_channels, rate) for rate in atrous_rates]
        layers.append(ASPPPooling(in_channels, out_channels))
        self.convs = nn.ModuleList(layers)
        self.project = nn.Sequential(
            *_layers(len(layers) * out_channels, out_channels, 1), nn.Dropout(0.5)
        )

    def forward(self, x):
        return self.project(torch.cat([layer(x) for layer in self.convs], dim=1))


class DeepLabHead(nn.Sequential):
    """(N, in_channels, H, W) to (N, num_classes, H, W)."""

    def __init__(self, in_channels: int, num_classes: int, atrous_rates=(12, 24, 36)):
        super().__init__(
            ASPP(in_channels, atrous_rates), *_layers(256, 256, 3),
            nn.Conv2d(256, num_classes, 1),
        )  # fmt: skip


for _name in ("resnet50", "resnet101", "mobilenet_v3_large"):
    _make = builder(DeepLabV3, DeepLabHead, _name)
    register(globals(), f"deeplabv3_{_name}", _make, load=load, backbone=_name)
