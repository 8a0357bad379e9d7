"""A pass by workers without processes, which take turns in this one."""

from __future__ import annotations

from torchlike.utils.data._iterators.tasks import Task, TaskIterator
from torchlike.utils.data.datapipes.graph import prepare
from torchlike.utils.data.fetch import make_fetcher
from torchlike.utils.data.workers import Worker


class TurnsIterator(TaskIterator):
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

    def _due(self) -> Task:
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
