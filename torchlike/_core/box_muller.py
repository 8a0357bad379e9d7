"""The normals of PyTorch's vectorised float32 kernel, to the bit; numpy only.

Groups of 16 uniforms become 16 normals: the first eight give radii, the last eight angles. The
kernel takes logarithm, sine and cosine from the single precision polynomials of the Cephes
library and fuses each multiplication with the addition behind it. numpy has no fused operation:
``_fused`` forms the exact product in float64, adds there and rounds to float32.
"""

from __future__ import annotations

import numpy as np

GROUP = 16
HALF = GROUP // 2

_SQRT_HALF = np.float32(0.707106781186547524)
_LOG_POLYNOMIAL = (
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
# log(2) = _LOG2_HIGH + _LOG2_LOW; the high part times an exponent is exact.
_LOG2_HIGH = np.float32(0.693359375)
_LOG2_LOW = np.float32(-2.12194440e-4)

_TWO_PI = np.float32(2 * np.pi)
_FOUR_OVER_PI = np.float32(4 / np.pi)
# cosine in the first row, sine in the second
_TRIG_POLYNOMIAL = np.array(
    [
        [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2],
        [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1],
    ],
    np.float32,
)
# pi/4 = high + middle + low; an octant (0, 2, 4, 6 or 8) times high or middle is exact.
_PI_4_HIGH = np.float32(0.78515625)
_PI_4_MIDDLE = np.float32(2.4187564849853515625e-4)
_PI_4_LOW = np.float32(3.77489497744594108e-8)
