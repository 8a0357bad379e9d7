"""How many hold an object, by its reference count."""

from __future__ import annotations

from sys import getrefcount


class _Owner:
    __slots__ = ("held",)


def holders(owner, name: str) -> int:
    """How many references there are to what an object holds under a name, its own included."""
    # Through no local name: whether a call counts those differs between versions of Python.
    return getrefcount(getattr(owner, name)) - _OF_THE_CALL


def _of_the_call() -> int:
    owner = _Owner()
    owner.held = object()
    return getrefcount(getattr(owner, "held")) - 1  # noqa: B009 (as holders has it)


_OF_THE_CALL = _of_the_call()
