"""torchvision.models.regnet: RegNet X and Y (https://arxiv.org/abs/2003.13678)."""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial

import numpy as np

from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models._utils import _make_divisible
from torchlike._runner.torchvision.ops.misc import Conv2dNormActivation, SqueezeExcitation

__all__ = ["RegNet"]


class SimpleStemIN(Conv2dNormActivation):
    """A convolution of 3 x 3 with stride 2."""

    def __init__(self, width_in, width_out, norm_layer, activation_layer):
        super().__init__(
            width_in, width_out, 3, 2, norm_layer=norm_layer, activation_layer=activation_layer
        )


class BottleneckTransform(nn.Sequential):
    """Convolutions of 1 x 1, 3 x 3 in groups, a squeeze, and 1 x 1."""

    def __init__(
        self, width_in, width_out, stride, norm_layer, activation_layer, group_width,
        bottleneck_multiplier, se_ratio,
    ):  # fmt: skip
        inside = round(width_out * bottleneck_multiplier)
        make = partial(
            Conv2dNormActivation, norm_layer=norm_layer, activation_layer=activation_layer
        )
        layers = OrderedDict(
            a=make(width_in, inside, 1),
            b=make(inside, inside, 3, stride, groups=inside // group_width),
        )
        if se_ratio:
            squeezed = round(se_ratio * width_in)
            layers["se"] = SqueezeExcitation(inside, squeezed, activation=activation_layer)
        layers["c"] = make(inside, width_out, 1, activation_layer=None)
        super().__init__(layers)


class ResBottleneckBlock(nn.Module):
    """A bottleneck, and the input added."""

    def __init__(
        self, width_in, width_out, stride, norm_layer, activation_layer, group_width=1,
        bottleneck_multiplier=1.0, se_ratio=None,
    ):  # fmt: skip
        super().__init__()
        self.proj = None
        if width_in != width_out or stride != 1:
            self.proj = Conv2dNormActivation(
                width_in, width_out, 1, stride, norm_layer=norm_layer, activation_layer=None
            )
        self.f = BottleneckTransform(
            width_in, width_out, stride, norm_layer, activation_layer, group_width,
            bottleneck_multiplier, se_ratio,
        )  # fmt: skip
        self.activation = activation_layer(inplace=True)

    def forward(self, x):
        return self.activation((x if self.proj is None else self.proj(x)) + self.f(x))


class AnyStage(nn.Sequential):
    """Blocks of one width, the first with the stride."""

    def __init__(
        self, width_in, width_out, stride, depth, block_constructor, norm_layer, activation_layer,
        group_width, bottleneck_multiplier, se_ratio=None, stage_index=0,
    ):  # fmt: skip
        super().__init__()
        for i in range(depth):
            block = block_constructor(
                width_out if i else width_in, width_out, 1 if i else stride, norm_layer,
                activation_layer, group_width, bottleneck_multiplier, se_ratio,
            )  # fmt: skip
            self.add_module(f"block{stage_index}-{i}", block)


class BlockParams:
    """Depths, widths, group widths, multipliers and strides of the stages."""

    def __init__(
        self, depths, widths, group_widths, bottleneck_multipliers, strides, se_ratio=None
    ):
        self.depths, self.widths, self.group_widths = depths, widths, group_widths
        self.bottleneck_multipliers, self.strides = bottleneck_multipliers, strides
        self.se_ratio = se_ratio

    @classmethod
    def from_init_params(
        cls, depth, w_0, w_a, w_m, group_width, bottleneck_multiplier=1.0, se_ratio=None, **kwargs
    ):
        """The stages whose blocks' widths are nearest to a line, in powers of ``w_m``.

        Raises ``ValueError`` for a ``w_0`` that is not a multiple of 8, and for other bad numbers.
        """
        if w_a < 0 or w_0 <= 0 or w_m <= 1 or w_0 % 8 != 0:
            raise ValueError("Invalid RegNet settings")
        line = np.arange(depth) * np.float32(w_a) + np.float32(w_0)
        powers = np.round(np.log(line / w_0) / math.log(w_m))
        blocks = (np.round(w_0 * np.power(w_m, powers) / 8) * 8).astype(int).tolist()
        widths = sorted(set(blocks))
        depths = [blocks.count(width) for width in widths]
        groups = [min(group_width, int(width * bottleneck_multiplier)) for width in widths]
        inside = [
            _make_divisible(int(width * bottleneck_multiplier), group)
            for width, group in zip(widths, groups, strict=True)
        ]
        count = len(widths)
        return cls(
            depths, [int(width / bottleneck_multiplier) for width in inside], groups,
            [bottleneck_multiplier] * count, [2] * count, se_ratio,
        )  # fmt: skip

    def _get_expanded_params(self):
        return zip(
            self.widths, self.strides, self.depths, self.group_widths, self.bottleneck_multipliers,
            strict=True,
        )  # fmt: skip


class RegNet(nn.Module):
    """A stem, four stages and a linear layer: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, block_params: BlockParams, num_classes=1000, stem_width=32, stem_type=None,
        block_type=None, norm_layer=None, activation=None,
    ):  # fmt: skip
        super().__init__()
        norm, act = norm_layer or nn.BatchNorm2d, activation or nn.ReLU
        self.stem = (stem_type or SimpleStemIN)(3, stem_width, norm, act)
        width, stages = stem_width, OrderedDict()
        for i, (out, stride, depth, group, multiplier) in enumerate(
            block_params._get_expanded_params(), 1
        ):
            stages[f"block{i}"] = AnyStage(
                width, out, stride, depth, block_type or ResBottleneckBlock, norm, act, group,
                multiplier, block_params.se_ratio, stage_index=i,
            )  # fmt: skip
            width = out
        self.trunk_output = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                fan_out = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
                nn.init.normal_(m.weight, mean=0.0, std=math.sqrt(2.0 / fan_out))
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.ones_(m.weight)
                nn.init.zeros_(m.bias)
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0.0, std=0.01)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.avgpool(self.trunk_output(self.stem(x)))
        return self.fc(x.flatten(start_dim=1))


# Depth, w_0, w_a, w_m, width of the groups; those of Y have squeezes.
_SETTINGS = {
    "y_400mf": (16, 48, 27.89, 2.09, 8), "y_800mf": (14, 56, 38.84, 2.4, 16),
    "y_1_6gf": (27, 48, 20.71, 2.65, 24), "y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "y_8gf": (17, 192, 76.82, 2.19, 56), "y_16gf": (18, 200, 106.23, 2.48, 112),
    "y_32gf": (20, 232, 115.89, 2.53, 232), "y_128gf": (27, 456, 160.83, 2.52, 264),
    "x_400mf": (22, 24, 24.48, 2.54, 16), "x_800mf": (16, 56, 35.73, 2.28, 16),
    "x_1_6gf": (18, 80, 34.01, 2.25, 24), "x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "x_8gf": (23, 80, 49.56, 2.88, 120), "x_16gf": (22, 216, 55.59, 2.1, 128),
    "x_32gf": (23, 320, 69.86, 2.0, 168),
}  # fmt: skip


def _made(setting: tuple, se_ratio: float | None):
    def make(**kwargs):
        kwargs.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=1e-05, momentum=0.1))
        return RegNet(BlockParams.from_init_params(*setting, se_ratio=se_ratio), **kwargs)

    return make


for _name, _setting in _SETTINGS.items():
    register(globals(), f"regnet_{_name}", _made(_setting, 0.25 if _name[0] == "y" else None))
