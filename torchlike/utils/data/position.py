"""Where a loader is: what its ``state_dict`` holds, and how an epoch goes on from there.

A state holds the random states with which the epoch began, how many index lists have been drawn
since, and which of them the program has not got yet. To go on, the sampler is iterated over from
those states again, which costs no loading; then all generators continue from where they were when
the state was taken. Nothing in it but tensors, numbers, text, lists and dicts, so that it may be
part of a checkpoint that is loaded with ``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor.generators import default_generator
from torchlike._tensor.host_reads import wrap_host

VERSION = 1


class Position:
    """Of one pass over a loader: counts, and what the next batch's worker needs."""

    __slots__ = (
        "base_seed", "begun", "drawn", "ended", "finished", "last", "outstanding", "seeded", "turn",
        "workers",
        "yielded",
    )  # fmt: skip

    def __init__(self):
        self.begun: dict | None = None  # the random states when the pass began
        self.base_seed: int | None = None  # given where workers of an earlier pass go on
        self.seeded = False  # whether that number was drawn in this pass
        self.drawn = 0  # index lists
        self.ended = False  # whether the sampler has no more of them; it may draw to find out
        self.last: Any = None  # the last of them
        self.yielded = 0
        self.outstanding: list[tuple[int, int]] = []  # (number, worker) drawn, not yet yielded
        self.turn = 0  # the worker to get the next task
        self.workers: list[WorkerPlace] = []
        self.finished = False


class WorkerPlace:
    """A worker as of the last batch of it that the program has got."""

    __slots__ = ("active", "place", "states", "yielded")

    def __init__(self):
        self.active = True
        self.place: Any = None  # what a stateful dataset says of itself
        self.states: dict = {}  # of its generators; empty until they have been used
        self.yielded = 0


# ---- random states -----------------------------------------------------------------------------


def generators_of(loader) -> list:
    """The generators that a pass over a loader draws from, besides the default one."""
    found: list = []
    batches = loader.batch_sampler
    for owner in (loader, loader.sampler, batches, getattr(batches, "sampler", None)):
        generator = getattr(owner, "generator", None)
        known = any(generator is other for other in found)
        if generator is not None and generator is not default_generator and not known:
            found.append(generator)
    return [g for g in found if hasattr(g, "get_state") and hasattr(g, "set_state")]


def random_states(loader) -> dict:
    """The states of everything that samplers may draw from."""
    return {
        "torch": default_generator.stream.get_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "generators": [g.get_state() for g in generators_of(loader)],
    }


def set_random_states(loader, states: dict) -> None:
    """Continue from what ``random_states`` gave."""
    default_generator.stream.set_state(np.array(states["torch"]))
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    for generator, state in zip(generators_of(loader), states["generators"]):
        generator.set_state(state)


@contextlib.contextmanager
def as_begun(loader, states: dict):
    """Draw as when the pass began, and afterwards go on as before."""
    now = random_states(loader)
    set_random_states(loader, states)
    try:
        yield
    finally:
        set_random_states(loader, now)


# ---- as a checkpoint ---------------------------------------------------------------------------


def _tensor(array) -> Any:
    array = np.array(array)
    return wrap_host(array, dt.BY_NUMPY[array.dtype])


def _python_saved(state) -> list:
    version, words, normal = state
    return [version, _tensor(np.array(words, np.int64)), normal]


def _python_loaded(saved):
    version, words, normal = saved
    return version, tuple(words.tolist()), normal


def _numpy_saved(state) -> list:
    name, key, *rest = state
    return [str(name), _tensor(np.array(key, np.int64)), *(float(x) for x in rest)]


def _numpy_loaded(saved):
    name, key, position, has_gauss, gauss = saved
    key = np.array(key.tolist(), np.uint32)
    return name, key, int(position), int(has_gauss), gauss


def _saved(states: dict) -> dict:
    return {
        "torch": _tensor(states["torch"]),
        "python": _python_saved(states["python"]),
        "numpy": _numpy_saved(states["numpy"]),
        "generators": list(states["generators"]),
    }


def _loaded(saved: dict) -> dict:
    return {
        "torch": saved["torch"].numpy(),
        "python": _python_loaded(saved["python"]),
        "numpy": _numpy_loaded(saved["numpy"]),
        "generators": saved["generators"],
    }


def _worker_saved(worker: WorkerPlace) -> dict:
    states, out = worker.states, {}
    if "torch" in states:
        out["torch"] = _tensor(np.frombuffer(states["torch"], np.uint8))
    if "python" in states:
        out["python"] = _python_saved(states["python"])
    if "numpy" in states:
        name, key, *rest = states["numpy"]
        out["numpy"] = _numpy_saved((name, np.frombuffer(key, np.uint32), *rest))
    return {
        "active": worker.active, "yielded": worker.yielded, "place": worker.place, "random": out,
    }  # fmt: skip


def _worker_loaded(saved: dict) -> WorkerPlace:
    worker, states = WorkerPlace(), saved["random"]
    worker.active, worker.yielded, worker.place = saved["active"], saved["yielded"], saved["place"]
    if "torch" in states:
        worker.states["torch"] = states["torch"].numpy().tobytes()
    if "python" in states:
        worker.states["python"] = _python_loaded(states["python"])
    if "numpy" in states:
        name, key, *rest = _numpy_loaded(states["numpy"])
        worker.states["numpy"] = (name, key.tobytes(), *rest)
    return worker


def _plain_index(index):
    """An index list as a checkpoint may hold it, for comparing; None for other kinds."""
    if isinstance(index, (int, np.integer)):
        return int(index)
    if isinstance(index, list) and all(isinstance(i, (int, np.integer)) for i in index):
        return [int(i) for i in index]
    return None


def state_dict(loader, position: Position | None) -> dict:
    """The checkpoint of a loader."""
    out = {
        "version": VERSION,
        "num_workers": loader.num_workers,
        "random": _saved(random_states(loader)),
        "epoch": getattr(loader.sampler, "epoch", None),
        "pass": None,
        "workers": None,
    }
    if position is None:
        return out
    if loader.persistent_workers:
        out["workers"] = {
            "base_seed": position.base_seed,
            "each": [_worker_saved(worker) for worker in position.workers],
        }
    if not position.finished:
        out["pass"] = {
            "begun": _saved(position.begun),
            "base_seed": position.base_seed,
            "seeded": position.seeded,
            "drawn": position.drawn,
            "ended": position.ended,
            "last": _plain_index(position.last),
            "yielded": position.yielded,
            "outstanding": [list(pair) for pair in position.outstanding],
            "turn": position.turn,
            "workers": [_worker_saved(worker) for worker in position.workers],
            "sampler": position.begun.get("sampler"),
        }
    return out


class Resume:
    """What a loader has been told to go on from."""

    def __init__(self, loader, saved: dict):
        if not isinstance(saved, dict) or saved.get("version") != VERSION:
            raise ValueError("load_state_dict: this is no state of a DataLoader")
        if saved["num_workers"] != loader.num_workers and (loader._iterable or saved["workers"]):
            raise ValueError(
                f"load_state_dict: the state is of a loader with num_workers="
                f"{saved['num_workers']}, this one has num_workers={loader.num_workers}"
            )
        self.same_workers = saved["num_workers"] == loader.num_workers
        self.current = _loaded(saved["random"])
        self.epoch = saved["epoch"]
        self.position: Position | None = None
        self.sampler = None
        group, kept = saved["pass"], saved["workers"]
        if group is None and kept is None:
            return
        position = self.position = Position()
        if group is None:
            position.finished = True
            position.base_seed = kept["base_seed"]
            position.workers = [_worker_loaded(worker) for worker in kept["each"]]
            return
        position.begun = _loaded(group["begun"])
        for name in ("base_seed", "seeded", "drawn", "ended", "last", "yielded", "turn"):
            setattr(position, name, group[name])
        position.outstanding = [tuple(pair) for pair in group["outstanding"]]
        position.workers = [_worker_loaded(worker) for worker in group["workers"]]
        self.sampler = group["sampler"]

    def check(self, again: Position, indices) -> None:
        """Let the sampler end if it had; raise if it has not given the same indices again."""
        if self.position.ended:
            again.ended = next(indices, None) is None
        if again.drawn and _plain_index(again.last) != self.position.last:
            raise RuntimeError(
                "load_state_dict: the sampler did not repeat the order of the interrupted epoch. "
                "Let it draw from torch's, numpy's or random's global generator, from the loader's "
                "generator, or from an attribute `generator`; or give it state_dict() and "
                "load_state_dict()."
            )
