"""torch.optim.optimizer: what those who write optimizers of their own import from there."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeAlias

import torchlike as torch

ParamsT: TypeAlias = (
    Iterable[torch.Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, torch.Tensor]]
)


def _use_grad_for_differentiable(step):
    """A ``step`` that records for backward only where its optimizer is ``differentiable``."""

    @functools.wraps(step)
    def wrapped(self, *args, **kwargs):
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **kwargs)

    return wrapped


def _default_to_fused_or_foreach(params, differentiable: bool, use_fused: bool = False) -> tuple:
    """(fused, foreach) where a program chose neither: both False, every loop fuses here."""
    return False, False


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """The kinds of device where a step count may be a tensor."""
    return ["cuda", "xpu", "hpu", "privateuseone", *["xla"] * supports_xla]


def _get_value(x):
    """A number out of a tensor of one element; anything else as it is."""
    return x.item() if isinstance(x, torch.Tensor) else x


def _stack_if_compiling(x):
    """What was given: nothing is traced."""
    return x


def _dispatch_sqrt(x):
    """The square root of a number, or of a tensor."""
    return x.sqrt() if isinstance(x, torch.Tensor) else x**0.5


def _view_as_real(params, *state_and_grads) -> None:
    """In lists of tensors, put views of real numbers in the place of complex ones."""
    for i, p in enumerate(params):
        if torch.is_complex(p):
            params[i] = torch.view_as_real(p)
            for others in state_and_grads:
                others[i] = torch.view_as_real(others[i])
