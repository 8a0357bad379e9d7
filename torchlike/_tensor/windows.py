"""Window functions of signal processing, in PyTorch's own steps so that the rounding agrees."""

from __future__ import annotations

import math

from torchlike._core import dtypes as dt
from torchlike._tensor.creation import as_leaf, ones, zeros
from torchlike._tensor.forms import FUNCTIONS, function
from torchlike._tensor.ranges import arange


def _window(name, length, periodic, options, shape):
    """The part that all windows share; ``shape(n)`` makes n points of the symmetric window."""
    dtype, device, requires_grad = options
    dtype = dt.as_dtype(name, dtype) or dt.get_default_dtype()
    if dtype.category < dt.FLOATING:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype!r}")
    if length < 0:
        raise RuntimeError(
            f"{name} requires non-negative window_length, got window_length={length}"
        )
    if length < 2:
        maker = ones if length else zeros
        return maker(length, dtype=dtype, device=device, requires_grad=requires_grad)
    points = length + 1 if periodic else length
    out = shape(arange(points, dtype=dtype, device=device), points)[:length].clone()
    return as_leaf(out, requires_grad)


def _cosine(alpha, beta):
    return lambda x, n: (x * (math.pi * 2 / (n - 1))).cos() * -beta + alpha


@function()
def hann_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False,
):  # fmt: skip
    """The Hann window."""
    options = dtype, device, requires_grad
    return _window("hann_window", window_length, periodic, options, _cosine(0.5, 0.5))


@function()
def hamming_window(
    window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, layout=None, device=None,
    pin_memory=False, requires_grad=False,
):  # fmt: skip
    """The Hamming window."""
    options = dtype, device, requires_grad
    return _window("hamming_window", window_length, periodic, options, _cosine(alpha, beta))


@function()
def blackman_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False,
):  # fmt: skip
    """The Blackman window."""

    def shape(x, n):
        x = x * (math.pi / (n - 1))
        return (x * 4).cos() * 0.08 - (x * 2).cos() * 0.5 + 0.42

    options = dtype, device, requires_grad
    return _window("blackman_window", window_length, periodic, options, shape)


@function()
def bartlett_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False,
):  # fmt: skip
    """The Bartlett window: a triangle."""

    def shape(x, n):
        rising = x * (2.0 / (n - 1))
        return FUNCTIONS["where"](x <= (n - 1) // 2, rising, 2 - rising)

    options = dtype, device, requires_grad
    return _window("bartlett_window", window_length, periodic, options, shape)


@function()
def kaiser_window(
    window_length, periodic=True, beta=12.0, *, dtype=None, layout=None, device=None,
    pin_memory=False, requires_grad=False,
):  # fmt: skip
    """The Kaiser window of shape ``beta``."""

    def shape(x, n):
        x = x * (2.0 / (n - 1)) - 1
        inside = (1 - x * x).clamp(min=0).sqrt() * beta
        return inside.i0() / FUNCTIONS["full"]((), float(beta), dtype=x.dtype).i0()

    options = dtype, device, requires_grad
    return _window("kaiser_window", window_length, periodic, options, shape)
