"""torchvision.models.segmentation.fcn: fully convolutional networks
(https://arxiv.org/abs/1411.4038)."""

from __future__ import annotations

from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models.segmentation._utils import (
    _SimpleSegmentationModel,
    load,
    mobilenet_backbone,
    resnet_backbone,
)

__all__ = ["FCN"]


class FCN(_SimpleSegmentationModel):
    """A backbone and an ``FCNHead``, with another one in its middle."""


class FCNHead(nn.Sequential):
    """(N, in_channels, H, W) to (N, channels, H, W)."""

    def __init__(self, in_channels: int, channels: int):
        inside = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, inside, 3, padding=1, bias=False), nn.BatchNorm2d(inside),
            nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(inside, channels, 1),
        )  # fmt: skip


def builder(network, head, backbone: str):
    """What makes a network of a backbone and a head, and of an ``FCNHead`` in its middle."""

    def make(num_classes, weights_backbone, aux_loss=None):
        aux = bool(aux_loss)
        if backbone.startswith("resnet"):
            net, width, early = resnet_backbone(backbone, weights_backbone, aux)
        else:
            net, width, early = mobilenet_backbone(
                weights_backbone, ("out", "aux" if aux else None)
            )
        middle = FCNHead(early, num_classes) if aux else None
        return network(net, head(width, num_classes), middle)

    make.aux = True
    return make


for _name in ("resnet50", "resnet101"):
    _make = builder(FCN, FCNHead, _name)
    register(globals(), f"fcn_{_name}", _make, load=load, backbone=_name)
