"""``torch._VF``: the functions of ``torch`` by another name."""

from __future__ import annotations

import torchlike as torch

__all__: list[str] = []


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(torch, name)
