"""Iterable data pipes, and their functional forms."""

from __future__ import annotations

import copy
import fnmatch
import itertools
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from torchlike._tensor.generators import default_generator
from torchlike.utils.data.collate import default_collate
from torchlike.utils.data.datapipes.checks import check_callable, check_columns, check_pipes
from torchlike.utils.data.datapipes.datapipe import DataChunk, IterDataPipe
from torchlike.utils.data.datapipes.decorators import functional_datapipe
from torchlike.utils.data.sampler import SequentialSampler

__all__ = [
    "Batcher", "Collator", "Concater", "Demultiplexer", "FileLister", "FileOpener", "Filter",
    "Forker", "Grouper", "IterableWrapper", "Mapper", "Multiplexer", "Sampler", "ShardingFilter",
    "Shuffler", "StreamReader", "UnBatcher", "Zipper",
]  # fmt: skip


def _drawn_seed(generator) -> int:
    return int(generator.stream.random((), np.int64))


def _shuffled(items, seed: int | None, generator) -> list:
    order = random.Random(_drawn_seed(generator) if seed is None else seed)
    return order.sample(list(items), len(items))


class IterableWrapper(IterDataPipe):
    """An iterable as a data pipe; copied deeply for each iteration, unless it cannot be."""

    def __init__(self, iterable: Iterable, deepcopy: bool = True) -> None:
        self.iterable, self.deepcopy = iterable, deepcopy

    def __iter__(self) -> Iterator:
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(self.iterable)
            except TypeError:  # a generator, an open file
                source = self.iterable
        yield from source

    def __len__(self) -> int:
        return len(self.iterable)


@functional_datapipe("map")
class Mapper(IterDataPipe):
    """Each sample, or some columns of it, through a function."""

    def __init__(self, datapipe: IterDataPipe, fn: Callable, input_col=None, output_col=None):
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) > 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        check_columns(fn, input_col)
        self.datapipe, self.fn = datapipe, fn
        self.input_col, self.output_col = input_col, output_col

    def _applied(self, data):
        if self.input_col is None:
            return self.fn(data)
        columns = self.input_col
        many = isinstance(columns, (list, tuple))
        result = self.fn(*[data[c] for c in columns]) if many else self.fn(data[columns])
        target = self.output_col
        out = dict(data) if isinstance(data, dict) else list(data)
        if target == -1 and not isinstance(out, dict):
            out.append(result)
        elif target is not None:
            out[target] = result
        else:  # in place of the first column that it was made of, and the others go
            first, *others = columns if many else (columns,)
            out[first] = result
            for column in sorted(others, reverse=True):
                del out[column]
        return tuple(out) if isinstance(data, tuple) else out

    def __iter__(self) -> Iterator:
        for data in self.datapipe:
            yield self._applied(data)

    def __len__(self) -> int:
        return len(self.datapipe)


@functional_datapipe("collate")
class Collator(Mapper):
    """Each batch through a collating function."""

    def __init__(self, datapipe: IterDataPipe, conversion=None, collate_fn: Callable | None = None):
        super().__init__(datapipe, collate_fn or conversion or default_collate)


@functional_datapipe("filter")
class Filter(IterDataPipe):
    """The samples for which a function says yes."""

    def __init__(self, datapipe: IterDataPipe, filter_fn: Callable, input_col=None) -> None:
        check_columns(filter_fn, input_col)
        self.datapipe, self.filter_fn, self.input_col = datapipe, filter_fn, input_col

    def __iter__(self) -> Iterator:
        columns = self.input_col
        for data in self.datapipe:
            if columns is None:
                keep = self.filter_fn(data)
            elif isinstance(columns, (list, tuple)):
                keep = self.filter_fn(*[data[c] for c in columns])
            else:
                keep = self.filter_fn(data[columns])
            if not isinstance(keep, (bool, np.bool_)):
                raise ValueError(
                    "Boolean output is required for `filter_fn` of FilterIterDataPipe, got "
                    f"{type(keep)}"
                )
            if keep:
                yield data


@functional_datapipe("batch")
class Batcher(IterDataPipe):
    """Chunks of several samples."""

    def __init__(
        self, datapipe: IterDataPipe, batch_size: int, drop_last: bool = False,
        wrapper_class: type = DataChunk,
    ) -> None:  # fmt: skip
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size, self.drop_last = datapipe, batch_size, drop_last
        self.wrapper_class = wrapper_class

    def __iter__(self) -> Iterator:
        samples = iter(self.datapipe)
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.wrapper_class(batch)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.datapipe), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1


@functional_datapipe("unbatch")
class UnBatcher(IterDataPipe):
    """Lists taken apart, some levels of them; -1 for all."""

    def __init__(self, datapipe: IterDataPipe, unbatch_level: int = 1) -> None:
        if unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self) -> Iterator:
        for element in self.datapipe:
            yield from self._apart(element, self.unbatch_level)

    def _apart(self, element, level: int) -> Iterator:
        if level == 0 or (level == -1 and not isinstance(element, list)):
            yield element
        elif isinstance(element, list):
            for part in element:
                yield from self._apart(part, level if level == -1 else level - 1)
        else:
            raise IndexError(
                f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe"
            )


@functional_datapipe("groupby")
class Grouper(IterDataPipe):
    """Lists of samples of one key, at most ``group_size`` each; all of a key by default."""

    def __init__(
        self, datapipe: IterDataPipe, group_key_fn: Callable, *, keep_key: bool = False,
        buffer_size: int = 10000, group_size: int | None = None,
        guaranteed_group_size: int | None = None, drop_remaining: bool = False,
    ) -> None:  # fmt: skip
        check_callable(group_key_fn)
        if group_size is not None and not 0 < group_size <= buffer_size:
            raise AssertionError("group_size must be > 0 and <= buffer_size")
        if guaranteed_group_size is None:
            guaranteed_group_size = group_size
        elif group_size is None or not 0 < guaranteed_group_size <= group_size:
            raise AssertionError(
                "guaranteed_group_size must be > 0 and <= group_size and group_size must be set"
            )
        self.datapipe, self.group_key_fn, self.keep_key = datapipe, group_key_fn, keep_key
        self.max_buffer_size, self.group_size = buffer_size, group_size
        self.guaranteed_group_size, self.drop_remaining = guaranteed_group_size, drop_remaining

    def _out(self, key, group):
        chunk = DataChunk(group)
        return (key, chunk) if self.keep_key else chunk

    def __iter__(self) -> Iterator:
        groups: dict = {}
        held = 0
        for x in self.datapipe:
            key = self.group_key_fn(x)
            groups.setdefault(key, []).append(x)
            held += 1
            if self.group_size is not None and len(groups[key]) == self.group_size:
                held -= self.group_size
                yield self._out(key, groups.pop(key))
            if held == self.max_buffer_size:
                biggest = max(groups, key=lambda k: len(groups[k]))
                group = groups.pop(biggest)
                held -= len(group)
                if (
                    self.guaranteed_group_size is not None
                    and len(group) < self.guaranteed_group_size
                ):
                    if not self.drop_remaining:
                        raise RuntimeError("Failed to group items", str(group))
                else:
                    yield self._out(biggest, group)
        for key, group in groups.items():
            yield self._out(key, group)


@functional_datapipe("shuffle")
class Shuffler(IterDataPipe):
    """The samples in random order, as far as a buffer of some size allows."""

    def __init__(
        self, datapipe: IterDataPipe, *, buffer_size: int = 10000, unbatch_level: int = 0
    ) -> None:
        if buffer_size <= 0:
            raise AssertionError("buffer_size should be larger than 0")
        self.datapipe = datapipe if unbatch_level == 0 else UnBatcher(datapipe, unbatch_level)
        self.buffer_size = buffer_size
        self._enabled, self._seed = True, None

    def set_shuffle(self, shuffle=True) -> Shuffler:
        """Turn shuffling on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Shuffler:
        """Give the next iteration's seed."""
        self._seed = seed
        return self

    def __iter__(self) -> Iterator:
        if not self._enabled:
            yield from self.datapipe
            return
        seed, self._seed = self._seed, None
        order = random.Random(_drawn_seed(default_generator) if seed is None else seed)
        buffer: list = []
        for x in self.datapipe:
            if len(buffer) == self.buffer_size:
                at = order.randint(0, len(buffer) - 1)
                out, buffer[at] = buffer[at], x
                yield out
            else:
                buffer.append(x)
        while buffer:
            yield buffer.pop(order.randint(0, len(buffer) - 1))

    def __len__(self) -> int:
        return len(self.datapipe)


@functional_datapipe("sharding_filter")
class ShardingFilter(IterDataPipe):
    """Each worker's own share of the samples, in a loader with workers."""

    def __init__(self, source_datapipe: IterDataPipe, sharding_group_filter=None) -> None:
        self.source_datapipe = source_datapipe
        self.sharding_group_filter = sharding_group_filter
        self.num_of_instances, self.instance_id = 1, 0

    def apply_sharding(self, num_of_instances: int, instance_id: int, sharding_group=None) -> None:
        """Keep every ``num_of_instances``-th sample from ``instance_id`` on."""
        if instance_id >= num_of_instances:
            raise ValueError(
                f"instance_id({instance_id}) should be smaller than num_of_instances"
                f"({num_of_instances})"
            )
        self.num_of_instances, self.instance_id = num_of_instances, instance_id

    def __iter__(self) -> Iterator:
        return itertools.islice(self.source_datapipe, self.instance_id, None, self.num_of_instances)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.source_datapipe), self.num_of_instances)
        return whole + (self.instance_id < rest)


class Sampler(IterDataPipe):
    """Samples of a map-style dataset in the order of a sampler."""

    def __init__(self, datapipe, sampler: type = SequentialSampler, sampler_args=None,
                 sampler_kwargs=None) -> None:  # fmt: skip
        self.datapipe = datapipe
        kwargs = {**(sampler_kwargs or {}), "data_source": datapipe}
        self.sampler = sampler(*(sampler_args or ()), **kwargs)

    def __iter__(self) -> Iterator:
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


@functional_datapipe("concat")
class Concater(IterDataPipe):
    """Several data pipes one behind the other."""

    def __init__(self, *datapipes: IterDataPipe) -> None:
        check_pipes(datapipes, IterDataPipe)
        self.datapipes = datapipes

    def __iter__(self) -> Iterator:
        return itertools.chain.from_iterable(self.datapipes)

    def __len__(self) -> int:
        return sum(len(pipe) for pipe in self.datapipes)


@functional_datapipe("zip")
class Zipper(IterDataPipe):
    """Tuples of the samples of several data pipes, until one ends."""

    def __init__(self, *datapipes: IterDataPipe) -> None:
        text = "All inputs are required to be `{}` for `ZipIterDataPipe`."
        check_pipes(datapipes or (self,), IterDataPipe, text)
        self.datapipes = datapipes

    def __iter__(self) -> Iterator:
        return zip(*self.datapipes)

    def __len__(self) -> int:
        return min(len(pipe) for pipe in self.datapipes)


@functional_datapipe("mux")
class Multiplexer(IterDataPipe):
    """One sample of each data pipe in turn, until the shortest ends."""

    def __init__(self, *datapipes: IterDataPipe) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Iterator:
        for row in zip(*self.datapipes):
            yield from row

    def __len__(self) -> int:
        return min(len(pipe) for pipe in self.datapipes) * len(self.datapipes)


class _Shared:
    """One pass over a data pipe for several readers, each with a queue of what it has not read."""

    name = "DemultiplexerIterDataPipe"

    def __init__(self, datapipe, readers: int, route: Callable, buffer_size: int, copied=None):
        self.datapipe, self.readers, self.route = datapipe, readers, route
        self.copied = copied  # what makes a copy of a sample for each reader
        self.buffer_size = buffer_size
        self.passes: dict[int, tuple] = {}

    def read(self, reader: int) -> Iterator:
        """The samples of one reader; the first to begin again begins a new pass for all."""
        if not self.passes.get(reader):
            source = iter(self.datapipe)
            queues = [deque() for _ in range(self.readers)]
            for number in range(self.readers):
                self.passes[number] = (source, queues)
        source, queues = self.passes.pop(reader)
        own = queues[reader]
        while True:
            while own:
                x = own.popleft()
                yield x if self.copied is None else self.copied(x)
            for x in source:
                for number in self.route(x):
                    queues[number].append(x)
                if 0 <= self.buffer_size < max(map(len, queues)):
                    raise BufferError(
                        f"{self.name} buffer overflow,buffer size {self.buffer_size} is "
                        "insufficient."
                    )
                break
            else:
                if not own:
                    return


class _Child(IterDataPipe):
    def __init__(self, shared: _Shared, number: int):
        self.shared, self.number = shared, number

    def __iter__(self) -> Iterator:
        return self.shared.read(self.number)


class _Same(_Child):
    """A reader of all samples."""

    def __len__(self) -> int:
        return len(self.shared.datapipe)


_COPIES = {None: None, "shallow": copy.copy, "deep": copy.deepcopy}


def Forker(datapipe: IterDataPipe, num_instances: int, buffer_size: int = 1000, copy=None) -> list:
    """Several data pipes with the same samples, which are read once (``pipe.fork``)."""
    if num_instances < 1:
        raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")
    if copy not in _COPIES:
        raise ValueError(
            f"Unknown copy method `{copy}` requested, choose one of None, `shallow` or `deep`."
        )
    if num_instances == 1:
        return datapipe
    everyone = range(num_instances)
    shared = _Shared(datapipe, num_instances, lambda x: everyone, buffer_size, _COPIES[copy])
    shared.name = "ForkerIterDataPipe"
    return [_Same(shared, number) for number in everyone]


def Demultiplexer(
    datapipe: IterDataPipe, num_instances: int, classifier_fn: Callable, drop_none: bool = False,
    buffer_size: int = 1000,
) -> list:  # fmt: skip
    """Several data pipes, each with the samples that a function gives its number (``demux``)."""
    if num_instances < 1:
        raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")

    check_callable(classifier_fn)

    def route(x):
        number = classifier_fn(x)
        if number is None and drop_none:
            return ()
        if number is None or not 0 <= number < num_instances:
            raise ValueError(
                f"Output of the classification fn should be between 0 and {num_instances - 1}. "
                f"{number} is returned."
            )
        return (number,)

    shared = _Shared(datapipe, num_instances, route, buffer_size)
    return [_Child(shared, number) for number in range(num_instances)]


IterDataPipe.register_function("fork", Forker)
IterDataPipe.register_function("demux", Demultiplexer)


@functional_datapipe("list_files")
class FileLister(IterDataPipe):
    """Paths of the files in a folder, or in several."""

    def __init__(
        self, root=".", masks="", *, recursive: bool = False, abspath: bool = False,
        non_deterministic: bool = False, length: int = -1,
    ) -> None:  # fmt: skip
        roots = [root] if isinstance(root, (str, os.PathLike)) else root
        self.datapipe = roots
        self.masks = [masks] if isinstance(masks, str) else list(masks)
        self.recursive, self.abspath, self.length = recursive, abspath, length

    def __iter__(self) -> Iterator[str]:
        for root in self.datapipe:
            for folder, folders, files in os.walk(root):
                folders.sort()
                for name in sorted(files):
                    if any(not mask or fnmatch.fnmatch(name, mask) for mask in self.masks):
                        path = os.path.join(folder, name)
                        yield os.path.abspath(path) if self.abspath else path
                if not self.recursive:
                    break

    def __len__(self) -> int:
        if self.length < 0:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("open_files")
class FileOpener(IterDataPipe):
    """Pairs of a path and the file, opened."""

    def __init__(self, datapipe: Iterable[str], mode: str = "r", encoding=None, length: int = -1):
        self.datapipe, self.mode, self.encoding, self.length = datapipe, mode, encoding, length

    def __iter__(self) -> Iterator:
        for path in self.datapipe:
            yield path, open(path, self.mode, encoding=self.encoding)  # noqa: SIM115

    def __len__(self) -> int:
        if self.length < 0:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("read_from_stream")
class StreamReader(IterDataPipe):
    """Pairs of a path and what its file holds, whole or in chunks; closes the file."""

    def __init__(self, datapipe: IterDataPipe, chunk: int | None = None) -> None:
        self.datapipe, self.chunk = datapipe, chunk

    def __iter__(self) -> Iterator:
        for name, stream in self.datapipe:
            while data := stream.read(-1 if self.chunk is None else self.chunk):
                yield name, data
                if self.chunk is None:
                    break
            stream.close()
