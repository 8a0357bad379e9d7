"""torch.ops: the operators that ``torch.library`` was given, by namespace and name."""

from __future__ import annotations

from torchlike._custom_ops import namespace as _namespace

__all__: list[str] = []


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(f"module 'torchlike.ops' has no attribute {name!r}")
    return _namespace(name)
