"""Workers of a loader: each with its own random numbers and its own copy of an iterable dataset.

They take turns in this process. What a worker draws and what it yields is what PyTorch's worker
process of the same number draws and yields.
"""

from __future__ import annotations

import contextlib
import copy
import random

import numpy as np

from torchlike._core.streams import HostStream
from torchlike._tensor.random import default_generator


class WorkerInfo:
    """What ``get_worker_info`` tells: ``id``, ``num_workers``, ``seed`` and ``dataset``."""

    def __init__(self, **values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        raise RuntimeError(f"Cannot assign attributes to {type(self).__name__} objects")

    def __repr__(self):
        values = ", ".join(f"{name}={value}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({values})"


_current: list[WorkerInfo | None] = [None]


def get_worker_info() -> WorkerInfo | None:
    """About the worker that loads at the moment; None outside of workers (https://pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info)."""
    return _current[-1]


class Worker:
    """One of a loader's workers: a fetcher, made when the worker starts, and random states."""

    def __init__(self, number: int, count: int, base_seed: int, dataset, make_fetcher, init):
        # A process of its own would have a copy: attributes that one worker sets, or that
        # worker_init_fn sets through get_worker_info().dataset, are not seen by another.
        dataset = copy.copy(dataset)
        self.info = WorkerInfo(
            id=number, num_workers=count, seed=base_seed + number, dataset=dataset
        )
        self.active = True
        self._make_fetcher = make_fetcher
        self._torch = HostStream(self.info.seed)
        self._python = random.Random(self.info.seed).getstate()
        self._numpy = np.random.RandomState(_numpy_seed(base_seed, number)).get_state()
        with self._at_work():
            if init is not None:
                init(number)
            self._fetcher = make_fetcher(dataset)

    def restart(self) -> None:
        """Begin the next epoch, keeping dataset and random states."""
        self.active = True
        with self._at_work():
            self._fetcher = self._make_fetcher(self.info.dataset)

    def fetch(self, index):
        """The worker's next batch."""
        with self._at_work():
            return self._fetcher.fetch(index)

    @contextlib.contextmanager
    def _at_work(self):
        """Let the process's random numbers be the worker's."""
        python, numpy = random.getstate(), np.random.get_state()
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        default_generator.stream, self._torch = self._torch, default_generator.stream
        _current.append(self.info)
        try:
            yield
        finally:
            _current.pop()
            default_generator.stream, self._torch = self._torch, default_generator.stream
            self._python, self._numpy = random.getstate(), np.random.get_state()
            random.setstate(python)
            np.random.set_state(numpy)


def _numpy_seed(base_seed: int, number: int) -> np.ndarray:
    """PyTorch's seed of numpy in a worker: 128 bits hashed from the base seed and the number."""
    entropy = [number, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(entropy).generate_state(4)
