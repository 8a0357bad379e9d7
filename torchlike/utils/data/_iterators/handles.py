"""The loader's side of one worker process: tasks go out, answers and errors come back."""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
from collections import deque

from torchlike.utils.data import by_value
from torchlike.utils.data._iterators.tasks import Task
from torchlike.utils.data.channel import Receiver
from torchlike.utils.data.nursery import Fork, Forked, Spawned

_START_WITHIN = 30.0  # seconds for a worker's first word, where somebody asks for its number


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
        self.worker = worker
        self.channel = worker.channel
        self.receiver = Receiver()
        self.tasks: deque[Task] = deque()  # given to it, not yet answered
        self.daemon = True

    @property
    def pid(self) -> int | None:
        """The number of the process, once it has said hello."""
        while self.worker.pid is None and not self.channel.ended:
            ready, _, _ = select.select([self.channel], [], [], _START_WITHIN)
            if not ready:
                break
            self.read()
        return self.worker.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self.worker.status() if not self.is_alive() else None

    def is_alive(self) -> bool:
        """Whether the process still holds its end."""
        if not self.channel.ended:
            self.read()
        return not self.channel.ended

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has ended, or so many seconds have gone by."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.is_alive():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return
            select.select([self.channel], [], [], left)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process."""
        self.worker.kill(number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.kill(signal.SIGTERM)

    def give(self, task: Task) -> None:
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

    def read(self) -> None:
        """Take in what has arrived."""
        while (message := self.channel.receive(wait=False)) is not None:
            body, descriptors = message
            try:
                meta, buffers = self.receiver.open(body, descriptors)
                what, *content = pickle.loads(meta, buffers=buffers)
            except Exception as error:
                what, content = "unreadable", [error]
            if what == "hello":
                self.worker.pid = content[0]
                continue
            if what == "modules":
                self.worker.learn(content[0])
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
