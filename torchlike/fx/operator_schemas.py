"""torch.fx.operator_schemas: the arguments of a node by the signature of its target.

There are no schemas of TorchScript here: a function's signature is its Python one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "ArgsKwargsPair", "check_for_mutable_operation", "create_type_hint",
    "get_signature_for_torch_op", "normalize_function", "normalize_module", "type_matches",
]  # fmt: skip


class ArgsKwargsPair(NamedTuple):
    """Arguments by position and by name."""

    args: tuple
    kwargs: dict[str, Any]


def get_signature_for_torch_op(op: Callable, return_schemas: bool = False) -> Any:
    """The signatures of a function: its Python one, alone in a list; None if it has none."""
    try:
        found = [inspect.signature(op)]
    except (TypeError, ValueError):
        found = None
    return (found, None) if return_schemas else found


def check_for_mutable_operation(target: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
    """Nothing: without schemas nothing says that a function writes to its arguments."""


def create_type_hint(x: Any) -> Any:
    """The type of nested lists and tuples of types."""
    if isinstance(x, list):
        return list[Any] if not x else list[x[0]]
    if isinstance(x, tuple):
        return tuple[Any, ...] if not x else tuple[x[0], ...]
    return x


def type_matches(signature_type: Any, argument_type: Any) -> bool:
    """Whether an argument of one type may be where another is asked for."""
    if signature_type is argument_type or signature_type in (Any, inspect.Parameter.empty):
        return True
    if inspect.isclass(signature_type) and inspect.isclass(argument_type):
        return issubclass(argument_type, signature_type)
    return signature_type is float and argument_type is int


def normalize_function(
    target: Callable, args: tuple, kwargs: dict[str, Any] | None = None,
    arg_types: tuple | None = None, kwarg_types: dict[str, Any] | None = None,
    normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:  # fmt: skip
    """The arguments with all defaults, by name where asked; None if they do not fit."""
    found = get_signature_for_torch_op(target)
    if not found:
        return None
    return _normalized(found[0], args, kwargs or {}, normalize_to_only_use_kwargs)


def normalize_module(
    root, target: str, args: tuple, kwargs: dict[str, Any] | None = None,
    normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:  # fmt: skip
    """The arguments of a module's call with all defaults; raises ``RuntimeError`` if the root has
    no such module."""
    try:
        module = root.get_submodule(target)
    except AttributeError as error:
        raise RuntimeError(
            f"Tried to normalize node with target {target} but root did not have that target!"
        ) from error
    signature = inspect.signature(module.forward)
    return _normalized(signature, args, kwargs or {}, normalize_to_only_use_kwargs)


def _normalized(
    signature: inspect.Signature, args: tuple, kwargs: dict, only_names: bool
) -> ArgsKwargsPair | None:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    # Unlike in PyTorch's schemas, names that forms take in NumPy's style are no arguments here.
    alias = {"axis", "keepdims", "x", "out"} & {
        n for n, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY and n not in kwargs
    }
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    if any(p.kind in variadic for p in signature.parameters.values()):
        return ArgsKwargsPair(tuple(args), dict(kwargs))
    bound.apply_defaults()
    values = {k: v for k, v in bound.arguments.items() if k not in alias}
    if only_names:
        return ArgsKwargsPair((), values)
    by_place = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY or name not in values:
            break
        by_place.append(values.pop(name))
    return ArgsKwargsPair(tuple(by_place), values)
