"""torch.multiprocessing: the standard library's; tensors in shared memory stay in it when they
cross, and others are copied (https://pytorch.org/docs/stable/multiprocessing.html)."""

from __future__ import annotations

import multiprocessing as _standard

from torchlike._tensor.shared_memory import teach_pickle as _teach_pickle

__all__ = [
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]  # fmt: skip

for _name in _standard.__all__:  # Process, Queue, Pool, ... are the standard library's own
    globals()[_name] = getattr(_standard, _name)
_teach_pickle()


_strategy = ["file_descriptor"]


def get_all_sharing_strategies() -> set[str]:
    """{"file_descriptor", "file_system"}."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """The strategy that was set; what crosses is the descriptor of a file without a name."""
    return _strategy[0]


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted: there is one way, whatever it is called; raises for an unknown strategy."""
    if new_strategy not in ("file_system", "file_descriptor"):
        raise AssertionError(f"invalid sharing strategy: {new_strategy}")
    _strategy[0] = new_strategy


class ProcessException(Exception):
    """A process that ``spawn`` started has ended badly."""

    def __init__(self, msg: str, error_index: int, pid: int):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, pid


class ProcessRaisedException(ProcessException):
    """The process raised an exception; its traceback is in the text."""


class ProcessExitedException(ProcessException):
    """The process was killed, or left with a code."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int,
        signal_name: str | None = None,
    ):  # fmt: skip
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name


def _run(fn, i, args, queue):
    import traceback

    try:
        fn(i, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        queue.put((i, traceback.format_exc()[-50_000:]))
        raise SystemExit(1) from None


class ProcessContext:
    """The processes that ``spawn(join=False)`` started."""

    def __init__(self, processes, queue):
        self.processes, self._queue = processes, queue

    def pids(self) -> list[int]:
        """The processes' numbers."""
        return [int(p.pid) for p in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """True when all have ended well, False if the time is up; raises for one that failed."""
        from multiprocessing.connection import wait

        alive = [p.sentinel for p in self.processes if p.is_alive()]
        if alive:
            wait(alive, timeout)
        failed = next((i for i, p in enumerate(self.processes) if p.exitcode), None)
        if failed is None:
            return all(p.exitcode == 0 for p in self.processes)
        for p in self.processes:
            if p.is_alive():
                p.terminate()
        for p in self.processes:
            p.join(grace_period or 10)
            if p.is_alive():
                p.kill()
                p.join()
        self._raise(failed)
        return False

    def _raise(self, failed: int):
        process = self.processes[failed]
        while not self._queue.empty():
            index, text = self._queue.get()
            if index == failed:
                raise ProcessRaisedException(
                    f"\n\n-- Process {index} terminated with the following error:\n{text}",
                    index, process.pid,
                )  # fmt: skip
        code = process.exitcode
        if code < 0:
            import signal

            name = signal.Signals(-code).name
            raise ProcessExitedException(
                f"process {failed} terminated with signal {name}", failed, process.pid, code, name
            )
        raise ProcessExitedException(
            f"process {failed} terminated with exit code {code}", failed, process.pid, code
        )


SpawnContext = ProcessContext


def start_processes(
    fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn", numa_options=None
) -> ProcessContext | None:
    """Start ``nprocs`` processes that run ``fn(i, *args)``; see ``spawn``."""
    if numa_options is not None:
        from torchlike._core.errors import NotSupported

        raise NotSupported("numa_options", "start the program under numactl")
    context = _standard.get_context(start_method)
    queue = context.SimpleQueue()
    processes = []
    for i in range(nprocs):
        p = context.Process(target=_run, args=(fn, i, args, queue), daemon=daemon)
        p.start()
        processes.append(p)
    found = ProcessContext(processes, queue)
    if not join:
        return found
    while not found.join():
        pass
    return None


def spawn(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Run ``fn(i, *args)`` in ``nprocs`` processes; raises what one of them raised
    (https://pytorch.org/docs/stable/multiprocessing.html#spawning-subprocesses)."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)
