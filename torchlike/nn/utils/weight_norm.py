"""Weight normalisation by a forward pre-hook, as PyTorch had it before parametrizations."""

from __future__ import annotations

import warnings

from torchlike.nn.modules.module import Module
from torchlike.nn.parameter import Parameter, is_lazy
from torchlike.nn.utils.parametrizations import _norm_except

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


class WeightNorm:
    """The hook: before every forward it computes the weight from ``<name>_g`` and ``<name>_v``."""

    name: str
    dim: int

    def __init__(self, name: str, dim: int):
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module):
        """The weight, on the tape."""
        direction = getattr(module, self.name + "_v")
        magnitude = getattr(module, self.name + "_g")
        return direction * (magnitude / _norm_except(direction, self.dim))

    @staticmethod
    def apply(module, name: str, dim: int) -> WeightNorm:
        """Put the hook on a module; ``RuntimeError`` if that name has one already."""
        if _find(module, WeightNorm, name):
            raise RuntimeError(
                f"Cannot register two weight_norm hooks on the same parameter {name}"
            )
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `WeightNorm` can't have uninitialized parameters. Make sure "
                "to run the dummy forward before applying weight normalization"
            )
        del module._parameters[name]
        magnitude = _norm_except(weight, hook.dim).data
        module.register_parameter(name + "_g", Parameter(magnitude))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Make the weight an ordinary parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        for kind in ("_g", "_v"):
            del module._parameters[self.name + kind]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module: Module, inputs) -> None:
        setattr(module, self.name, self.compute_weight(module))


def _find(module, kind: type, name: str):
    """(key, hook) of a module's forward pre-hooks of a class for one name."""
    hooks = module._forward_pre_hooks.items()
    return [(k, h) for k, h in hooks if isinstance(h, kind) and h.name == name]


def weight_norm(module, name: str = "weight", dim: int = 0):
    """Deprecated: ``nn.utils.parametrizations.weight_norm``, but by a hook; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html)."""
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module, name: str = "weight"):
    """Take weight normalisation off a module; ``ValueError`` if there is none
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.remove_weight_norm.html)."""
    for key, hook in _find(module, WeightNorm, name):
        hook.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
