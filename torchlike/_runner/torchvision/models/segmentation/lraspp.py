"""torchvision.models.segmentation.lraspp: Lite R-ASPP (https://arxiv.org/abs/1905.02244)."""

from __future__ import annotations

from collections import OrderedDict

from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models.segmentation._utils import load, mobilenet_backbone
from torchlike.nn import functional as F

__all__ = ["LRASPP"]


class LRASPPHead(nn.Module):
    """Features of two sizes as classes of the larger one's pixels."""

    def __init__(self, low_channels, high_channels, num_classes: int, inter_channels: int):
        super().__init__()
        self.cbr = nn.Sequential(
            nn.Conv2d(high_channels, inter_channels, 1, bias=False),
            nn.BatchNorm2d(inter_channels), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(high_channels, inter_channels, 1, bias=False),
            nn.Sigmoid(),
        )  # fmt: skip
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(inter_channels, num_classes, 1)

    def forward(self, input):
        low, high = input["low"], input["high"]
        x = self.cbr(high) * self.scale(high)
        x = F.interpolate(x, size=low.shape[-2:], mode="bilinear", align_corners=False)
        return self.low_classifier(low) + self.high_classifier(x)


class LRASPP(nn.Module):
    """A backbone and an ``LRASPPHead``: (N, 3, H, W) to {"out": (N, classes, H, W)}."""

    def __init__(
        self, backbone, low_channels, high_channels, num_classes: int, inter_channels: int = 128
    ):
        super().__init__()
        self.backbone = backbone
        self.classifier = LRASPPHead(low_channels, high_channels, num_classes, inter_channels)

    def forward(self, input):
        out = self.classifier(self.backbone(input))
        size = input.shape[-2:]
        out = F.interpolate(out, size=size, mode="bilinear", align_corners=False)
        return OrderedDict(out=out)


def _make(num_classes, weights_backbone):
    net, high, low = mobilenet_backbone(weights_backbone, ("high", "low"))
    return LRASPP(net, low, high, num_classes)


_make.aux = False
register(globals(), "lraspp_mobilenet_v3_large", _make, load=load, backbone="mobilenet_v3_large")
