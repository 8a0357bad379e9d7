"""How a call's inputs bind to the parameters of forward, and what errors call them."""

from __future__ import annotations

import inspect

from torchlike.func import trees


def arguments_of(module, args, kwargs) -> dict:
    """{name of the parameter: what was given}, as ``forward`` binds the call; raises ``TypeError``
    for inputs that do not fit it."""
    signature = inspect.signature(module.forward)
    bound = signature.bind(*args, **kwargs)
    return dict(bound.arguments), signature


def input_paths(module, args, kwargs) -> list[str]:
    """The name that each leaf of the inputs has in errors, such as ``x`` or ``x['a']``."""
    named, _ = arguments_of(module, args, kwargs)
    by_value: list[tuple[str, object]] = []
    parameters = inspect.signature(module.forward).parameters
    for name, value in named.items():
        kind = parameters[name].kind if name in parameters else None
        if kind is inspect.Parameter.VAR_POSITIONAL:
            by_value += [(f"{name}[{i}]", v) for i, v in enumerate(value)]
        elif name not in kwargs and kind is not inspect.Parameter.VAR_KEYWORD:
            by_value.append((name, value))
    by_value += list(kwargs.items())
    out: list[str] = []
    for name, value in by_value:
        _paths_below(name, value, out)
    return out


def _paths_below(name, value, out) -> None:
    found = trees._children(value)
    if found is None:
        out.append(name)
        return
    kind, context, parts = found
    keys = range(len(parts))
    if isinstance(context, list) and len(context) == len(parts):
        keys = context
    if hasattr(kind, "_fields"):
        for key, part in zip(kind._fields, parts, strict=True):
            _paths_below(f"{name}.{key}", part, out)
        return
    for key, part in zip(keys, parts, strict=True):
        _paths_below(f"{name}[{key!r}]", part, out)
