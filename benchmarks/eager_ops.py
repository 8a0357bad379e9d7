"""Small eager ops without a model: chains, indexing, reductions, a loop of growing length.

    python benchmarks/eager_ops.py

PyTorch and torchlike in turn in one process; microseconds an op and the ratio.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from measure import busy, calls_for, in_turn, table

import torchlike


def chain(lib, size: int, length: int):
    """``length`` pointwise ops one after the other, then one number read."""
    x = lib.linspace(0, 1, size)

    def run():
        y = x
        for i in range(length // 4):
            y = (y * 1.01 + i).tanh() - 0.5
        return y.sum().item()

    return run


def rows(lib, count: int):
    """One row after the other, read, scaled and written back."""
    x = lib.ones(count, 32)

    def run():
        for i in range(count):
            x[i] = x[i] * 0.5 + 1
        return x.sum().item()

    return run


def statistics(lib, size: int):
    """What a training log computes."""
    x = lib.linspace(-1, 1, size).reshape(-1, 64)

    def run():
        return [v.item() for v in (x.mean(), x.std(), x.min(), x.max(), x.argmax())]

    return run


def growing(lib, steps: int):
    """A sequence that is one row longer at each step, as in generation; shapes never repeat."""
    w = lib.eye(16) * 0.5
    start = lib.ones(1, 16)

    def run():
        kept = start
        for _ in range(steps):
            kept = lib.cat([kept, (kept[-1:] @ w).tanh()])
        return kept.sum().item()

    return run


def policy(lib, steps: int):
    """What an agent does with a small network: one observation in, the result read."""
    lib.manual_seed(0)
    widths, nn = (4, 128, 128, 2), lib.nn
    layers = [f for a, b in pairwise(widths) for f in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    seen = np.linspace(-1, 1, 4 * steps, dtype=np.float32).reshape(steps, 4)

    def run():
        with lib.no_grad():
            return [model(lib.as_tensor(x)).numpy() for x in seen]

    return run


CASES = {
    "chain of 100 ops, 100 numbers": (lambda lib: chain(lib, 100, 100), 100),
    "chain of 100 ops, 100,000 numbers": (lambda lib: chain(lib, 100_000, 100), 100),
    "64 rows read and written": (lambda lib: rows(lib, 64), 256),
    "five statistics of 64,000 numbers": (lambda lib: statistics(lib, 64_000), 5),
    "200 steps of growing length": (lambda lib: growing(lib, 200), 800),
    "a network of one observation, read": (lambda lib: policy(lib, 50), 50),
}


def main() -> None:
    lines = []
    for name, (make, ops) in CASES.items():
        sides = {"torch": make(torch), "torchlike": make(torchlike)}
        us = {k: 1e6 * s / ops for k, s in in_turn(sides, calls_for(sides["torch"], 0.02)).items()}
        lines.append(
            [name, f"{us['torch']:.2f}", f"{us['torchlike']:.2f}",
             f"**{us['torchlike'] / us['torch']:.2f}**"]
        )  # fmt: skip
    print(table(["us an op", "torch eager", "torchlike", "ratio"], lines))
    print(busy())


if __name__ == "__main__":
    main()
