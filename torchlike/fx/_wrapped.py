"""The functions that are not looked into while others are traced."""

from __future__ import annotations

import inspect
from collections.abc import Callable

functions: dict[tuple[int, str], dict] = {}  # (id of a module's names, name) -> those names
methods: list[tuple[type, str]] = []


def wrap(fn_or_name: str | Callable) -> str | Callable:
    """Let traced functions record the calls of a function instead of looking into it
    (https://pytorch.org/docs/stable/fx.html#torch.fx.wrap).

    It stands at the top of the module whose name it is; raises ``NotImplementedError`` elsewhere,
    ``RuntimeError`` for anything but a function or a name.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError(
            "Unsupported type for global function! Must be either a callable or string name"
        )
    name = fn_or_name if isinstance(fn_or_name, str) else fn_or_name.__name__
    frame = inspect.currentframe().f_back
    if frame.f_code.co_name != "<module>":
        raise NotImplementedError("wrap must be called at the top level of a module")
    functions[id(frame.f_globals), name] = frame.f_globals
    return fn_or_name


wrap.__module__ = "torchlike.fx._symbolic_trace"  # the name that PyTorch's has
