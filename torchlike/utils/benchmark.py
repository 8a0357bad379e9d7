"""torch.utils.benchmark: statements timed, and tables that compare them
(https://pytorch.org/docs/stable/benchmark_utils.html).

Calls are recorded and run later. So after each turn of a statement what it left in its variables is
waited for: what is timed is the work, not the recording of it.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import dataclasses
import enum
import math
import sys
import textwrap
import timeit

import numpy as np

from torchlike._core.errors import NotSupported
from torchlike._engine.flush import flush
from torchlike._tensor.tensor import Tensor

__all__ = [
    "Colorize", "Compare", "Language", "Measurement", "TaskSpec", "Timer", "ordered_unique",
    "select_unit", "set_torch_threads", "timer", "trim_sigfig",
]  # fmt: skip

_SHORTEST_INTERVAL = 25e-9  # seconds: what clocks resolve


def timer() -> float:
    """Seconds on a clock that only goes forward."""
    return timeit.default_timer()


class Language(enum.Enum):
    """What a statement is written in."""

    PYTHON = 0
    CPP = 1


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which to show a time in seconds, and its size."""
    for name, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if t >= size:
            return name, size
    return "ns", 1e-9


def trim_sigfig(x: float, n: int) -> float:
    """A number with ``n`` significant figures."""
    if not x:
        return 0.0
    step = 10.0 ** (math.ceil(math.log10(x)) - n)
    return round(x / step) * step


def ordered_unique(elements) -> list:
    """The elements without those that came before."""
    return list(dict.fromkeys(elements))


@contextlib.contextmanager
def set_torch_threads(n: int):
    """Nothing: XLA sizes its pool of threads when the process starts."""
    yield


# ---- what was measured -------------------------------------------------------------------------


@dataclasses.dataclass(repr=False, frozen=True)
class TaskSpec:
    """What a measurement is of."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label and the sub-label, or the statement."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        if "\n" in self.stmt:
            return "stmt:\n" + textwrap.indent(self.stmt, "  ")
        return self.stmt + (f": {self.sub_label}" if self.sub_label else "")

    def setup_str(self) -> str:
        """The set-up, if there is any."""
        if self.setup in ("", "pass"):
            return ""
        many = "\n" in self.setup
        return "setup:" + ("\n" + textwrap.indent(self.setup, "  ") if many else f" {self.setup}")

    def summarize(self) -> str:
        """The title, the description and the set-up, in lines."""
        parts = (self.title, self.description, self.setup_str())
        return "\n".join(p + "\n" * ("\n" in p) for p in parts if p)


@dataclasses.dataclass(eq=False, repr=False)
class Measurement:
    """Times of a task: those of blocks, each of ``number_per_run`` turns."""

    number_per_run: int
    raw_times: list
    task_spec: TaskSpec
    metadata: dict | None = None

    def __getattr__(self, name):
        if name.startswith("__") or name not in (*TaskSpec.__annotations__, "title"):
            raise AttributeError(f"'Measurement' object has no attribute '{name}'")
        return getattr(self.task_spec, name)

    @property
    def times(self) -> list[float]:
        """Seconds a turn, one for each block."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        """The median of the times."""
        return float(np.median(self.times))

    @property
    def mean(self) -> float:
        """The mean of the times."""
        return float(np.mean(self.times))

    @property
    def iqr(self) -> float:
        """From the first quartile of the times to the third."""
        low, high = np.quantile(self.times, (0.25, 0.75))
        return float(high - low)

    @property
    def significant_figures(self) -> int:
        """How many figures of the median mean something, from the spread of the middle half."""
        n = len(self.times)
        middle = sorted(self.times)[n // 4 : math.ceil(3 * n / 4)]
        # 90 % of normally distributed means lie within 1.645 of their standard deviations.
        interval = max(1.645 * np.std(middle) / math.sqrt(len(middle)), _SHORTEST_INTERVAL)
        return max(math.floor(-math.log10(interval / self.median)), 1)

    @property
    def has_warnings(self) -> bool:
        """Whether the times differ too much."""
        return not self.meets_confidence()

    @property
    def as_row_name(self) -> str:
        """The name of the row of a table."""
        return self.sub_label or self.stmt or "[Unknown]"

    def meets_confidence(self, threshold: float = 0.1) -> bool:
        """Whether the quartiles are nearer to each other than this part of the median."""
        return self.iqr / self.median < threshold

    def __repr__(self) -> str:
        n, threads = len(self.times), self.task_spec.num_threads
        unit, size = select_unit(self.median)
        lines = [object.__repr__(self), self.task_spec.summarize()]
        if n > 1:
            low, high = np.quantile(self.times, (0.25, 0.75)) / size
            lines += [
                f"  Median: {self.median / size:.2f} {unit}",
                f"  IQR:    {self.iqr / size:.2f} {unit} ({low:.2f} to {high:.2f})",
            ]
        else:
            lines.append(f"  {self.median / size:.2f} {unit}")
        lines.append(
            f"  {n} measurement{'s' if n > 1 else ''}, {self.number_per_run} runs "
            f"{'per measurement,' if n > 1 else ','} {threads} thread{'s' if threads > 1 else ''}"
        )
        share = self.iqr / self.median
        if share >= 0.1:
            how = "could indicate system fluctuation" if share < 0.25 else (
                "suggests significant environmental influence"
            )  # fmt: skip
            lines += [
                f"  WARNING: Interquartile range is {share * 100:.1f}% of the median measurement.",
                f"           This {how}.",
            ]
        return "\n".join(lines)

    @staticmethod
    def merge(measurements) -> list[Measurement]:
        """One measurement for all those of the same task."""
        groups = collections.defaultdict(list)
        for m in measurements:
            groups[m.task_spec] += m.times
        return [Measurement(1, times, task) for task, times in groups.items()]


# ---- measuring ---------------------------------------------------------------------------------

_UNCOUNTED = 5  # turns: programs are compiled in the first few

_LOOP = """
def _inner(_turns, _timer, _settle):
{setup}
    _start = _timer()
    for _turn in range(_turns):
{stmt}
        _settle(locals())
    return _timer() - _start
"""


def _settle(variables: dict) -> None:
    """Run what is recorded, and wait for the tensors that a statement has left."""
    flush(why="synchronize")
    for name, x in variables.items():
        for t in x if x.__class__ in (tuple, list) and name == "_result" else (x,):
            if isinstance(t, Tensor):
                array = getattr(t._value, "array", None)
                wait = getattr(array, "block_until_ready", None)
                if wait is not None:
                    wait()


def _keeping(stmt: str) -> str:
    """A statement whose last expression is kept in a variable."""
    body = ast.parse(stmt)
    if body.body and isinstance(body.body[-1], ast.Expr):
        last = body.body[-1]
        body.body[-1] = ast.Assign([ast.Name("_result", ast.Store())], last.value)
    return ast.unparse(ast.fix_missing_locations(body)) or "pass"


class Timer:
    """Times a statement (https://pytorch.org/docs/stable/benchmark_utils.html#torch.utils.benchmark.Timer).

    ``num_threads`` is written down, not enforced: XLA sizes its pool when the process starts.
    Raises ``NotSupported`` for C++.
    """

    def __init__(
        self, stmt: str = "pass", setup: str = "pass", global_setup: str = "", timer=timer,
        globals=None, label=None, sub_label=None, description=None, env=None, num_threads: int = 1,
        language=Language.PYTHON,
    ):  # fmt: skip
        if not isinstance(stmt, str):
            raise ValueError("Currently only a `str` stmt is supported.")
        if language not in (Language.PYTHON, "py", "python"):
            raise NotSupported(f"benchmarks in {language}", "time a statement of Python")
        if global_setup:
            raise ValueError(
                f"global_setup is C++ only, got `{global_setup}`. Most likely this code can simply "
                "be moved to `setup`."
            )
        stmt, setup = (textwrap.dedent(s).strip("\n").rstrip() for s in (stmt, setup))
        self._task_spec = TaskSpec(
            stmt, setup, "", label, sub_label, description, env, num_threads
        )  # fmt: skip
        self._timer = timer
        names = {"torch": sys.modules["torchlike"], **(globals or {})}
        text = _LOOP.format(
            setup=textwrap.indent(setup or "pass", " " * 4),
            stmt=textwrap.indent(_keeping(stmt), " " * 8),
        )
        exec(compile(text, "<torch.utils.benchmark>", "exec"), names)
        self._run = names["_inner"]

    def _seconds(self, number: int) -> float:
        return max(self._run(number, self._timer, _settle), 1e-9)

    def _measured(self, number: int, times: list) -> Measurement:
        return Measurement(number, times, self._task_spec)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """One measurement of so many turns, after a few that are not counted."""
        self._seconds(max(number // 100, _UNCOUNTED))
        return self._measured(number, [self._seconds(number)])

    def autorange(self, callback=None):
        """Raises: ``blocked_autorange`` is what there is."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block(self, min_run_time: float) -> int:
        """So many turns that reading the clock costs nothing, and that there are many blocks."""
        self._seconds(_UNCOUNTED)
        clock = float(np.median([self._run(0, self._timer, _settle) for _ in range(5)]))
        number = 1
        while True:
            taken = self._seconds(number)
            if taken > min_run_time or (
                taken >= min_run_time / 1000 and clock / taken <= 1e-4
            ):  # fmt: skip
                return number
            number *= 10

    def blocked_autorange(self, callback=None, min_run_time: float = 0.2) -> Measurement:
        """Blocks of turns until ``min_run_time`` seconds are over."""
        number, times = self._block(min_run_time), []
        while sum(times) < min_run_time:
            times.append(self._seconds(number))
            if callback is not None:
                callback(number, times[-1])
        return self._measured(number, times)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
        callback=None,
    ) -> Measurement:  # fmt: skip
        """Blocks of turns until their quartiles are near each other, or the time is up."""
        number, times = self._block(0.05), []
        while sum(times) < max_run_time:
            times.append(self._seconds(number))
            if callback is not None:
                callback(number, times[-1])
            found = self._measured(number, times)
            if len(times) > 3 and sum(times) > min_run_time and found.meets_confidence(threshold):
                break
        return self._measured(number, times)

    def collect_callgrind(self, *args, **kwargs):
        """Raises ``NotSupported``."""
        raise NotSupported("collect_callgrind()", "use torch.profiler, or blocked_autorange()")


# ---- comparing ---------------------------------------------------------------------------------


class Colorize(enum.Enum):
    """Which cells are compared with each other."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


# Up to which multiple of the best a cell has which colour.
_COLORS = (
    (1.01, "\033[92m\033[1m"), (1.1, "\033[34m\033[1m"), (math.nextafter(2, 0), ""),
    (math.nextafter(5, 0), "\033[2m\033[91m"),
)  # fmt: skip
_WORST = "\033[31m\033[1m"


class Compare:
    """A table of measurements: their descriptions beside, sub-labels and threads below each other
    (https://pytorch.org/docs/stable/benchmark_utils.html#torch.utils.benchmark.Compare)."""

    def __init__(self, results: list[Measurement]):
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim = self._warn = False
        self._colorize = Colorize.NONE

    def __str__(self) -> str:
        groups = collections.defaultdict(list)
        for m in Measurement.merge(self._results):
            groups[m.label].append(m)
        return "\n".join(self._table(group) for group in groups.values())

    def extend_results(self, results) -> None:
        """Add measurements; raises ``ValueError`` for anything else."""
        for m in results:
            if not isinstance(m, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(m)} instead.")
        self._results.extend(results)

    def trim_significant_figures(self) -> None:
        """Show the figures that mean something."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Show the best and the worst of a column, or of a row, in colours."""
        self._colorize = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Mark measurements that differ too much."""
        self._warn = True

    def print(self) -> None:
        """Print the table."""
        print(str(self))  # noqa: T201

    def _table(self, group: list[Measurement]) -> str:
        unit, size = select_unit(min(m.median for m in group))
        columns = ordered_unique(m.description for m in group)
        rows = ordered_unique((m.num_threads, m.env or "", m.as_row_name) for m in group)
        rows.sort(key=lambda row: row[:2])
        cells = {
            ((m.num_threads, m.env or "", m.as_row_name), m.description): m for m in group
        }  # fmt: skip
        envs = [f"({env})" if env else "" for _, env, _ in rows]
        width = max(2, *map(len, envs))
        names = [f"  {e:<{width}}  {row[2]}" for e, row in zip(envs, rows, strict=True)]
        shown = [
            self._column([cells.get((row, c)) for row in rows], size, c) for c in columns
        ]  # fmt: skip
        indent = max(map(len, names))
        joined = ["  |  ".join([" " * indent, *(head for head, _ in shown)])]
        length, threads = len(joined[0]), None
        label = group[0].label or ""
        lines = [f"[{f' {label} '.center(length - 2, '-')}]", *joined]
        for i, row in enumerate(rows):
            if row[0] != threads:
                threads = row[0]
                lines.append(f"{threads} threads: ".ljust(length, "-"))
            texts = []
            for (_, texts_of), c in zip(shown, columns, strict=True):
                texts.append(self._colored(texts_of[i], cells, row, c, rows, columns))
            lines.append("  |  ".join([names[i].ljust(indent), *texts]))
        lines += ["", f"Times are in {_UNITS[unit]} ({unit})."]
        if self._warn and any(m.has_warnings for m in group):
            lines.append(
                "(! XX%) Measurement has high variance, where XX is the IQR / median * 100."
            )
        return "\n".join(lines) + "\n"

    def _column(self, found: list, size: float, head: str) -> tuple[str, list[str]]:
        """The head and the cells of a column, all of one width."""
        there = [m for m in found if m is not None]
        digits = {id(m): max(math.ceil(math.log10(m.median / size)), 1) for m in there}
        decimals = 1
        if self._trim:
            decimals = min(max(m.significant_figures - digits[id(m)], 0) for m in there)
        length = max(digits.values()) + decimals + bool(decimals)
        texts = []
        for m in found:
            text = ""
            if m is not None:
                t = m.median / size
                t = trim_sigfig(t, m.significant_figures) if self._trim else t
                text = f"{t:>{length}.{decimals}f}"
                if self._warn:
                    share = f" (! {m.iqr / m.median * 100:.0f}%)" if m.has_warnings else ""
                    text += share.ljust(7 * any(m.has_warnings for m in there))
            texts.append(text)
        width = max(len(head), *map(len, texts))
        return head.center(width), [text.center(width) for text in texts]

    def _colored(self, text, cells, row, column, rows, columns) -> str:
        here = cells.get((row, column))
        if here is None or self._colorize is Colorize.NONE:
            return text
        if self._colorize is Colorize.ROWWISE:
            others = [cells.get((row, c)) for c in columns]
        else:
            others = [cells.get((r, column)) for r in rows if r[0] == row[0]]
        ratio = here.median / min(m.median for m in others if m is not None)
        color = next((c for bound, c in _COLORS if ratio <= bound), _WORST)
        return f"{color}{text}\033[0m\033[0m" if color else text


_UNITS = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds"}
