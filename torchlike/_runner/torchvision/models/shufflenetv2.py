"""torchvision.models.shufflenetv2: ShuffleNet V2 (https://arxiv.org/abs/1807.11164)."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register

__all__ = ["ShuffleNetV2"]


def channel_shuffle(x, groups: int):
    """(N, C, H, W) with one channel of each group after the other."""
    n, c, h, w = x.size()
    x = x.view(n, groups, c // groups, h, w)
    return torch.transpose(x, 1, 2).contiguous().view(n, c, h, w)


class InvertedResidual(nn.Module):
    """Half of the channels changed, or all where the size is halved; then shuffled."""

    def __init__(self, inp: int, oup: int, stride: int):
        super().__init__()
        if not 1 <= stride <= 3:
            raise ValueError("illegal stride value")
        self.stride, half = stride, oup // 2
        if stride == 1 and inp != half * 2:
            raise ValueError(
                f"Invalid combination of stride {stride}, inp {inp} and oup {oup} values. If "
                "stride == 1 then inp should be equal to oup // 2 << 1."
            )
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                self.depthwise_conv(inp, inp, 3, stride, 1), nn.BatchNorm2d(inp),
                nn.Conv2d(inp, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
            )  # fmt: skip
        self.branch2 = nn.Sequential(
            nn.Conv2d(inp if stride > 1 else half, half, 1, bias=False), nn.BatchNorm2d(half),
            nn.ReLU(inplace=True), self.depthwise_conv(half, half, 3, stride, 1),
            nn.BatchNorm2d(half), nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )  # fmt: skip

    @staticmethod
    def depthwise_conv(i: int, o: int, kernel_size, stride=1, padding=0, bias=False) -> nn.Conv2d:
        """A convolution in each channel."""
        return nn.Conv2d(i, o, kernel_size, stride, padding, bias=bias, groups=i)

    def forward(self, x):
        kept, changed = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return channel_shuffle(torch.cat((kept, self.branch2(changed)), dim=1), 2)


class ShuffleNetV2(nn.Module):
    """Three stages: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, stages_repeats, stages_out_channels, num_classes=1000,
        inverted_residual=InvertedResidual,
    ):  # fmt: skip
        super().__init__()
        if len(stages_repeats) != 3:
            raise ValueError("expected stages_repeats as list of 3 positive ints")
        if len(stages_out_channels) != 5:
            raise ValueError("expected stages_out_channels as list of 5 positive ints")
        self._stage_out_channels = stages_out_channels

        def layers(inp, out, *shape):
            convolution = nn.Conv2d(inp, out, *shape, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))

        width, *stages, last = stages_out_channels
        self.conv1 = layers(3, width, 3, 2, 1)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (count, out) in enumerate(zip(stages_repeats, stages, strict=True), 2):
            blocks = [inverted_residual(width, out, 2)]
            blocks += [inverted_residual(out, out, 1) for _ in range(count - 1)]
            setattr(self, f"stage{i}", nn.Sequential(*blocks))
            width = out
        self.conv5 = layers(width, last, 1, 1, 0)
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x):
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))


def _made(*channels: int):
    return lambda **kwargs: ShuffleNetV2([4, 8, 4], list(channels), **kwargs)


register(globals(), "shufflenet_v2_x0_5", _made(24, 48, 96, 192, 1024))
register(globals(), "shufflenet_v2_x1_0", _made(24, 116, 232, 464, 1024))
register(globals(), "shufflenet_v2_x1_5", _made(24, 176, 352, 704, 1024))
register(globals(), "shufflenet_v2_x2_0", _made(24, 244, 488, 976, 2048))
