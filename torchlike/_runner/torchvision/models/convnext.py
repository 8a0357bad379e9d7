"""torchvision.models.convnext: ConvNeXt (https://arxiv.org/abs/2201.03545)."""

from __future__ import annotations

from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.ops.misc import Conv2dNormActivation, Permute
from torchlike._runner.torchvision.ops.stochastic_depth import StochasticDepth
from torchlike.nn import functional as F

__all__ = ["ConvNeXt"]


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over the channels of (N, C, H, W)."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class CNBlock(nn.Module):
    """A convolution in each channel, two linear layers, and the input added."""

    def __init__(self, dim, layer_scale: float, stochastic_depth_prob: float, norm_layer=None):
        super().__init__()
        norm = norm_layer or partial(nn.LayerNorm, eps=1e-6)
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim, bias=True), Permute([0, 2, 3, 1]),
            norm(dim), nn.Linear(dim, 4 * dim, bias=True), nn.GELU(),
            nn.Linear(4 * dim, dim, bias=True), Permute([0, 3, 1, 2]),
        )  # fmt: skip
        self.layer_scale = nn.Parameter(torch.ones(dim, 1, 1) * layer_scale)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, input):
        return self.stochastic_depth(self.layer_scale * self.block(input)) + input


class CNBlockConfig:
    """A stage's channels, the next one's, and how many blocks it has."""

    def __init__(self, input_channels: int, out_channels: int | None, num_layers: int):
        self.input_channels, self.out_channels = input_channels, out_channels
        self.num_layers = num_layers


class ConvNeXt(nn.Module):
    """Stages of blocks and a linear layer: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, block_setting, stochastic_depth_prob=0.0, layer_scale=1e-6, num_classes=1000,
        block=None, norm_layer=None, **kwargs,
    ):  # fmt: skip
        super().__init__()
        if not block_setting:
            raise ValueError("The block_setting should not be empty")
        if not all(isinstance(s, CNBlockConfig) for s in block_setting):
            raise TypeError("The block_setting should be List[CNBlockConfig]")
        block, norm = block or CNBlock, norm_layer or partial(LayerNorm2d, eps=1e-6)
        layers = [
            Conv2dNormActivation(
                3, block_setting[0].input_channels, 4, 4, 0, norm_layer=norm,
                activation_layer=None, bias=True,
            )
        ]  # fmt: skip
        total, done = sum(cnf.num_layers for cnf in block_setting), 0
        for cnf in block_setting:
            stage = []
            for _ in range(cnf.num_layers):
                p = stochastic_depth_prob * done / (total - 1.0)
                stage.append(block(cnf.input_channels, layer_scale, p))
                done += 1
            layers.append(nn.Sequential(*stage))
            if cnf.out_channels is not None:
                halved = nn.Conv2d(cnf.input_channels, cnf.out_channels, 2, 2)
                layers.append(nn.Sequential(norm(cnf.input_channels), halved))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = block_setting[-1]
        width = last.input_channels if last.out_channels is None else last.out_channels
        self.classifier = nn.Sequential(norm(width), nn.Flatten(1), nn.Linear(width, num_classes))
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def _forward_impl(self, x):
        return self.classifier(self.avgpool(self.features(x)))

    def forward(self, x):
        return self._forward_impl(x)


def _made(width: int, depth: int, probability: float):
    def make(**kwargs):
        widths = [width * 2**i for i in range(4)]
        shapes = zip(widths, [*widths[1:], None], (3, 3, depth, 3), strict=True)
        p = kwargs.pop("stochastic_depth_prob", probability)
        return ConvNeXt([CNBlockConfig(*s) for s in shapes], stochastic_depth_prob=p, **kwargs)

    return make


for _name, *_shape in (
    ("tiny", 96, 9, 0.1), ("small", 96, 27, 0.4), ("base", 128, 27, 0.5), ("large", 192, 27, 0.5),
):  # fmt: skip
    register(globals(), f"convnext_{_name}", _made(*_shape))
