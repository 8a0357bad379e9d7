"""torch.fx.passes.param_fetch: what the modules of a graph are made with, on its nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlike import nn
from torchlike.fx.graph_module import GraphModule

__all__ = ["default_matching", "extract_attrs_for_lowering", "lift_lowering_attrs_to_nodes"]

_CONV = ("weight", "bias", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
_NORM = ("weight", "bias", "running_mean", "running_var", "eps")
_ATTRIBUTES: dict[type, tuple[int, tuple[str, ...]]] = {
    nn.Linear: (1, ("weight", "bias")),
    nn.Conv2d: (1, _CONV),
    nn.BatchNorm2d: (2, _NORM),
    nn.ReLU: (1, ("inplace",)),
    nn.MaxPool2d: (
        1, ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")
    ),
    nn.AdaptiveAvgPool2d: (1, ("output_size",)),
}  # fmt: skip


def default_matching(name: str, target_version: int) -> str:
    """The name itself."""
    return name


_MATCHING: dict[type, Callable] = dict.fromkeys(_ATTRIBUTES, default_matching)


def extract_attrs_for_lowering(mod: nn.Module) -> dict[str, Any]:
    """The class of a module and what it is made with; raises ``RuntimeError`` for other classes
    and modules of a later version."""
    found: dict[str, Any] = {"name": f"{type(mod).__module__}.{type(mod).__qualname__}"}
    if type(mod) in _ATTRIBUTES:
        version, names = _ATTRIBUTES[type(mod)]
        if version < mod._version:
            raise RuntimeError(
                f"{type(mod)} is of version {mod._version}, known is version {version}"
            )
        for name in names:
            found[name] = getattr(mod, _MATCHING[type(mod)](name, mod._version))
        return found
    raise RuntimeError(f"{found['name']} is not in the module_fetch_book yet")


def lift_lowering_attrs_to_nodes(fx_module: GraphModule) -> None:
    """Give the nodes of leaf modules ``attrs_for_lowering``."""
    modules = dict(fx_module.named_modules())
    for node in fx_module.graph.nodes:
        if node.op == "call_module":
            if isinstance(modules[node.target], GraphModule):
                lift_lowering_attrs_to_nodes(modules[node.target])
            else:
                node.attrs_for_lowering = extract_attrs_for_lowering(modules[node.target])
