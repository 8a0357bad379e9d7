"""Frontends of the Fourier transforms (``torch.fft``, ``stft``, ``istft``)."""

from __future__ import annotations

import warnings

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn_once
from torchlike._ops.fft import check_istft, least_envelope
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.creation import from_host, target_device
from torchlike._tensor.dispatch import apply, into
from torchlike._tensor.forms import FUNCTIONS, function, numpy_named
from torchlike._tensor.products import need_tensor
from torchlike._tensor.size_arguments import integer

TRANSFORMS: dict = {}  # the functions of torch.fft, by name


def _integers(name, argument, x):
    if x is None:
        return None
    if not isinstance(x, (tuple, list)):
        return (integer(f"fft_{name}", argument, 2, x),)
    for n in x:
        if n.__class__ is not int and (isinstance(n, float) or not hasattr(n, "__index__")):
            raise TypeError(
                f"fft_{name}(): argument '{argument}' must be tuple of ints, not {type(x).__name__}"
            )
    return tuple(n.__index__() for n in x)


def _made(name, fn, doc):
    fn.__name__ = fn.__qualname__ = name
    fn.__module__ = "torchlike.fft"
    fn.__doc__ = f"{doc} (https://pytorch.org/docs/stable/generated/torch.fft.{name}.html)."
    TRANSFORMS[name] = numpy_named(fn)


def _check_out(name, op, out):
    if op.name.endswith("c2r") and isinstance(out, dispatch._Tensor) and out.dtype.is_complex:
        raise RuntimeError(
            f"{name} expects a floating point output tensor, but got {dt.SCALAR_NAMES[out.dtype]}"
        )


def _one_dimension(name, op, doc):
    def transform(input, n=None, dim=-1, norm=None, *, out=None):
        if input.__class__ not in dispatch.TENSORS:
            need_tensor(f"fft_{name}", "input", 1, input)
        s = None if n is None else (integer(f"fft_{name}", "n", 2, n),)
        if out is not None:
            _check_out(name, op, out)
        result = apply(op, (input,), (s, (integer(f"fft_{name}", "dim", 3, dim),), norm, name))
        return result if out is None else dispatch.copy_out(out, result)

    _made(name, transform, doc)


def _dimensions(name, op, default, doc):
    def transform(input, s=None, dim=default, norm=None, *, out=None):
        if input.__class__ not in dispatch.TENSORS:
            need_tensor(f"fft_{name}", "input", 1, input)
        statics = (_integers(name, "s", s), _integers(name, "dim", dim), norm, name)
        if out is not None:
            _check_out(f"{name.rstrip('2').rstrip('n')}n", op, out)
        result = apply(op, (input,), statics)
        return result if out is None else dispatch.copy_out(out, result)

    _made(name, transform, doc)


for _name, _kind, _doc in (
    ("fft", "c2c", "The discrete Fourier transform"),
    ("ifft", "c2c", "The inverse of ``fft``"),
    ("rfft", "r2c", "The half of the Fourier transform of a real signal that tells the other"),
    ("irfft", "c2r", "The inverse of ``rfft``"),
    ("hfft", "c2r", "The real Fourier transform of a signal given by its half"),
    ("ihfft", "r2c", "The inverse of ``hfft``"),
):
    _op = TABLE[f"fft_{_kind}"]
    _one_dimension(_name, _op, _doc)
    _dimensions(f"{_name}2", _op, (-2, -1), f"{_doc}, in two dimensions")
    _dimensions(f"{_name}n", _op, None, f"{_doc}, in several dimensions")


# ---- frequencies and shifts --------------------------------------------------------------------


def _frequencies(name, numbers, n, d, out, dtype, device, requires_grad):
    dtype = dt.as_dtype(name, dtype) or (dt.get_default_dtype() if out is None else out.dtype)
    if dtype.category < dt.FLOATING:
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    if dtype.category == dt.COMPLEX:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{dt.SCALAR_NAMES[dtype]}'")
    wide = np.float64 if dtype is dt.float64 else np.float32
    with np.errstate(all="ignore"):
        step = np.float64(1) / np.float64(n * d)
        data = (numbers.astype(wide) * wide(step)).astype(dtype.numpy)
    return into(out, from_host(data, target_device(device), requires_grad))


def fftfreq(
    n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):  # fmt: skip
    """Frequencies of the bins of ``fft``."""
    n = integer("fft_fftfreq", "n", 1, n)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    numbers = np.arange(n)
    numbers[(n + 1) // 2 :] -= n
    return _frequencies("fftfreq", numbers, n, d, out, dtype, device, requires_grad)


def rfftfreq(
    n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):  # fmt: skip
    """Frequencies of the bins of ``rfft``."""
    n = integer("fft_rfftfreq", "n", 1, n)
    count = int(n / 2) + 1
    if count < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {count}: [{count}]")
    return _frequencies("rfftfreq", np.arange(count), n, d, out, dtype, device, requires_grad)


def _shifted(name, input, dim, towards):
    need_tensor(f"fft_{name}", "input", 1, input)
    shape = input._value.aval.shape
    dims = tuple(range(len(shape))) if dim is None else _integers(name, "dim", dim)
    if not dims:
        raise RuntimeError("`shifts` required")
    shifts = []
    for d in dims:
        if not shape:
            raise IndexError(f"Dimension specified as {d} but tensor has no dimensions")
        if not -len(shape) <= d < len(shape):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-len(shape)}, "
                f"{len(shape) - 1}], but got {d})"
            )
        shifts.append(towards(shape[d]))
    return FUNCTIONS["roll"](input, tuple(shifts), dims)


def fftshift(input, dim=None):
    """Bins in rising order of frequency, zero in the middle."""
    return _shifted("fftshift", input, dim, lambda n: n // 2)


def ifftshift(input, dim=None):
    """The inverse of ``fftshift``."""
    return _shifted("ifftshift", input, dim, lambda n: (n + 1) // 2)


for _fn in (fftfreq, rfftfreq, fftshift, ifftshift):
    _fn.__module__ = "torchlike.fft"
    TRANSFORMS[_fn.__name__] = numpy_named(_fn)


# ---- the short-time transform ------------------------------------------------------------------


def _count(function_name, argument, x):
    """An optional integer; raises PyTorch's ``TypeError`` for anything else."""
    return None if x is None else integer(function_name, argument, None, x)


def _optional_bool(x):
    return None if x is None else bool(x)


@function(method=True)
def stft(
    input, n_fft: int, hop_length=None, win_length=None, window=None, center=True,
    pad_mode="reflect", normalized=False, onesided=None, return_complex=None, align_to_window=None,
):  # fmt: skip
    """Fourier transforms of windows along a signal (https://pytorch.org/docs/stable/generated/torch.stft.html)."""
    need_tensor("stft", "input", 1, input)
    if window is not None:
        need_tensor("stft", "window", 5, window)
    n_fft, hop_length = _count("stft", "n_fft", n_fft), _count("stft", "hop_length", hop_length)
    win_length = _count("stft", "win_length", win_length)
    a = input._value.aval
    if return_complex is None:
        kinds = [a.dtype] if window is None else [a.dtype, window._value.aval.dtype]
        if all(d.category < dt.COMPLEX for d in kinds):
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will "
                "further require that return_complex=True in a future PyTorch release."
            )
    statics = (
        n_fft, n_fft // 4 if hop_length is None else hop_length,
        n_fft if win_length is None else win_length, bool(center), pad_mode, bool(normalized),
        _optional_bool(onesided), _optional_bool(align_to_window),
    )  # fmt: skip
    out = apply(TABLE["stft"], (input, window), statics)
    if window is None and n_fft > 1:
        warn_once(
            "A window was not provided. A rectangular window will be applied,which is known to "
            "cause spectral leakage. Other windows such as torch.hann_window or "
            "torch.hamming_window are recommended to reduce spectral leakage."
        )
    if return_complex is not False:
        return out
    warn_once(
        "stft with return_complex=False is deprecated. In a future pytorch release, stft will "
        "return complex tensors for all inputs, and return_complex=False will raise an error."
    )
    return FUNCTIONS["view_as_real"](out)


@function(method=True)
def istft(
    input, n_fft: int, hop_length=None, win_length=None, window=None, center=True,
    normalized=False, onesided=None, length=None, return_complex=False,
):  # fmt: skip
    """The signal of a short-time transform (https://pytorch.org/docs/stable/generated/torch.istft.html)."""
    need_tensor("istft", "input", 1, input)
    if window is not None:
        need_tensor("istft", "window", 5, window)
    n_fft, hop_length = _count("istft", "n_fft", n_fft), _count("istft", "hop_length", hop_length)
    win_length, length = (
        _count("istft", "win_length", win_length),
        _count("istft", "length", length),
    )
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    statics = (
        n_fft, hop, width, bool(center), bool(normalized), _optional_bool(onesided), length,
        bool(return_complex),
    )  # fmt: skip
    a = input._value.aval
    weights = None if window is None else (window._value.aval.shape, window._value.aval.dtype)
    error = check_istft(a.shape, a.dtype, weights, *statics)
    count = a.shape[-1]
    if window is None or not window._value.is_traced():
        host = np.ones(width) if window is None else window._host()
        least = least_envelope(host, n_fft, hop, count, center, length)
        if not least >= _LEAST_ENVELOPE:
            raise error("window overlap add min: 1")
    out = apply(TABLE["istft"], (input, window), statics)
    whole = n_fft + hop * (count - 1)
    if length is not None and length + (n_fft // 2 if center else 0) > whole:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded "
            "with zeros in the tail. Please check your center and hop_length settings.",
            stacklevel=2,
        )
    return out


_LEAST_ENVELOPE = 1e-11  # below this PyTorch refuses to divide by the windows' sum
