"""The ``reduction`` argument of losses, and the two old flags that it replaced."""

from __future__ import annotations

import warnings

_VALID = frozenset(("none", "mean", "sum"))


def reduction_of(reduction: str, size_average=None, reduce=None) -> str:
    """The reduction that the arguments ask for; raises ``ValueError`` if there is no such."""
    if size_average is not None or reduce is not None:
        average = True if size_average is None else size_average
        summed = True if reduce is None else reduce
        found = "none" if not summed else "mean" if average else "sum"
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{found}' instead.",
            stacklevel=3,
        )
        return found
    if reduction == "elementwise_mean":
        warnings.warn(
            "reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.",
            stacklevel=3,
        )
        return "mean"
    if reduction not in _VALID:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction
