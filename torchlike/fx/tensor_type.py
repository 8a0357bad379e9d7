"""torch.fx.tensor_type: shapes as types."""

from __future__ import annotations

from typing import Any

__all__ = ["Dyn", "TensorType", "is_consistent", "is_more_precise"]


class _DynType:
    """The type of what nothing is known about."""

    def __eq__(self, other) -> bool:
        return isinstance(other, _DynType)

    def __hash__(self) -> int:
        return hash(_DynType)

    def __str__(self) -> str:
        return "Dyn"

    __repr__ = __str__


Dyn = _DynType()


class TensorType:
    """The type of tensors of a shape, whose sizes may be ``Dyn``."""

    def __init__(self, dim):
        self.__origin__ = TensorType
        self.__args__ = dim

    def __repr__(self) -> str:
        return f"TensorType[{self.__args__}]"

    def __eq__(self, other) -> bool:
        return isinstance(other, TensorType) and list(self.__args__) == list(other.__args__)

    def __hash__(self) -> int:
        return hash(tuple(self.__args__))

    @staticmethod
    def __class_getitem__(*args):
        dim = args[0]
        return TensorType(tuple(dim) if isinstance(dim, (tuple, list)) else (dim,))


def is_consistent(t1: Any, t2: Any) -> bool:
    """Whether two types may be of one value."""
    if t1 in (t2, Dyn) or t2 == Dyn:
        return True
    if isinstance(t1, TensorType) and isinstance(t2, TensorType):
        a, b = t1.__args__, t2.__args__
        return len(a) == len(b) and all(map(is_consistent, a, b))
    return False


def is_more_precise(t1: Any, t2: Any) -> bool:
    """Whether the first type says at least as much as the second."""
    if t1 == t2 or t2 == Dyn:
        return True
    if isinstance(t1, TensorType) and isinstance(t2, TensorType):
        a, b = t1.__args__, t2.__args__
        return len(a) == len(b) and all(map(is_more_precise, a, b))
    return False
