"""profile: which steps are collected, and what is done with them."""

from __future__ import annotations

import enum
import gzip
import json
import os
import shutil
import socket
import time

from torchlike._core.devices import device_count
from torchlike._core.errors import NotSupported
from torchlike.autograd import profiler as _events

__all__ = [
    "DeviceType", "ExecutionTraceObserver", "ProfilerAction", "ProfilerActivity",
    "kineto_available", "profile", "schedule", "supported_activities", "tensorboard_trace_handler",
]  # fmt: skip


class ProfilerAction(enum.Enum):
    """What a step is for."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3
    DEVICE_STOPPED = 4


class ProfilerActivity(enum.Enum):
    """What is profiled; the host's side of all devices is, here."""

    CPU = 0
    XPU = 1
    CUDA = 2
    HPU = 3
    MTIA = 4
    PrivateUse1 = 5


class DeviceType(enum.Enum):
    """Kinds of device that an event may belong to."""

    CPU = 0
    CUDA = 1
    XLA = 9
    XPU = 12
    MPS = 13
    Meta = 14


def supported_activities() -> set:
    """CPU, and CUDA where there is a GPU."""
    found = {ProfilerActivity.CPU}
    return found | {ProfilerActivity.CUDA} if device_count("cuda") else found


def kineto_available() -> bool:
    """False: events are collected in Python."""
    return False


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0,
    skip_first_wait: int = 0,
):  # fmt: skip
    """A function of the step: skip, then in cycles wait, warm up and record
    (https://pytorch.org/docs/stable/profiler.html#torch.profiler.schedule)."""
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle = wait + warmup + active
        if repeat and step // cycle >= repeat:
            return ProfilerAction.NONE
        at = step % cycle
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == cycle - 1 else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False,
    use_python_export: bool = False,
):  # fmt: skip
    """For ``on_trace_ready``: write each trace into a directory, as files that Perfetto opens."""

    def write(prof) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return write


class ExecutionTraceObserver:
    """Not supported: there are no operator traces of PyTorch's kind."""

    def __init__(self) -> None:
        raise NotSupported("profiler.ExecutionTraceObserver", "use jax.profiler.trace(directory)")


def _always(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


class profile:
    """Context that collects the ops called on this thread, all or by a ``schedule`` over ``step()``
    (https://pytorch.org/docs/stable/profiler.html#torch.profiler.profile).

    See ``torch.autograd.profiler`` for what the times mean.
    """

    def __init__(
        self, *, activities=None, schedule=None, on_trace_ready=None, record_shapes: bool = False,
        profile_memory: bool = False, with_stack: bool = False, with_flops: bool = False,
        with_modules: bool = False, experimental_config=None, execution_trace_observer=None,
        acc_events: bool = False, use_cuda: bool | None = None, custom_trace_id_callback=None,
        post_processing_timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        if execution_trace_observer is not None:
            raise NotSupported("profile(execution_trace_observer=...)", "use jax.profiler")
        self.activities = set(activities) if activities else supported_activities()
        self._options = {
            "record_shapes": record_shapes, "profile_memory": profile_memory,
            "with_stack": with_stack, "with_flops": with_flops,
            "experimental_config": experimental_config,
        }  # fmt: skip
        self.record_steps = schedule is not None
        self.schedule = schedule or _always
        self.on_trace_ready, self.acc_events = on_trace_ready, acc_events
        self.step_num = 0
        self.current_action = self.schedule(0)
        self.profiler: _events.profile | None = None
        self._metadata: dict = {}
        self._label = None
        _events.profile(**self._options)  # raises now for what is not supported

    _collects = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)

    def start(self) -> None:
        """Begin with the first step."""
        if self.current_action in self._collects:
            self._begin()
        self._open_step()

    def stop(self) -> None:
        """End with the last step; hands an unfinished trace to ``on_trace_ready``."""
        self._close_step()
        if self.current_action in self._collects:
            self._finish()
            if self.on_trace_ready:
                self.on_trace_ready(self)

    def step(self) -> None:
        """Go on to the next step of the schedule."""
        self._close_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if before in self._collects and (
            before is ProfilerAction.RECORD_AND_SAVE or self.current_action not in self._collects
        ):
            self._finish()
            if self.on_trace_ready:
                self.on_trace_ready(self)
            if self.current_action in self._collects:
                self._begin()
        elif before not in self._collects and self.current_action in self._collects:
            self._begin()
        self._open_step()

    def _begin(self) -> None:
        self.profiler = _events.profile(**self._options)
        self.profiler.__enter__()

    def _finish(self) -> None:
        self.profiler.__exit__(None, None, None)

    def _open_step(self) -> None:
        if self.record_steps:
            self._label = _events.record_function(f"ProfilerStep#{self.step_num}")
            self._label.__enter__()

    def _close_step(self) -> None:
        if self._label is not None:
            self._label.__exit__(None, None, None)
            self._label = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self.stop()

    # ---- what was collected ----

    def _found(self) -> _events.profile:
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before getting key averages")
        return self.profiler

    def events(self):
        """The events of the last trace, in the order of their start."""
        return self._found()._found()

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ):  # fmt: skip
        """One entry for each op of the last trace."""
        return self._found().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str) -> None:
        """Write the last trace for chrome://tracing and Perfetto; gzipped if named ``.gz``."""
        plain = path.removesuffix(".gz")
        self._found().export_chrome_trace(plain)
        if self._metadata:
            with open(plain) as file:
                data = json.load(file)
            with open(plain, "w") as file:
                json.dump({**data, **self._metadata}, file)
        if plain != path:
            with open(plain, "rb") as source, gzip.open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            os.remove(plain)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write the places in the code that called ops, with ``with_stack=True``."""
        self._found().export_stacks(path, metric)

    def export_memory_timeline(self, path: str, device: str | None = None) -> None:
        """Not supported: XLA plans a program's memory as a whole."""
        raise NotSupported(
            "profile.export_memory_timeline", "use jax.profiler.save_device_memory_profile(path)"
        )

    def add_metadata(self, key: str, value: str) -> None:
        """Add a text to the written trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Add a value, given as JSON, to the written trace."""
        self._metadata[key] = json.loads(value)
