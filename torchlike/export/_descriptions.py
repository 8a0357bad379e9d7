"""What an exported program tells of itself: the structures of a call, the bounds of sizes."""

from __future__ import annotations

import dataclasses

from torchlike.func import trees


@dataclasses.dataclass
class CallSpec:
    """The structures of inputs and outputs."""

    in_spec: trees.Spec
    out_spec: trees.Spec


class _Unbounded(float):
    """Infinity as PyTorch shows it where a size has no upper bound."""

    def __repr__(self):
        return "int_oo"

    __str__ = __repr__


int_oo = _Unbounded("inf")


@dataclasses.dataclass(frozen=True)
class ValueRanges:
    """The bounds of an open size; upper is ``int_oo`` if there is none."""

    lower: int
    upper: int | float

    def __repr__(self):
        return f"VR[{self.lower}, {self.upper}]"
