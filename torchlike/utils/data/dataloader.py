"""DataLoader: batches of a dataset, in PyTorch's order and with PyTorch's random draws."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from torchlike._core import devices
from torchlike._tensor.random import Generator
from torchlike.utils.data.collate import default_collate, default_convert
from torchlike.utils.data.dataset import Dataset, IterableDataset
from torchlike.utils.data.fetch import IterableFetcher, MapFetcher
from torchlike.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)
from torchlike.utils.data.workers import Worker

Sample = TypeVar("Sample", covariant=True)


class _Endless(Sampler):
    """Asks an iterable dataset for samples until it ends."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader(Generic[Sample]):
    """Iterates over a dataset in batches (https://pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader).

    Loading happens in this process. ``num_workers`` workers take turns in it: each has PyTorch's
    random numbers for a worker of its number and its own copy of the dataset object, so the batches
    are PyTorch's, but they are not loaded ahead or in parallel. So ``timeout`` and
    ``multiprocessing_context`` have nothing to act on, and an error in a worker is raised as it is.
    ``pin_memory`` needs no action: JAX pins what it transfers.

    Raises ``ValueError`` for options that exclude each other.
    """

    _initialized = False
    _FIXED = (
        "batch_size",
        "batch_sampler",
        "sampler",
        "drop_last",
        "dataset",
        "persistent_workers",
    )

    def __init__(
        self,
        dataset: Dataset[Sample],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context=None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        shuffle = bool(shuffle)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, "
                    "sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._promised_length = None  # of an iterable dataset, once somebody has asked
        self._iterator = None
        self._initialized = True

    def __setattr__(self, name, value):
        if self._initialized and name in self._FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        """The context that PyTorch would start workers in."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            context = _checked_context(context, self.num_workers)
        self._multiprocessing_context = context

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def _fetcher(self, dataset):
        if self._iterable:
            return IterableFetcher(dataset, self._auto_collation, self.collate_fn, self.drop_last)
        return MapFetcher(dataset, self._auto_collation, self.collate_fn)

    def __iter__(self) -> Iterator:
        if not self.num_workers:
            return _Iterator(self)
        if not self.persistent_workers:
            return _WorkerIterator(self)
        if self._iterator is None:
            self._iterator = _WorkerIterator(self)
        else:
            self._iterator.restart()
        return self._iterator

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._index_sampler)
        length = self._promised_length = len(self.dataset)
        if self.batch_size is None:
            return length
        if self.drop_last:
            return length // self.batch_size
        return math.ceil(length / self.batch_size)


def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_iterable(shuffle, sampler, batch_sampler) -> None:
    for name, value in (
        ("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler),
    ):  # fmt: skip
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
                f"{name}={value}"
            )


def _checked_context(context, num_workers: int):
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading "
            f"(num_workers > 0), but got num_workers={num_workers}"
        )
    if isinstance(context, str):
        methods = multiprocessing.get_all_start_methods()
        if context not in methods:
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{methods!r}, but got multiprocessing_context={context!r}"
            )
        context = multiprocessing.get_context(context)
    if not isinstance(context, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string "
            f"specifying the start method, but got multiprocessing_context={context}"
        )
    return context


# ---- iterators ---------------------------------------------------------------------------------


class _Iterator:
    """One pass over a loader without workers."""

    def __init__(self, loader: DataLoader):
        self._loader = loader
        if loader.pin_memory:
            _warn_of_pinning(loader.pin_memory_device)
        self._indices = iter(loader._index_sampler)
        self._yielded = 0
        # PyTorch draws this number even where no worker will use it.
        self._base_seed = draw_seed(loader.generator)
        self._start()

    def _start(self) -> None:
        self._fetcher = self._loader._fetcher(self._loader.dataset)

    def _next_batch(self):
        return self._fetcher.fetch(next(self._indices))

    def __iter__(self) -> _Iterator:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self):
        batch = self._next_batch()
        self._yielded += 1
        promised = self._loader._promised_length
        if promised is not None and self._yielded > promised:
            warnings.warn(
                f"Length of IterableDataset {self._loader.dataset} was reported to be {promised}"
                f"(when accessing len(dataloader)), but {self._yielded} samples have been "
                "fetched. ",
                stacklevel=2,
            )
        return batch


class _WorkerIterator(_Iterator):
    """One pass over a loader whose workers take turns; batches come in the samplers' order."""

    def _start(self) -> None:
        loader, count = self._loader, self._loader.num_workers
        self._workers = [
            Worker(
                number, count, self._base_seed, loader.dataset, loader._fetcher,
                loader.worker_init_fn,
            )
            for number in range(count)
        ]  # fmt: skip
        self._prefetch()

    def restart(self) -> None:
        """Begin another pass with the same workers."""
        self._indices = iter(self._loader._index_sampler)
        self._yielded = 0
        for worker in self._workers:
            worker.restart()
        self._prefetch()

    def _prefetch(self) -> None:
        """Draw indices as far ahead as PyTorch does: it decides what the next draws are."""
        self._tasks: deque = deque()
        self._turns = itertools.cycle(self._workers)
        for _ in range(self._loader.prefetch_factor * len(self._workers)):
            self._assign()

    def _assign(self) -> None:
        index = next(self._indices, self)
        if index is self:
            return
        for _ in self._workers:
            worker = next(self._turns)
            if worker.active:
                self._tasks.append((worker, index))
                return

    def _next_batch(self):
        while self._tasks:
            worker, index = self._tasks.popleft()
            if not worker.active:
                continue
            try:
                batch = worker.fetch(index)
            except StopIteration:
                if not self._loader._iterable:
                    raise
                worker.active = False
                self._assign()
                continue
            except BaseException:
                self._assign()
                raise
            self._assign()
            return batch
        raise StopIteration


def _warn_of_pinning(device: str) -> None:
    if device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{device}'.",
            stacklevel=4,
        )
    if not any(devices.device_count(kind) for kind in ("cuda", "tpu")):
        warnings.warn(
            "'pin_memory' argument is set as true but no accelerator is found, then device pinned "
            "memory won't be used.",
            stacklevel=4,
        )
