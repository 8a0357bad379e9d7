"""PyTorch's CPU random draws as numpy arrays: a ``HostStream`` is the numbers of a Generator.

For the same seed or state each draw returns what PyTorch 2.13 returns on an x86-64 processor with
AVX2 or AVX-512, and leaves the generator where PyTorch leaves it, so that the next draw agrees:

- bit for bit: ``rand``, ``uniform``, ``random``, ``randint``, ``randperm``, ``bernoulli``,
  ``bernoulli_p``, ``geometric``, ``multinomial``, and 16 or more normals of 32 bits or less;
- bit for bit as long as Python's ``math`` and PyTorch call the same C library (on Linux, glibc),
  else to 1-2 ulp in float64: fewer or float64 normals, ``exponential``, ``cauchy``,
  ``log_normal``, ``poisson``, ``binomial``, ``standard_gamma``;
- to 1-2 ulp: ``dirichlet`` in float64, as PyTorch sums in another order;
- not matched: which of several equal scores ``multinomial`` without replacement takes first
  (bfloat16, or fewer categories of non-zero weight than samples), and what PyTorch draws on
  processors without AVX2.

A fused multiply-add in float32 is formed in float64 and rounded once more, which shows in fewer
than one number in 10**7. Arrays are filled in the order of memory. For a tensor that is not
contiguous lay the numbers out along its strides, and draw normals with ``serial=True``.
"""

from __future__ import annotations

import math

import numpy as np

from . import rejection
from .box_muller import GROUP, normals_float32, normals_float64
from .draw_arguments import (
    COMMON,
    DIGITS,
    NUMERIC,
    PARTS,
    REAL,
    check_integer_bound,
    check_multinomial,
    check_permutation,
    check_uniform_range,
    integer_range,
    largest_integer,
    precision,
    require,
    require_continuous,
    scalar_name,
)
from .errors import NotSupported
from .mersenne import MersenneTwister, fused, libm
from .permutation import after_swaps

_BLOCK = 1 << 14  # numbers drawn at once: what is in flight stays in the second-level cache
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_WIDE_RANGE = 2**28  # from here on, randint takes 64 bits for each number
_LONG_PERMUTATION = (2**32 - 1) // 20


class HostStream(MersenneTwister):
    """The numbers of a CPU ``torch.Generator``; shapes are ints or tuples, dtypes numpy's."""

    # ---- uniform -------------------------------------------------------------------------------

    def rand(self, shape, dtype=np.float32) -> np.ndarray:
        """``torch.rand``: uniform in [0, 1); complex dtypes too, part by part."""
        dtype = np.dtype(dtype)
        if dtype in PARTS:
            return self.rand((_size(shape), 2), PARTS[dtype]).view(dtype).reshape(shape)
        return self.uniform(shape, 0.0, 1.0, dtype)

    def uniform(self, shape, low=0.0, high=1.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.uniform_``: uniform in [low, high)."""
        dtype = np.dtype(dtype)
        require(dtype, DIGITS, "check_uniform_bounds")
        low, high = float(low), float(high)
        if low != 0 or high != 1:
            check_uniform_range(low, high, dtype)

        def draw(count):
            if dtype == _FLOAT64:
                values = self.doubles(count)
            else:
                values = self._floats(count)
            if low != 0 or high != 1:
                values = _scaled(values, low, high)
            elif dtype.itemsize > 2:
                return values
            # What was rounded up to the open end becomes the closed one.
            values = _narrow(values, dtype)
            values[values == dtype.type(high)] = low
            return values

        return self._fill(shape, dtype, draw)

    def _floats(self, count: int) -> np.ndarray:
        """``count`` uniforms in [0, 1) of 24 bits: (count,) float32."""
        words = self.words(count)
        words &= np.uint32(0xFFFFFF)
        values = words.view(np.int32).astype(np.float32)
        values *= np.float32(2.0**-24)
        return values

    # ---- normal --------------------------------------------------------------------------------

    def randn(self, shape, dtype=np.float32) -> np.ndarray:
        """``torch.randn``: standard normal; in complex dtypes each part has variance 1/2."""
        dtype = np.dtype(dtype)
        if dtype in PARTS:
            parts = self.normal((_size(shape), 2), 0.0, 1 / math.sqrt(2), PARTS[dtype])
            return parts.view(dtype).reshape(shape)
        return self.normal(shape, 0.0, 1.0, dtype)

    def normal(self, shape, mean=0.0, std=1.0, dtype=np.float32, *, serial=False) -> np.ndarray:
        """``Tensor.normal_``; ``serial`` is how PyTorch fills a tensor that is not contiguous."""
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        dtype = np.dtype(dtype)
        require(dtype, DIGITS, "normal_kernel_cpu")
        size = _size(shape)
        if size < GROUP or serial:
            return self._fill(shape, dtype, lambda count: self._scalars(count, mean, std, dtype))
        wide = dtype == _FLOAT64
        draw = self._groups_float64 if wide else self._groups_float32
        values = np.empty(size, _FLOAT64 if wide else _FLOAT32)
        whole = size - size % GROUP
        for start in range(0, whole, _BLOCK):
            stop = min(start + _BLOCK, whole)
            values[start:stop] = draw(stop - start, mean, std)
        if whole < size:
            # A fresh group covers the last 16. float32 and float64 drew uniforms for the rest too.
            if dtype.itemsize > 2:
                self.words((size - whole) * (2 if wide else 1))
            values[-GROUP:] = draw(GROUP, mean, std)
        return _narrow(values, dtype).reshape(shape)

    def _scalars(self, count: int, mean: float, std: float, dtype: np.dtype) -> np.ndarray:
        return _affine(self.standard_normals(count, dtype == _FLOAT64), std, mean, dtype)

    def _groups_float32(self, count: int, mean: float, std: float) -> np.ndarray:
        values = normals_float32(self._floats(count))
        if std == 1:
            values += np.float32(mean)
            return values
        wide = values.astype(np.float64)
        wide *= float(np.float32(std))
        wide += float(np.float32(mean))
        return wide

    def _groups_float64(self, count: int, mean: float, std: float) -> np.ndarray:
        return _affine(normals_float64(self.doubles(count)), std, mean, _FLOAT64)

    def normal_arrays(self, mean, std, dtype=np.float32) -> np.ndarray:
        """``torch.normal`` with an array for ``mean``, ``std`` or both."""
        dtype = np.dtype(dtype)
        mean = np.asarray(mean, dtype)
        if not np.ndim(std):
            return self.normal(mean.shape, 0.0, float(std), dtype) + mean
        std = np.asarray(std, dtype)
        if not (std >= 0).all():
            raise RuntimeError("normal expects all elements of std >= 0.0")
        shape = np.broadcast_shapes(mean.shape, std.shape)
        return self.normal(shape, 0.0, 1.0, dtype) * std + mean

    def log_normal(self, shape, mean=1.0, std=2.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.log_normal_``: exp of a normal."""
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        dtype = np.dtype(dtype)
        require(dtype, DIGITS, "log_normal_cpu")

        def draw(count):
            logarithms = self._scalars(count, mean, std, dtype)
            return libm(_exp, logarithms) if dtype == _FLOAT64 else np.exp(logarithms)

        return self._fill(shape, dtype, draw)

    # ---- integers ------------------------------------------------------------------------------

    def random(self, shape, dtype=np.int64, low=None) -> np.ndarray:
        """``Tensor.random_()`` from 0, or ``random_(low, None)``, to the largest of the dtype."""
        dtype = np.dtype(dtype)
        require(dtype, COMMON, "random_kernel_cpu")
        largest = largest_integer(dtype)
        if low == -(2**63):
            if scalar_name(dtype) not in ("Long", "Double", "Float", "BFloat16"):
                if scalar_name(dtype) in ("Half", "Bool"):
                    raise NotImplementedError(
                        '"random_full_64_bits_range_kernel_cpu" not implemented for '
                        f"'{scalar_name(dtype)}'"
                    )
                raise RuntimeError(
                    "random_full_64_bits_range_kernel_cpu handles only int64, double, float and "
                    "bfloat16"
                )
            return self._fill(shape, dtype, lambda count: self.long_words(count).view(np.int64))
        if low is not None:
            check_integer_bound(low, "from", dtype)
            if low > largest:
                raise RuntimeError(
                    "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' "
                    f"casted to dtype, but got from={low} > to_inc={largest}"
                )
            return self.randint(low, largest + 1, shape, dtype)
        draw = self.long_words if dtype.itemsize == 8 else self.words
        return self._fill(shape, dtype, lambda count: _remainder(draw(count), largest + 1))

    def randint(self, low: int, high: int, shape, dtype=np.int64) -> np.ndarray:
        """``torch.randint`` and ``Tensor.random_(low, high)``: integers in [low, high)."""
        dtype = np.dtype(dtype)
        require(dtype, REAL, "random_from_to_kernel_cpu")
        low, high = integer_range(int(low), int(high), dtype)
        span = high - low

        def draw(count):
            if span == 2**64:
                return self.long_words(count).view(np.int64)
            if span < _WIDE_RANGE:
                values = _remainder(self.words(count), span).astype(np.int64)
            else:
                values = _remainder(self.long_words(count), span).view(np.int64)
            values += low
            return values

        return self._fill(shape, dtype, draw)

    def randperm(self, n: int, dtype=np.int64) -> np.ndarray:
        """``torch.randperm``: 0 .. n-1 in random order, by swaps from the front."""
        dtype = np.dtype(dtype)
        check_permutation(n, dtype)
        if n >= _LONG_PERMUTATION:
            # PyTorch changes to another algorithm, which needs a loop.
            raise NotSupported(f"randperm of {_LONG_PERMUTATION} numbers or more")
        targets = np.arange(n)
        left = np.arange(n, 1, -1, dtype=np.uint32)  # the last place has no one to swap with
        targets[: left.size] += (self.words(left.size) % left).astype(np.int64)
        return _narrow(after_swaps(targets), dtype)

    # ---- coins and categories ------------------------------------------------------------------

    def bernoulli_p(self, shape, p=0.5, dtype=np.float32) -> np.ndarray:
        """``Tensor.bernoulli_(p)`` with a number: what dropout draws, with 1 - its p."""
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        dtype = np.dtype(dtype)
        require(dtype, COMMON, "bernoulli_scalar_cpu_")
        bound = np.uint64(math.ceil(math.ldexp(p, 53)))  # bits * 2**-53 < p, in integers
        return self._fill(shape, dtype, lambda count: self.bits53(count) < bound)

    def bernoulli(self, p, dtype=None) -> np.ndarray:
        """``torch.bernoulli(p)`` and ``Tensor.bernoulli_(p)`` with an array."""
        p = np.asarray(p)
        require(p.dtype, DIGITS, "bernoulli_tensor_cpu_p_")
        chances = p.astype(np.float64).ravel()
        if not ((chances >= 0) & (chances <= 1)).all():
            raise RuntimeError(
                "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error "
                "message be improved?  If so, please report an enhancement request to PyTorch.)"
            )
        draw = self.doubles if p.dtype == _FLOAT64 else self._floats
        heads = draw(p.size) < chances
        return heads.astype(p.dtype if dtype is None else dtype).reshape(p.shape)

    def multinomial(self, probs, num_samples: int, replacement: bool = False) -> np.ndarray:
        """``torch.multinomial``: the last axis of ``probs`` becomes int64 (num_samples,)."""
        probs = np.asarray(probs)
        check_multinomial(probs, num_samples, replacement)
        if replacement and num_samples > 1:
            return self._multinomial_by_sums(probs, num_samples)
        if not probs.size:
            return np.empty((*probs.shape[:-1], num_samples), np.int64)
        if not ((probs >= 0) & (probs < np.inf)).all():
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if not (probs > 0).any(-1).all():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        # Exponential clocks with rates ``probs``: the first to ring are the sample.
        with np.errstate(all="ignore"):
            scores = probs / self.exponential(probs.shape, 1.0, probs.dtype)
        if num_samples == 1:
            return scores.argmax(-1, keepdims=True)
        return np.argsort(-scores, axis=-1, kind="stable")[..., :num_samples]

    def _multinomial_by_sums(self, probs: np.ndarray, num_samples: int) -> np.ndarray:
        rows = probs.reshape(-1, probs.shape[-1])
        rows = rows.astype(np.promote_types(probs.dtype, np.float32))
        if not (rows >= 0).all():
            raise RuntimeError(
                "invalid multinomial distribution (encountering probability entry < 0)"
            )
        if not (rows < np.inf).all():
            raise RuntimeError(
                "invalid multinomial distribution "
                "(encountering probability entry = infinity or NaN)"
            )
        if not (rows > 0).any(-1).all():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        samples = np.empty((len(rows), num_samples), np.int64)
        for row, sample in zip(rows, samples):
            sums = np.cumsum(row)
            sums /= sums[-1]
            sample[:] = np.searchsorted(sums.astype(np.float64), self.doubles(num_samples))
        return samples.reshape(*probs.shape[:-1], num_samples)

    # ---- waiting times and tails ---------------------------------------------------------------

    def exponential(self, shape, lambd=1.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.exponential_``: rate ``lambd``."""
        dtype = np.dtype(dtype)
        require_continuous(dtype, "Exponential")
        if not lambd > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")

        def draw(count):
            minus = -self.doubles(count)
            logarithms = libm(math.log1p, minus) if dtype == _FLOAT64 else np.log1p(minus)
            return logarithms * (-1 / lambd)

        return self._fill(shape, dtype, draw)

    def geometric(self, shape, p, dtype=np.float32) -> np.ndarray:
        """``Tensor.geometric_``: trials up to the first success of probability ``p``."""
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        dtype = np.dtype(dtype)
        require(dtype, NUMERIC, "geometric_cpu")
        scale = math.log1p(-p)
        return self._fill(shape, dtype, lambda count: np.ceil(np.log(self.doubles(count)) / scale))

    def cauchy(self, shape, median=0.0, sigma=1.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.cauchy_``."""
        dtype = np.dtype(dtype)
        require_continuous(dtype, "Cauchy")
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")

        def draw(count):
            angles = math.pi * (self.doubles(count) - 0.5)
            tangents = libm(math.tan, angles) if dtype == _FLOAT64 else np.tan(angles)
            return _affine(tangents, sigma, median, dtype)

        return self._fill(shape, dtype, draw)

    # ---- by rejection, one number after another ------------------------------------------------

    def poisson(self, rates) -> np.ndarray:
        """``torch.poisson``: a sample for each rate, in the rates' dtype."""
        rates = np.asarray(rates)
        require(rates.dtype, DIGITS, "poisson_cpu")
        if not (rates >= 0).all():
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        samples = [rejection.poisson(rate, self.double) for rate in _doubles_of(rates)]
        return _narrow(np.array(samples, np.float64), rates.dtype).reshape(rates.shape)

    def binomial(self, count, prob) -> np.ndarray:
        """``torch.binomial``: a sample for each pair, in the dtype that both share."""
        count, prob = np.broadcast_arrays(count, prob)
        if count.dtype != prob.dtype:
            found, expected = scalar_name(prob.dtype), scalar_name(count.dtype)
            raise RuntimeError(f"Found dtype {found} but expected {expected}")
        narrow = precision(count.dtype, "binomial_cpu")
        samples = [
            rejection.binomial(trials, chance, self.double, narrow)
            for trials, chance in zip(_doubles_of(count), _doubles_of(prob))
        ]
        return np.array(samples, count.dtype).reshape(count.shape)

    def standard_gamma(self, alpha) -> np.ndarray:
        """``torch._standard_gamma``: a sample of scale 1 for each ``alpha``, in its dtype."""
        alpha = np.asarray(alpha)
        samples = self._gammas(alpha, precision(alpha.dtype, "gamma_cpu"))
        return np.maximum(samples.astype(alpha.dtype), _tiny(alpha.dtype))

    def dirichlet(self, alpha) -> np.ndarray:
        """``torch._sample_dirichlet``: samples along the last axis of ``alpha``, in its dtype."""
        alpha = np.asarray(alpha)
        precision(alpha.dtype, "dirichlet")
        parts = np.maximum(self._gammas(alpha, float), _tiny(_FLOAT64))
        shares = (parts / parts.sum(-1, keepdims=True)).astype(alpha.dtype)
        below_one = np.nextafter(alpha.dtype.type(1), alpha.dtype.type(0))
        return np.clip(shares, _tiny(alpha.dtype), below_one)

    def _gammas(self, alpha: np.ndarray, narrow: type) -> np.ndarray:
        if not (alpha >= 0).all():
            raise RuntimeError("gamma: every concentration must be non-negative")
        with np.errstate(over="ignore"):
            samples = [
                rejection.gamma(value, self.double, self.standard_normal, narrow)
                for value in _doubles_of(alpha)
            ]
        return np.array(samples, np.float64).reshape(alpha.shape)

    # ---- common to all -------------------------------------------------------------------------

    def _fill(self, shape, dtype: np.dtype, draw) -> np.ndarray:
        """The array that ``draw(count)`` fills block by block, narrowed to ``dtype``."""
        size = _size(shape)
        if size <= _BLOCK:
            return _narrow(draw(size), dtype).reshape(shape)
        values = np.empty(size, dtype)
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            values[start:stop] = _narrow(draw(stop - start), dtype)
        return values.reshape(shape)


def _size(shape) -> int:
    return int(shape) if isinstance(shape, (int, np.integer)) else math.prod(shape)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Uniforms in [0, 1) moved to [low, high] with one rounding, in their own dtype."""
    if values.dtype == _FLOAT64:
        return _affine(values, high - low, low, _FLOAT64)
    low32, high32 = np.float32(low), np.float32(high)
    wide = values.astype(np.float64)
    wide *= float(high32 - low32)
    wide += float(low32)
    return wide.astype(np.float32)


def _affine(values: np.ndarray, scale: float, shift: float, dtype: np.dtype) -> np.ndarray:
    """float64 ``values * scale + shift``, rounded once where ``dtype`` shows the difference."""
    if dtype == _FLOAT64 and scale != 1:
        return fused(values, scale, shift)
    return values * scale + shift


def _remainder(words: np.ndarray, span: int) -> np.ndarray:
    """``words % span`` in place; numpy divides by a scalar faster than it takes remainders."""
    if span & (span - 1) == 0:
        words &= words.dtype.type(span - 1)
    else:
        divisor = words.dtype.type(span)
        words -= words // divisor * divisor
    return words


def _narrow(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``values`` in ``dtype``, by way of float32 where PyTorch goes that way."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.itemsize == 2 and dtype in DIGITS:
            values = values.astype(np.float32, copy=False)
        return values.astype(dtype)


def _doubles_of(values: np.ndarray) -> list[float]:
    return values.astype(np.float64).ravel().tolist()


def _tiny(dtype: np.dtype):
    return np.finfo(dtype).tiny


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
