"""torch.autograd.profiler: which ops were called, how often, and what recording them took.

Ops are recorded, and run later in programs: their times here are the host's, and the programs,
compilations and waits are counted in the last line. ``jax.profiler.trace`` shows the device's side;
labels of ``record_function`` appear in it.
"""

from __future__ import annotations

import functools
import threading
import time

import jax

from torchlike._core.errors import NotSupported, user_line
from torchlike._engine.flush import flush
from torchlike._engine.stats import stats
from torchlike._tensor import watching
from torchlike._tensor.dispatch import _Tensor
from torchlike._tensor.modes import modes
from torchlike.autograd.profiler_util import EventList as EventList
from torchlike.autograd.profiler_util import FunctionEvent as FunctionEvent

__all__ = [
    "EnforceUnique", "EventList", "FunctionEvent", "emit_itt", "emit_nvtx", "load_nvprof",
    "parse_nvprof_trace", "profile", "record_function",
]  # fmt: skip

_open: list = []  # the profiles that collect, innermost last


def _now() -> float:
    return time.perf_counter_ns() / 1e3


class profile:
    """Context that collects the ops called on this thread
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.profiler.profile).

    Leaving it runs what is recorded, and waits for it.
    """

    def __init__(
        self, enabled=True, *, use_cuda=False, use_device=None, record_shapes=False,
        with_flops=False, profile_memory=False, with_stack=False, with_modules=False,
        use_kineto=False, use_cpu=True, experimental_config=None, acc_events=False,
        custom_trace_id_callback=None, post_processing_timeout_s=None, activity_filters=None,
    ):  # fmt: skip
        if with_flops:
            raise NotSupported("profile(with_flops=True)", "use utils.flop_counter.FlopCounterMode")
        if experimental_config is not None:
            raise NotSupported("profile(experimental_config=...)", "use jax.profiler")
        self.enabled, self.record_shapes = enabled, record_shapes
        self.profile_memory, self.with_stack = profile_memory, with_stack
        self.entered = False
        self.opened_on = None  # the thread whose calls it collects
        self.function_events = None
        self._events: list = []
        self._stack: list = []  # the events that are open
        self._before: dict = {}

    # ---- collecting ----

    def begin(self, name: str) -> FunctionEvent:
        """Open an event inside the one that is open."""
        event = FunctionEvent(len(self._events), name, threading.get_native_id(), _now(), 0)
        if self._stack:
            event.cpu_parent = self._stack[-1]
            event.cpu_parent.cpu_children.append(event)
        self._events.append(event)
        self._stack.append(event)
        return event

    def end(self, event: FunctionEvent) -> None:
        """Close an event, and what is still open inside it."""
        event.time_range.end = _now()
        while self._stack and self._stack.pop() is not event:
            pass

    def _call(self, op, operands, statics):
        event = self.begin(f"aten::{op.name}")
        try:
            out = (self._around or watching.plain)(op, operands, statics)
        finally:
            self.end(event)
        if self.record_shapes:
            event.input_shapes = [
                list(x._value.aval.shape) for x in operands if isinstance(x, _Tensor)
            ]
        if self.profile_memory and not op.view:
            results = out if isinstance(out, tuple) else (out,)
            event.cpu_memory_usage = sum(t._value.aval.nbytes for t in results)
        if self.with_stack:
            event.stack = [user_line()]
        return out

    def __enter__(self):
        if not self.enabled:
            return self
        if self.entered:
            raise RuntimeError("Profiler context manager is not reentrant")
        self.entered, self.opened_on = True, threading.get_ident()
        self._before = {k: v for k, v in stats.as_dict().items() if k != "flushes"}
        self._around, modes.around = modes.around, self._call
        watching.begin()
        _open.append(self)
        return self

    def __exit__(self, *exc):
        if not self.enabled:
            return False
        event = self.begin("torchlike::run")
        flush(why="profiler")
        jax.effects_barrier()
        self.end(event)
        _open.remove(self)
        modes.around = self._around
        watching.end()
        self.function_events = EventList(
            self._events, profile_memory=self.profile_memory, footer=self._footer()
        )
        return False

    def _footer(self) -> str:
        now = stats.as_dict()
        was = self._before
        found = {k: now[k] - was[k] for k in was if k != "compile_seconds"}
        seconds = now["compile_seconds"] - was["compile_seconds"]
        return (
            f"Programs run: {found['programs']}, compiled: {found['compiles']} in {seconds:.3f} s; "
            f"ops run one by one: {found['single_ops']}, by NumPy: {found['host_ops']}; waits for "
            f"results: {found['syncs']}"
        )

    # ---- what was collected ----

    def _found(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def key_averages(
        self, group_by_input_shape=False, group_by_stack_n=0, group_by_overload_name=False
    ):
        """One entry for each op, or for each op and shapes of its operands."""
        return self._found().key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self):
        """All events as one."""
        return self._found().total_average()

    def table(self, sort_by=None, row_limit=100, header=None, **widths) -> str:
        """The events as text."""
        return self._found().table(sort_by=sort_by, row_limit=row_limit, header=header, **widths)

    def export_chrome_trace(self, path) -> None:
        """Write the events for chrome://tracing and Perfetto."""
        self._found().export_chrome_trace(path)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write the places in the code that called ops, with ``with_stack=True``."""
        if not self.with_stack:
            raise AssertionError("export_stacks() requires with_stack=True")
        self._found().export_stacks(path, metric)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of the host."""
        return self._found().self_cpu_time_total

    def __repr__(self):
        if self.function_events is None:
            return "<unfinished torch.autograd.profile>"
        return repr(self.function_events)

    def __str__(self):
        if self.function_events is None:
            return "<unfinished torch.autograd.profile>"
        return str(self.function_events)


class record_function:
    """Context and decorator that labels a block of code in a profile, and in JAX's traces
    (https://pytorch.org/docs/stable/generated/torch.autograd.profiler.record_function.html)."""

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self._entered: list = []

    def __enter__(self):
        here = threading.get_ident()
        events = [(p, p.begin(self.name)) for p in _open if p.opened_on == here]
        for _, event in events:
            event.is_user_annotation = True
        label = jax.profiler.TraceAnnotation(self.name)
        label.__enter__()
        self._entered.append((label, events))
        return self

    def __exit__(self, *exc) -> None:
        label, events = self._entered.pop()
        label.__exit__(*exc)
        for p, event in events:
            p.end(event)

    def __call__(self, function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return wrapped


class EnforceUnique:
    """Raises ``RuntimeError`` when it sees a key twice."""

    def __init__(self):
        self.seen: set = set()

    def see(self, *key) -> None:
        """Note a key."""
        if key in self.seen:
            raise RuntimeError("duplicate key: " + str(key))
        self.seen.add(key)


def _vendor(name: str):
    def refuse(*args, **kwargs):
        raise NotSupported(f"autograd.profiler.{name}", "use jax.profiler.trace(directory)")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = "Not supported: it belongs to a vendor's profiler."
    return refuse


emit_nvtx, emit_itt = _vendor("emit_nvtx"), _vendor("emit_itt")
load_nvprof, parse_nvprof_trace = _vendor("load_nvprof"), _vendor("parse_nvprof_trace")
