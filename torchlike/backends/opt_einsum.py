"""torch.backends.opt_einsum: the order in which einsum multiplies more than two operands.

``enabled`` says whether it is looked for, and ``strategy`` how: "auto", "optimal", "greedy" or
another one that the package opt_einsum has, such as "auto-hq".
"""

from __future__ import annotations

import sys as _sys
import types as _types

from torchlike._tensor.products import einsum_order as _order

__all__ = ["get_opt_einsum", "is_available"]


def is_available() -> bool:
    """True: JAX needs it."""
    return True


def get_opt_einsum():
    """The package opt_einsum."""
    import opt_einsum

    return opt_einsum


_STRATEGIES = (
    "auto", "optimal", "greedy", "auto-hq", "branch-all", "branch-2", "branch-1", "dp",
)  # fmt: skip


class _Module(_types.ModuleType):
    @property
    def enabled(self) -> bool:
        """Whether a good order is looked for; else from left to right."""
        return _order.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        _order.enabled = bool(value)

    @property
    def strategy(self) -> str:
        """How it is looked for."""
        return _order.strategy

    @strategy.setter
    def strategy(self, value: str) -> None:
        if value not in _STRATEGIES:
            raise RuntimeError(f"Unknown strategy {value!r}: choose from {', '.join(_STRATEGIES)}")
        _order.strategy = value


_sys.modules[__name__].__class__ = _Module
