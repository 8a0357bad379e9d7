"""torch.quasirandom: the points of a Sobol sequence, which fill a cube more evenly than chance."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.generators import Generator

__all__ = ["SobolEngine"]


class SobolEngine:
    """Draws points of the unit cube one after the other; ``scramble`` changes their digits at
    random (https://pytorch.org/docs/stable/generated/torch.quasirandom.SobolEngine.html).

    Raises ``ValueError`` for a dimension that is not in [1, 21201].
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension, scramble=False, seed=None):
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(
                f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}]"
            )
        self.seed, self.scramble, self.dimension = seed, scramble, dimension
        self._directions = _directions(dimension, self.MAXBIT)
        self._shift = np.zeros(dimension, np.int64)
        if scramble:
            self._scramble()
        self._last, self.num_generated = self._shift, 0

    def _scramble(self) -> None:
        """Multiply all digits by a random triangle, and add random ones, modulo two."""
        generator = None if self.seed is None else Generator().manual_seed(self.seed)
        size, places = (self.dimension, self.MAXBIT), np.arange(self.MAXBIT)
        bits = FUNCTIONS["randint"](2, size, generator=generator).numpy()
        self._shift = (bits << places).sum(1)
        triangle = FUNCTIONS["randint"](2, (*size, self.MAXBIT), generator=generator).numpy()
        triangle = np.tril(triangle, -1) + np.eye(self.MAXBIT, dtype=np.int64)
        digits = (self._directions[:, :, None] >> places[::-1]) & 1
        digits = np.matmul(digits, triangle.transpose(0, 2, 1)) & 1
        self._directions = (digits << places[::-1]).sum(2)

    def _points(self, indices) -> np.ndarray:
        """The points of these indices as integers of ``MAXBIT`` bits."""
        gray = indices ^ (indices >> 1)
        points = np.repeat(self._shift[None], len(indices), 0)
        for bit in range(int(indices[-1] if len(indices) else 0).bit_length()):
            points ^= ((gray >> bit) & 1)[:, None] * self._directions[:, bit]
        return points

    def draw(self, n: int = 1, out=None, dtype=None):
        """The next ``n`` points, a tensor (n, dimension) of the default dtype unless one is given.

        Raises ``RuntimeError`` for a negative number.
        """
        least = 0 if self.num_generated else 1
        if n < least:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n - least}: "
                f"[{n - least}, {self.dimension}]"
            )
        default = dt.get_default_dtype()
        wanted = default if dtype is None else dtype
        if wanted not in (dt.float32, dt.float64) and self.num_generated + n > 1:
            raise NotImplementedError(
                f"\"_sobol_engine_draw\" not implemented for '{dt.SCALAR_NAMES[wanted]}'"
            )
        points = self._points(np.arange(self.num_generated, self.num_generated + n))
        points = points * 0.5**self.MAXBIT
        if not self.num_generated:
            points[:1] = points[:1].astype(default.numpy)  # where PyTorch keeps the first point
        self.fast_forward(n)
        found = FUNCTIONS["from_numpy"](points).to(wanted)
        if out is None:
            return found
        out.resize_as_(found).copy_(found)
        return out

    def draw_base2(self, m: int, out=None, dtype=None):
        """The next ``2**m`` points; raises ``ValueError`` if as many in all are no power of two."""
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                "The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been previously generated, then: "
                f"n={self.num_generated}+2**{m}={total}. If you still want to do this, please use "
                "'SobolEngine.draw()' instead."
            )
        return self.draw(n=n, out=out, dtype=dtype)

    def reset(self):
        """Begin again with the first point; the engine itself."""
        self._last, self.num_generated = self._shift, 0
        return self

    def fast_forward(self, n: int):
        """Leave out ``n`` points; the engine itself."""
        self.num_generated += n
        if self.num_generated:
            self._last = self._points(np.array([self.num_generated - 1]))[0]
        return self

    @property
    def sobolstate(self):
        """The direction numbers, an int64 tensor (dimension, MAXBIT)."""
        return FUNCTIONS["from_numpy"](self._directions.copy())

    @property
    def shift(self):
        """What scrambling adds to each coordinate, int64."""
        return FUNCTIONS["from_numpy"](self._shift.copy())

    @property
    def quasi(self):
        """The last point as integers of ``MAXBIT`` bits, int64."""
        return FUNCTIONS["from_numpy"](self._last.copy())

    def __repr__(self) -> str:
        parts = [f"dimension={self.dimension}"]
        parts += ["scramble=True"] * bool(self.scramble)
        parts += [f"seed={self.seed}"] * (self.seed is not None)
        return f"{type(self).__name__}({', '.join(parts)})"


def _directions(dimension: int, bits: int) -> np.ndarray:
    # Joe and Kuo's table of primitive polynomials, which SciPy has and JAX needs anyway.
    from scipy.stats.qmc import Sobol

    return Sobol(dimension, scramble=False, bits=bits)._sv.astype(np.int64)
