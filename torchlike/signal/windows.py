"""torch.signal.windows: windows of any kind, symmetric unless asked to be periodic."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torchlike._core import dtypes as dt
from torchlike._tensor import layouts
from torchlike._tensor.creation import ones, tensor, zeros
from torchlike._tensor.ranges import arange, linspace

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine",
    "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip


class _Options:
    """What all windows take: the dtype, layout, device and requires_grad of their tensor."""

    def __init__(self, name, M, dtype, layout, device, requires_grad):
        dtype = dt.get_default_dtype() if dtype is None else dtype
        if M < 0:
            raise ValueError(f"{name} requires non-negative window length, got M={M}")
        if layout is not layouts.strided:
            raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
        if dtype not in (dt.float32, dt.float64):
            raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
        self.M = M
        self.dtype, self.device = dtype, device
        self.options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}

    def points(self, start, end):
        """M numbers from ``start`` to ``end``, both included."""
        return linspace(start, end, self.M, **self.options)

    def trivial(self):
        """The window of no point or of one."""
        return ones(1, **self.options) if self.M else zeros(0, **self.options)


def exponential(
    M: int, *, center=None, tau: float = 1.0, sym: bool = True, dtype=None,
    layout=layouts.strided, device=None, requires_grad: bool = False,
):  # fmt: skip
    """The window exp(-|n - center| / tau), also named after Poisson."""
    window = _Options("exponential", M, dtype, layout, device, requires_grad)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    if M == 0:
        return window.trivial()
    if center is None:
        center = (M if not sym and M > 1 else M - 1) / 2.0
    scale = 1 / tau
    return (-window.points(-center * scale, (M - 1 - center) * scale).abs()).exp()


def cosine(
    M: int, *, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
    requires_grad: bool = False,
):  # fmt: skip
    """The window sin(pi (n + 0.5) / M)."""
    window = _Options("cosine", M, dtype, layout, device, requires_grad)
    if M == 0:
        return window.trivial()
    scale = math.pi / (M + 1 if not sym and M > 1 else M)
    return window.points(0.5 * scale, (M - 0.5) * scale).sin()


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype=None, layout=layouts.strided,
    device=None, requires_grad: bool = False,
):  # fmt: skip
    """The bell curve of standard deviation ``std``."""
    window = _Options("gaussian", M, dtype, layout, device, requires_grad)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    if M == 0:
        return window.trivial()
    start = -(M if not sym and M > 1 else M - 1) / 2.0
    scale = 1 / (std * math.sqrt(2))
    return (-(window.points(start * scale, (start + M - 1) * scale) ** 2)).exp()


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype=None, layout=layouts.strided,
    device=None, requires_grad: bool = False,
):  # fmt: skip
    """The window by Bessel's function I0, of shape ``beta``."""
    window = _Options("kaiser", M, dtype, layout, device, requires_grad)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    if M < 2:
        return window.trivial()
    beta = tensor(beta, dtype=window.dtype, device=device)
    end = beta.minimum(2.0 * beta / (M - 1 if sym else M) * (M - 1) - beta)
    k = window.points(-beta, end)
    # At the ends, rounding may leave a little less than zero.
    return (beta * beta - k**2).clamp(min=0).sqrt().i0() / beta.i0()


def bartlett(
    M: int, *, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
    requires_grad: bool = False,
):  # fmt: skip
    """The triangle that begins and ends with zero."""
    window = _Options("bartlett", M, dtype, layout, device, requires_grad)
    if M < 2:
        return window.trivial()
    step = 2 / (M - 1 if sym else M)
    return 1 - window.points(-1, (M - 1) * step - 1).abs()


def general_cosine(
    M, *, a: Iterable, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
    requires_grad: bool = False,
):  # fmt: skip
    """The sum of cosines of multiples of a frequency, weighted by ``a`` with changing signs."""
    window = _Options("general_cosine", M, dtype, layout, device, requires_grad)
    if M < 2:
        return window.trivial()
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    if not a:
        raise ValueError("Coefficients cannot be empty")
    k = window.points(0, (M - 1) * (2 * math.pi / (M - 1 if sym else M)))
    weights = tensor([(-1) ** i * x for i, x in enumerate(a)], **window.options)
    i = arange(weights.shape[0], **window.options)
    return (weights.unsqueeze(-1) * (i.unsqueeze(-1) * k).cos()).sum(0)


def general_hamming(
    M, *, alpha: float = 0.54, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
    requires_grad: bool = False,
):  # fmt: skip
    """The window alpha - (1 - alpha) cos(2 pi n / (M - 1))."""
    return general_cosine(
        M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def hamming(
    M: int, *, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
    requires_grad: bool = False,
):  # fmt: skip
    """The Hamming window."""
    return general_hamming(
        M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


def hann(
    M: int, *, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
    requires_grad: bool = False,
):  # fmt: skip
    """The Hann window."""
    return general_hamming(
        M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def _cosines(name, a, doc):
    def window(
        M: int, *, sym: bool = True, dtype=None, layout=layouts.strided, device=None,
        requires_grad: bool = False,
    ):  # fmt: skip
        _Options(name, M, dtype, layout, device, requires_grad)
        return general_cosine(
            M, a=a, sym=sym, dtype=dtype, layout=layout, device=device,
            requires_grad=requires_grad,
        )  # fmt: skip

    window.__name__ = window.__qualname__ = name
    window.__doc__ = doc
    return window


blackman = _cosines("blackman", (0.42, 0.5, 0.08), "The Blackman window.")
nuttall = _cosines(
    "nuttall", (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "The minimum four-term Blackman-Harris window, named after Nuttall.",
)  # fmt: skip
