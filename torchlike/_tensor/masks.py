"""Functions of masks and index tensors: thin frontends over gather and scatter."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import function


@function(method=True, inplace=True)
def masked_fill(input, mask, value):
    """``value`` where ``mask`` is True; the mask broadcasts."""
    if not isinstance(mask, dispatch._Tensor) or mask.dtype.name != "bool":
        raise RuntimeError("masked_fill_ only supports boolean masks")
    if isinstance(value, dispatch._Tensor) and value._value.aval.ndim:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._value.aval.ndim} dimension(s)."
        )
    return apply(TABLE["masked_fill_value"], (input, mask, value))
