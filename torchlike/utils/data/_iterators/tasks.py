"""A pass by workers that are given tasks ahead of time: who gets which, and in what order."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from torchlike.utils.data._iterators.local import PassIterator
from torchlike.utils.data.position import Position, Resume, WorkerPlace, random_states
from torchlike.utils.data.transfer import moved


class Task:
    __slots__ = ("answer", "index", "moved", "number", "worker")

    def __init__(self, number: int, index, worker: int):
        self.number, self.index, self.worker = number, index, worker
        self.answer: tuple | None = None
        self.moved = False  # whether its batch is on the device already


class TaskIterator(PassIterator):
    """A pass whose index lists are handed to workers ahead of time, in turn.

    The numbers of tasks are the order of the batches; a worker does its own in order.
    """

    def _start(self, resume: Resume | None) -> None:
        loader, position = self._loader, self._position
        self._tasks: deque[Task] = deque()
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
                self._add(Task(number, index, worker))
        position.yielded = old.yielded
        resume.check(position, self._indices)
        if not resume.same_workers:
            self._prefetch()

    def _launch(self, starts: list[dict]) -> None:
        raise NotImplementedError

    def _submit(self, task: Task) -> None:
        """Hand a task to its worker."""

    def _due(self) -> Task:
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
            self._add(Task(self._position.drawn - 1, index, worker))

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

    def _add(self, task: Task) -> None:
        self._tasks.append(task)
        self._position.outstanding.append((task.number, task.worker))
        self._submit(task)

    def _remove(self, task: Task) -> None:
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

    def close(self) -> None:
        """End the workers."""

    def _shutdown_workers(self) -> None:
        self.close()

    def __del__(self):
        if not getattr(self, "_closed", True) and not sys.is_finalizing():
            self.close()

    def _reset(self, loader, first_iter: bool = False) -> None:
        """Begin another pass with the same workers."""
        before = self._position
        if self._failure is not None:
            raise self._failure
        self._finish_tasks()
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
