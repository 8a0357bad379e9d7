"""What PyTorch's CPU random draws accept: dtypes by kernel, ranges, and the errors for the rest.

Below it are numpy and ml_dtypes only.
"""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# floating dtype -> bits of its significand
DIGITS = {
    np.dtype(np.float16): 11,
    _BFLOAT16: 8,
    np.dtype(np.float32): 24,
    np.dtype(np.float64): 53,
}
# dtype -> the names that PyTorch's errors use: of the scalar type, of the C++ type
_NAMES = {
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
# complex dtype -> the dtype of its parts
PARTS = {
    np.dtype(np.complex64): np.dtype(np.float32),
    np.dtype(np.complex128): np.dtype(np.float64),
}
REAL = frozenset(_NAMES) - frozenset(PARTS)
# What kernels written before uint16, uint32 and uint64 take, with bool and without.
COMMON = REAL - {np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)}
NUMERIC = COMMON - {np.dtype(np.bool_)}


def scalar_name(dtype: np.dtype) -> str:
    """PyTorch's name of the scalar type, such as ``Long``."""
    return _NAMES[dtype][0] if dtype in _NAMES else str(dtype)


def _cpp_name(dtype: np.dtype) -> str:
    return _NAMES[dtype][1] if dtype in _NAMES else str(dtype)


# ---- dtypes --------------------------------------------------------------------------------------


def require(dtype: np.dtype, known, kernel: str) -> None:
    """Raise as PyTorch's dispatch does unless ``dtype`` is among ``known``."""
    if dtype not in known:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}'")


def require_continuous(dtype: np.dtype, distribution: str) -> None:
    """Raise for a dtype that is not floating."""
    if dtype not in DIGITS:
        specified = _cpp_name(dtype) if distribution == "Cauchy" else scalar_name(dtype)
        raise RuntimeError(
            f"{distribution} distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {specified}"
        )


def precision(dtype: np.dtype, kernel: str) -> type:
    """The type whose call rounds to ``dtype``, which must be float32 or float64."""
    require(dtype, (np.float32, np.float64), kernel)
    return float if dtype == np.float64 else np.float32


def largest_integer(dtype: np.dtype) -> int:
    """The top of ``random_()`` without bounds: beyond 2**digits a float skips integers."""
    if dtype in DIGITS:
        return 2 ** DIGITS[dtype]
    return int(_limits(dtype)[1])


def _limits(dtype: np.dtype):
    if dtype == np.bool_:
        return 0, 1
    if dtype in DIGITS:
        largest = float(ml_dtypes.finfo(dtype).max)
        return -largest, largest
    return np.iinfo(dtype).min, np.iinfo(dtype).max


# ---- ranges --------------------------------------------------------------------------------------


def check_uniform_range(low: float, high: float, dtype: np.dtype) -> None:
    """Raise unless [low, high) is a range that ``dtype`` holds."""
    smallest, largest = _limits(dtype)
    for bound, which in ((low, "from"), (high, "to")):
        if not smallest <= bound <= largest:
            raise RuntimeError(f"{which} is out of bounds for {_cpp_name(dtype)}")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}"
        )
    if high - low > largest:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{scalar_name(dtype)}>::max(), "
            f"but found to={high:g} and from={low:g} which result in to-from to exceed the limit"
        )


def integer_range(low: int, high: int, dtype: np.dtype) -> tuple[int, int]:
    """The range [low, high) checked, its ends moved to integers that ``dtype`` holds."""
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    check_integer_bound(low, "from", dtype)
    check_integer_bound(high - 1, "to - 1", dtype)
    if dtype not in DIGITS:
        return low, high
    above, below = _rounded(low + 1, dtype), _rounded(high - 1, dtype)
    if above < low:
        low = above + _spacing(low + 1, dtype)
    if below >= high:
        high = below - _spacing(high - 1, dtype)
    return low, high


def check_integer_bound(bound: int, which: str, dtype: np.dtype) -> None:
    """Raise if ``dtype`` cannot hold ``bound``; warn if it skips integers before it."""
    smallest, largest = _limits(dtype)
    if not smallest <= bound <= largest:
        raise RuntimeError(f"{which} is out of bounds for {_cpp_name(dtype)}")
    if dtype in DIGITS and abs(bound) > 2 ** DIGITS[dtype]:
        digits = DIGITS[dtype]
        warnings.warn(
            f"{which} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations "
            f"{_cpp_name(dtype)} can support discrete uniform distribution only within this range. "
            "This warning will become an error in version 1.7 release, please fix the code in "
            "advance",
            UserWarning,
            stacklevel=4,
        )


def _rounded(value: int, dtype: np.dtype) -> int:
    if dtype == np.float64:
        return int(float(value))
    return int(dtype.type(np.float32(value)))


def _spacing(value: int, dtype: np.dtype) -> int:
    """The gap between neighbours of ``dtype`` around an integer beyond 2**digits."""
    return 1 << (abs(value).bit_length() - DIGITS[dtype])


def check_permutation(n: int, dtype: np.dtype) -> None:
    """Raise unless ``dtype`` counts up to ``n``."""
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    require(dtype, NUMERIC, "randperm")
    if scalar_name(dtype) == "BFloat16":  # the one that PyTorch lets repeat numbers
        return
    if dtype in DIGITS:
        largest = largest_integer(dtype) + 1
        if n > largest:
            raise RuntimeError(f"n cannot be greater than {largest} for {scalar_name(dtype)} type.")
    elif n - 1 > largest_integer(dtype):
        raise RuntimeError(f"value cannot be converted to type {dtype}_t without overflow")


def check_multinomial(probs: np.ndarray, num_samples: int, replacement: bool) -> None:
    """Raise for shapes, dtypes and counts that ``multinomial`` does not take."""
    if probs.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if probs.dtype not in DIGITS:
        raise RuntimeError(
            "multinomial only supports floating-point dtypes for input, "
            f"got: {scalar_name(probs.dtype)}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > probs.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if probs.shape[-1] > 2**24:
        raise RuntimeError("number of categories cannot exceed 2^24")
