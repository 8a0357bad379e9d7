"""The former home of ``func.functional_call``."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import Any

from torchlike.func import modules

__all__ = ["functional_call"]


def functional_call(
    module, parameters_and_buffers: dict, args: Any | tuple | None = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
):  # fmt: skip
    """Deprecated: ``func.functional_call``
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.stateless.functional_call.html)."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be "
        "removed in a future version of PyTorch. Please use `torch.func.functional_call` instead "
        "which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


@contextmanager
def _reparametrize_module(
    module, parameters_and_buffers: dict, tie_weights: bool = False, strict: bool = False,
    stack_weights: bool = False,
):  # fmt: skip
    """A ``with`` block in which a module has other tensors for its parameters and buffers."""
    with modules.replaced(module, parameters_and_buffers, tie_weights, strict):
        yield


def _functional_call(
    module, parameters_and_buffers: dict, args: Any | tuple | None = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
):  # fmt: skip
    """``functional_call`` without its warning."""
    return modules.functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )
