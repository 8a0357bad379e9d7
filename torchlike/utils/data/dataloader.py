"""DataLoader: batches of a dataset, in PyTorch's order and with PyTorch's random draws."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from torchlike._core import devices
from torchlike._core.errors import warn
from torchlike._tensor.generators import Generator
from torchlike.utils.data import by_value, channel
from torchlike.utils.data._iterators import (
    LocalIterator,
    ProcessIterator,
    TurnsIterator,
    parts_of,
)
from torchlike.utils.data.collate import default_collate, default_convert
from torchlike.utils.data.datapipes.datapipe import IterDataPipe
from torchlike.utils.data.datapipes.graph import set_shuffle
from torchlike.utils.data.dataset import Dataset, IterableDataset
from torchlike.utils.data.nursery import nursery
from torchlike.utils.data.position import Position, Resume, set_random_states, state_dict
from torchlike.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)
from torchlike.utils.data.workers import get_worker_info

Sample = TypeVar("Sample", covariant=True)


class _Endless(Sampler):
    """Asks an iterable dataset for samples until it ends."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader(Generic[Sample]):
    """Iterates over a dataset in batches (https://pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader).

    With ``num_workers`` the batches are loaded by processes, ahead of time, in PyTorch's order and
    with PyTorch's random numbers; numpy's and ``random``'s seeds differ per worker and per epoch.

    Workers are forked from a clean process (see ``nursery``), not from this one: a fork would
    inherit JAX's locks without its threads, and hang as soon as it computes. So the dataset is
    pickled, with tensors as the memory behind them: each worker has its own copy, made where it
    writes, but memory of ``share_memory_`` or ``multiprocessing.Array`` stays shared. The main
    program is not run again: functions, lambdas and classes that it defines are sent as code with
    the globals they name (see ``by_value``), so it needs no ``if __name__ == "__main__"``. What
    cannot be sent (generators, tensors on an accelerator, database connections,
    ``multiprocessing``'s locks) makes the workers take turns in this process instead, with a
    warning. In a worker, ops on tensors are NumPy's where they are small; a large
    one starts XLA for the CPU, never for an accelerator. Batches come back through shared memory.

    ``multiprocessing_context``: "forkserver" is the default; "spawn" starts a fresh Python for each
    worker, with the same pickles; "fork" forks this process, for what cannot be sent: ops that
    NumPy cannot do then raise, and JAX must not be called directly.
    ``timeout``, ``worker_init_fn``, ``prefetch_factor``, ``persistent_workers``, ``in_order`` and
    ``generator`` act as in PyTorch. ``pin_memory`` needs no action: JAX stages what it transfers.
    ``to(device)`` has batches arrive on an accelerator. ``state_dict`` and ``load_state_dict`` go
    on in the middle of an epoch.

    Raises ``ValueError`` for options that exclude each other.
    """

    __initialized = False  # some set it, by its mangled name, to change what is fixed
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
        if isinstance(dataset, IterDataPipe) and shuffle is not None:
            set_shuffle(dataset, shuffle)
            shuffle = None
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
        self._position: Position | None = None
        self._resume: Resume | None = None
        self._device = None
        self._warned_of_turns = False
        apart = num_workers > 0 and self._start_method == "forkserver" and _has_processes()
        if apart and get_worker_info() is None:
            nursery.start()  # it gets ready while the program makes its model
        self.__initialized = True

    def __setattr__(self, name, value):
        if self.__initialized and name in self._FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        """How workers are started: a context of ``multiprocessing``, or None for the default."""
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

    def to(self, device) -> DataLoader:
        """Let batches come on a device: the next one goes there while this one is in use.

        Beyond PyTorch, and returns the loader itself. Tensors in containers and objects with a
        method ``to`` are moved; a ``batch.to(device)`` in the loop then has nothing left to do.
        With workers the transfer of a batch that they have ready starts when the one before it is
        handed out, so that it runs while the device computes, even if the loop waits for each loss.
        """
        device = devices.canonical(device)
        self._device = None if device is devices.CPU else device
        return self

    @property
    def _kind(self) -> tuple[bool, bool, bool]:
        return self._iterable, self._auto_collation, self.drop_last

    @property
    def _dataset_kind(self) -> int:
        return int(self._iterable)

    @property
    def _start_method(self) -> str:
        context = self._multiprocessing_context
        return "forkserver" if context is None else context.get_start_method()

    def __iter__(self) -> Iterator:
        if not self.num_workers or not self.persistent_workers:
            return self._get_iterator()
        if self._iterator is not None and self._resume is None:
            self._iterator._reset(self)
        else:
            self._iterator = self._get_iterator()
        return self._iterator

    def _get_iterator(self) -> Iterator:
        """A pass with workers of its own; libraries' loaders override it."""
        resume, self._resume = self._resume, None
        if self.num_workers:
            return self._with_workers(resume)
        if self.timeout:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        return LocalIterator(self, resume)

    def _with_workers(self, resume: Resume | None):
        if not self.prefetch_factor:
            raise AssertionError(
                "prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter"
            )
        if get_worker_info() is not None:
            raise AssertionError("daemonic processes are not allowed to have children")
        if not _has_processes():
            return TurnsIterator(self, resume)
        if self._start_method == "fork":
            return ProcessIterator(self, None, resume)
        try:
            payload = by_value.dumps(parts_of(self))
        except Exception as error:
            if not self._warned_of_turns:
                self._warned_of_turns = True
                warnings.warn(
                    "DataLoader: the dataset, or a function that goes with it, cannot be sent to "
                    f"worker processes ({type(error).__name__}: {error}). Its workers take turns "
                    "in this process: the batches are the same, but not loaded in parallel. "
                    "Make what cannot be sent inside the worker (in worker_init_fn, or when it is "
                    "first used), or pass multiprocessing_context='fork'.",
                    stacklevel=4,
                )
            return TurnsIterator(self, resume)
        return ProcessIterator(self, payload, resume)

    def state_dict(self) -> dict[str, Any]:
        """Where this loader is, for a checkpoint: a dict of tensors, numbers, text and lists.

        Beyond PyTorch (torchdata's ``StatefulDataLoader`` has the same two methods). It holds the
        position within the epoch, as far as the program has got it: batches that workers have
        loaded ahead are loaded again. It also holds the states of all random generators that decide
        the order or that workers draw from: torch's, numpy's and ``random``'s global ones, the
        loader's and the samplers' ``generator``. A sampler or an iterable dataset that has
        ``state_dict`` and ``load_state_dict`` keeps its place by them; other iterable datasets are
        read again up to the place.
        """
        position = self._position
        saved = state_dict(self, position)
        stateful = self._iterable and hasattr(self.dataset, "load_state_dict")
        if stateful and not self.num_workers and saved["pass"] is not None:
            saved["pass"]["workers"] = [
                {"active": True, "yielded": 0, "place": self.dataset.state_dict(), "random": {}}
            ]
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave: the next ``iter`` continues the interrupted epoch.

        Sets torch's, numpy's and ``random``'s global generators (of the CPU) to where they were, so
        that the order of later epochs is that of the run that was not interrupted. Raises
        ``ValueError`` for a state that is not of such a loader, and, when iterating,
        ``RuntimeError`` if the sampler does not repeat its order.
        """
        resume = Resume(self, state_dict)
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None
        set_random_states(self, resume.current)
        if resume.epoch is not None and hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(resume.epoch)
        self._position = resume.position
        self._resume = resume

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._index_sampler)
        length = self._promised_length = len(self.dataset)
        if self.batch_size is None:
            return length
        if self.drop_last:
            return length // self.batch_size
        return math.ceil(length / self.batch_size)


def _has_processes() -> bool:
    return channel.supported() and bool(sys.executable)


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    if num_workers > (most := _processors()):
        warn(
            f"This DataLoader will create {num_workers} worker processes in total. Our suggested "
            f"max number of worker in current system is {most}, which is smaller than what this "
            "DataLoader is going to create. Please be aware that excessive worker creation might "
            "get DataLoader running slow or even freeze, lower the worker number to avoid "
            "potential slowness/freeze if necessary."
        )
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
