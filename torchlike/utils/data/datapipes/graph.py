"""What a loader does to the data pipes of its dataset: seeds for an epoch, shares of workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from torchlike._core.errors import NotSupported
from torchlike._core.streams import HostStream
from torchlike.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe


def pipes_of(pipe) -> Iterator:
    """A data pipe and all that it is built of, each once."""
    seen: dict[int, object] = {}
    waiting = [pipe]
    while waiting:
        found = waiting.pop()
        if isinstance(found, (list, tuple)):
            waiting.extend(reversed(found))
        elif isinstance(found, dict):
            waiting.extend(reversed(list(found.values())))
        elif isinstance(found, (IterDataPipe, MapDataPipe)) and id(found) not in seen:
            seen[id(found)] = found
            yield found
            waiting.extend(reversed(list(vars(found).values())))


def set_shuffle(pipe, shuffle: bool) -> None:
    """Turn on or off all shuffling in it."""
    shufflers = [p for p in pipes_of(pipe) if {"set_shuffle", "set_seed"} <= set(dir(type(p)))]
    if shuffle and not shufflers:
        raise NotSupported(
            "DataLoader(shuffle=True) of a data pipe that has no shuffle() in it",
            "put .shuffle() into the pipe",
        )
    for shuffler in shufflers:
        shuffler.set_shuffle(shuffle)


def prepare(dataset, seed: int | None, worker: tuple[int, int] | None = None) -> None:
    """Seed what is random in it for an epoch; give a worker (count, number) its share."""
    if not isinstance(dataset, (IterDataPipe, MapDataPipe)):
        return
    pipes = list(pipes_of(dataset))
    if worker is not None:
        for pipe in pipes:
            if "apply_sharding" in dir(type(pipe)):
                pipe.apply_sharding(*worker)
    if seed is not None:
        stream = HostStream(seed)
        for pipe in pipes:
            if "set_seed" in dir(type(pipe)):
                pipe.set_seed(int(stream.random((), np.int64)))
