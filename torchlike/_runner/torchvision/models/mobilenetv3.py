"""torchvision.models.mobilenetv3: MobileNet V3 (https://arxiv.org/abs/1905.02244)."""

from __future__ import annotations

from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models._utils import _make_divisible, init_convolutions
from torchlike._runner.torchvision.ops.misc import Conv2dNormActivation
from torchlike._runner.torchvision.ops.misc import SqueezeExcitation as _SqueezeExcitation

__all__ = ["MobileNetV3"]

SqueezeExcitation = partial(_SqueezeExcitation, scale_activation=nn.Hardsigmoid)


class InvertedResidualConfig:
    """Channels, kernel, activation ("RE" or "HS"), stride and dilation of a block."""

    def __init__(
        self, input_channels, kernel, expanded_channels, out_channels, use_se, activation, stride,
        dilation, width_mult,
    ):  # fmt: skip
        scaled = (
            self.adjust_channels(c, width_mult)
            for c in (input_channels, expanded_channels, out_channels)
        )
        self.input_channels, self.expanded_channels, self.out_channels = scaled
        self.kernel, self.use_se, self.use_hs = kernel, use_se, activation == "HS"
        self.stride, self.dilation = stride, dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        """So many times as many, a multiple of 8."""
        return _make_divisible(channels * width_mult, 8)


class InvertedResidual(nn.Module):
    """More channels, a convolution in each, a squeeze, fewer; the input added if it fits."""

    def __init__(self, cnf: InvertedResidualConfig, norm_layer, se_layer=SqueezeExcitation):
        super().__init__()
        if not 1 <= cnf.stride <= 2:
            raise ValueError("illegal stride value")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        inside = cnf.expanded_channels
        make = partial(
            Conv2dNormActivation, norm_layer=norm_layer,
            activation_layer=nn.Hardswish if cnf.use_hs else nn.ReLU,
        )  # fmt: skip
        layers = []
        if inside != cnf.input_channels:
            layers.append(make(cnf.input_channels, inside, 1))
        stride = 1 if cnf.dilation > 1 else cnf.stride
        layers.append(
            make(inside, inside, cnf.kernel, stride, groups=inside, dilation=cnf.dilation)
        )
        if cnf.use_se:
            layers.append(se_layer(inside, _make_divisible(inside // 4, 8)))
        layers.append(make(inside, cnf.out_channels, 1, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.out_channels, self._is_cn = cnf.out_channels, cnf.stride > 1

    def forward(self, input):
        out = self.block(input)
        return out + input if self.use_res_connect else out


class MobileNetV3(nn.Module):
    """Inverted residuals and two linear layers: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, inverted_residual_setting, last_channel, num_classes=1000, block=None,
        norm_layer=None, dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        setting = inverted_residual_setting
        if not setting:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not all(isinstance(s, InvertedResidualConfig) for s in setting):
            raise TypeError("The inverted_residual_setting should be List[InvertedResidualConfig]")
        block = block or InvertedResidual
        norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        make = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.Hardswish)
        layers = [make(3, setting[0].input_channels, 3, 2)]
        layers += [block(cnf, norm) for cnf in setting]
        width = setting[-1].out_channels
        layers.append(make(width, 6 * width, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * width, last_channel), nn.Hardswish(inplace=True),
            nn.Dropout(p=dropout, inplace=True), nn.Linear(last_channel, num_classes),
        )  # fmt: skip
        init_convolutions(self, linear_std=0.01, mode="fan_out")

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# Kernel, channels inside and out, whether squeezed, activation, stride. From "tail" on the blocks
# may have half of the channels, and a dilation in the place of their stride.
_BLOCKS = {
    "mobilenet_v3_large": (
        (3, 16, 16, False, "RE", 1), (3, 64, 24, False, "RE", 2), (3, 72, 24, False, "RE", 1),
        (5, 72, 40, True, "RE", 2), (5, 120, 40, True, "RE", 1), (5, 120, 40, True, "RE", 1),
        (3, 240, 80, False, "HS", 2), (3, 200, 80, False, "HS", 1), (3, 184, 80, False, "HS", 1),
        (3, 184, 80, False, "HS", 1), (3, 480, 112, True, "HS", 1), (3, 672, 112, True, "HS", 1),
        "tail",
        (5, 672, 160, True, "HS", 2), (5, 960, 160, True, "HS", 1), (5, 960, 160, True, "HS", 1),
    ),
    "mobilenet_v3_small": (
        (3, 16, 16, True, "RE", 2), (3, 72, 24, False, "RE", 2), (3, 88, 24, False, "RE", 1),
        (5, 96, 40, True, "HS", 2), (5, 240, 40, True, "HS", 1), (5, 240, 40, True, "HS", 1),
        (5, 120, 48, True, "HS", 1), (5, 144, 48, True, "HS", 1),
        "tail",
        (5, 288, 96, True, "HS", 2), (5, 576, 96, True, "HS", 1), (5, 576, 96, True, "HS", 1),
    ),
}  # fmt: skip
_LAST = {"mobilenet_v3_large": 1280, "mobilenet_v3_small": 1024}


def _mobilenet_v3_conf(
    arch: str, width_mult: float = 1.0, reduced_tail: bool = False, dilated: bool = False
) -> tuple[list[InvertedResidualConfig], int]:
    share, dilation, width = 2 if reduced_tail else 1, 2 if dilated else 1, 16
    setting, tail = [], False
    for entry in _BLOCKS[arch]:
        if entry == "tail":
            tail, first = True, len(setting)
            continue
        kernel, inside, out, squeezed, activation, stride = entry
        if tail:
            out //= share
            inside //= share if len(setting) > first else 1
        setting.append(
            InvertedResidualConfig(
                width, kernel, inside, out, squeezed, activation, stride,
                dilation if tail else 1, width_mult,
            )
        )  # fmt: skip
        width = out
    adjust = InvertedResidualConfig.adjust_channels
    return setting, adjust(_LAST[arch] // share, width_mult)


def _made(arch: str):
    def make(width_mult=1.0, reduced_tail=False, dilated=False, **kwargs):
        setting = _mobilenet_v3_conf(arch, width_mult, reduced_tail, dilated)
        return MobileNetV3(*setting, **kwargs)

    return make


for _name in _BLOCKS:
    register(globals(), _name, _made(_name))
