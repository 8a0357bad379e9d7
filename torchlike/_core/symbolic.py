"""torch.SymInt and its kin: classes to ask ``isinstance`` with; every size here is a number."""

from __future__ import annotations

from torchlike._core.errors import NotSupported


class _Symbolic:
    def __init__(self, node):
        raise NotSupported(f"torch.{type(self).__name__}", "sizes are Python numbers here")


class SymInt(_Symbolic):
    """An integer that is not known yet: there are none."""


class SymFloat(_Symbolic):
    """A float that is not known yet: there are none."""


class SymBool(_Symbolic):
    """A bool that is not known yet: there are none."""


for _class in (SymInt, SymFloat, SymBool):
    _class.__module__ = "torchlike"
