"""How the benchmarks measure: both sides in one process, in turn, and medians of the rounds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence


def wait(result) -> None:
    """Wait for a result of PyTorch, torchlike or JAX."""
    if hasattr(result, "block_until_ready"):
        result.block_until_ready()


def in_turn(sides: dict[str, Callable], calls: int, rounds: int = 15) -> dict[str, float]:
    """Seconds a call, the median over rounds in which every side runs ``calls`` times in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for function in sides.values():
        for _ in range(5):  # the first call traces, the second may compile once more
            wait(function())
    for _ in range(rounds):
        for name, function in sides.items():
            wait(function())  # not timed: PyTorch's threads spin for a while after its own
            start = time.perf_counter()
            for _ in range(calls):
                result = function()
            wait(result)
            seconds[name].append((time.perf_counter() - start) / calls)
    return {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}


def calls_for(function: Callable, target: float = 0.1) -> int:
    """How many calls take about ``target`` seconds."""
    for _ in range(3):
        wait(function())
    start = time.perf_counter()
    wait(function())
    return max(1, int(target / max(time.perf_counter() - start, 1e-6)))


def busy() -> str:
    """A warning if other programs used the machine in the last minute, else nothing."""
    load = os.getloadavg()[0]
    if load <= 0.7 * (os.cpu_count() or 1):
        return ""
    return f"The machine is busy (load {load:.1f}): PyTorch's threads suffer most, ratios flatter."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
