"""Switches for how modules change their parameters (https://pytorch.org/docs/stable/future_mod.html)."""

from __future__ import annotations

from torchlike.nn.modules import _conversion

__all__ = [
    "get_overwrite_module_params_on_conversion",
    "get_swap_module_params_on_conversion",
    "set_overwrite_module_params_on_conversion",
    "set_swap_module_params_on_conversion",
]


def set_overwrite_module_params_on_conversion(value: bool) -> None:
    """Let conversions such as ``module.double()`` put new parameters in the place of the old."""
    _conversion.overwrite = value


def get_overwrite_module_params_on_conversion() -> bool:
    """Whether conversions put new parameters in the place of the old."""
    return _conversion.overwrite


def set_swap_module_params_on_conversion(value: bool) -> None:
    """Let conversions and ``load_state_dict`` keep the parameters' objects, whatever changes."""
    _conversion.swap = value


def get_swap_module_params_on_conversion() -> bool:
    """Whether conversions and ``load_state_dict`` keep the parameters' objects."""
    return _conversion.swap
