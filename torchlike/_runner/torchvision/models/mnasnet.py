"""torchvision.models.mnasnet: MNASNet (https://arxiv.org/abs/1807.11626)."""

from __future__ import annotations

from functools import partial

from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models._utils import _make_divisible, init_convolutions

__all__ = ["MNASNet"]
_MOMENTUM = 1 - 0.9997
# Kernel, stride, how much wider inside, how many.
_STACKS = ((3, 2, 3, 3), (5, 2, 3, 3), (5, 2, 6, 3), (3, 1, 6, 2), (5, 2, 6, 4), (3, 1, 6, 1))


class _InvertedResidual(nn.Module):
    def __init__(
        self, in_ch, out_ch, kernel_size, stride, expansion_factor, bn_momentum: float = 0.1
    ):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        if kernel_size not in (3, 5):
            raise ValueError(f"kernel_size should be 3 or 5 instead of {kernel_size}")
        inside, norm = in_ch * expansion_factor, partial(nn.BatchNorm2d, momentum=bn_momentum)
        self.apply_residual = in_ch == out_ch and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(in_ch, inside, 1, bias=False), norm(inside), nn.ReLU(inplace=True),
            nn.Conv2d(
                inside, inside, kernel_size, stride, kernel_size // 2, groups=inside, bias=False
            ),
            norm(inside), nn.ReLU(inplace=True), nn.Conv2d(inside, out_ch, 1, bias=False),
            norm(out_ch),
        )  # fmt: skip

    def forward(self, input):
        return self.layers(input) + input if self.apply_residual else self.layers(input)


class MNASNet(nn.Module):
    """Stacks of inverted residuals, ``alpha`` times as wide: (N, 3, H, W) to (N, classes)."""

    _version = 2

    def __init__(self, alpha: float, num_classes: int = 1000, dropout: float = 0.2):
        super().__init__()
        if alpha <= 0.0:
            raise ValueError(f"alpha should be greater than 0.0 instead of {alpha}")
        self.alpha, self.num_classes = alpha, num_classes
        widths = [_make_divisible(w * alpha, 8) for w in (32, 16, 24, 40, 80, 96, 192, 320)]
        norm = partial(nn.BatchNorm2d, momentum=_MOMENTUM)
        first, width = widths[:2]
        layers = [
            nn.Conv2d(3, first, 3, 2, 1, bias=False), norm(first), nn.ReLU(inplace=True),
            nn.Conv2d(first, first, 3, 1, 1, groups=first, bias=False), norm(first),
            nn.ReLU(inplace=True), nn.Conv2d(first, width, 1, bias=False), norm(width),
        ]  # fmt: skip
        for out, (kernel, stride, factor, count) in zip(widths[2:], _STACKS, strict=True):
            blocks = []
            for i in range(count):
                step = stride if i == 0 else 1
                blocks.append(_InvertedResidual(width, out, kernel, step, factor, _MOMENTUM))
                width = out
            layers.append(nn.Sequential(*blocks))
        layers += [nn.Conv2d(width, 1280, 1, bias=False), norm(1280), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout, inplace=True), nn.Linear(1280, num_classes)
        )
        init_convolutions(self, mode="fan_out", nonlinearity="relu")
        last = self.classifier[1]
        nn.init.kaiming_uniform_(last.weight, mode="fan_out", nonlinearity="sigmoid")
        nn.init.zeros_(last.bias)

    def forward(self, x):
        return self.classifier(self.layers(x).mean([2, 3]))


for _name, _alpha in (("0_5", 0.5), ("0_75", 0.75), ("1_0", 1.0), ("1_3", 1.3)):
    register(globals(), f"mnasnet{_name}", partial(MNASNet, _alpha))
