"""Recurrent steps, optimizer steps and data workers: torchlike against PyTorch, eager.

    python benchmarks/layers.py [--processor] [case ...]

One process, both sides in turn; prints milliseconds and ratios (below 1: torchlike is faster).
``--processor`` counts the processor's time, all threads of the process together, with one thread
for PyTorch: what other programs do on the machine matters little then. (Start it with
``taskset -c 0``, so that XLA has one processor, too.)

    lstm      a training step of an LSTM: hidden 128, 64 steps, batch 16, Adam
    gru       the same of a GRU
    adam      Adam.step over 150 parameters, gradients given
    adamw     AdamW.step over the same
    workers   2 workers over a slow dataset, times faster than none (above 1: workers help)
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from measure import busy, calls_for, in_turn, table, wait

import torchlike

HIDDEN, LENGTH, BATCH, CLASSES = 128, 64, 16, 10
PARAMETERS = 150  # of five shapes in turn, as layers have them
SHAPES = ((64, 64), (64,), (64, 32), (32,), (256,))


def recurrent_step(lib, kind: str):
    """One training step of a recurrent layer with a linear head."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((LENGTH, BATCH, HIDDEN), dtype=np.float32)
    x, y = lib.tensor(inputs), lib.tensor(rng.integers(0, CLASSES, BATCH))
    rnn = getattr(lib.nn, kind)(HIDDEN, HIDDEN)
    head = lib.nn.Linear(HIDDEN, CLASSES)
    optimizer = lib.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-5)

    def step():
        out, _ = rnn(x)
        loss = lib.nn.functional.cross_entropy(head(out[-1]), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def optimizer_step(lib, kind: str):
    """One step of an optimizer over many parameters whose gradients are there."""
    rng = np.random.default_rng(0)
    params = []
    for i in range(PARAMETERS):
        p = lib.tensor(
            rng.standard_normal(SHAPES[i % len(SHAPES)], dtype=np.float32), requires_grad=True
        )
        p.grad = lib.tensor(rng.standard_normal(tuple(p.shape), dtype=np.float32))
        params.append(p)
    optimizer = getattr(lib.optim, kind)(params, lr=1e-5)

    def step():
        optimizer.step()
        return Stepped(params)

    return step


class Stepped:
    """Waits for parameters; a view of one, held by the caller, would cost the next step a copy."""

    def __init__(self, params):
        self.params = params

    def block_until_ready(self) -> None:
        wait(self.params[-1])


CASES = {
    "lstm": lambda lib: recurrent_step(lib, "LSTM"),
    "gru": lambda lib: recurrent_step(lib, "GRU"),
    "adam": lambda lib: optimizer_step(lib, "Adam"),
    "adamw": lambda lib: optimizer_step(lib, "AdamW"),
}


class Slow:
    """Samples that wait 5 ms each, as a disk does."""

    def __len__(self):
        return 256

    def __getitem__(self, i):
        time.sleep(0.005)
        return i


def speedup(lib) -> tuple[float, float]:
    """Milliseconds of an epoch without and with 2 workers."""
    load = __import__(f"{lib.__name__}.utils.data", fromlist=["DataLoader"]).DataLoader
    alone, shared = load(Slow(), 16), load(Slow(), 16, num_workers=2)
    list(shared)  # what workers come from is there; an epoch still starts its own

    def timed(loader):
        start = time.perf_counter()
        list(loader)
        return time.perf_counter() - start

    return 1e3 * timed(alone), 1e3 * min(timed(shared) for _ in range(3))


def processor_time(sides: dict, calls: int, rounds: int = 9) -> dict[str, float]:
    """Seconds of processor a call, the median over rounds in turn."""
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            start = time.process_time()
            for _ in range(calls):
                result = function()
            wait(result)
            seconds[name].append((time.process_time() - start) / calls)
    return {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}


def measure(name: str, processor: bool) -> list[str]:
    if name == "workers":
        theirs, ours = speedup(torch), speedup(torchlike)
        return [
            "an epoch, none / 2 workers", *(f"{a:.0f} / {b:.0f}" for a, b in (theirs, ours)),
            f"{theirs[0] / theirs[1]:.2f}x and **{ours[0] / ours[1]:.2f}x**",
        ]  # fmt: skip
    sides = {"torch": CASES[name](torch), "torchlike": CASES[name](torchlike)}
    calls = calls_for(sides["torch"])
    if processor:
        in_turn(sides, 1, rounds=3)  # compiled, and warm
    seconds = (processor_time if processor else in_turn)(sides, calls)
    return [
        name, *(f"{1e3 * seconds[side]:.3f}" for side in sides),
        f"**{seconds['torchlike'] / seconds['torch']:.2f}**",
    ]  # fmt: skip


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--processor"]
    rows = [measure(name, "--processor" in sys.argv) for name in names or [*CASES, "workers"]]
    print(table(["ms", "PyTorch eager", "torchlike", "/ PyTorch"], rows))
    print(busy())


if __name__ == "__main__":
    main()
