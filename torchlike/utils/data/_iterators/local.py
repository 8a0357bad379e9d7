"""A pass over a loader, and one in this process."""

from __future__ import annotations

import copy
import itertools
import warnings

from torchlike._core import devices
from torchlike.utils.data.datapipes.datapipe import IterDataPipe
from torchlike.utils.data.datapipes.graph import prepare
from torchlike.utils.data.fetch import make_fetcher
from torchlike.utils.data.position import Position, Resume, as_begun, random_states
from torchlike.utils.data.sampler import draw_seed
from torchlike.utils.data.transfer import moved


class PassIterator:
    """A pass over a loader."""

    def __init__(self, loader, resume: Resume | None = None):
        self._loader = loader
        self._device = loader._device
        if loader.pin_memory:
            _warn_of_pinning(loader.pin_memory_device)
        self._position: Position = Position()
        self._failure: RuntimeError | None = None
        self._begin(resume)

    def _begin(self, resume: Resume | None) -> None:
        """Begin a pass, or go on in the middle of one."""
        loader = self._loader
        earlier = None if resume is None else resume.position
        position = self._position = loader._position = Position()
        if earlier is None or earlier.finished:
            position.begun = random_states(loader)
            if hasattr(loader.sampler, "state_dict"):
                position.begun["sampler"] = copy.deepcopy(loader.sampler.state_dict())
            if earlier is not None:
                position.base_seed, position.workers = earlier.base_seed, earlier.workers
            self._order()
            self._start(None)
            return
        if hasattr(loader.sampler, "load_state_dict") and resume.sampler is not None:
            loader.sampler.load_state_dict(copy.deepcopy(resume.sampler))
        with as_begun(loader, earlier.begun):
            position.begun = {**earlier.begun, "sampler": resume.sampler}
            if not earlier.seeded:
                position.base_seed = earlier.base_seed
            self._order()
            self._start(resume)

    def _order(self) -> None:
        """Begin to iterate over the indices, and draw what PyTorch draws with it."""
        self._shared_seed = None
        self._promised = self._loader._promised_length  # what ``list`` asks for later is no promise
        if isinstance(self._loader.dataset, IterDataPipe):
            self._shared_seed = draw_seed(self._loader.generator)
        self._indices = iter(self._loader._index_sampler)
        if self._position.base_seed is None:
            # PyTorch draws this number even where no worker will use it.
            self._position.base_seed = draw_seed(self._loader.generator)
            self._position.seeded = True

    def _next_index(self):
        position = self._position
        try:
            index = position.last = next(self._indices)
        except StopIteration:
            position.ended = True
            raise
        position.drawn += 1
        return index

    def _start(self, resume: Resume | None) -> None:
        """Make ready for the first batch, or for the one that the state to go on with is at."""
        raise NotImplementedError

    def _next_batch(self):
        raise NotImplementedError

    def __iter__(self) -> PassIterator:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self):
        position = self._position
        try:
            batch = self._next_batch()
        except StopIteration:
            position.finished = True
            raise
        position.yielded += 1
        if self._promised is not None and position.yielded > self._promised:
            self._warn_of_length(self._promised)
        return batch if self._device is None else self._on_device(batch)

    def _on_device(self, batch):
        return moved(batch, self._device)

    def _warn_of_length(self, promised: int) -> None:
        text = (
            f"Length of IterableDataset {self._loader.dataset} was reported to be {promised}"
            f"(when accessing len(dataloader)), but {self._position.yielded} samples have been "
            "fetched. "
        )
        if self._loader.num_workers:
            text += (
                "For multiprocessing data-loading, this could be caused by not properly "
                "configuring the IterableDataset replica at each worker. Please see "
                "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for "
                "examples."
            )
        warnings.warn(text, stacklevel=3)


class LocalIterator(PassIterator):
    """A pass over a loader without workers."""

    def _start(self, resume: Resume | None) -> None:
        loader, position = self._loader, self._position
        dataset = loader.dataset
        prepare(dataset, self._shared_seed)
        if resume is None:
            self._fetcher = make_fetcher(loader._kind, dataset, loader.collate_fn)
            return
        place = None
        if resume.position.workers:
            place = resume.position.workers[0].place
        if place is not None:
            dataset.load_state_dict(place)
        self._fetcher = make_fetcher(loader._kind, dataset, loader.collate_fn)
        waiting = {number for number, _ in resume.position.outstanding}
        ahead = []
        for number in range(resume.position.drawn):
            index = self._next_index()
            if number in waiting:  # drawn for workers that this loader has not got
                ahead.append(index)
            elif loader._iterable and place is None:
                self._fetcher.fetch(index)
        resume.check(position, self._indices)
        self._indices = itertools.chain(ahead, self._indices)
        position.drawn = position.yielded = resume.position.drawn - len(ahead)

    def _next_batch(self):
        return self._fetcher.fetch(self._next_index())


def _warn_of_pinning(device: str) -> None:
    if device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{device}'.",
            stacklevel=5,
        )
    if not any(devices.device_count(kind) for kind in ("cuda", "tpu")):
        warnings.warn(
            "'pin_memory' argument is set as true but no accelerator is found, then device pinned "
            "memory won't be used.",
            stacklevel=5,
        )
