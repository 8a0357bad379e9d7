"""A pass by worker processes: how they start, are waited for, fail and end."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import signal
import time
import weakref

from torchlike.utils.data import process
from torchlike.utils.data._iterators.handles import WorkerHandle
from torchlike.utils.data._iterators.tasks import Task, TaskIterator
from torchlike.utils.data.channel import Snapshot
from torchlike.utils.data.nursery import Fork, Forked, Spawned
from torchlike.utils.data.position import Resume

_AT_ONCE = 32  # descriptors in a message
_PATIENCE = 5.0  # what a worker may take to end by itself, as in PyTorch


def parts_of(loader) -> tuple:
    """What a worker gets of a loader."""
    return loader.dataset, loader.collate_fn, loader.worker_init_fn


class ProcessIterator(TaskIterator):
    """A pass whose workers are processes."""

    def _on_device(self, batch):
        for handle in self._workers:
            if not handle.channel.ended:
                handle.read()  # what has arrived by now can go to the device
        return super()._on_device(batch)

    def __init__(
        self, loader, payload: tuple[bytes, list, list[int]] | None, resume: Resume | None = None
    ):
        self._payload = payload
        self._workers: list[WorkerHandle] = []
        self._closed = False
        _running.add(self)
        super().__init__(loader, resume)

    def _launch(self, starts: list[dict]) -> None:
        loader = self._loader
        kind = loader._start_method
        meta, buffers, shared = self._payload or (None, [], [])
        snapshot = None if meta is None else Snapshot(meta, buffers)
        self._payload = None
        try:
            common = {
                "around": process.surroundings(), "kind": loader._kind,
                "count": loader.num_workers, "base_seed": self._position.base_seed,
                "sizes": snapshot and snapshot.sizes, "shared_seed": self._shared_seed,
                "shared": len(shared),
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
                for at in range(0, len(shared), _AT_ONCE):
                    some = [os.dup(file.number) for file in shared[at : at + _AT_ONCE]]
                    handle.channel.queue(b"", some)
                handle.channel.flush()
        finally:
            if snapshot is not None:
                snapshot.close()

    def _relaunch(self) -> None:
        for handle in self._workers:
            handle.begin_pass(self._shared_seed)

    def _submit(self, task: Task) -> None:
        self._workers[task.worker].give(task)

    def _due(self) -> Task:
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

    def _answered(self) -> Task | None:
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
            handles[descriptor].read()

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
            if isinstance(handle.worker, (Fork, Spawned)):
                handle.worker.status()


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
