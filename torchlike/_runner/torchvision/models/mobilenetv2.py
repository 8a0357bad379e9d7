"""torchvision.models.mobilenetv2: MobileNet V2 (https://arxiv.org/abs/1801.04381)."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models._utils import _make_divisible, init_convolutions
from torchlike._runner.torchvision.ops.misc import Conv2dNormActivation
from torchlike.nn import functional as F

__all__ = ["MobileNetV2"]
# How much wider inside, channels, how many, the first one's stride.
_SETTING = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


class InvertedResidual(nn.Module):
    """More channels, a convolution in each, fewer; the input added where the shapes agree."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio, norm_layer=None):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm, inside = norm_layer or nn.BatchNorm2d, round(inp * expand_ratio)
        make = Conv2dNormActivation
        layers = []
        if expand_ratio != 1:
            layers.append(make(inp, inside, 1, norm_layer=norm, activation_layer=nn.ReLU6))
        layers += [
            make(
                inside, inside, stride=stride, groups=inside, norm_layer=norm,
                activation_layer=nn.ReLU6,
            ),
            nn.Conv2d(inside, oup, 1, bias=False),
            norm(oup),
        ]  # fmt: skip
        self.conv = nn.Sequential(*layers)
        self.stride, self.out_channels, self._is_cn = stride, oup, stride > 1
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x):
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Inverted residuals and a linear layer: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, num_classes=1000, width_mult=1.0, inverted_residual_setting=None, round_nearest=8,
        block=None, norm_layer=None, dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        block, norm = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        setting = _SETTING if inverted_residual_setting is None else inverted_residual_setting
        if len(setting) == 0 or len(setting[0]) != 4:
            raise ValueError(
                "inverted_residual_setting should be non-empty or a 4-element list, got "
                f"{inverted_residual_setting}"
            )
        width = _make_divisible(32 * width_mult, round_nearest)
        self.last_channel = _make_divisible(1280 * max(1.0, width_mult), round_nearest)
        layers = [
            Conv2dNormActivation(3, width, stride=2, norm_layer=norm, activation_layer=nn.ReLU6)
        ]
        for ratio, channels, count, stride in setting:
            out = _make_divisible(channels * width_mult, round_nearest)
            for i in range(count):
                step = stride if i == 0 else 1
                layers.append(block(width, out, step, expand_ratio=ratio, norm_layer=norm))
                width = out
        layers.append(
            Conv2dNormActivation(
                width, self.last_channel, 1, norm_layer=norm, activation_layer=nn.ReLU6
            )
        )
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes)
        )
        init_convolutions(self, linear_std=0.01, mode="fan_out")

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


register(globals(), "mobilenet_v2", MobileNetV2)
