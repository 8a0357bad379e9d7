"""torch.nn._reduction: the reductions of losses as numbers, and as the two flags before them."""

from __future__ import annotations

import warnings

from torchlike.nn.functional.reduction import reduction_of


def get_enum(reduction: str) -> int:
    """The number of a reduction in PyTorch's operators."""
    return ("none", "mean", "sum").index(reduction_of(reduction))


def legacy_get_string(
    size_average: bool | None, reduce: bool | None, emit_warning: bool = True
) -> str:
    """The reduction that the two flags ask for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = reduction_of("mean", size_average is not False, reduce)
    if emit_warning:
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{found}' instead.",
            stacklevel=2,
        )
    return found


def legacy_get_enum(
    size_average: bool | None, reduce: bool | None, emit_warning: bool = True
) -> int:
    """The number of the reduction that the two flags ask for."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))
