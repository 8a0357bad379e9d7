"""What a profile holds: events, their averages, and the table that is printed."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from typing import ClassVar

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]


def _time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _memory(n: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if abs(n) >= size:
            return f"{n / size:.2f} {unit}"
    return f"{n} B"


class Interval:
    """Start and end, in microseconds."""

    def __init__(self, start: float, end: float):
        self.start, self.end = start, end

    def elapsed_us(self) -> float:
        """The length."""
        return self.end - self.start


class _Times:
    """What events and their averages both tell; there are no times of other devices."""

    use_device = None
    device_time_total = self_device_time_total = device_time = 0
    device_memory_usage = self_device_memory_usage = flops = 0
    is_async = is_remote = is_legacy = False

    @property
    def cpu_time(self) -> float:
        """Microseconds of one call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        """``cpu_time`` with its unit."""
        return _time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """``cpu_time_total`` with its unit."""
        return _time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """``self_cpu_time_total`` with its unit."""
        return _time(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """One call of an op, which is recorded rather than run, or one labelled block of code."""

    count = 1

    def __init__(self, id, name, thread, start_us, end_us, **details):
        self.id, self.name, self.thread = id, name, thread
        self.time_range = Interval(start_us, end_us)
        self.input_shapes = details.get("input_shapes") or []
        self.stack = details.get("stack") or []
        self.cpu_memory_usage = details.get("cpu_memory_usage", 0)
        self.is_user_annotation = details.get("is_user_annotation", False)
        self.cpu_children: list = []
        self.cpu_parent = None

    @property
    def key(self) -> str:
        """The name."""
        return self.name

    @property
    def cpu_time_total(self) -> float:
        """Microseconds of the host, with all that was called inside."""
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of the host, without what was called inside."""
        return self.cpu_time_total - sum(c.cpu_time_total for c in self.cpu_children)

    @property
    def self_cpu_memory_usage(self) -> int:
        """Bytes of the results."""
        return self.cpu_memory_usage

    def __repr__(self):
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start:.3f} end_us={self.time_range.end:.3f} "
            f"thread={self.thread} input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(_Times):
    """All calls of the same name together."""

    def __init__(self):
        self.key, self.count = None, 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.input_shapes, self.stack, self.is_user_annotation = None, None, False

    def add(self, other):
        """Count another event, or other events together."""
        if self.key is None:
            self.key, self.input_shapes, self.stack = other.key, other.input_shapes, other.stack
            self.is_user_annotation = other.is_user_annotation
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.cpu_memory_usage += other.cpu_memory_usage
        self.self_cpu_memory_usage += other.self_cpu_memory_usage
        return self

    def __iadd__(self, other):
        return self.add(other)

    def __repr__(self):
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} input_shapes={self.input_shapes or ''} "
            f"cpu_memory_usage={self.cpu_memory_usage}>"
        )


_SORTS = (
    "cpu_time", "cpu_time_total", "self_cpu_time_total", "count", "cpu_memory_usage",
    "self_cpu_memory_usage", "device_time", "device_time_total", "self_device_time_total",
    "device_memory_usage", "self_device_memory_usage", "cuda_time", "cuda_time_total",
    "self_cuda_time_total", "cuda_memory_usage", "self_cuda_memory_usage",
)  # fmt: skip


class EventList(list):
    """A list of events that can be averaged, printed and written."""

    supported_export_stacks_metrics: ClassVar[list] = ["self_cpu_time_total"]

    def __init__(self, *args, profile_memory=False, footer="", **kwargs):
        super().__init__(*args)
        self._profile_memory, self._footer = profile_memory, footer

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all events, each counted once."""
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(
        self, group_by_input_shapes=False, group_by_stack_n=0, group_by_overload_name=False
    ):
        """One entry for each name, or for each name and shapes of operands."""
        found: dict = defaultdict(FunctionEventAvg)
        for e in self:
            shapes = str(e.input_shapes) if group_by_input_shapes else ""
            found[e.key, shapes, *(e.stack or [])[:group_by_stack_n]].add(e)
        averages = EventList(
            found.values(), profile_memory=self._profile_memory, footer=self._footer
        )
        if not group_by_input_shapes:
            for e in averages:
                e.input_shapes = ""
        return averages

    def total_average(self):
        """All events as one."""
        total = FunctionEventAvg()
        for e in self:
            total += e
            total.key = None
        total.key = "Total"
        return total

    def table(
        self, sort_by=None, row_limit=100, max_src_column_width=75, max_name_column_width=55,
        max_shapes_column_width=80, header=None, top_level_events_only=False, time_unit=None,
    ) -> str:  # fmt: skip
        """The events as text; times are of the host: what recording the call took."""
        if sort_by is not None and sort_by not in _SORTS:
            raise AttributeError(f"FunctionEventAvg has no attribute {sort_by!r} to sort by")
        events = list(self)
        if sort_by is not None:
            name = sort_by.replace("cuda", "device")
            events.sort(key=lambda e: getattr(e, name), reverse=True)
        total = self.self_cpu_time_total or 1.0
        columns = [
            "Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg",
            *(["CPU Mem"] if self._profile_memory else []), "# of Calls",
            *(["Input Shapes"] if any(e.input_shapes for e in events) else []),
        ]  # fmt: skip
        rows = []
        for e in events[: row_limit if row_limit >= 0 else None]:
            row = [
                _cut(e.key, max_name_column_width), f"{e.self_cpu_time_total / total:.2%}",
                e.self_cpu_time_total_str, f"{e.cpu_time_total / total:.2%}", e.cpu_time_total_str,
                e.cpu_time_str,
            ]  # fmt: skip
            if self._profile_memory:
                row.append(_memory(e.cpu_memory_usage))
            row.append(str(e.count))
            if columns[-1] == "Input Shapes":
                row.append(_cut(str(e.input_shapes or []), max_shapes_column_width))
            rows.append(row)
        # PyTorch's widths: 12, and four more than the longest text for names and shapes.
        widths = [max(12, *(len(r[i]) for r in [columns, *rows])) for i in range(len(columns))]
        for i, column in enumerate(columns):
            if column in ("Name", "Input Shapes"):
                widths[i] = max(len(r[i]) for r in [columns, *rows]) + 4
        line = lambda cells: "".join(x.rjust(w) + "  " for x, w in zip(cells, widths, strict=True))  # noqa: E731
        rule, head = line(["-" * w for w in widths]), line(columns)
        lines = [line(r) for r in rows]
        top = [header] if header else []
        end = [f"Self CPU time total: {_time(self.self_cpu_time_total)}", self._footer]
        return "\n".join([*top, rule, head, rule, *lines, rule, *end]) + "\n"

    def export_chrome_trace(self, path) -> None:
        """Write the events for chrome://tracing and Perfetto."""
        events = [
            {
                "ph": "X", "cat": "user_annotation" if e.is_user_annotation else "cpu_op",
                "name": e.name, "pid": os.getpid(), "tid": e.thread, "ts": e.time_range.start,
                "dur": e.time_range.elapsed_us(),
                "args": {"Input Dims": [list(s) for s in e.input_shapes]},
            }
            for e in self
        ]  # fmt: skip
        with open(path, "w") as file:
            json.dump({"schemaVersion": 1, "traceEvents": events}, file)

    def export_stacks(self, path: str, metric: str) -> None:
        """Write a line for each place in the code: it and its microseconds."""
        if metric not in self.supported_export_stacks_metrics:
            raise ValueError(f"metric should be one of: {self.supported_export_stacks_metrics}")
        with open(path, "w") as file:
            for e in self.key_averages(group_by_stack_n=1):
                if e.stack:
                    file.write(";".join([*e.stack, e.key]) + f" {int(getattr(e, metric))}\n")

    def __str__(self) -> str:
        return self.table()


def _cut(text: str, width) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."
