"""Parts of a package that are imported when they are first named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping


def later(
    package: str, modules: Iterable[str], names: Mapping[str, str] | None = None
) -> tuple[Callable, Callable]:
    """A package's ``__getattr__`` and ``__dir__``: submodules, and names by the submodule they
    are from, which few programs use and whose import takes milliseconds."""
    modules, names = frozenset(modules), dict(names or {})

    def __getattr__(name: str):
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules, *names})

    return __getattr__, __dir__
