"""Eager training steps: torchlike against PyTorch's eager mode and against hand-written JAX.

    python benchmarks/train_step.py [model ...]

One process, all sides in turn; prints milliseconds a step and ratios (below 1: torchlike is
faster), what the engine did in a step, and the seconds of the first step.
"""

from __future__ import annotations

import sys
import time

import torch
from measure import busy, calls_for, in_turn, table
from models import NAMES, jax_step, torch_step

import torchlike
from torchlike import compiler
from torchlike._core.settings import settings


def immediate(step):
    """The same step, every op run at once."""

    def run():
        with settings.override(immediate=True):
            return step()

    return run


def measure(name: str) -> tuple[list[str], str]:
    theirs = torch_step(torch, name)
    ours = torch_step(torchlike, name)
    start = time.perf_counter()
    ours().item()
    first = time.perf_counter() - start
    hand = jax_step(name)
    sides = {"torch": theirs, "torchlike": ours, "jax": hand}
    ms = {side: 1e3 * s for side, s in in_turn(sides, calls_for(theirs)).items()}
    slow = {"immediate": immediate(torch_step(torchlike, name))}
    ms |= {side: 1e3 * s for side, s in in_turn(slow, 2, rounds=3).items()}
    compiler.clear_stats()
    for _ in range(10):
        ours()
    stats = compiler.stats()
    row = [
        name, *[f"{ms[s]:.3f}" for s in ("torch", "jax", "immediate", "torchlike")],
        f"**{ms['torchlike'] / ms['torch']:.2f}**", f"**{ms['torchlike'] / ms['jax']:.2f}**",
        f"{first:.2f}",
    ]  # fmt: skip
    note = ", ".join(
        f"{stats[k] / 10:g} {k}" for k in ("ops", "programs", "compiles", "misses", "syncs")
    )
    return row, f"{name}: a step is {note}"


def main() -> None:
    rows, notes = [], []
    for name in sys.argv[1:] or NAMES:
        row, note = measure(name)
        rows.append(row)
        notes.append(note)
    header = ["ms a step", "torch eager", "jax + optax by hand", "torchlike immediate",
              "torchlike", "/ torch", "/ jax", "first step, s"]  # fmt: skip
    print(table(header, rows))
    print("\n".join(notes))
    print(busy())


if __name__ == "__main__":
    main()
