"""The part of torch's own namespace that the families are written with."""

from __future__ import annotations

from types import SimpleNamespace

from torchlike import linalg, special
from torchlike._core import dtypes
from torchlike._core.dtypes import get_default_dtype
from torchlike._core.sizes import Size
from torchlike._tensor import install  # noqa: F401  (it fills FUNCTIONS)
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import enable_grad, no_grad
from torchlike._tensor.queries import finfo, is_tensor
from torchlike._tensor.tensor import Tensor

# The package below the top level may not import it; its functions are the same objects.
torch = SimpleNamespace(
    **FUNCTIONS,
    linalg=linalg,
    special=special,
    Size=Size,
    Tensor=Tensor,
    enable_grad=enable_grad,
    finfo=finfo,
    bool_=dtypes.bool_,
    float64=dtypes.float64,
    get_default_dtype=get_default_dtype,
    int64=dtypes.int64,
    is_tensor=is_tensor,
    no_grad=no_grad,
)

NO_SHAPE = Size()  # the default of ``sample_shape``
