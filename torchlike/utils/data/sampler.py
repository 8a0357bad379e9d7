"""Samplers: the order in which a loader asks for samples, drawn as PyTorch draws it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor.creation import as_tensor
from torchlike._tensor.generators import Generator, generator_of
from torchlike._tensor.random import multinomial

Index = TypeVar("Index", covariant=True)


def draw_seed(generator: Generator | None) -> int:
    """The number that PyTorch seeds loaders with: one int64 of the generator's stream."""
    return int(_stream(generator).random((), np.int64))


def _stream(generator: Generator | None):
    """The numbers behind a generator on the CPU: indices are drawn with no tensor in between."""
    return generator_of(devices.CPU, generator).stream


# Generators of iterations that have ended: to seed one is cheap, to make one is not.
_spare: list[Generator] = []


def _take_generator() -> Generator:
    """A generator seeded from the default one."""
    generator = _spare.pop() if _spare else Generator()
    return generator.manual_seed(draw_seed(None))


class Sampler(Generic[Index]):
    """An iterable of indices, or of lists of them (https://pytorch.org/docs/stable/data.html#torch.utils.data.Sampler)."""

    def __iter__(self) -> Iterator[Index]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ... (https://pytorch.org/docs/stable/data.html#torch.utils.data.SequentialSampler)."""

    data_source: Sized

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Random indices, each once or with replacement (https://pytorch.org/docs/stable/data.html#torch.utils.data.RandomSampler).

    Without a generator, each iteration makes one and seeds it from the default generator.
    """

    data_source: Sized
    replacement: bool

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ):
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                "num_samples should be a positive integer value, but got "
                f"num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> int:
        """How many indices one iteration gives; by default as many as there are samples."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator or _take_generator()
        stream = _stream(generator)
        try:
            if self.replacement:
                for _ in range(self.num_samples // 32):
                    yield from stream.randint(0, n, 32).tolist()
                yield from stream.randint(0, n, self.num_samples % 32).tolist()
                return
            for _ in range(self.num_samples // n):
                yield from stream.randperm(n).tolist()
            # Drawn even if nothing of it is used: the generator's next draws depend on it.
            yield from stream.randperm(n).tolist()[: self.num_samples % n]
        finally:
            if self.generator is None:
                _spare.append(generator)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order (https://pytorch.org/docs/stable/data.html#torch.utils.data.SubsetRandomSampler)."""

    indices: Sequence[int]

    def __init__(self, indices: Sequence[int], generator: Generator | None = None):
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in _stream(self.generator).randperm(len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn by weight (https://pytorch.org/docs/stable/data.html#torch.utils.data.WeightedRandomSampler)."""

    num_samples: int
    replacement: bool

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ):
        if not _is_positive_int(num_samples):
            raise ValueError(
                f"num_samples should be a positive integer value, but got num_samples={num_samples}"
            )
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.weights = as_tensor(weights, dtype=dt.float64)
        if self.weights.ndim != 1:
            raise ValueError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` indices of another sampler (https://pytorch.org/docs/stable/data.html#torch.utils.data.BatchSampler)."""

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool):
        if not _is_positive_int(batch_size):
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            )
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        if self.drop_last:
            return len(self.sampler) // self.batch_size
        return -(-len(self.sampler) // self.batch_size)


def _is_positive_int(x) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x > 0
