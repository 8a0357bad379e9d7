"""torchvision.models.efficientnet: EfficientNet (https://arxiv.org/abs/1905.11946) and version 2
(https://arxiv.org/abs/2104.00298)."""

from __future__ import annotations

import copy
import math
from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models._utils import _make_divisible
from torchlike._runner.torchvision.ops.misc import Conv2dNormActivation, SqueezeExcitation
from torchlike._runner.torchvision.ops.stochastic_depth import StochasticDepth

__all__ = ["EfficientNet"]


class _MBConvConfig:
    """How a stage's blocks are made, and how many there are."""

    def __init__(
        self, expand_ratio, kernel, stride, input_channels, out_channels, num_layers, block
    ):
        self.expand_ratio, self.kernel, self.stride = expand_ratio, kernel, stride
        self.input_channels, self.out_channels = input_channels, out_channels
        self.num_layers, self.block = num_layers, block

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        """So many times as many, a multiple of 8."""
        return _make_divisible(channels * width_mult, 8, min_value)


class MBConvConfig(_MBConvConfig):
    """A stage of ``MBConv``, scaled in width and depth."""

    def __init__(
        self, expand_ratio, kernel, stride, input_channels, out_channels, num_layers,
        width_mult: float = 1.0, depth_mult: float = 1.0, block=None,
    ):  # fmt: skip
        super().__init__(
            expand_ratio, kernel, stride, self.adjust_channels(input_channels, width_mult),
            self.adjust_channels(out_channels, width_mult), math.ceil(num_layers * depth_mult),
            block or MBConv,
        )  # fmt: skip


class FusedMBConvConfig(_MBConvConfig):
    """A stage of ``FusedMBConv``."""

    def __init__(
        self, expand_ratio, kernel, stride, input_channels, out_channels, num_layers, block=None
    ):
        super().__init__(
            expand_ratio, kernel, stride, input_channels, out_channels, num_layers,
            block or FusedMBConv,
        )  # fmt: skip


class _Block(nn.Module):
    """``layers(make, inside)`` with stochastic depth, and the input added where it fits."""

    def __init__(self, cnf, stochastic_depth_prob: float, norm_layer):
        super().__init__()
        if not 1 <= cnf.stride <= 2:
            raise ValueError("illegal stride value")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        make = partial(Conv2dNormActivation, norm_layer=norm_layer, activation_layer=nn.SiLU)
        inside = cnf.adjust_channels(cnf.input_channels, cnf.expand_ratio)
        self.block = nn.Sequential(*self._layers(cnf, make, inside))
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.out_channels = cnf.out_channels

    def forward(self, input):
        out = self.block(input)
        return self.stochastic_depth(out) + input if self.use_res_connect else out


class MBConv(_Block):
    """More channels, a convolution in each, a squeeze, fewer."""

    def __init__(self, cnf, stochastic_depth_prob, norm_layer, se_layer=SqueezeExcitation):
        self.__dict__["_se"] = se_layer
        super().__init__(cnf, stochastic_depth_prob, norm_layer)

    def _layers(self, cnf, make, inside):
        layers = [make(cnf.input_channels, inside, 1)] if inside != cnf.input_channels else []
        squeezed = max(1, cnf.input_channels // 4)
        layers += [
            make(inside, inside, cnf.kernel, cnf.stride, groups=inside),
            self._se(inside, squeezed, activation=partial(nn.SiLU, inplace=True)),
            make(inside, cnf.out_channels, 1, activation_layer=None),
        ]
        return layers


class FusedMBConv(_Block):
    """One convolution to more channels, and fewer."""

    def _layers(self, cnf, make, inside):
        if inside == cnf.input_channels:
            return [make(inside, cnf.out_channels, cnf.kernel, cnf.stride)]
        return [
            make(cnf.input_channels, inside, cnf.kernel, cnf.stride),
            make(inside, cnf.out_channels, 1, activation_layer=None),
        ]


class EfficientNet(nn.Module):
    """Stages of blocks and a linear layer: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, inverted_residual_setting, dropout: float, stochastic_depth_prob: float = 0.2,
        num_classes=1000, norm_layer=None, last_channel=None,
    ):  # fmt: skip
        super().__init__()
        setting = inverted_residual_setting
        if not setting:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not all(isinstance(s, _MBConvConfig) for s in setting):
            raise TypeError("The inverted_residual_setting should be List[MBConvConfig]")
        norm = norm_layer or nn.BatchNorm2d
        make = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.SiLU)
        layers = [make(3, setting[0].input_channels, 3, 2)]
        total, done = sum(cnf.num_layers for cnf in setting), 0
        for cnf in setting:
            stage = []
            for i in range(cnf.num_layers):
                one = copy.copy(cnf)
                if i:
                    one.input_channels, one.stride = one.out_channels, 1
                stage.append(one.block(one, stochastic_depth_prob * float(done) / total, norm))
                done += 1
            layers.append(nn.Sequential(*stage))
        width = setting[-1].out_channels
        last = 4 * width if last_channel is None else last_channel
        layers.append(make(width, last, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout, inplace=True), nn.Linear(last, num_classes)
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.ones_(m.weight)
                nn.init.zeros_(m.bias)
            elif isinstance(m, nn.Linear):
                bound = 1.0 / math.sqrt(m.out_features)
                nn.init.uniform_(m.weight, -bound, bound)
                nn.init.zeros_(m.bias)

    def _forward_impl(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))

    def forward(self, x):
        return self._forward_impl(x)


# How much wider inside, kernel, stride, channels in and out, how many; an F is for the fused ones.
_STAGES = (
    (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
)  # fmt: skip
_STAGES_V2 = {
    "s": (
        ("F", 1, 3, 1, 24, 24, 2), ("F", 4, 3, 2, 24, 48, 4), ("F", 4, 3, 2, 48, 64, 4),
        ("M", 4, 3, 2, 64, 128, 6), ("M", 6, 3, 1, 128, 160, 9), ("M", 6, 3, 2, 160, 256, 15),
    ),
    "m": (
        ("F", 1, 3, 1, 24, 24, 3), ("F", 4, 3, 2, 24, 48, 5), ("F", 4, 3, 2, 48, 80, 5),
        ("M", 4, 3, 2, 80, 160, 7), ("M", 6, 3, 1, 160, 176, 14), ("M", 6, 3, 2, 176, 304, 18),
        ("M", 6, 3, 1, 304, 512, 5),
    ),
    "l": (
        ("F", 1, 3, 1, 32, 32, 4), ("F", 4, 3, 2, 32, 64, 7), ("F", 4, 3, 2, 64, 96, 7),
        ("M", 4, 3, 2, 96, 192, 10), ("M", 6, 3, 1, 192, 224, 19), ("M", 6, 3, 2, 224, 384, 25),
        ("M", 6, 3, 1, 384, 640, 7),
    ),
}  # fmt: skip
# Width, depth, dropout, and the norm's options where they are not the usual ones.
_SLOW = {"eps": 0.001, "momentum": 0.01}
_SCALES = (
    (1.0, 1.0, 0.2, {}), (1.0, 1.1, 0.2, {}), (1.1, 1.2, 0.3, {}), (1.2, 1.4, 0.3, {}),
    (1.4, 1.8, 0.4, {}), (1.6, 2.2, 0.4, _SLOW), (1.8, 2.6, 0.5, _SLOW), (2.0, 3.1, 0.5, _SLOW),
)  # fmt: skip


def _made(stages, last, norm, dropout):
    def make(**kwargs):
        if norm:
            kwargs.setdefault("norm_layer", partial(nn.BatchNorm2d, **norm))
        return EfficientNet(stages(), kwargs.pop("dropout", dropout), last_channel=last, **kwargs)

    return make


def _scaled(width: float, depth: float) -> list:
    return [MBConvConfig(*s, width_mult=width, depth_mult=depth) for s in _STAGES]


def _second(size: str) -> list:
    kinds = {"F": FusedMBConvConfig, "M": MBConvConfig}
    return [kinds[kind](*stage) for kind, *stage in _STAGES_V2[size]]


for _i, (_width, _depth, _dropout, _norm) in enumerate(_SCALES):
    _stages = partial(_scaled, _width, _depth)
    register(globals(), f"efficientnet_b{_i}", _made(_stages, None, _norm, _dropout))
for _size, _dropout in (("s", 0.2), ("m", 0.3), ("l", 0.4)):
    _stages = partial(_second, _size)
    register(globals(), f"efficientnet_v2_{_size}", _made(_stages, 1280, {"eps": 0.001}, _dropout))
