"""What an exported program tells of itself: the structures of a call, the bounds of sizes."""

from __future__ import annotations

import dataclasses

from torchlike.func import trees


@dataclasses.dataclass
class CallSpec:
    """The structures of inputs and outputs."""

    in_spec: trees.Spec
    out_spec: trees.Spec


@dataclasses.dataclass(frozen=True)
class ValueRanges:
    """The bounds of an open size; upper is None if there is none."""

    lower: int
    upper: int | None

    def __repr__(self):
        return f"VR[{self.lower}, {'int_oo' if self.upper is None else self.upper}]"
