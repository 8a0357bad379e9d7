"""What a worker knows of itself, and workers without a process, which take turns in the loader's.

What such a worker draws and yields is what a process of the same number draws and yields. They
serve where a dataset cannot be sent to another process.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import random
from typing import Any

import numpy as np

from torchlike._core.streams import HostStream
from torchlike._tensor.generators import default_generator


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What ``get_worker_info`` tells."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


_current: list[WorkerInfo | None] = [None]


def enter(info: WorkerInfo) -> None:
    """Be a worker from here on: this process is one."""
    _current[:] = [info]


def get_worker_info() -> WorkerInfo | None:
    """About the worker that loads at the moment; None outside of workers (https://pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info)."""
    return _current[-1]


class Worker:
    """One of a loader's workers: a fetcher, made when the worker starts, and random states.

    start says how to go on in the middle of an epoch: see ``position``.
    """

    def __init__(
        self, number: int, count: int, base_seed: int, dataset, make_fetcher, init, start: dict
    ):
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
        self._numpy = np.random.RandomState(numpy_seed(base_seed, number)).get_state()
        with self._at_work():
            if init is not None:
                init(number)
            if start.get("place") is not None:
                dataset.load_state_dict(start["place"])
            self._fetcher = make_fetcher(dataset)
            for index in start.get("skip") or ():
                self._fetcher.fetch(index)
        if start.get("states"):
            self._set_states(start["states"])

    def states(self) -> dict:
        """The states of its three generators."""
        name, key, *rest = self._numpy
        return {
            "torch": self._torch.get_state().tobytes(),
            "python": self._python,
            "numpy": (name, key.tobytes(), *rest),
        }

    def _set_states(self, states: dict) -> None:
        if "torch" in states:
            self._torch.set_state(np.frombuffer(states["torch"], np.uint8).copy())
        if "python" in states:
            self._python = states["python"]
        if "numpy" in states:
            name, key, *rest = states["numpy"]
            self._numpy = (name, np.frombuffer(key, np.uint32), *rest)

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


def numpy_seed(base_seed: int, number: int) -> np.ndarray:
    """PyTorch's seed of numpy in a worker: 128 bits hashed from the base seed and the number."""
    entropy = [number, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(entropy).generate_state(4)
