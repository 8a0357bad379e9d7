"""What PyTorch's CPU random draws accept: dtypes by kernel, ranges of arguments, and the errors for the rest."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# bits of the significand
DIGITS = {
    np.dtype(np.float16): 11,
    _BFLOAT16: 8,
    np.dtype(np.float32): 24,
    np.dtype(np.float64): 53,
}
# dtype -> the names PyTorch's errors use: the scalar type, the C++ type
NAMES = {
    np.dtype(np.bool_): ("Bool", "bool"),
    np.dtype(np.uint8): ("Byte", "unsigned char"),
    np.dtype(np.int8): ("Char", "signed char"),
    np.dtype(np.int16): ("Short", "short int"),
    np.dtype(np.int32): ("Int", "int"),
    np.dtype(np.int64): ("Long", "long int"),
    np.dtype(np.uint16): ("UInt16", "short unsigned int"),
    np.dtype(np.uint32): ("UInt32", "unsigned int"),
    np.dtype(np.uint64): ("UInt64", "long unsigned int"),
    np.dtype(np.float16): ("Half", "c10::Half"),
    _BFLOAT16: ("BFloat16", "c10::BFloat16"),
    np.dtype(np.float32): ("Float", "float"),
    np.dtype(np.float64): ("Double", "double"),
    np.dtype(np.complex64): ("ComplexFloat", "c10::complex<float>"),
    np.dtype(np.complex128): ("ComplexDouble", "c10::complex<double>"),
}
PAIR_OF = {
    np.dtype(np.complex64): np.dtype(np.float32),
    np.dtype(np.complex128): np.dtype(np.float64),
}
# What a kernel without floats, or without the newer unsigned integers, takes.
ORDINARY = frozenset(NAMES) - {np.dtype(f"u{size}") for size in (2, 4, 8)} - set(PAIR_OF)


def name(dtype: np.dtype, cpp: bool = False) -> str:
    return NAMES[dtype][cpp] if dtype in NAMES else str(dtype)


def require(dtype: np.dtype, known, kernel: str) -> None:
    if dtype not in known:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{name(dtype)}'")


def precision(dtype: np.dtype, kernel: str) -> type:
    """The type whose call rounds to ``dtype``, which is float32 or float64."""
    require(dtype, (np.float32, np.float64), kernel)
    return float if dtype == np.float64 else np.float32


def limits(dtype: np.dtype) -> tuple[int | float, int | float]:
    if dtype == np.bool_:
        return 0, 1
    if dtype in DIGITS:
        largest = float(ml_dtypes.finfo(dtype).max)
        return -largest, largest
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def check_uniform_bounds(low: float, high: float, dtype: np.dtype) -> None:
    smallest, largest = limits(dtype)
    for name, bound in (("from", low), ("to", high)):
        if not smallest <= bound <= largest:
            raise RuntimeError(f"{name} is out of bounds for {name(dtype, cpp=True)}")
    if low > high:
        raise RuntimeError(
            "uniform_ expects to return a [from, to) range, "
            f"but found from={low:g} > to={high:g}"
        )
    if high - low > largest:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{name(dtype)}>::max(), but found "
            f"to={high:g} and from={low:g} which result in to-from to exceed the limit"
        )


def check_random_bound(dtype: np.dtype, name: str, bound: int) -> None:
    smallest, largest = limits(dtype)
    cpp = name(dtype, cpp=True)
    if not smallest <= bound <= largest:
        raise RuntimeError(f"{name} is out of bounds for {cpp}")
    digits = DIGITS.get(dtype)
    if digits is not None and abs(bound) > 2**digits:
        warnings.warn(
            f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations "
            f"{cpp} can support discrete uniform distribution only within this range. This "
            "warning will become an error in version 1.7 release, please fix the code in advance",
            UserWarning,
            stacklevel=4,
        )


def check_permutation_dtype(n: int, dtype: np.dtype) -> None:
    if dtype in DIGITS:
        largest = 2 ** DIGITS[dtype] + 1
        if n > largest:
            raise RuntimeError(f"n cannot be greater than {largest} for {name(dtype)} type.")
    elif n - 1 > np.iinfo(dtype).max:
        raise RuntimeError(f"value cannot be converted to type {dtype}_t without overflow")


def check_multinomial(probs: np.ndarray, num_samples: int, replacement: bool) -> None:
    if probs.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if probs.dtype not in DIGITS:
        raise RuntimeError(
            "multinomial only supports floating-point dtypes for input, "
            f"got: {name(probs.dtype)}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > probs.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if probs.shape[-1] > 2**24:
        raise RuntimeError("number of categories cannot exceed 2^24")
