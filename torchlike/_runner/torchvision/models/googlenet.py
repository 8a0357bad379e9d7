"""torchvision.models.googlenet: GoogLeNet (https://arxiv.org/abs/1409.4842)."""

from __future__ import annotations

import warnings
from collections import namedtuple
from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import overwrite, register
from torchlike.nn import functional as F

__all__ = ["GoogLeNet", "GoogLeNetOutputs", "_GoogLeNetOutputs"]

GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ["logits", "aux_logits2", "aux_logits1"])
_GoogLeNetOutputs = GoogLeNetOutputs


class BasicConv2d(nn.Module):
    """A convolution without bias, a batch norm, a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four branches beside each other."""

    def __init__(
        self, in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, conv_block=None
    ):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1 = conv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            conv(in_channels, ch3x3red, kernel_size=1),
            conv(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        # 3 x 3 also here, as the published weights have it.
        self.branch3 = nn.Sequential(
            conv(in_channels, ch5x5red, kernel_size=1),
            conv(ch5x5red, ch5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv(in_channels, pool_proj, kernel_size=1)
        )

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A classifier from the middle of the network."""

    def __init__(self, in_channels, num_classes, conv_block=None, dropout: float = 0.7):
        super().__init__()
        self.conv = (conv_block or BasicConv2d)(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, x):
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


def warn_of_initialization(name: str) -> None:
    """Say what torchvision says when ``init_weights`` is left out."""
    warnings.warn(
        f"The default weight initialization of {name} will be changed in future releases of "
        "torchvision. If you wish to keep the old behavior (which leads to long initialization "
        "times due to scipy/scipy#11299), please set init_weights=True.",
        FutureWarning,
        stacklevel=4,
    )


def as_trained(x):
    """Images normalized by ImageNet's means, as those of -1..1 that the first weights were for."""
    channels = [
        x[:, i : i + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for i, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))
    ]
    return torch.cat(channels, 1)


# Of each inception its name and the channels of its branches; of each pooling its name and kernel.
_LAYERS = (
    ("inception3a", (64, 96, 128, 16, 32, 32)), ("inception3b", (128, 128, 192, 32, 96, 64)),
    ("maxpool3", 3),
    ("inception4a", (192, 96, 208, 16, 48, 64)), ("inception4b", (160, 112, 224, 24, 64, 64)),
    ("inception4c", (128, 128, 256, 24, 64, 64)), ("inception4d", (112, 144, 288, 32, 64, 64)),
    ("inception4e", (256, 160, 320, 32, 128, 128)), ("maxpool4", 2),
    ("inception5a", (256, 160, 320, 32, 128, 128)), ("inception5b", (384, 192, 384, 48, 128, 128)),
)  # fmt: skip


class GoogLeNet(nn.Module):
    """Inceptions: (N, 3, H, W) to (N, classes), with two more classifiers in training."""

    def __init__(
        self, num_classes=1000, aux_logits=True, transform_input=False, init_weights=None,
        blocks=None, dropout: float = 0.2, dropout_aux: float = 0.7,
    ):  # fmt: skip
        super().__init__()
        conv, inception, aux = blocks or [BasicConv2d, Inception, InceptionAux]
        if init_weights is None:
            warn_of_initialization("GoogleNet")
            init_weights = True
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        width = 192
        for name, shape in _LAYERS:
            if isinstance(shape, int):
                setattr(self, name, nn.MaxPool2d(shape, 2, ceil_mode=True))
            else:
                setattr(self, name, inception(width, *shape))
                width = shape[0] + shape[2] + shape[4] + shape[5]
        self.aux1 = aux(512, num_classes, dropout=dropout_aux) if aux_logits else None
        self.aux2 = aux(528, num_classes, dropout=dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights:
            for m in self.modules():
                if isinstance(m, (nn.Conv2d, nn.Linear)):
                    nn.init.trunc_normal_(m.weight, mean=0.0, std=0.01, a=-2, b=2)
                elif isinstance(m, nn.BatchNorm2d):
                    nn.init.ones_(m.weight)
                    nn.init.zeros_(m.bias)

    def forward(self, x):
        x = as_trained(x) if self.transform_input else x
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        extra = self.training and self.aux_logits
        found = {}
        for name, _ in _LAYERS:
            x = getattr(self, name)(x)
            if extra and name == "inception4a":
                found["aux_logits1"] = self.aux1(x)
            elif extra and name == "inception4d":
                found["aux_logits2"] = self.aux2(x)
        x = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(x, **found) if extra else x


def load_with_classifiers(make, weights, progress, kwargs, default: bool, off) -> nn.Module:
    """A model whose file of weights has the classifiers from its middle, asked for or not.

    ``off`` takes them from a model; ``default`` says whether they are wanted by default.
    """
    if weights is None:
        return make(**kwargs)
    wanted = kwargs.get("aux_logits", default)
    kwargs.setdefault("transform_input", True)
    kwargs["aux_logits"] = True
    overwrite(kwargs, "init_weights", False)
    overwrite(kwargs, "num_classes", len(weights.meta["categories"]))
    model = make(**kwargs)
    model.load_state_dict(weights.get_state_dict(progress=progress, check_hash=True))
    if not wanted:
        model.aux_logits = False
        for name in off:
            setattr(model, name, None)
    return model


def _loaded(make, weights, progress, kwargs):
    wanted = kwargs.get("aux_logits", False)
    load = partial(load_with_classifiers, default=False, off=("aux1", "aux2"))
    model = load(make, weights, progress, kwargs)
    if weights is not None and wanted:
        warnings.warn(
            "auxiliary heads in the pretrained googlenet model are NOT pretrained, so make sure to "
            "train them",
            UserWarning,
            stacklevel=3,
        )
    return model


register(globals(), "googlenet", GoogLeNet, load=_loaded)
