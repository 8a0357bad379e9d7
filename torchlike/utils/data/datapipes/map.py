"""Data pipes with samples by key, and their functional forms."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torchlike._tensor.generators import default_generator
from torchlike.utils.data.datapipes.checks import check_callable, check_pipes
from torchlike.utils.data.datapipes.datapipe import DataChunk, MapDataPipe
from torchlike.utils.data.datapipes.decorators import functional_datapipe
from torchlike.utils.data.datapipes.iter import IterDataPipe, _shuffled

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "Zipper"]


class SequenceWrapper(MapDataPipe):
    """A sequence or mapping as a data pipe; copied deeply, unless it cannot be."""

    def __init__(self, sequence: Sequence, deepcopy: bool = True) -> None:
        self.sequence = copy.deepcopy(sequence) if deepcopy else sequence

    def __getitem__(self, index):
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)


@functional_datapipe("map")
class Mapper(MapDataPipe):
    """Each sample through a function."""

    def __init__(self, datapipe: MapDataPipe, fn: Callable = lambda x: x) -> None:
        check_callable(fn)
        self.datapipe, self.fn = datapipe, fn

    def __getitem__(self, index):
        return self.fn(self.datapipe[index])

    def __len__(self) -> int:
        return len(self.datapipe)


@functional_datapipe("concat")
class Concater(MapDataPipe):
    """Several data pipes one behind the other."""

    def __init__(self, *datapipes: MapDataPipe):
        check_pipes(datapipes, MapDataPipe)
        self.datapipes = datapipes

    def __getitem__(self, index):
        offset = 0
        for pipe in self.datapipes:
            if index - offset < len(pipe):
                return pipe[index - offset]
            offset += len(pipe)
        raise IndexError(f"Index {index} is out of range.")

    def __len__(self) -> int:
        return sum(len(pipe) for pipe in self.datapipes)


@functional_datapipe("zip")
class Zipper(MapDataPipe):
    """Tuples of the samples of several data pipes; as many as the shortest has."""

    def __init__(self, *datapipes: MapDataPipe) -> None:
        check_pipes(datapipes, MapDataPipe)
        self.datapipes = datapipes

    def __getitem__(self, index):
        out = []
        for pipe in self.datapipes:
            try:
                out.append(pipe[index])
            except IndexError as error:
                raise IndexError(
                    f"Index {index} is out of range for one of the input MapDataPipes {pipe}."
                ) from error
        return tuple(out)

    def __len__(self) -> int:
        return min(len(pipe) for pipe in self.datapipes)


@functional_datapipe("batch")
class Batcher(MapDataPipe):
    """Chunks of several samples."""

    def __init__(
        self, datapipe: MapDataPipe, batch_size: int, drop_last: bool = False,
        wrapper_class: type = DataChunk,
    ) -> None:  # fmt: skip
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size, self.drop_last = datapipe, batch_size, drop_last
        self.wrapper_class = wrapper_class

    def __getitem__(self, index):
        start = index * self.batch_size
        stop = min(start + self.batch_size, len(self.datapipe))
        if start >= stop or (self.drop_last and stop - start < self.batch_size):
            raise IndexError(f"Index {index} is out of bound.")
        return self.wrapper_class([self.datapipe[i] for i in range(start, stop)])

    def __len__(self) -> int:
        whole, rest = divmod(len(self.datapipe), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1


class Shuffler(IterDataPipe):
    """The samples in random order, each once."""

    def __init__(self, datapipe: MapDataPipe, *, indices: list | None = None) -> None:
        self.datapipe = datapipe
        self.indices = list(range(len(datapipe))) if indices is None else indices
        self._seed: int | None = None
        self._enabled = True

    def set_shuffle(self, shuffle=True) -> Shuffler:
        """Turn shuffling on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Shuffler:
        """Give the next iteration's seed."""
        self._seed = seed
        return self

    def __iter__(self):
        order = self.indices
        if self._enabled:
            seed, self._seed = self._seed, None
            order = reversed(_shuffled(order, seed, default_generator))
        for index in order:
            yield self.datapipe[index]

    def __len__(self) -> int:
        return len(self.datapipe)


MapDataPipe.register_datapipe_as_function("shuffle", Shuffler)
