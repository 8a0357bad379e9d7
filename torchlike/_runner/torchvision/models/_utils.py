"""torchvision.models._utils: what several families of models share."""

from __future__ import annotations

from collections import OrderedDict

from torchlike import nn


def _make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """The multiple of ``divisor`` nearest to ``v``, but not below 0.9 of it."""
    low = divisor if min_value is None else min_value
    found = max(low, int(v + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * v else found


def init_convolutions(model, linear_std: float | None = None, **kaiming) -> None:
    """Kaiming's normal weights for convolutions, ones for norms, zeros for every bias.

    ``linear_std`` is for the weights of linear layers, which else keep theirs with their bias.
    """
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, **kaiming)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear) and linear_std is not None:
            nn.init.normal_(m.weight, 0, linear_std)
            nn.init.zeros_(m.bias)


class IntermediateLayerGetter(nn.ModuleDict):
    """The first of a model's children, and what those named in ``return_layers`` give.

    Raises ``ValueError`` for a child that there is not.
    """

    _version = 2

    def __init__(self, model: nn.Module, return_layers: dict[str, str]):
        children = dict(model.named_children())
        if not set(return_layers) <= set(children):
            raise ValueError("return_layers are not present in model")
        kept, left = OrderedDict(), set(return_layers)
        for name, module in children.items():
            kept[name] = module
            left.discard(name)
            if not left:
                break
        super().__init__(kept)
        self.return_layers = dict(return_layers)

    def forward(self, x):
        out = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                out[self.return_layers[name]] = x
        return out
