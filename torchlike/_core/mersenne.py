"""The generator behind PyTorch's CPU streams: seeding, raw words, scalar normals, saved state.

Below it is numpy's MT19937 bit generator. Facts it reproduces: the seed's low 32 bits fill the
state as in the reference implementation; a 64-bit draw takes its high word first; a scalar normal
costs two 53-bit draws and leaves its sine twin in the state for the next scalar normal.
"""

from __future__ import annotations

import math
import os

import numpy as np

DEFAULT_SEED = 67280421310721

_TWISTER_WORDS = 624
_LOW_21_BITS = 0x1FFFFF
_LOW_53_BITS = np.uint64(0x1FFFFFFFFFFFFF)
_WORD = np.uint64(32)
_SMALL = 512  # below this many words, random_raw's low cost per call wins over its wide results
_EXACT = 64  # up to here scalar normals always come from the C library

_LEGACY_STATE = np.dtype(
    [
        ("seed", "<u8"),
        ("left", "<i4"),
        ("seeded", "<i4"),
        ("next", "<u8"),
        ("words", "<u8", (_TWISTER_WORDS,)),
        ("normal_x", "<f8"),
        ("normal_y", "<f8"),
        ("normal_rho", "<f8"),
        ("normal_is_valid", "<i4"),
    ],
    align=True,
)
_STATE = np.dtype(
    [("legacy", _LEGACY_STATE), ("float_normal", "<f4"), ("float_normal_is_valid", "?")],
    align=True,
)


def libm(function, values: np.ndarray) -> np.ndarray:
    """``function`` of ``math`` elementwise: numpy's loops may differ from the C library's."""
    return np.fromiter(map(function, values.tolist()), np.float64, values.size)


def fused(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """float64 ``a * b + c`` rounded once, as PyTorch's kernels do it on processors with FMA."""
    b, c = np.float64(b), np.float64(c)
    if 2.0**960 < max(abs(b), abs(c)) < np.inf:  # the halves of such numbers would overflow
        return fused(a, b * 2.0**-64, c * 2.0**-64) * 2.0**64
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    product_error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    total = product + c
    part = total - product
    total_error = (product - (total - part)) + (c - part)
    return total + (total_error + product_error)


def _split(a):
    """The upper and the lower half of a float64's 53 bits."""
    shifted = a * 134217729.0  # 2**27 + 1
    high = shifted - (shifted - a)
    return high, a - high


class MersenneTwister:
    """Raw draws and the state of a CPU ``torch.Generator``."""

    def __init__(self, seed: int = DEFAULT_SEED):
        self._bits = np.random.MT19937(0)
        # Two faces of the same bit generator: one seeds as PyTorch does, one draws uint32 arrays.
        self._seeder = np.random.RandomState(self._bits)
        self._drawer = np.random.Generator(self._bits)
        self.manual_seed(seed)

    # ---- seed and state ------------------------------------------------------------------------

    def manual_seed(self, seed: int):
        """Start the stream of ``seed``, an int in [-2**63, 2**64); negative ones wrap around."""
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -(2**63) <= seed < 2**64:
            raise ValueError("Overflow when unpacking long long")
        self._seed = int(seed) % 2**64
        self._seeder.seed(self._seed & 0xFFFFFFFF)
        self._next_normal = None
        return self

    def seed(self) -> int:
        """Reseed from the operating system's entropy; returns the seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed

    def clone(self):
        """A new stream that continues as this one does."""
        copy = type(self)(self._seed)
        copy._bits.state = self._bits.state
        copy._next_normal = self._next_normal
        return copy

    def get_state(self) -> np.ndarray:
        """The state in the byte layout of PyTorch's CPU generator: (5056,) uint8."""
        twister = self._bits.state["state"]
        words, position = twister["key"], twister["pos"]
        record = np.zeros((), _STATE)
        legacy = record["legacy"]
        legacy["seed"] = self._seed
        legacy["left"] = _TWISTER_WORDS + 1 - position
        legacy["seeded"] = 1
        # PyTorch counts from 0 until the first draw; numpy says "all used up" there too.
        untouched = position == _TWISTER_WORDS and words[0] == self._seed & 0xFFFFFFFF
        legacy["next"] = 0 if untouched else position
        legacy["words"] = words
        if self._next_normal is not None:
            legacy["normal_y"] = self._next_normal
            legacy["normal_is_valid"] = 1
        return np.frombuffer(record.tobytes(), np.uint8).copy()

    def set_state(self, state) -> None:
        """Continue from ``state``: bytes or a uint8 array, from here or from PyTorch."""
        if isinstance(state, np.ndarray):
            if state.dtype != np.uint8:
                raise TypeError("RNG state must be a torch.ByteTensor")
        elif not isinstance(state, (bytes, bytearray, memoryview)):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
        buffer = bytes(state)
        if len(buffer) != _STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.itemsize} but found the input "
                f"RNG state size to be {len(buffer)}"
            )
        legacy = np.frombuffer(buffer, _STATE)[0]["legacy"]
        left, position = int(legacy["left"]), int(legacy["next"])
        if legacy["seeded"] != 1 or not 0 < left <= _TWISTER_WORDS or position > _TWISTER_WORDS:
            raise RuntimeError("Invalid mt19937 state")
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {
                "key": legacy["words"].astype(np.uint32),
                "pos": _TWISTER_WORDS if left == 1 else position,
            },
        }
        self._seed = int(legacy["seed"])
        self._next_normal = float(legacy["normal_y"]) if legacy["normal_is_valid"] else None

    # ---- raw draws -----------------------------------------------------------------------------

    def words(self, count: int) -> np.ndarray:
        """``count`` 32-bit draws: (count,) uint32."""
        if count <= _SMALL:
            return self._bits.random_raw(count).astype(np.uint32)
        return self._drawer.integers(0, 2**32, size=count, dtype=np.uint32)

    def long_words(self, count: int) -> np.ndarray:
        """``count`` 64-bit draws: (count,) uint64."""
        # PyTorch takes the high half first; every host that jax knows is little-endian.
        swapped = self.words(2 * count).view(np.uint64)
        return swapped << _WORD | swapped >> _WORD

    def bits53(self, count: int) -> np.ndarray:
        """``count`` draws of 53 bits: (count,) uint64; times 2**-53 they are uniform in [0, 1)."""
        bits = self.long_words(count)
        bits &= _LOW_53_BITS
        return bits

    def doubles(self, count: int) -> np.ndarray:
        """``count`` uniforms in [0, 1): (count,) float64."""
        return self.bits53(count) * 2.0**-53

    def double(self) -> float:
        """One uniform in [0, 1)."""
        raw = self._bits.random_raw
        high = raw() & _LOW_21_BITS
        return (high << 32 | raw()) * 2.0**-53

    def standard_normals(self, count: int, exact: bool = True) -> np.ndarray:
        """``count`` scalar normals: (count,) float64; to 1 ulp if many and not ``exact``."""
        if count == 0:
            return np.empty(0)
        kept = self._next_normal
        fresh = count - (kept is not None)
        pairs = self.doubles(fresh + fresh % 2).reshape(-1, 2)
        if exact or count <= _EXACT:
            normals = [value for pair in pairs.tolist() for value in _normal_pair(*pair)]
        else:
            radius = np.sqrt(-2 * np.log1p(-pairs[:, 1]))
            angle = (2 * math.pi) * pairs[:, 0]
            normals = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
        # The twin that is kept is part of the state, so it is exact always.
        self._next_normal = _normal_pair(*pairs[-1].tolist())[1] if fresh % 2 else None
        normals = np.asarray(normals[:fresh], np.float64)
        return normals if kept is None else np.concatenate([[kept], normals])

    def standard_normal(self) -> float:
        """One scalar normal."""
        value, self._next_normal = self._next_normal, None
        if value is None:
            value, self._next_normal = _normal_pair(self.double(), self.double())
        return value


def _normal_pair(u1: float, u2: float) -> tuple[float, float]:
    radius = math.sqrt(-2 * math.log1p(-u2))
    angle = 2 * math.pi * u1
    return radius * math.cos(angle), radius * math.sin(angle)
