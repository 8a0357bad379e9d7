"""Comparing two traces: where the events of two runs part, and by how much."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# How far one side may be ahead in calls that a module of the library makes of its own parts.
_AHEAD = 64


@dataclass
class Tolerance:
    """How far apart numbers may be: by ``atol + rtol`` times the largest number of their tensor."""

    rtol: float
    atol: float


@dataclass
class Divergence:
    """The first place where the two runs part."""

    what: str  # "values", "shape", "calls"
    label: str  # which tensor of the event, or what is the matter
    event: dict  # of torchlike's run; of PyTorch's where there is none
    theirs: str
    ours: str
    difference: float | None = None
    allowed: float | None = None
    inputs_differ: bool | None = None


class Run:
    """A trace on the disk: its events in order, and the numbers of their tensors."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = folder / "data.bin"
        self.data = open(path, "rb") if path.exists() else None  # noqa: SIM115  (until __exit__)

    def events(self) -> Iterator[dict]:
        """The events that are whole; a killed run may have left half a line."""
        path = self.folder / "events.jsonl"
        if not path.exists():
            return
        with path.open(encoding="utf-8") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    return
                yield event

    def numbers(self, kept: dict) -> np.ndarray | None:
        """The elements that were kept of a tensor; None if they are not on the disk."""
        if "start" not in kept:
            return None
        dtype = np.dtype(kept["numpy"])
        self.data.seek(kept["start"])
        raw = self.data.read(kept["count"] * dtype.itemsize)
        return np.frombuffer(raw, dtype) if len(raw) == kept["count"] * dtype.itemsize else None

    def quiet(self, kept: dict) -> np.ndarray:
        """Which of the elements that were kept may differ."""
        self.data.seek(kept["quiet"])
        return np.frombuffer(self.data.read(kept["count"]), bool)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.data is not None:
            self.data.close()


@dataclass
class Comparison:
    """What two runs have in common, and where they part, if they do."""

    compared: int = 0
    largest: float = 0.0  # the largest difference that was allowed, as a share of its tolerance
    at: str = ""  # where that was
    divergence: Divergence | None = None


def compare(theirs: Run, ours: Run, tolerance: Tolerance, whole: bool) -> Comparison:
    """Walk through two traces; ``whole``: both programs ran to their ends."""
    out = Comparison()
    pairs = _aligned(theirs.events(), ours.events(), whole)
    for first, second in pairs:
        if first is None or second is None or _key(first) != _key(second):
            out.divergence = _other_call(first, second)
            return out
        out.divergence = _parted(theirs, ours, first, second, tolerance, out)
        if out.divergence is not None:
            return out
        out.compared += 1
    return out


def _key(event: dict) -> tuple:
    return event["kind"], event["name"]


def _aligned(theirs: Iterator[dict], ours: Iterator[dict], whole: bool):
    """Pairs of events of the same name. Calls inside a module of the library, which may be made
    another way there, are left out where only one side has them."""
    left, right = _Ahead(theirs), _Ahead(ours)
    while True:
        a, b = left.peek(0), right.peek(0)
        if a is None or b is None:
            while a is not None and not a["direct"]:
                a = left.drop()
            while b is not None and not b["direct"]:
                b = right.drop()
            if whole and (a is not None or b is not None):
                yield a, b
            return
        if _key(a) != _key(b):
            skips = _skips(left, right)
            if skips is None:
                yield a, b
                return
            for side, count in zip((left, right), skips, strict=True):
                for _ in range(count):
                    side.drop()
            continue
        yield a, b
        left.drop()
        right.drop()


class _Ahead:
    """An iterator that can be looked into."""

    def __init__(self, events):
        self.events, self.seen = events, []

    def peek(self, i: int):
        while len(self.seen) <= i:
            event = next(self.events, None)
            if event is None:
                return None
            self.seen.append(event)
        return self.seen[i]

    def drop(self):
        self.seen.pop(0)
        return self.peek(0)


def _skips(left: _Ahead, right: _Ahead):
    """How many indirect calls to leave out on each side so that the next ones agree, or None."""
    for total in range(1, _AHEAD):
        for i in range(total + 1):
            j = total - i
            a, b = left.peek(i), right.peek(j)
            if a is None or b is None or _key(a) != _key(b):
                continue
            skipped = [left.peek(n) for n in range(i)] + [right.peek(n) for n in range(j)]
            if not any(e["direct"] for e in skipped):
                return i, j
    return None


def _other_call(first, second) -> Divergence:
    said = [
        "the end of the program" if e is None else f"{e['name']} at {e['line']}"
        for e in (first, second)
    ]
    return Divergence("calls", "the next call", second or first, *said)


def _parted(theirs, ours, first, second, tolerance, out) -> Divergence | None:
    before = dict(map(tuple, first["tensors"]))
    inputs_differ = False
    if [label for label, _ in first["tensors"]] != [label for label, _ in second["tensors"]]:
        names = [", ".join(label for label, _ in e["tensors"]) or "none" for e in (first, second)]
        return Divergence("tensors", "the tensors of this call", second, *names)
    for label, b in second["tensors"]:
        a = before[label]
        found = _compare(theirs, ours, a, b, tolerance)
        if found is None:
            continue
        share, details = found
        if share <= 1:
            if share > out.largest:
                out.largest, out.at = share, f"{label} of {second['name']} at {second['line']}"
            continue
        if label.startswith("input"):  # told with the output, if that differs as well
            inputs_differ = True
            continue
        return Divergence(details[0], label, second, *details[1:], inputs_differ=inputs_differ)
    return None


def _compare(theirs, ours, a: dict, b: dict, tolerance: Tolerance):
    """(difference as a share of what is allowed, details) of two tensors; None if none is kept."""
    if a["shape"] != b["shape"]:
        return math.inf, ("shape", f"shape {tuple(a['shape'])}", f"shape {tuple(b['shape'])}")
    if a["dtype"] != b["dtype"]:
        return math.inf, ("dtype", a["dtype"], b["dtype"])
    x, y = theirs.numbers(a), ours.numbers(b)
    if x is None or y is None or not x.size:
        return None
    if x.dtype.kind not in "fc":
        wrong = np.flatnonzero(x != y)
        if not wrong.size:
            return 0.0, ()
        return math.inf, _details(a, x, y, int(wrong[0]), None, 0.0)
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        x, y = x.astype(wide), y.astype(wide)
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        gap = np.where(same, 0.0, np.abs(x - y))
    gap[np.isnan(gap)] = math.inf
    if "quiet" in a and "quiet" in b:
        gap[theirs.quiet(a) | ours.quiet(b)] = 0.0
    allowed = tolerance.atol + tolerance.rtol * a.get("max_abs", 0.0)
    worst = int(gap.argmax())
    if gap[worst] == 0.0:
        return 0.0, ()
    share = float(gap[worst] / allowed) if allowed else math.inf
    return share, _details(a, x, y, worst, float(gap[worst]), allowed)


def _details(kept: dict, x, y, i: int, gap: float | None, allowed: float):
    place = np.unravel_index(i * kept["step"], kept["shape"]) if kept["shape"] else ()
    at = f" at [{', '.join(map(str, map(int, place)))}]" if place else ""
    return "values", f"{x[i]!s}{at}", f"{y[i]!s}{at}", gap, allowed
