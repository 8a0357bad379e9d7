"""PyTorch's CPU random draws as numpy arrays: one ``HostStream`` gives the numbers of one ``torch.Generator``.

For the same seed or state each draw returns what PyTorch 2.13 returns on an x86-64 CPU with AVX2
or AVX-512, and leaves the generator where PyTorch leaves it, so that the next draw agrees too:

- bit for bit: ``rand``, ``uniform``, ``random``, ``randint``, ``randperm``, ``bernoulli``,
  ``bernoulli_p``, ``geometric``, ``multinomial``, and ``normal`` and ``randn`` in every dtype;
  ``exponential``, ``cauchy``, ``log_normal``, ``poisson``, ``binomial`` and ``standard_gamma``
  where the C library's log, sin, cos, tan and exp are those that PyTorch calls (glibc);
- to 1 ulp: ``dirichlet`` in float64, whose sums PyTorch adds up in another order;
- not matched: which of several *equal* scores ``multinomial`` without replacement picks first,
  and what PyTorch draws on processors without FMA or with other vector kernels (ARM).

Fused multiply-adds are formed in float64, whose double rounding shows in fewer than one float32
in 10**7. Numbers fill an array in the order of memory: for a tensor that is not contiguous, lay
them out along its strides, and draw normals with ``serial=True``.
"""

from __future__ import annotations

import math
import warnings

import ml_dtypes
import numpy as np

from . import rejection
from .box_muller import GROUP, normals_float32, normals_float64
from .mersenne import MersenneTwister, fused, libm

_BLOCK = 1 << 14  # numbers drawn at once: what is in flight stays in the second-level cache

_WIDE_RANGE = 2**28  # from here on, randint takes 64 bits for each number
_FULL_RANGE = 2**64
_LONG_PERMUTATION = (2**32 - 1) // 20


class HostStream(MersenneTwister):
    """The numbers of a CPU ``torch.Generator``; shapes are ints or tuples, dtypes numpy's."""

    # ---- uniform -------------------------------------------------------------------------------

    def rand(self, shape, dtype=np.float32) -> np.ndarray:
        """``torch.rand``: uniform in [0, 1), complex dtypes included."""
        return self._real_or_pairs(shape, dtype, lambda shape, dtype: self.uniform(shape, dtype=dtype))

    def uniform(self, shape, low=0.0, high=1.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.uniform_``: uniform in [low, high)."""
        dtype = np.dtype(dtype)
        low, high = float(low), float(high)
        require(dtype, DIGITS, "check_uniform_bounds")
        if not (low == 0 and high == 1):
            check_uniform_bounds(low, high, dtype)
        if dtype == np.float64:
            return self._fill(shape, dtype, lambda count: self._uniform_doubles(count, low, high))
        return self._fill(shape, dtype, lambda count: self._uniform_floats(count, low, high, dtype))

    def _uniform_floats(self, count, low, high, dtype):
        words = self.words(count)
        words &= np.uint32(0xFFFFFF)
        integers = words.view(np.int32)
        if low == 0 and high == 1:
            values = integers.astype(np.float32)
            values *= np.float32(2.0**-24)
        else:
            low32, high32 = np.float32(low), np.float32(high)
            values = integers.astype(np.float64)
            values *= np.float64(high32 - low32) * 2.0**-24
            values += np.float64(low32)
        return _wrap_top(_narrow(values, dtype), low, high)

    def _uniform_doubles(self, count, low, high):
        values = self.doubles(count)
        if low == 0 and high == 1:
            return values
        return _wrap_top(fused(values, high - low, low), low, high)

    # ---- normal --------------------------------------------------------------------------------

    def randn(self, shape, dtype=np.float32) -> np.ndarray:
        """``torch.randn``: standard normal; complex dtypes have variance 1 in all."""
        std = math.sqrt(0.5) if np.dtype(dtype) in PAIR_OF else 1.0
        return self._real_or_pairs(shape, dtype, lambda shape, dtype: self.normal(shape, 0.0, std, dtype))

    def normal(self, shape, mean=0.0, std=1.0, dtype=np.float32, *, serial=False) -> np.ndarray:
        """``Tensor.normal_``; ``serial`` is how PyTorch fills a tensor that is not contiguous."""
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        dtype = np.dtype(dtype)
        require(dtype, DIGITS, "normal_kernel_cpu")
        size = _size(shape)
        if size < GROUP or serial:
            return self._fill(
                shape, dtype, lambda count: fused(self._scalar_normals(count, dtype), std, mean)
            )
        wide = dtype == np.float64
        draw = self._group_normals_float64 if wide else self._group_normals_float32
        values = np.empty(size, np.float64 if wide else np.float32)
        whole = size - size % GROUP
        for start in range(0, whole, _BLOCK):
            stop = min(start + _BLOCK, whole)
            values[start:stop] = draw(stop - start, mean, std)
        if whole < size:
            # The uniforms of the rest are drawn and dropped: a new group covers the last 16.
            (self.long_words if wide else self.words)(size - whole)
            values[-GROUP:] = draw(GROUP, mean, std)
        return _narrow(values, dtype).reshape(shape)

    def _group_normals_float32(self, count, mean, std):
        values = normals_float32(self._uniform_floats(count, 0, 1, np.dtype(np.float32)))
        if std == 1:
            values += np.float32(mean)
            return values
        wide = values.astype(np.float64)
        wide *= np.float64(np.float32(std))
        wide += np.float64(np.float32(mean))
        return wide

    def _group_normals_float64(self, count, mean, std):
        return fused(normals_float64(self.doubles(count)), std, mean)

    def _scalar_normals(self, count, dtype):
        return self.standard_normals(count, exact=dtype == np.float64)

    def normal_arrays(self, mean, std, dtype=np.float32) -> np.ndarray:
        """``torch.normal`` with arrays for ``mean``, ``std`` or both."""
        dtype = np.dtype(dtype)
        if not np.ndim(std):
            return self.normal(np.shape(mean), 0.0, float(std), dtype) + np.asarray(mean, dtype)
        std = np.asarray(std, dtype)
        if std.size and not (std >= 0).all():
            raise RuntimeError("normal expects all elements of std >= 0.0")
        mean = np.asarray(mean, dtype)
        return self.normal(np.broadcast_shapes(mean.shape, std.shape), dtype=dtype) * std + mean

    def log_normal(self, shape, mean=1.0, std=2.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.log_normal_``: exp of a normal."""
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        dtype = np.dtype(dtype)
        require(dtype, DIGITS, "log_normal_cpu")

        def draw(count):
            logarithms = fused(self._scalar_normals(count, dtype), std, mean)
            return libm(_exp, logarithms) if dtype == np.float64 else np.exp(logarithms)

        return self._fill(shape, dtype, draw)

    # ---- integers ------------------------------------------------------------------------------

    def random(self, shape, dtype=np.int64, low=None) -> np.ndarray:
        """``Tensor.random_()``, or ``random_(low, None)``: up to the largest value of the dtype."""
        dtype = np.dtype(dtype)
        require(dtype, ORDINARY, "random_kernel_cpu")
        largest = 2 ** DIGITS[dtype] if dtype in DIGITS else limits(dtype)[1]
        if low is not None:
            if low > largest:
                check_random_bound(dtype, "from", low)
                raise RuntimeError(
                    "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' "
                    f"casted to dtype, but got from={low} > to_inc={largest}"
                )
            return self.randint(low, largest + 1, shape, dtype)
        if dtype in (np.dtype(np.int64), np.dtype(np.float64)):
            modulus = np.uint64(largest + 1)
            return self._fill(
                shape, dtype, lambda count: (self.long_words(count) % modulus).view(np.int64)
            )
        modulus = np.uint32(largest + 1)
        return self._fill(shape, dtype, lambda count: (self.words(count) % modulus).view(np.int32))

    def randint(self, low, high, shape, dtype=np.int64) -> np.ndarray:
        """``torch.randint`` and ``Tensor.random_(low, high)``: integers in [low, high)."""
        dtype = np.dtype(dtype)
        require(dtype, frozenset(NAMES) - set(PAIR_OF), "random_from_to")
        low, high = int(low), int(high)
        if low >= high:
            raise RuntimeError(
                "random_ expects 'from' to be less than 'to', "
                f"but got from={low} >= to={high}"
            )
        check_random_bound(dtype, "from", low)
        check_random_bound(dtype, "to - 1", high - 1)
        if dtype in DIGITS:
            low, high = _representable_range(low, high, dtype)
        span = high - low

        def draw(count):
            if span >= _WIDE_RANGE:
                words = self.long_words(count)
                values = (words if span == _FULL_RANGE else words % np.uint64(span)).view(np.int64)
            else:
                values = (self.words(count) % np.uint32(span)).astype(np.int64)
            values += low
            return values

        return self._fill(shape, dtype, draw)

    def randperm(self, n: int, dtype=np.int64) -> np.ndarray:
        """``torch.randperm``: a permutation of 0 .. n-1, by swaps from the front."""
        n, dtype = int(n), np.dtype(dtype)
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
        require(dtype, ORDINARY - {np.dtype(np.bool_)}, "randperm")
        if n > 0:
            check_permutation_dtype(n, dtype)
        swaps = max(n - 1, 0)
        if n < _LONG_PERMUTATION:
            targets = self.words(swaps) % np.arange(n, n - swaps, -1, dtype=np.uint32)
        else:
            targets = self.long_words(swaps) % np.arange(n, n - swaps, -1, dtype=np.uint64)
        targets = targets.astype(np.int64)
        targets += np.arange(swaps)
        order = list(range(n))
        for i, j in enumerate(targets.tolist()):
            value = order[j]
            order[j] = order[i]
            order[i] = value
        return _narrow(np.array(order, np.int64), dtype)

    # ---- coins and categories ------------------------------------------------------------------

    def bernoulli_p(self, shape, p=0.5, dtype=np.float32) -> np.ndarray:
        """``Tensor.bernoulli_(p)`` with a number ``p``: what dropout draws, with 1 - p."""
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        dtype = np.dtype(dtype)
        require(dtype, ORDINARY, "bernoulli_scalar_cpu_")
        # bits * 2**-53 < p, in integers
        bound = np.uint64(math.ceil(math.ldexp(p, 53)))
        return self._fill(shape, dtype, lambda count: self.bits53(count) < bound)

    def bernoulli(self, p, dtype=None) -> np.ndarray:
        """``torch.bernoulli(p)`` and ``Tensor.bernoulli_(p)`` with an array ``p``."""
        p = np.asarray(p)
        dtype = p.dtype if dtype is None else np.dtype(dtype)
        require(p.dtype, DIGITS, "bernoulli_tensor_cpu_p_")
        chances = p.astype(np.float64, copy=False).ravel()
        if not ((chances >= 0) & (chances <= 1)).all():
            raise RuntimeError(
                "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error "
                "message be improved?  If so, please report an enhancement request to PyTorch.)"
            )
        draw = self.doubles if p.dtype == np.float64 else self._uniform24
        return (draw(p.size) < chances).astype(dtype).reshape(p.shape)

    def _uniform24(self, count):
        return self._uniform_floats(count, 0, 1, np.dtype(np.float32))

    def multinomial(self, probs, num_samples: int, replacement: bool = False) -> np.ndarray:
        """``torch.multinomial``: indices of categories, (num_samples,) or (rows, num_samples) int64."""
        probs = np.asarray(probs)
        check_multinomial(probs, num_samples, replacement)
        if replacement and num_samples > 1:
            return self._multinomial_by_sums(probs, num_samples)
        if not probs.size:
            return np.empty((*probs.shape[:-1], num_samples), np.int64)
        if not ((probs >= 0) & (probs < np.inf)).all():
            raise RuntimeError(
                "probability tensor contains either `inf`, `nan` or element < 0"
            )
        if (probs.astype(np.float64).sum(-1) == 0).any():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        # Exponential clocks of rates probs: the first to ring are the sample.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scores = probs / self.exponential(probs.shape, 1.0, probs.dtype)
        if num_samples == 1:
            return scores.argmax(-1, keepdims=True)
        return np.argsort(-scores, axis=-1, kind="stable")[..., :num_samples]

    def _multinomial_by_sums(self, probs, num_samples):
        rows = probs.reshape(-1, probs.shape[-1])
        # The narrow dtypes are summed in float32.
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
        samples = np.empty((len(rows), num_samples), np.int64)
        for row, out in zip(rows, samples):
            sums = np.cumsum(row)
            if not sums[-1] > 0:
                raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
            sums /= sums[-1]
            sums[-1] = 1
            out[:] = np.searchsorted(sums.astype(np.float64), self.doubles(num_samples))
        return samples.reshape(*probs.shape[:-1], num_samples)

    # ---- waiting times and tails ---------------------------------------------------------------

    def exponential(self, shape, lambd=1.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.exponential_``: rate ``lambd``."""
        dtype = np.dtype(dtype)
        if dtype not in DIGITS:
            raise RuntimeError(
                "Exponential distribution is a continuous probability distribution. "
                f"dtype must be a floating point but you specified {name(dtype)}"
            )
        if not lambd > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")

        def draw(count):
            minus = -self.doubles(count)
            logarithms = libm(math.log1p, minus) if dtype == np.float64 else np.log1p(minus)
            return (-1.0 / lambd) * logarithms

        return self._fill(shape, dtype, draw)

    def geometric(self, shape, p, dtype=np.float32) -> np.ndarray:
        """``Tensor.geometric_``: trials up to the first success of probability ``p``."""
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        dtype = np.dtype(dtype)
        require(dtype, ORDINARY - {np.dtype(np.bool_)}, "geometric_cpu")
        scale = math.log1p(-p)
        return self._fill(shape, dtype, lambda count: np.ceil(np.log(self.doubles(count)) / scale))

    def cauchy(self, shape, median=0.0, sigma=1.0, dtype=np.float32) -> np.ndarray:
        """``Tensor.cauchy_``."""
        dtype = np.dtype(dtype)
        if dtype not in DIGITS:
            raise RuntimeError(
                "Cauchy distribution is a continuous probability distribution. "
                f"dtype must be a floating point but you specified {name(dtype, cpp=True)}"
            )
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")

        def draw(count):
            angle = math.pi * (self.doubles(count) - 0.5)
            tangent = libm(math.tan, angle) if dtype == np.float64 else np.tan(angle)
            return fused(tangent, sigma, median)

        return self._fill(shape, dtype, draw)

    # ---- by rejection, one at a time -----------------------------------------------------------

    def poisson(self, rates) -> np.ndarray:
        """``torch.poisson``: a sample for each rate, in the rates' dtype."""
        rates = np.asarray(rates)
        require(rates.dtype, DIGITS, "poisson_cpu")
        if not (rates >= 0).all():
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        samples = [rejection.poisson(rate, self.double) for rate in _doubles_of(rates)]
        return _narrow(np.array(samples, np.float64), rates.dtype).reshape(rates.shape)

    def binomial(self, count, prob) -> np.ndarray:
        """``torch.binomial``: a sample for each pair of ``count`` and ``prob``, which share a dtype."""
        count, prob = np.broadcast_arrays(count, prob)
        if count.dtype != prob.dtype:
            raise RuntimeError(
                f"Found dtype {name(prob.dtype)} but expected {name(count.dtype)}"
            )
        narrow = precision(count.dtype, "binomial_cpu")
        samples = [
            rejection.binomial(n, p, self.double, narrow)
            for n, p in zip(_doubles_of(count), _doubles_of(prob))
        ]
        return np.array(samples, count.dtype).reshape(count.shape)

    def standard_gamma(self, alpha) -> np.ndarray:
        """``torch._standard_gamma``: a sample of scale 1 for each ``alpha``, in its dtype."""
        alpha = np.asarray(alpha)
        narrow = precision(alpha.dtype, "gamma_cpu")
        return np.maximum(self._gammas(alpha, narrow).astype(alpha.dtype), _tiny(alpha.dtype))

    def dirichlet(self, alpha) -> np.ndarray:
        """``torch._sample_dirichlet``: samples along the last axis of ``alpha``, in its dtype."""
        alpha = np.asarray(alpha)
        precision(alpha.dtype, "dirichlet")
        parts = np.maximum(self._gammas(alpha, float), _tiny(np.dtype(np.float64)))
        shares = (parts / parts.sum(-1, keepdims=True)).astype(alpha.dtype)
        one = alpha.dtype.type(1)
        return np.clip(shares, _tiny(alpha.dtype), np.nextafter(one, alpha.dtype.type(0)))

    def _gammas(self, alpha, narrow):
        if not (alpha >= 0).all():
            raise RuntimeError("gamma: every concentration must be non-negative")
        with np.errstate(over="ignore"):
            samples = [
                rejection.gamma(value, self.double, self.standard_normal, narrow)
                for value in _doubles_of(alpha)
            ]
        return np.array(samples, np.float64).reshape(alpha.shape)

    # ---- common --------------------------------------------------------------------------------

    def _fill(self, shape, dtype, draw) -> np.ndarray:
        """An array from ``draw(count)``, block by block, narrowed to ``dtype``."""
        size = _size(shape)
        if size <= _BLOCK:
            return _narrow(draw(size), dtype).reshape(shape)
        values = np.empty(size, dtype)
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            values[start:stop] = _narrow(draw(stop - start), dtype)
        return values.reshape(shape)

    def _real_or_pairs(self, shape, dtype, draw) -> np.ndarray:
        dtype = np.dtype(dtype)
        part = PAIR_OF.get(dtype)
        if part is None:
            return draw(shape, dtype)
        return draw((_size(shape), 2), part).view(dtype).reshape(shape)


def _size(shape) -> int:
    return shape if isinstance(shape, int) else math.prod(shape)


def _doubles_of(values: np.ndarray) -> list[float]:
    return values.astype(np.float64).ravel().tolist()


def _tiny(dtype: np.dtype):
    return np.finfo(dtype).tiny


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _narrow(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``values`` in ``dtype``, by way of float32 where PyTorch goes it."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.itemsize == 2 and dtype in DIGITS:
            values = values.astype(np.float32, copy=False)
        return values.astype(dtype)


def _wrap_top(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """A uniform that was rounded up to ``high`` becomes ``low``."""
    if values.dtype.itemsize > 2 and low == 0 and high == 1:
        return values
    values[values == values.dtype.type(high)] = low
    return values


def _representable_range(low: int, high: int, dtype: np.dtype) -> tuple[int, int]:
    """The range narrowed to ends that survive rounding to ``dtype``, as PyTorch does it."""
    digits = DIGITS[dtype]

    def rounded(value):
        return int(float(_narrow(np.array(value, np.int64), dtype)))

    def spacing(value):
        return 1 << (abs(value).bit_length() - digits)

    above, below = rounded(low + 1), rounded(high - 1)
    if above < low:
        low = above + spacing(low + 1)
    if below >= high:
        high = below - spacing(high - 1)
    return low, high
