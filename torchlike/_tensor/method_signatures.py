"""Methods whose parameters PyTorch names otherwise than the function's."""

from __future__ import annotations

from torchlike._core.errors import NotSupported
from torchlike._tensor.forms import FUNCTIONS, METHODS

_F = dict(FUNCTIONS)


def _method(fn):
    """Put the method in the place of the function's form; its text is the function's."""
    fn.__doc__ = _F[fn.__name__].__doc__
    fn.__module__, fn.__qualname__ = "torchlike", f"Tensor.{fn.__name__}"
    METHODS[fn.__name__] = fn
    return fn


@_method
def split(self, split_size, dim=0):
    return _split(self, split_size, dim)


@_method
def norm(self, p: float | str | None = "fro", dim=None, keepdim=False, dtype=None):
    return _norm(self, p, dim, keepdim, dtype=dtype)


@_method
def lu(self, pivot=True, get_infos=False):
    return _lu(self, pivot, get_infos)


@_method
def unique(self, sorted=True, return_inverse=False, return_counts=False, dim=None):
    return _unique(self, sorted, return_inverse, return_counts, dim)


@_method
def unique_consecutive(self, return_inverse=False, return_counts=False, dim=None):
    return _unique_consecutive(self, return_inverse, return_counts, dim)


@_method
def unflatten(self, dim, sizes):
    return _unflatten(self, dim, sizes)


@_method
def stft(
    self, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window=None,
    center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None,
    align_to_window: bool | None = None,
):  # fmt: skip
    return _stft(
        self, n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided,
        return_complex, align_to_window,
    )  # fmt: skip


@_method
def istft(
    self, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window=None,
    center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
):  # fmt: skip
    return _istft(
        self, n_fft, hop_length, win_length, window, center, normalized, onesided, length,
        return_complex,
    )  # fmt: skip


_split, _norm, _lu = _F["split"], _F["norm"], _F["lu"]
_unique, _unique_consecutive, _unflatten = (
    _F["unique"], _F["unique_consecutive"], _F["unflatten"]
)  # fmt: skip
_stft, _istft = _F["stft"], _F["istft"]


def index(self, positions, dims):
    """Raises ``NotSupported``: there are no first-class dimensions."""
    raise NotSupported("Tensor.index with first-class dimensions", "use x[...], or func.vmap")


METHODS["index"] = index
