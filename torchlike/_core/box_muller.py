"""The normals of PyTorch's vectorised kernels: groups of 16 uniforms become 16 normals; numpy only.

The first eight uniforms of a group give radii, the last eight angles. In float32 the kernel takes
logarithm, sine and cosine from the single precision polynomials of the Cephes library and fuses
multiplications with additions. numpy has no fused operation, so those steps form the exact
product in float64, add there and round to float32. In float64 the C library's functions serve.
"""

from __future__ import annotations

import math

import numpy as np

from .mersenne import libm

GROUP = 16
_HALF = GROUP // 2

_ONE = np.float32(1)
_ONE_HALF = np.float32(0.5)
_MINUS_TWO = np.float32(-2)


def _single(*values: float) -> list[float]:
    """Each value as the nearest float32, widened."""
    return [float(np.float32(value)) for value in values]


# log(1 + x), from the highest power down
_LOG_POLYNOMIAL = _single(
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_SQRT_HALF_BITS = int(np.float32(0.5**0.5).view(np.int32))
# log(2) is the sum of both; the high part times an exponent is exact.
_LOG2_HIGH = np.float32(0.693359375)
_LOG2_LOW = np.float32(-2.12194440e-4)

_COS_POLYNOMIAL = _single(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_SIN_POLYNOMIAL = _single(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_TWO_PI = np.float32(2 * math.pi)
_FOUR_OVER_PI = np.float32(4 / math.pi)
# pi/4 in three parts of the kernel; only the product with the last one is ever rounded, so one
# float64 that holds their sum does for all three.
_HALF_PI = 2 * sum(_single(0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8))


def normals_float32(uniforms: np.ndarray) -> np.ndarray:
    """Standard normals from uniforms in [0, 1), in whole groups: (count,) float32 to the same."""
    groups = uniforms.reshape(-1, 2, _HALF)  # (groups, radius or angle, 8)
    radius = _radius(_ONE - groups[:, 0].ravel())
    cosine, sine = _cosine_and_sine(groups[:, 1].ravel() * _TWO_PI)
    normals = np.empty(groups.shape, np.float32)
    np.multiply(cosine.reshape(-1, _HALF), radius.reshape(-1, _HALF), out=normals[:, 0])
    np.multiply(sine.reshape(-1, _HALF), radius.reshape(-1, _HALF), out=normals[:, 1])
    return normals.ravel()


def normals_float64(uniforms: np.ndarray) -> np.ndarray:
    """Standard normals from uniforms in [0, 1), in whole groups: (count,) float64 to the same."""
    groups = uniforms.reshape(-1, 2, _HALF)
    radius = np.sqrt(-2 * libm(math.log, 1 - groups[:, 0].ravel()))
    angle = (2 * math.pi) * groups[:, 1].ravel()
    normals = np.empty(groups.shape)
    normals[:, 0] = (radius * libm(math.cos, angle)).reshape(-1, _HALF)
    normals[:, 1] = (radius * libm(math.sin, angle)).reshape(-1, _HALF)
    return normals.ravel()


def _horner(x: np.ndarray, coefficients: list[float]) -> np.ndarray:
    """The polynomial at float64 ``x``, fused and rounded to float32 at each step."""
    narrow = np.empty(x.shape, np.float32)
    total = x * coefficients[0]
    total += coefficients[1]
    for coefficient in coefficients[2:]:
        narrow[...] = total
        total[...] = narrow
        total *= x
        total += coefficient
    narrow[...] = total
    return narrow


def _radius(u: np.ndarray) -> np.ndarray:
    """sqrt(-2 log(u)) for float32 ``u`` in (0, 1]."""
    # u = 2**exponent * (1 + x) with 1 + x in [sqrt(1/2), sqrt(2)); integers do this exactly.
    bits = u.view(np.int32)
    exponent = bits - _SQRT_HALF_BITS
    exponent >>= 23
    x = (bits - (exponent << 23)).view(np.float32)
    x -= _ONE
    exponent = exponent.astype(np.float32)

    y = _horner(x.astype(np.float64), _LOG_POLYNOMIAL)
    y *= x
    square = x * x
    total = square.astype(np.float64)
    total *= y
    total += exponent * _LOG2_LOW
    y[...] = total
    square *= _ONE_HALF
    y -= square
    x += y
    exponent *= _LOG2_HIGH
    x += exponent
    x *= _MINUS_TWO
    return np.sqrt(x, out=x)


def _cosine_and_sine(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of float32 ``angle`` in [0, 2 pi]."""
    quadrant = (angle * _FOUR_OVER_PI).astype(np.int32)
    quadrant += 1
    quadrant >>= 1
    x = (angle - quadrant * _HALF_PI).astype(np.float32)  # in [-pi/4, pi/4]
    square = x * x
    wide = square.astype(np.float64)

    sine = _horner(wide, _SIN_POLYNOMIAL)
    sine *= square
    total = sine * x.astype(np.float64)
    total += x
    sine[...] = total

    cosine = _horner(wide, _COS_POLYNOMIAL)
    cosine *= square
    np.multiply(cosine, wide, out=total)
    square *= _ONE_HALF
    total -= square
    cosine[...] = total
    cosine += _ONE

    # Odd quadrants swap the two; signs follow. In bits, as numpy's selections are slow.
    cosine_bits, sine_bits = cosine.view(np.int32), sine.view(np.int32)
    swap = cosine_bits ^ sine_bits
    swap &= -(quadrant & 1)
    cosine_bits ^= swap
    sine_bits ^= swap
    sine_bits ^= (quadrant & 2) << 30
    quadrant += 1
    cosine_bits ^= (quadrant & 2) << 30
    return cosine, sine
