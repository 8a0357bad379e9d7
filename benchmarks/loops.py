"""Loops over tensors, element by element and row by row, as scripts have them: both sides in turn.

    python benchmarks/loops.py [NAME ...]

Nothing here is a step of training. Each loop ends in a number that is read; many read one in every
round. The first round is shown on its own: there torchlike meets each call for the first time.
"""

from __future__ import annotations

import sys
import time

import torch
from measure import busy, table

import torchlike

ROUNDS = 7


def elements_read(m):
    """x[i].item() of a thousand."""
    x = m.arange(1000.0)
    return sum(x[i].item() for i in range(1000))


def iterated(m):
    """float(v) for v in x."""
    return sum(float(v) for v in m.arange(1000.0))


def rows_filled(m):
    """x[i] = row, a thousand rows of 784."""
    row, x = m.ones(784), m.zeros(1000, 784)
    for i in range(1000):
        x[i] = row * i
    return x[999, 0].item()


def cells_filled(m):
    """x[i, j] = number."""
    x = m.zeros(40, 40)
    for i in range(40):
        for j in range(40):
            x[i, j] = i + j
    return x.sum().item()


def confusion_matrix(m):
    """c[t, p] += 1 for 500 pairs."""
    m.manual_seed(0)
    c = m.zeros(10, 10, dtype=m.int64)
    for t, p in zip(m.randint(0, 10, (500,)), m.randint(0, 10, (500,)), strict=True):
        c[t, p] += 1
    return c.trace().item()


def evaluation(m):
    """The accuracy of a linear model over 100 batches."""
    m.manual_seed(0)
    net, right = m.nn.Linear(20, 5).eval(), 0
    x, y = m.randn(100, 32, 20), m.randint(0, 5, (100, 32))
    with m.no_grad():
        for images, labels in zip(x, y, strict=True):
            _, found = net(images).max(1)
            right += (found == labels).sum().item()
    return right


def suppression(m):
    """Non-maximum suppression of 200 boxes."""
    m.manual_seed(0)
    boxes, order, kept = m.rand(200, 4) * 50, m.rand(200).argsort(descending=True), 0
    boxes[:, 2:] += boxes[:, :2]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while order.numel() > 1:
        kept, best, rest = kept + 1, order[0], order[1:]
        low = m.maximum(boxes[best, :2], boxes[rest, :2])
        high = m.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        order = rest[shared / (areas[best] + areas[rest] - shared) <= 0.5]
    return kept


def k_means(m):
    """30 rounds of k-means of 500 points."""
    m.manual_seed(0)
    x = m.randn(500, 2)
    centers = x[:5].clone()
    for _ in range(30):
        labels = m.cdist(x, centers).argmin(1)
        for k in range(5):
            centers[k] = x[labels == k].mean(0)
    return centers.sum().item()


def propagation(m):
    """50 rounds of messages on a graph of 400 edges."""
    m.manual_seed(0)
    edges, x, w = m.randint(0, 100, (2, 400)), m.randn(100, 16), m.randn(16, 16) / 4
    for _ in range(50):
        x = (m.zeros_like(x).index_add(0, edges[1], x[edges[0]]) @ w).tanh()
    return x.abs().sum().item()


def viterbi(m):
    """The best path through 50 steps of 10 states."""
    m.manual_seed(0)
    moves, seen = m.randn(10, 10), m.randn(50, 10)
    score, back = seen[0], []
    for e in seen[1:]:
        best, at = (score[:, None] + moves).max(0)
        score = best + e
        back.append(at)
    state = score.argmax().item()
    for at in reversed(back):
        state = at[state].item()
    return state


def orthogonal(m):
    """Gram-Schmidt of 30 vectors."""
    m.manual_seed(0)
    x, found = m.randn(30, 30), []
    for i in range(30):
        v = x[:, i].clone()
        for u in found:
            v = v - (u @ v) * u
        found.append(v / v.norm())
    return m.stack(found).abs().sum().item()


def diffusion(m):
    """100 rounds of the heat equation on 50x50."""
    u = m.zeros(50, 50)
    u[0] = 100
    for _ in range(100):
        new = u.clone()
        new[1:-1, 1:-1] = (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]) / 4
        u = new
    return u.sum().item()


def growing_process(m):
    """A Gaussian process that gets one more point in each of 40 rounds."""
    m.manual_seed(0)
    x, best = m.rand(45, 2), 0.0
    for n in range(5, 45):
        k = (-m.cdist(x[:n], x[:n])).exp() + m.eye(n) * 1e-3
        weights = m.cholesky_solve(x[:n].sum(1, keepdim=True), m.linalg.cholesky(k))
        best += ((-m.cdist(x[n:], x[:n])).exp() @ weights).max().item()
    return best


LOOPS = [
    elements_read, iterated, rows_filled, cells_filled, confusion_matrix, evaluation, suppression,
    k_means, propagation, viterbi, orthogonal, diffusion, growing_process,
]  # fmt: skip


def timed(loop, lib) -> tuple[float, float]:
    """Seconds of one round, and its result."""
    start = time.perf_counter()
    result = loop(lib)
    return time.perf_counter() - start, result


def main() -> None:
    rows = []
    for loop in LOOPS:
        if sys.argv[1:] and loop.__name__ not in sys.argv[1:]:
            continue
        seconds = {torch: [], torchlike: []}
        for _ in range(ROUNDS):
            results = []
            for lib, found in seconds.items():
                time_, result = timed(loop, lib)
                found.append(time_)
                results.append(result)
            assert abs(results[0] - results[1]) <= 1e-3 * abs(results[0]) + 1e-3, loop.__name__
        first = [s[0] * 1e3 for s in seconds.values()]
        later = [sorted(s[2:])[(ROUNDS - 2) // 2] * 1e3 for s in seconds.values()]
        rows.append(
            (
                later[1] / later[0],
                loop.__doc__.rstrip("."),
                *[f"{ms:.1f}" for ms in (*first, *later)],
            )
        )
    rows.sort(reverse=True)
    print(
        table(
            [
                "loop",
                "first round, ms: PyTorch",
                "torchlike",
                "later: PyTorch",
                "torchlike",
                "ratio",
            ],
            [(name, *ms, f"**{ratio:.1f}**") for ratio, name, *ms in rows],
        )
    )
    print(busy())


if __name__ == "__main__":
    main()
