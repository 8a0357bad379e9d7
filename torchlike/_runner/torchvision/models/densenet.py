"""torchvision.models.densenet: densely connected networks (https://arxiv.org/abs/1608.06993)."""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import overwrite, register
from torchlike._runner.torchvision.models._utils import init_convolutions
from torchlike.nn import functional as F
from torchlike.utils.checkpoint import checkpoint

__all__ = ["DenseNet"]


class _DenseLayer(nn.Module):
    def __init__(self, inputs, growth_rate, bn_size, drop_rate, memory_efficient=False):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bn_size * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.drop_rate, self.memory_efficient = float(drop_rate), memory_efficient

    def bn_function(self, *inputs):
        """What all earlier layers gave, in fewer channels."""
        return self.conv1(self.relu1(self.norm1(torch.cat(inputs, 1))))

    def forward(self, input):
        inputs = [input] if isinstance(input, torch.Tensor) else input
        if self.memory_efficient and any(t.requires_grad for t in inputs):
            x = checkpoint(self.bn_function, *inputs, use_reentrant=False)
        else:
            x = self.bn_function(*inputs)
        x = self.conv2(self.relu2(self.norm2(x)))
        if self.drop_rate > 0:
            x = F.dropout(x, p=self.drop_rate, training=self.training)
        return x


class _DenseBlock(nn.ModuleDict):
    _version = 2

    def __init__(self, count, inputs, bn_size, growth_rate, drop_rate, memory_efficient=False):
        super().__init__()
        for i in range(count):
            width = inputs + i * growth_rate
            layer = _DenseLayer(width, growth_rate, bn_size, drop_rate, memory_efficient)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x):
        found = [x]
        for layer in self.values():
            found.append(layer(found))
        return torch.cat(found, 1)


class _Transition(nn.Sequential):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)


class DenseNet(nn.Module):
    """Blocks whose layers see all before them: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64, bn_size=4,
        drop_rate=0, num_classes=1000, memory_efficient=False,
    ):  # fmt: skip
        super().__init__()
        width = num_init_features
        stem = (
            ("conv0", nn.Conv2d(3, width, 7, 2, 3, bias=False)), ("norm0", nn.BatchNorm2d(width)),
            ("relu0", nn.ReLU(inplace=True)), ("pool0", nn.MaxPool2d(3, 2, 1)),
        )  # fmt: skip
        self.features = nn.Sequential(OrderedDict(stem))
        for i, count in enumerate(block_config, 1):
            block = _DenseBlock(count, width, bn_size, growth_rate, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{i}", block)
            width += count * growth_rate
            if i < len(block_config):
                self.features.add_module(f"transition{i}", _Transition(width, width // 2))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, num_classes)
        init_convolutions(self)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x):
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


# In the files of weights the layers of a dense layer are called norm.1, conv.2 and so on.
_OLD = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def _loaded(make, weights, progress, kwargs):
    if weights is None:
        return make(**kwargs)
    overwrite(kwargs, "num_classes", len(weights.meta["categories"]))
    model = make(**kwargs)
    state = weights.get_state_dict(progress=progress, check_hash=True)
    model.load_state_dict({_OLD.sub(r"\1\2", key): value for key, value in state.items()})
    return model


_CONFIGS = {
    "densenet121": (32, (6, 12, 24, 16), 64), "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64), "densenet201": (32, (6, 12, 48, 32), 64),
}  # fmt: skip
for _name, _config in _CONFIGS.items():
    register(globals(), _name, partial(DenseNet, *_config), load=_loaded)
