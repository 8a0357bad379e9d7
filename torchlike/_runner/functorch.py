"""functorch: the former name of torch.func, and its modules whose state is handed over by position
(https://docs.pytorch.org/docs/stable/func.migrating.html)."""

from __future__ import annotations

import copy
import functools
import warnings

from torchlike import func as _func
from torchlike import nn

__all__ = [
    "FunctionalModule", "FunctionalModuleWithBuffers", "combine_state_for_ensemble",
    "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
    "make_functional", "make_functional_with_buffers", "vjp", "vmap",
]  # fmt: skip


def _former(name: str, instead: str) -> None:
    warnings.warn(
        "We've integrated functorch into PyTorch. As the final step of the integration, "
        f"`functorch.{name}` is deprecated as of PyTorch 2.0 and will be deleted in a future "
        f"version of PyTorch >= 2.3. Please use `{instead}` instead.",
        FutureWarning,
        stacklevel=3,
    )


def _renamed(name: str):
    now = getattr(_func, name)

    @functools.wraps(now)
    def call(*args, **kwargs):
        _former(name, f"torch.{'' if name == 'vmap' else 'func.'}{name}")
        return now(*args, **kwargs)

    return call


grad, grad_and_value, vmap, functionalize = map(
    _renamed, ("grad", "grad_and_value", "vmap", "functionalize")
)
hessian, jacfwd, jacrev = map(_renamed, ("hessian", "jacfwd", "jacrev"))
jvp, vjp = map(_renamed, ("jvp", "vjp"))


def _named(names: tuple, tensors) -> dict:
    tensors = tuple(tensors)
    if len(tensors) != len(names):
        raise RuntimeError(f"expected {len(names)} tensors, for {names}, but got {len(tensors)}")
    return dict(zip(names, tensors, strict=True))


class FunctionalModule(nn.Module):
    """A module that is called with its parameters first."""

    def __init__(self, stateless_model: nn.Module) -> None:
        super().__init__()
        self.stateless_model = stateless_model
        self.param_names = tuple(name for name, _ in stateless_model.named_parameters())

    def forward(self, params, *args, **kwargs):
        state = _named(self.param_names, params)
        return _func.functional_call(self.stateless_model, state, args, kwargs)


class FunctionalModuleWithBuffers(FunctionalModule):
    """A module that is called with its parameters and its buffers first."""

    def __init__(self, stateless_model: nn.Module) -> None:
        super().__init__(stateless_model)
        self.buffer_names = tuple(name for name, _ in stateless_model.named_buffers())

    def forward(self, params, buffers, *args, **kwargs):
        state = _named(self.param_names, params), _named(self.buffer_names, buffers)
        return _func.functional_call(self.stateless_model, state, args, kwargs)


def _copied(model: nn.Module, disable_autograd_tracking: bool) -> nn.Module:
    model = copy.deepcopy(model)
    return model.requires_grad_(False) if disable_autograd_tracking else model


def make_functional(model: nn.Module, disable_autograd_tracking: bool = False):
    """(function of parameters and inputs, a copy of the parameters); raises for buffers."""
    _former("make_functional", "torch.func.functional_call")
    if next(model.buffers(), None) is not None:
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use "
            "make_functional_with_buffers(model) instead."
        )
    model = _copied(model, disable_autograd_tracking)
    return FunctionalModule(model), tuple(model.parameters())


def make_functional_with_buffers(model: nn.Module, disable_autograd_tracking: bool = False):
    """(function of parameters, buffers and inputs, copies of the parameters, of the buffers)."""
    _former("make_functional_with_buffers", "torch.func.functional_call")
    model = _copied(model, disable_autograd_tracking)
    return FunctionalModuleWithBuffers(model), tuple(model.parameters()), tuple(model.buffers())


def combine_state_for_ensemble(models):
    """(function, parameters, buffers) of alike models, each stacked along a first dimension."""
    _former("combine_state_for_ensemble", "torch.func.stack_module_state")
    if not models:
        raise RuntimeError("combine_state_for_ensemble: Expected at least one model, got 0.")
    stacked = _func.stack_module_state(models)
    params, buffers = (tuple(t.detach() for t in each.values()) for each in stacked)
    return FunctionalModuleWithBuffers(copy.deepcopy(models[0])), params, buffers
