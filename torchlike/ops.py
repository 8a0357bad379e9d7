"""torch.ops: PyTorch's operators, and those that ``torch.library`` was given, by namespace."""

from __future__ import annotations

from torchlike._aten import aten as aten
from torchlike._custom_ops import namespace as _namespace

__all__: list[str] = []


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(f"module 'torchlike.ops' has no attribute {name!r}")
    return _namespace(name)
