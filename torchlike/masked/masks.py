"""What the masked functions share: dimensions, masks, and what stands where the mask says no."""

from __future__ import annotations

from types import SimpleNamespace

from torchlike import linalg
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._tensor import install  # noqa: F401  (it fills FUNCTIONS)
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.layouts import strided
from torchlike._tensor.queries import iinfo

# The package below the top level may not import it; its functions are the same objects.
torch = SimpleNamespace(**FUNCTIONS, vector_norm=linalg.vector_norm)

LOWEST = ("amax", "argmax", "logaddexp", "logsumexp")
HIGHEST = ("amin", "argmin")
ONE = ("cumprod", "prod")
_SPARSE_TOO = ("amax", "amin", "mean", "prod", "sum")  # PyTorch takes sparse inputs for these
_INF = float("inf")


def dims_of(dim, ndim: int) -> tuple:
    """The dimensions that ``dim`` names, sorted; None and () name all of them."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    out, size = [], max(ndim, 1)
    for i, d in enumerate(given):
        if d in given[:i]:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -size <= d < size:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-size}, {size - 1}], but "
                f"got {d})"
            )
        out.append(d % size)
    return tuple(sorted(out)) if ndim else ()


def dim_of(dim, ndim: int) -> int:
    """The first of the dimensions, for functions that work along one."""
    if not ndim and isinstance(dim, int):
        dims_of(dim, ndim)
        return 0
    return dims_of(dim, ndim)[0]


def taken_apart(name: str, input, mask):
    """(data, mask): of a MaskedTensor its own, of a tensor the mask at its shape, or None."""
    if getattr(input, "_is_masked", False):
        if mask is not None:
            raise NotSupported(
                f"masked.{name} of a MaskedTensor with a second mask",
                "join them: masked_tensor(x.get_data(), x.get_mask() & mask)",
            )
        input, mask = input.get_data(), input.get_mask()
    if input.layout is not strided:
        if name in _SPARSE_TOO:
            raise NotSupported(f"sparse inputs of masked.{name}", "use input.to_dense()")
        raise ValueError(f"masked {name} expects strided tensor (got {input.layout} tensor)")
    return input, None if mask is None else fitted(input, mask)


def fitted(input, mask):
    """The mask as bools in the shape of ``input``."""
    shape = input.shape
    if len(mask.shape) > len(shape):
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the "
            "input)"
        )
    if mask.layout is not strided:
        mask = mask.to_dense()
    if mask.shape != shape:
        mask = mask.expand(shape)
    return mask if mask.dtype is dt.bool_ else mask.to(dt.bool_)


def identity(name: str, dtype, ord: float = 2.0):
    """The number that changes nothing when the function ``name`` takes it in."""
    if name in ONE:
        return True if dtype is dt.bool_ else 1
    if name == "norm":
        return _INF if ord == -_INF and dtype.category >= dt.FLOATING else 0
    if name not in LOWEST and name not in HIGHEST:
        return False if dtype is dt.bool_ else 0
    if dtype is dt.bool_:
        raise NotImplementedError(f"identity of {name} on torch.bool input")
    lowest = name in LOWEST
    if dtype.category == dt.COMPLEX and name != "logsumexp":
        raise TypeError(
            "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'"
        )
    if dtype.category >= dt.FLOATING:
        return -_INF if lowest else _INF
    return iinfo(dtype).min if lowest else iinfo(dtype).max


def filled(name: str, input, mask, like: str | None = None, ord: float = 2.0):
    """``input``, and where the mask says no the identity of the function (or of ``like``)."""
    input, mask = taken_apart(name, input, mask)
    if mask is None:
        return input
    return torch.where(mask, input, identity(like or name, input.dtype, ord))
