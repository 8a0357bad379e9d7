"""Fourier transforms along any dimensions, and the short-time transform with its inverse."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.dims import axis
from torchlike._ops.table import Dims, Shape, op, torch_dtype
from torchlike._ops.windows import MAX_UNROLLED

_FFT, _IFFT, _RFFT, _IRFFT = (
    lax.FftType.FFT, lax.FftType.IFFT, lax.FftType.RFFT, lax.FftType.IRFFT
)  # fmt: skip
_INVERSE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}
_MOST_DIMS = 3  # that one transform of XLA takes


# ---- the arguments of a transform --------------------------------------------------------------


def _floating(input):
    """The operand in a dtype that has a transform; raises PyTorch's error for half precision."""
    d = torch_dtype(input)
    if d.category <= dt.INTEGRAL:
        return input.astype(dt.get_default_dtype().numpy)
    if d not in (dt.float32, dt.float64, dt.complex64, dt.complex128):
        raise RuntimeError(f"Unsupported dtype {dt.SCALAR_NAMES[d]}")
    return input


def _complex(x):
    return x if jnp.iscomplexobj(x) else x.astype(torch_dtype(x).to_complex().numpy)


def _require_real(input, function: str) -> None:
    d = torch_dtype(input)
    if d.category == dt.COMPLEX:
        name = dt.SCALAR_NAMES[d]
        if function.startswith("ihfft") and function != "ihfft":
            raise RuntimeError(f"Only supports floating-point dtypes, but found: {name}")
        kind = "real" if function in ("rfft", "ihfft") else "real-valued"
        raise RuntimeError(f"{function} expects a {kind} input tensor, but got {name}")


def _wrapped(dim, ndim: int) -> int:
    if ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return axis(dim, ndim)


def _check_norm(norm) -> str:
    if norm is None:
        return "backward"
    if norm not in _INVERSE:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def _places(input, function: str, s, dim):
    """(axes, lengths of the signal along them) of a call; raises PyTorch's errors.

    A length of None is the operand's own; for a half-length result of ``irfft`` it is completed.
    """
    single = function.endswith("fft")
    if dim is None:
        if s is not None and len(s) > input.ndim:
            raise RuntimeError(
                f"Got shape with {len(s)} values but input tensor only has {input.ndim} dimensions."
            )
        at = list(range(input.ndim - len(s) if s is not None else 0, input.ndim))
    else:
        at = [_wrapped(d, input.ndim) for d in dim]
        if len(set(at)) < len(at):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(at):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    lengths = [None] * len(at) if s is None else list(s)
    for i, (a, n) in enumerate(zip(at, lengths, strict=True)):
        if n is None or (n == -1 and not single):
            n = input.shape[a]
            if i == len(at) - 1 and function.startswith(("irfft", "hfft")):
                n = 2 * (n - 1)
            lengths[i] = n
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    if not at and function not in ("fftn", "ifftn", "fft2", "ifft2"):
        raise RuntimeError(f"{function} must transform at least one axis")
    return at, lengths


def _resized(x, at, lengths):
    """Cut or filled up with zeros to the lengths along the axes."""
    config = [(0, 0, 0)] * x.ndim
    for a, n in zip(at, lengths, strict=True):
        config[a] = (0, n - x.shape[a], 0)
    if all(high == 0 for _, high, _ in config):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def _scaled(x, norm: str, lengths, inverse: bool):
    """What XLA computes (its inverse divides by the number of points) with the norm asked for."""
    count = math.prod(lengths)
    if norm == "backward" or count == 1:
        return x
    factor = 1 / count if norm == "forward" else 1 / math.sqrt(count)
    return x * (1 / factor if inverse else factor)


def _along(x, at, kind, lengths):
    """One transform of XLA along up to three axes, the last of which is the halved one."""
    last = list(range(x.ndim - len(at), x.ndim))
    moved = list(at) != last
    x = jnp.moveaxis(x, at, last) if moved else x
    if x.size:
        x = lax.fft(x, kind, tuple(lengths))
    else:
        n = lengths[-1]
        x = _complex(x) if kind is _RFFT else x.real if kind is _IRFFT else x
        x = x[..., : n // 2 + 1] if kind is _RFFT else _resized(x, [x.ndim - 1], [n])
    return jnp.moveaxis(x, last, at) if moved else x


def _full(x, at, lengths, inverse: bool):
    """The complex transform along axes."""
    order = sorted(range(len(at)), key=lambda i: at[i])
    while order:
        group, order = order[-_MOST_DIMS:], order[:-_MOST_DIMS]
        axes, sizes = [at[i] for i in group], [lengths[i] for i in group]
        x = _along(x, axes, _IFFT if inverse else _FFT, sizes)
    return x


# ---- torch.fft ---------------------------------------------------------------------------------


def _node(c):
    """PyTorch transforms a real signal once, and completes or conjugates the half it gets."""
    if c.function in ("fft", "ifft") and not c.input.dtype.is_complex:
        return "FftR2CBackward0" if c.function == "fft" else "ConjBackward0"
    if c.function[:2] == "ih" and c.dim is not None and len(c.dim) == 1:
        return "ConjBackward0"
    return "FftR2CBackward0" if c.function[0] == "r" else "FftC2CBackward0"


@op("fft_c2c", numbers=(), linear=True, grad_name=_node)
def c2c(input, s: Shape, dim: Dims, norm: str, function: str):
    """``fft`` and ``ifft`` along dimensions."""
    x = _complex(_floating(input))
    at, lengths = _places(x, function, s, dim)
    norm, inverse = _check_norm(norm), function[0] == "i"
    x = _full(_resized(x, at, lengths), at, lengths, inverse)
    return _scaled(x, norm, lengths, inverse)


@op("fft_r2c", numbers=(), linear=True, grad_name=_node)
def r2c(input, s: Shape, dim: Dims, norm: str, function: str):
    """``rfft`` and ``ihfft``: half of the spectrum of a real signal."""
    _require_real(input, function)
    x = _floating(input)
    at, lengths = _places(x, function, s, dim)
    norm, inverse = _check_norm(norm), function[0] == "i"
    x = _along(_resized(x, at, lengths), at[-1:], _RFFT, lengths[-1:])
    x = _full(x, at[:-1], lengths[:-1], False)
    if inverse:
        return _scaled(x, _INVERSE[norm], lengths, False).conj()
    return _scaled(x, norm, lengths, False)


@op("fft_c2r", numbers=(), linear=True, grad_name="FftC2RBackward0")
def c2r(input, s: Shape, dim: Dims, norm: str, function: str):
    """``irfft`` and ``hfft``: the real signal whose spectrum is symmetric."""
    x = _complex(_floating(input))
    at, lengths = _places(x, function, s, dim)
    norm = _check_norm(norm)
    if function[0] == "h":
        x, norm = x.conj(), _INVERSE[norm]
    x = _resized(x, at, [*lengths[:-1], lengths[-1] // 2 + 1])
    x = _full(x, at[:-1], lengths[:-1], True)
    x = _along(x, at[-1:], _IRFFT, lengths[-1:])
    return _scaled(x, norm, lengths, True)


# ---- frames ------------------------------------------------------------------------------------


def _frames(x, size: int, hop: int, count: int):
    """(..., time) -> (..., count, size): windows that begin ``hop`` apart."""
    parts = -(-size // hop)
    if parts > MAX_UNROLLED:
        return x[..., np.arange(count)[:, None] * hop + np.arange(size)]
    x = _resized(x, [x.ndim - 1], [(count + parts - 1) * hop])
    x = x.reshape(*x.shape[:-1], count + parts - 1, hop)
    shifted = [lax.slice_in_dim(x, i, i + count, axis=x.ndim - 2) for i in range(parts)]
    return jnp.concatenate(shifted, -1)[..., :size]


def _overlapped(x, hop: int):
    """(..., count, size) -> (..., time): the sum of frames that begin ``hop`` apart."""
    count, size = x.shape[-2:]
    length = (count - 1) * hop + size
    parts = -(-size // hop)
    lead = x.shape[:-2]
    if parts > MAX_UNROLLED:
        at = np.arange(count)[:, None] * hop + np.arange(size)
        return jnp.zeros((*lead, length), x.dtype).at[..., at].add(x)
    x = _resized(x, [x.ndim - 1], [parts * hop])
    total = jnp.zeros((*lead, count + parts - 1, hop), x.dtype)
    for i in range(parts):
        part = x[..., i * hop : (i + 1) * hop]
        low = [(0, 0, 0)] * len(lead)
        total = total + lax.pad(
            part, jnp.zeros((), x.dtype), [*low, (i, parts - 1 - i, 0), (0, 0, 0)]
        )
    return total.reshape(*lead, -1)[..., :length]


def _centered(window, size: int, real):
    """The window in the middle of a frame; ones if there is none."""
    if window.__class__ is int:
        window = jnp.ones(window, real)
    left = (size - window.shape[0]) // 2
    right = size - window.shape[0] - left
    return lax.pad(window, jnp.zeros((), window.dtype), [(left, right, 0)])


# ---- the short-time transform ------------------------------------------------------------------

_PADS = {"reflect": "reflect", "constant": "constant", "replicate": "edge", "circular": "wrap"}


def _padded(x, size: int, mode: str):
    if mode not in _PADS:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if mode != "constant" and (size >= x.shape[-1] if mode == "reflect" else not x.size):
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, "
            f"but got: padding ({size}, {size}) at dimension 2 of input {[1, *x.shape]}"
        )
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(size, size)], _PADS[mode])


def _shown(window) -> str:
    if window is None:
        return "None"
    return f"torch.{dt.SCALAR_NAMES[torch_dtype(window)]}Tensor{{{list(window.shape)}}}"


@op(
    "stft", numbers=(), multilinear=True,
    grad_name=lambda c: "TransposeBackward1" if c.input.ndim > 1 else "SqueezeBackward4",
)  # fmt: skip
def stft(
    input, window=None, *, n_fft: int, hop_length: int, win_length: int, center: bool,
    pad_mode: str, normalized: bool, onesided: bool | None, align: bool | None,
):  # fmt: skip
    """The Fourier transforms of windows along a signal: (batch, frequency, frame)."""
    x = input
    if center:
        if align is not None:
            raise RuntimeError("stft align_to_window should only be set when center = false")
        x = _padded(x if x.ndim else x.reshape(1), n_fft // 2, pad_mode)
    d = torch_dtype(x)

    def refuse(why, error=RuntimeError):
        flag = lambda x: None if x is None else int(x)  # noqa: E731
        raise error(
            f"stft(torch.{dt.SCALAR_NAMES[d]}Tensor{list(x.shape)}, n_fft={n_fft}, "
            f"hop_length={hop_length}, win_length={win_length}, window={_shown(window)}, "
            f"normalized={int(normalized)}, onesided={flag(onesided)}, return_complex=1, "
            f"align_to_window={flag(align)}) : {why}"
        )

    if d.category < dt.FLOATING:
        refuse("expected a tensor of floating point or complex values")
    if x.ndim not in (1, 2):
        refuse("expected a 1D or 2D tensor")
    length = x.shape[-1]
    if not 0 < n_fft <= length:
        refuse(f"expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if hop_length <= 0:
        refuse(f"expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        refuse(f"expected 0 < win_length <= n_fft, but got win_length={win_length}")
    if window is not None and window.shape != (win_length,):
        refuse(
            f"expected a 1D window tensor of size equal to win_length={win_length}, but got "
            f"window with size {list(window.shape)}"
        )
    if d in dt.HALF:
        raise RuntimeError(f"MKL FFT doesn't support tensors of type: {dt.SCALAR_NAMES[d]}")
    is_complex = jnp.iscomplexobj(x) or (window is not None and jnp.iscomplexobj(window))
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if align:
        left = (n_fft - win_length) // 2
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(left, n_fft - win_length - left)])
        length = x.shape[-1]
    x = _frames(x, n_fft, hop_length, 1 + (length - n_fft) // hop_length)
    if window is not None or win_length < n_fft:
        weights = _centered(win_length if window is None else window, n_fft, d.to_real().numpy)
        both = dt.promote_types(d, torch_dtype(weights)).numpy
        x = x.astype(both) * weights.astype(both)
    x = _along(x if onesided else _complex(x), [x.ndim - 1], _RFFT if onesided else _FFT, [n_fft])
    x = jnp.swapaxes(x, -1, -2)
    return x * (1 / math.sqrt(n_fft)) if normalized else x


def _span(n_fft: int, count: int, hop: int, center: bool, length):
    """(start, end) of the signal within the sum of its frames; the end may lie behind it."""
    whole = n_fft + hop * (count - 1)
    start = n_fft // 2 if center else 0
    if length is not None:
        return start, start + length, whole
    return start, whole - n_fft // 2 if center else whole, whole


def _envelope(window, hop: int, count: int):
    """The sum of squared windows over the signal, by which their sum is divided."""
    square = jnp.broadcast_to(window * window, (count, *window.shape))
    return _overlapped(square, hop)


def least_envelope(window: np.ndarray, n_fft, hop_length, count, center, length) -> float:
    """The least magnitude of what an inverse transform divides by, computed on the host."""
    parts = -(-n_fft // hop_length)
    left = (n_fft - window.size) // 2
    square = np.zeros(parts * hop_length, window.dtype)
    square[left : left + window.size] = window * window
    total = np.zeros((count + parts - 1, hop_length), window.dtype)
    for i, part in enumerate(square.reshape(parts, hop_length)):
        total[i : i + count] += part
    start, end, whole = _span(n_fft, count, hop_length, center, length)
    total = total.reshape(-1)[start : min(end, whole)]
    if not total.size:
        raise RuntimeError(
            "min(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    return float(np.abs(total).min())


def check_istft(
    shape, d, window, n_fft, hop_length, win_length, center, normalized, onesided, length,
    return_complex,
):  # fmt: skip
    """Raise PyTorch's errors for a call of ``istft``; ``window`` is (shape, dtype) or None.

    Returns a function that makes the error of a given reason.
    """
    flag = lambda x: None if x is None else int(x)  # noqa: E731
    shown = "None"
    if window is not None:
        shown = f"torch.{dt.SCALAR_NAMES[window[1]]}Tensor{{{list(window[0])}}}"

    def error(why):
        return RuntimeError(
            f"istft(CPU{dt.SCALAR_NAMES[d]}Type{list(shape)}, n_fft={n_fft}, "
            f"hop_length={hop_length}, win_length={win_length}, window={shown}, "
            f"center={int(center)}, normalized={int(normalized)}, onesided={flag(onesided)}, "
            f"length={length}, return_complex={int(return_complex)}) {why}"
        )

    if d.category != dt.COMPLEX:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    if 0 in shape:
        raise error(": input tensor cannot be empty.")
    if len(shape) not in (2, 3):
        raise error(f": expected a tensor with 3 or 4 dimensions, but got {len(shape) + 1}")
    rows = shape[-2]
    halved = rows != n_fft if onesided is None else onesided
    if halved and n_fft // 2 + 1 != rows:
        raise error(
            ": expected the frequency dimension (3rd to the last) of the input tensor to match "
            f"n_fft / 2 + 1 when onesided=True, but got {rows}"
        )
    if not halved and rows != n_fft:
        raise error(
            ": expected the frequency dimension (3rd to the last) of the input tensor to match "
            f"n_fft when onesided=False, but got {rows}"
        )
    if not 0 < hop_length <= win_length:
        raise error(": expected 0 < hop_length <= win_length")
    if not 0 < win_length <= n_fft:
        raise error(": expected 0 < win_length <= n_fft")
    if window is not None and tuple(window[0]) != (win_length,):
        raise error(": Invalid window shape. window has to be 1D and length of `win_length`")
    if return_complex:
        if halved:
            raise RuntimeError("Cannot have onesided output if window or input is complex")
    elif window is not None and window[1].category == dt.COMPLEX:
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    return error


@op("istft", numbers=(),
    grad_name=lambda c: "DivBackward0" if c.input.ndim > 2 else "SqueezeBackward1")  # fmt: skip
def istft(
    input, window=None, *, n_fft: int, hop_length: int, win_length: int, center: bool,
    normalized: bool, onesided: bool | None, length: int | None, return_complex: bool,
):  # fmt: skip
    """The signal of a short-time transform, by the least squares of overlapping frames."""
    described = None if window is None else (window.shape, torch_dtype(window))
    d = torch_dtype(input)
    check_istft(
        input.shape, d, described, n_fft, hop_length, win_length, center, normalized, onesided,
        length, return_complex,
    )  # fmt: skip
    count = input.shape[-1]
    x = jnp.swapaxes(input, -1, -2)
    if return_complex:
        x = _along(x, [x.ndim - 1], _IFFT, [n_fft])
    else:
        x = _along(x[..., : n_fft // 2 + 1], [x.ndim - 1], _IRFFT, [n_fft])
    if normalized:
        x = x * math.sqrt(n_fft)
    weights = _centered(win_length if window is None else window, n_fft, d.to_real().numpy)
    both = dt.promote_types(torch_dtype(x), torch_dtype(weights)).numpy
    x = _overlapped(x.astype(both) * weights.astype(both), hop_length)
    start, end, whole = _span(n_fft, count, hop_length, center, length)
    x = x[..., start:end] / _envelope(weights, hop_length, count)[start:end].astype(both)
    return _resized(x, [x.ndim - 1], [end - start]) if end > whole else x
