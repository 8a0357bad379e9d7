"""torchvision.models.vgg: VGG, plain and with batch norms (https://arxiv.org/abs/1409.1556)."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import _load, register
from torchlike._runner.torchvision.models._utils import init_convolutions

__all__ = ["VGG"]


class VGG(nn.Module):
    """``features`` and three linear layers: (N, 3, H, W) to (N, classes)."""

    def __init__(self, features, num_classes: int = 1000, init_weights=True, dropout: float = 0.5):
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            init_convolutions(self, linear_std=0.01, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def make_layers(cfg: list, batch_norm: bool = False) -> nn.Sequential:
    """Convolutions of so many channels each; "M" is a pooling."""
    layers, width = [], 3
    for out in cfg:
        if out == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(width, out, 3, padding=1))
        layers += [nn.BatchNorm2d(out)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        width = out
    return nn.Sequential(*layers)


def _config(*counts: int) -> list:
    widths = (64, 128, 256, 512, 512)
    return [x for n, width in zip(counts, widths, strict=True) for x in [width] * n + ["M"]]


cfgs = {
    "A": _config(1, 1, 2, 2, 2), "B": _config(2, 2, 2, 2, 2), "D": _config(2, 2, 3, 3, 3),
    "E": _config(2, 2, 4, 4, 4),
}  # fmt: skip


def _made(cfg: str, batch_norm: bool):
    return lambda **kwargs: VGG(make_layers(cfgs[cfg], batch_norm), **kwargs)


def _loaded(make, weights, progress, kwargs):
    if weights is not None:
        kwargs["init_weights"] = False
    return _load(make, weights, progress, kwargs)


for _name, _cfg in (("vgg11", "A"), ("vgg13", "B"), ("vgg16", "D"), ("vgg19", "E")):
    register(globals(), _name, _made(_cfg, False), load=_loaded)
    register(globals(), f"{_name}_bn", _made(_cfg, True), load=_loaded)
