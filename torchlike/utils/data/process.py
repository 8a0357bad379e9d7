"""A loader's worker process: loads batches, one task after the other, until its loader is gone."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import sys
import sysconfig
import traceback
import types
import warnings
from typing import Any

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.settings import settings
from torchlike._engine import forks
from torchlike._tensor.generators import default_generator
from torchlike._tensor.modes import modes
from torchlike.utils.data import by_value, collate, memory, workers
from torchlike.utils.data.channel import Channel, Sender, open_snapshot
from torchlike.utils.data.datapipes.graph import prepare
from torchlike.utils.data.fetch import make_fetcher


def warm_up() -> None:
    """Use what most workers use, before they are forked; NumPy does it, no device is started."""
    from torchlike._tensor.creation import tensor
    from torchlike._tensor.forms import FUNCTIONS

    with settings.override(small_on_host=True):
        x = tensor([[1.0, 2.0], [3.0, 4.0]])
        y = FUNCTIONS["stack"]([(x - 0.5) / 0.25, x * 2 + x], 0)
        (y.permute(0, 2, 1).flatten().sum() + FUNCTIONS["cat"]([x, x]).mean()).item()
        by_value.dump_result({"x": y[0], "n": tensor([1, 2])})


def surroundings() -> dict:
    """What a worker takes over from the process of its loader."""
    runner = sys.modules.get(__name__.partition(".")[0] + "._runner.finder")
    installed = runner is not None and any(isinstance(f, runner.Finder) for f in sys.meta_path)
    return {
        "environ": dict(os.environ),
        "directory": _directory(),
        "path": list(sys.path),
        "argv": list(getattr(sys, "argv", [])),
        "main": {
            name: value
            for name, value in vars(sys.modules["__main__"]).items()
            if name in ("__file__", "__package__", "__doc__") and isinstance(value, str)
        },
        # A function: where it comes from, a worker learns by unpickling it.
        "runner": runner.install if installed else None,
        # Those of Python's own classes: another's would have each worker import where it is from.
        "filters": [f for f in warnings.filters if f[2].__module__ == "builtins"],
        "recursion": sys.getrecursionlimit(),
        "authkey": bytes(multiprocessing.current_process().authkey),  # managers ask for it
        "dtype": dt.get_default_dtype(),
        "grad": modes.grad,
    }


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # deleted meanwhile
        return None


def _settle(around: dict) -> None:
    """Be a fresh process of the loader's program, except that its main module has not run."""
    os.environ.clear()
    os.environ.update(around["environ"])
    os.environ["NPROC"] = "1"  # what XLA takes for the number of processors, should it start
    if around["directory"] is not None:
        os.chdir(around["directory"])
    sys.path[:] = around["path"]
    sys.argv[:] = around["argv"]
    main = types.ModuleType("__main__")
    main.__dict__.update(around["main"])
    sys.modules["__main__"] = main
    if around["runner"] is not None:
        around["runner"]()
    warnings.filters[:] = around["filters"]
    warnings._filters_mutated()  # type: ignore[attr-defined]
    sys.setrecursionlimit(around["recursion"])
    multiprocessing.current_process().authkey = around["authkey"]
    dt.set_default_dtype(around["dtype"])
    modes.grad = around["grad"]


def random_states() -> dict[str, Any]:
    """The states of the three global generators."""
    name, key, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": default_generator.stream.get_state().tobytes(),
        "python": random.getstate(),
        "numpy": (name, key.tobytes(), position, has_gauss, gauss),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Continue from what ``random_states`` gave, or from the part of it that is there."""
    if "torch" in states:
        default_generator.stream.set_state(np.frombuffer(states["torch"], np.uint8).copy())
    if "python" in states:
        random.setstate(states["python"])
    if "numpy" in states:
        name, key, *rest = states["numpy"]
        np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))


def run(channel: Channel, inherited=None) -> None:
    """Serve a loader until it closes its end; ``inherited`` is the dataset of a forked process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the loader's process gets it, and closes
    sender = Sender()
    _say(channel, sender, ("hello", os.getpid()))
    message = channel.receive()
    if message is None:
        return
    collate.allocate_by(sender.allocate)
    modules = set(sys.modules)
    start, descriptors = pickle.loads(message[0]), message[1]
    start["modules"] = modules if inherited is None else None
    settings.small_on_host = True
    try:
        if inherited is None:
            _settle(start["around"])
            meta, buffers = open_snapshot(start["sizes"], descriptors[0])
            with memory.received(_shared(channel, start["shared"])):
                parts = pickle.loads(meta, buffers=buffers)
        else:
            forks.leave_xla()
            parts = inherited
    except BaseException:
        _say(channel, sender, ("broken", traceback.format_exc()))
        return
    _Server(channel, sender, start, *parts).serve()


def _shared(channel: Channel, count: int) -> list[int]:
    """The descriptors of what the dataset shares with other processes."""
    found: list[int] = []
    while len(found) < count and (message := channel.receive()) is not None:
        found += message[1]
    return found


_LIBRARIES = tuple({sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_library(name: str) -> bool:
    """Whether a module is installed, and will be the same the next time."""
    module = sys.modules.get(name)
    spec, path = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    return spec is not None and spec.name == name and str(path).startswith(_LIBRARIES)


def _say(channel: Channel, sender: Sender, message: tuple) -> None:
    channel.send(*sender.pack(pickle.dumps(message), []))


class _Server:
    def __init__(self, channel, sender, start, dataset, collate_fn, worker_init_fn):
        self.channel, self.sender, self.dataset = channel, sender, dataset
        number = self.number = start["number"]
        self.kind, self.collate_fn = start["kind"], collate_fn
        base_seed = start["base_seed"]
        workers.enter(
            workers.WorkerInfo(
                id=number, num_workers=start["count"], seed=base_seed + number, dataset=dataset
            )
        )
        random.seed(base_seed + number)
        default_generator.manual_seed(base_seed + number)
        np.random.seed(workers.numpy_seed(base_seed, number))
        self.error = None
        self.modules: set | None = start["modules"]
        self.states = random_states()
        try:
            if worker_init_fn is not None:
                worker_init_fn(number)
            self._begin(start)
        except Exception:
            self.error = self._caught()

    def _begin(self, start: dict) -> None:
        """Start an epoch, perhaps in the middle."""
        place, skip = start.get("place"), start.get("skip")
        if place is not None:
            self.dataset.load_state_dict(place)
        prepare(
            self.dataset, start["shared_seed"], (workers.get_worker_info().num_workers, self.number)
        )
        self.fetcher = make_fetcher(self.kind, self.dataset, self.collate_fn)
        if skip is not None:
            for index in skip:
                self.fetcher.fetch(index)
        if start.get("states"):
            set_random_states(start["states"])
        self.states = random_states()

    def serve(self) -> None:
        """Do tasks as they come; what is still to do when the loader closes is left undone."""
        channel, tasks = self.channel, []
        while True:
            message = channel.receive(wait=not tasks)
            while message is not None:
                tasks.append(pickle.loads(message[0]))
                message = channel.receive(wait=False)
            if channel.ended:
                return
            self._do(*tasks.pop(0))

    def _do(self, what: str, number: int, index, freed) -> None:
        self.sender.give_back(freed)
        if what == "epoch":
            try:
                self._begin({"shared_seed": index})
            except Exception:
                self.error = self._caught()
            return
        if self.error is not None:
            answer = ("error", number, self.error)
        else:
            try:
                answer = ("result", number, self.fetcher.fetch(index), *self._changes())
            except StopIteration:
                if self.kind[0]:
                    answer = ("stop", number)
                else:
                    answer = ("error", number, self._caught())
            except Exception:
                answer = ("error", number, self._caught())
        try:
            meta, buffers = by_value.dump_result(answer)
            body, descriptors = self.sender.pack(meta, buffers)
        except Exception:
            answer = ("error", number, self._caught())
            body, descriptors = self.sender.pack(pickle.dumps(answer), [])
        answer = meta = buffers = None  # let the batch go before the next is made
        self.channel.send(body, descriptors)
        if self.modules is not None:  # by now it has imported what it needs
            found = [name for name in sys.modules if name not in self.modules]
            self.modules = None
            _say(self.channel, self.sender, ("modules", list(filter(_is_library, found))))

    def _changes(self) -> tuple[dict, Any]:
        """The random states that this task has changed, and a stateful dataset's place."""
        now, before = random_states(), self.states
        self.states = now
        place = None
        if self.kind[0] and hasattr(self.dataset, "load_state_dict"):
            place = self.dataset.state_dict()
        return {name: now[name] for name in now if now[name] != before[name]}, place

    def _caught(self) -> tuple[bytes | None, str, str]:
        """The error being handled: its type, the type's name, and what would be printed."""
        kind = sys.exc_info()[0]
        try:
            pickled = pickle.dumps(kind)
        except Exception:
            pickled = None
        return pickled, kind.__name__, traceback.format_exc()
