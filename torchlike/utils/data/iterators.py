"""Passes over a loader: in this process, or by workers that are given tasks ahead of time."""

from __future__ import annotations

import atexit
import contextlib
import copy
import itertools
import os
import pickle
import select
import signal
import sys
import time
import warnings
import weakref
from collections import deque
from typing import Any

from torchlike._core import devices
from torchlike.utils.data import by_value, process
from torchlike.utils.data.channel import Receiver, Snapshot
from torchlike.utils.data.datapipes.datapipe import IterDataPipe
from torchlike.utils.data.datapipes.graph import prepare
from torchlike.utils.data.fetch import make_fetcher
from torchlike.utils.data.nursery import Fork, Forked, Spawned
from torchlike.utils.data.position import Position, Resume, WorkerPlace, as_begun, random_states
from torchlike.utils.data.sampler import draw_seed
from torchlike.utils.data.transfer import moved
from torchlike.utils.data.workers import Worker

_END = object()
_PATIENCE = 5.0  # what a worker may take to end by itself, as in PyTorch


class LocalIterator:
    """A pass over a loader without workers."""

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

    def __iter__(self) -> LocalIterator:
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
        promised = self._loader._promised_length
        if promised is not None and position.yielded > promised:
            self._warn_of_length(promised)
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


class _Task:
    __slots__ = ("answer", "index", "moved", "number", "worker")

    def __init__(self, number: int, index, worker: int):
        self.number, self.index, self.worker = number, index, worker
        self.answer: tuple | None = None
        self.moved = False  # whether its batch is on the device already


class _TaskIterator(LocalIterator):
    """A pass whose index lists are handed to workers ahead of time, in turn.

    The numbers of tasks are the order of the batches; a worker does its own in order.
    """

    def _start(self, resume: Resume | None) -> None:
        loader, position = self._loader, self._position
        self._tasks: deque[_Task] = deque()
        self._at_hand = False
        old, starts = None, []
        if resume is not None:
            old = resume.position
            position.turn = old.turn
        elif position.workers:  # an earlier process's, which go on with a new pass
            starts = [{"states": worker.states} for worker in position.workers]
        if old is not None and resume.same_workers:
            position.workers = old.workers
            skipped = [None] * loader.batch_size if loader.batch_size is not None else None
            for worker in old.workers:
                start: dict[str, Any] = {}
                if loader._iterable and worker.place is None:
                    start["skip"] = [skipped] * worker.yielded
                else:
                    start["states"], start["place"] = worker.states, worker.place
                starts.append(start)
        else:
            kept, position.workers = position.workers, []
            for number in range(loader.num_workers):
                place = WorkerPlace()
                if number < len(kept):
                    place.states = kept[number].states
                position.workers.append(place)
        self._launch(starts or [{} for _ in range(loader.num_workers)])
        if old is None:
            self._prefetch()
        else:
            self._hand_out_again(resume, old)

    def _hand_out_again(self, resume: Resume, old: Position) -> None:
        position = self._position
        missing = dict(old.outstanding)
        if not resume.same_workers:
            delivered = old.yielded
            missing = {n: -1 for n in range(old.drawn) if n in missing or n >= delivered}
            position.turn = 0
        for number in range(old.drawn):
            index = self._next_index()
            if number in missing:
                worker = missing[number]
                if worker < 0:
                    worker = self._turn()
                self._add(_Task(number, index, worker))
        position.yielded = old.yielded
        resume.check(position, self._indices)
        if not resume.same_workers:
            self._prefetch()

    def _launch(self, starts: list[dict]) -> None:
        raise NotImplementedError

    def _submit(self, task: _Task) -> None:
        """Hand a task to its worker."""

    def _due(self) -> _Task:
        """The task whose batch comes next, answered."""
        raise NotImplementedError

    def _prefetch(self) -> None:
        """Draw indices as far ahead as PyTorch does: it decides what the next draws are."""
        for _ in range(self._loader.prefetch_factor * self._loader.num_workers - len(self._tasks)):
            self._assign()

    def _assign(self) -> None:
        try:
            index = self._next_index()
        except StopIteration:
            return
        worker = self._turn()
        if worker >= 0:
            self._add(_Task(self._position.drawn - 1, index, worker))

    def _turn(self) -> int:
        """The worker to get the next task; -1 if all have ended."""
        position, loader = self._position, self._loader
        count, workers = loader.num_workers, position.workers
        limit = 0
        if not loader.in_order:
            active = sum(worker.active for worker in workers)
            limit = loader.prefetch_factor * count // max(active, 1)
        for _ in range(count):
            number = position.turn
            position.turn = (number + 1) % count
            if not workers[number].active:
                continue
            if loader.in_order or sum(t.worker == number for t in self._tasks) < limit:
                return number
        return -1

    def _add(self, task: _Task) -> None:
        self._tasks.append(task)
        self._position.outstanding.append((task.number, task.worker))
        self._submit(task)

    def _remove(self, task: _Task) -> None:
        self._tasks.remove(task)
        self._position.outstanding.remove((task.number, task.worker))

    def _next_batch(self):
        if self._failure is not None:
            raise self._failure
        workers = self._position.workers
        while self._tasks:
            if self._loader.in_order and not workers[self._tasks[0].worker].active:
                self._remove(self._tasks[0])
                continue
            task = self._due()
            self._remove(task)
            worker = workers[task.worker]
            if not worker.active:
                continue
            what, *content = task.answer
            if what == "stop":
                worker.active = False
                self._assign()
                continue
            if what == "error":
                self._assign()
                raise content[0]
            batch, changes, worker.place = content
            self._at_hand = task.moved
            worker.states.update(changes)
            worker.yielded += 1
            self._assign()
            return batch
        self._ended()
        raise StopIteration

    def _on_device(self, batch):
        """The batch on the device, and the next one on its way, if it is there already."""
        if not self._at_hand:
            batch = moved(batch, self._device)
        following = self._tasks[0] if self._tasks else None
        if following is not None and not following.moved:
            answer = following.answer
            if answer is not None and answer[0] == "result":
                following.answer = ("result", moved(answer[1], self._device), *answer[2:])
                following.moved = True
        return batch

    def _ended(self) -> None:
        """All batches are out."""

    def restart(self) -> None:
        """Begin another pass with the same workers."""
        before = self._position
        if self._failure is not None:
            raise self._failure
        self._finish_tasks()
        loader = self._loader
        position = self._position = loader._position = Position()
        position.begun = random_states(loader)
        position.base_seed = before.base_seed
        for worker in before.workers:
            place = WorkerPlace()
            place.states = worker.states
            position.workers.append(place)
        self._order()
        self._tasks = deque()
        self._relaunch()
        self._prefetch()

    def _finish_tasks(self) -> None:
        """Let workers do what they have been given, for nothing."""

    def _relaunch(self) -> None:
        """Tell the workers that a pass begins."""
        raise NotImplementedError


class TurnsIterator(_TaskIterator):
    """A pass whose workers take turns in this process."""

    def _launch(self, starts: list[dict]) -> None:
        loader = self._loader
        self._workers = [
            Worker(
                number, loader.num_workers, self._position.base_seed, loader.dataset,
                self._fetcher_for(number), loader.worker_init_fn, start,
            )
            for number, start in enumerate(starts)
        ]  # fmt: skip

    def _fetcher_for(self, number: int):
        loader = self._loader

        def make(dataset):
            prepare(dataset, self._shared_seed, (loader.num_workers, number))
            return make_fetcher(loader._kind, dataset, loader.collate_fn)

        return make

    def _relaunch(self) -> None:
        for worker in self._workers:
            worker.restart()

    def _due(self) -> _Task:
        task = self._tasks[0]
        worker = self._workers[task.worker]
        try:
            batch = worker.fetch(task.index)
        except StopIteration as stop:
            task.answer = ("stop",) if self._loader._iterable else ("error", stop)
        except Exception as error:
            task.answer = ("error", error)
        else:
            place = None
            if self._loader._iterable and hasattr(worker.info.dataset, "load_state_dict"):
                place = worker.info.dataset.state_dict()
            task.answer = ("result", batch, worker.states(), place)
        return task


# ---- with processes ----------------------------------------------------------------------------


class KeyErrorMessage(str):
    """The message of a KeyError, shown as it is and not quoted."""

    __slots__ = ()

    def __repr__(self):
        return self


def _rebuilt(kind: bytes | None, name: str, text: str, worker: int) -> BaseException:
    """A worker's error as PyTorch raises it in the loader's process."""
    message: str = f"Caught {name} in DataLoader worker process {worker}.\nOriginal {text}"
    try:
        cls = RuntimeError if kind is None else pickle.loads(kind)
    except Exception:  # a class that only the worker has
        cls = RuntimeError
    if cls is KeyError:
        message = KeyErrorMessage(message)
    try:
        if getattr(cls, "message", None):
            return cls(message=message)
        return cls(message)
    except Exception:  # one that wants other arguments
        return RuntimeError(message)


class WorkerHandle:
    """The loader's side of one worker process."""

    def __init__(self, number: int, worker: Forked | Spawned | Fork):
        self.name = f"DataLoader worker {number}"
        self._worker = worker
        self.channel = worker.channel
        self.receiver = Receiver()
        self.tasks: deque[_Task] = deque()  # given to it, not yet answered
        self.daemon = True

    @property
    def pid(self) -> int | None:
        """The number of the process, once it has said hello."""
        while self._worker.pid is None and not self.channel.ended:
            ready, _, _ = select.select([self.channel], [], [], _START_WITHIN)
            if not ready:
                break
            self._read()
        return self._worker.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._worker.status() if not self.is_alive() else None

    def is_alive(self) -> bool:
        """Whether the process still holds its end."""
        if not self.channel.ended:
            self._read()
        return not self.channel.ended

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process."""
        self._worker.kill(number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.kill(signal.SIGTERM)

    def give(self, task: _Task) -> None:
        """Put a task behind the others."""
        self.tasks.append(task)
        self._tell(("task", task.number, task.index, self.receiver.take_freed()), task.index)

    def begin_pass(self, shared_seed: int | None) -> None:
        """Tell the worker that a pass begins."""
        self._tell(("epoch", 0, shared_seed, self.receiver.take_freed()), 0)

    def _tell(self, message: tuple, index) -> None:
        first = index[0] if index.__class__ is list and index else index
        if first is None or first.__class__ is int:
            body = pickle.dumps(message, 5)
        else:
            body = by_value.dumps_inline(message)
        self.channel.queue(body)
        self.channel.flush()

    def _read(self) -> None:
        """Take in what has arrived."""
        while (message := self.channel.receive(wait=False)) is not None:
            body, descriptors = message
            try:
                meta, buffers = self.receiver.open(body, descriptors)
                what, *content = pickle.loads(meta, buffers=buffers)
            except Exception as error:
                what, content = "unreadable", [error]
            if what == "hello":
                self._worker.pid = content[0]
                continue
            if what == "modules":
                self._worker.learn(content[0])
                continue
            if what == "broken":
                answer: tuple = ("broken", content[0])
                for task in self.tasks:
                    task.answer = answer
                self.tasks.clear()
                continue
            if not self.tasks:
                continue
            task = self.tasks.popleft()
            if what == "unreadable":
                task.answer = ("error", content[0])
            elif what == "error":
                task.answer = ("error", _rebuilt(*content[1], task.worker))
            else:
                task.answer = (what, *content[1:])

    def drain(self) -> None:
        """Throw away what has arrived."""
        while (message := self.channel.receive(wait=False)) is not None:
            for descriptor in message[1]:
                os.close(descriptor)


_START_WITHIN = 30.0  # seconds for a worker's first word, where somebody asks for its number


def parts_of(loader) -> tuple:
    """What a worker gets of a loader."""
    return loader.dataset, loader.collate_fn, loader.worker_init_fn


class ProcessIterator(_TaskIterator):
    """A pass whose workers are processes."""

    def _on_device(self, batch):
        for handle in self._workers:
            if not handle.channel.ended:
                handle._read()  # what has arrived by now can go to the device
        return super()._on_device(batch)

    def __init__(self, loader, payload: tuple[bytes, list] | None, resume: Resume | None = None):
        self._payload = payload
        self._workers: list[WorkerHandle] = []
        self._closed = False
        _running.add(self)
        super().__init__(loader, resume)

    def _launch(self, starts: list[dict]) -> None:
        loader = self._loader
        kind = loader._start_method
        snapshot = None if self._payload is None else Snapshot(*self._payload)
        self._payload = None
        try:
            common = {
                "around": process.surroundings(), "kind": loader._kind,
                "count": loader.num_workers, "base_seed": self._position.base_seed,
                "sizes": snapshot and snapshot.sizes, "shared_seed": self._shared_seed,
            }  # fmt: skip
            for number, start in enumerate(starts):
                body = pickle.dumps({**common, **start, "number": number}, 5)
                worker = (
                    Fork(parts_of(loader)) if kind == "fork"
                    else Spawned() if kind == "spawn" else Forked()
                )  # fmt: skip
                handle = WorkerHandle(number, worker)
                self._workers.append(handle)
                handle.channel.queue(
                    body, [] if snapshot is None else [os.dup(snapshot.descriptor)]
                )
                handle.channel.flush()
        finally:
            if snapshot is not None:
                snapshot.close()

    def _relaunch(self) -> None:
        for handle in self._workers:
            handle.begin_pass(self._shared_seed)

    def _submit(self, task: _Task) -> None:
        self._workers[task.worker].give(task)

    def _due(self) -> _Task:
        timeout = self._loader.timeout
        end = time.monotonic() + timeout if timeout > 0 else None
        while True:
            task = self._answered()
            if task is not None:
                if task.answer[0] == "broken":
                    self._fail(_could_not_start(task.worker, task.answer[1]))
                return task
            lost = [w for w in self._workers if w.channel.ended and w.tasks]
            if lost:
                self._fail(*_lost(lost))
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
            self._pump(left)

    def _answered(self) -> _Task | None:
        if self._loader.in_order:
            return self._tasks[0] if self._tasks[0].answer is not None else None
        done = [t for t in self._tasks if t.answer is not None]
        return done[0] if done else None

    def _pump(self, timeout: float | None) -> None:
        """Wait until something has arrived, and take it in."""
        poll = select.poll()
        handles = {}
        for handle in self._workers:
            channel = handle.channel
            if not channel.ended:
                events = select.POLLIN if channel.flush() else select.POLLIN | select.POLLOUT
                if channel.ended:
                    continue
                poll.register(channel, events)
                handles[channel.fileno()] = handle
        if not handles:
            return
        # Even with no timeout: a wait with an end lets signals and other threads act.
        wait = 1.0 if timeout is None else min(1.0, timeout)
        for descriptor, _ in poll.poll(wait * 1000):
            handles[descriptor]._read()

    def _finish_tasks(self) -> None:
        while any(w.tasks and not w.channel.ended for w in self._workers):
            self._pump(None)
        lost = [w for w in self._workers if w.channel.ended]
        if lost:
            self._fail(*_lost(lost))
        for task in self._tasks:
            if task.answer is not None and task.answer[0] == "result":
                self._position.workers[task.worker].states.update(task.answer[2])

    def _fail(self, error: RuntimeError, cause: RuntimeError | None = None) -> None:
        self._failure = error
        if self._loader._iterator is self:
            self._loader._iterator = None
        self.close(patience=0.0)
        raise error from cause

    def _ended(self) -> None:
        if not self._loader.persistent_workers:
            self.close()

    def close(self, patience: float = _PATIENCE) -> None:
        """End the workers: what they are doing now they may finish, for a while."""
        if self._closed:
            return
        self._closed = True
        _running.discard(self)
        self._tasks.clear()
        handles = [w for w in self._workers if not w.channel.ended]
        for handle in handles:
            handle.channel.half_close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                for handle in handles:
                    with contextlib.suppress(OSError):
                        handle.kill(number)
            handles = _still_there(handles, patience if number is None else 1.0)
            if not handles:
                break
        for handle in self._workers:
            handle.channel.close()
            if isinstance(handle._worker, (Fork, Spawned)):
                handle._worker.status()

    def __del__(self):
        if not getattr(self, "_closed", True) and not sys.is_finalizing():
            self.close()


def _still_there(handles: list[WorkerHandle], patience: float) -> list[WorkerHandle]:
    """Those that have not ended after a while."""
    end = time.monotonic() + patience
    while True:
        for handle in handles:
            handle.drain()
        handles = [w for w in handles if not w.channel.ended]
        left = end - time.monotonic()
        if not handles or left <= 0:
            return handles
        select.select(handles_channels(handles), [], [], left)


def handles_channels(handles: list[WorkerHandle]) -> list:
    """Their channels, for select."""
    return [handle.channel for handle in handles]


def _lost(handles: list[WorkerHandle]) -> tuple[RuntimeError, RuntimeError | None]:
    pids = ", ".join(str(handle.pid) for handle in handles)
    cause = None
    status = handles[0].exitcode
    if status is not None and status < 0:
        name = signal.strsignal(-status) or f"signal {-status}"
        cause = RuntimeError(
            f"DataLoader worker (pid {handles[0].pid}) is killed by signal: {name}. "
        )
    elif status is not None:
        cause = RuntimeError(
            f"DataLoader worker (pid {handles[0].pid}) exited unexpectedly with exit code "
            f"{status}. Details are lost due to multiprocessing. Rerunning with num_workers=0 may "
            "give better error trace."
        )
    return RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly"), cause


def _could_not_start(worker: int, text: str) -> RuntimeError:
    return RuntimeError(
        f"DataLoader worker process {worker} could not load the dataset. A worker imports the "
        "modules that the dataset comes from; what is defined in the main program is sent to it. "
        f"Original {text}"
    )


_running: weakref.WeakSet[ProcessIterator] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """At the end of the program nobody waits for batches."""
    for iterator in list(_running):
        iterator.close(patience=0.0)


def _forget_all() -> None:
    """In a fork of this process: the workers are the parent's."""
    for iterator in list(_running):
        iterator._closed = True
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


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
