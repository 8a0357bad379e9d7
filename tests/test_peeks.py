"""Writes of numbers into memory that the host has: seen by all who share it, by nobody else."""

import random

import numpy as np
import pytest
import torch

import torchlike
from torchlike import compiler


def story(m, seed):
    """What random writes, reads and aliases leave behind, looked at now and then."""
    r, log, held = random.Random(seed), [], []
    m.manual_seed(seed)
    net, xs = m.nn.Linear(4, 2), [m.zeros(3, 4)]
    for step in range(r.randint(5, 40)):
        kind, x = r.randrange(24), r.choice(xs)
        i, j, v = r.randrange(3), r.randrange(4), r.choice([1, 2.5, -3, 0, True, 7])
        if kind < 8:
            x[i, j] = v
        elif kind == 8:
            x[i] = v
        elif kind == 9:
            x[:, j] = v
        elif kind < 12:
            x[i, : r.randrange(5)] = v
        elif kind == 12:
            x[i] = m.arange(4.0) + step
        elif kind == 13:
            xs.append(x.detach())
        elif kind == 14:
            xs.append(x.clone())
        elif kind == 15:
            held.append(x.numpy())
        elif kind == 16:
            held.append(x[i])
        elif kind == 17:
            held.append(x.view(-1))
        elif kind == 18:
            log.append(x.sum().item())
        elif kind == 19:
            with m.no_grad():
                log.append(net(x).tolist())
        elif kind == 20:
            w = m.ones(3, 4, requires_grad=True)
            loss = (w * x).sum()
            if r.random() < 0.5:
                x[i, j] = v
            try:
                loss.backward()
                log.append(w.grad.tolist())
            except RuntimeError:
                log.append("written to")
        elif kind == 21:
            x += 1
        elif kind == 22:
            xs.append(m.from_numpy(np.ones((3, 4), "float32")))
        elif r.random() < 0.5:
            xs[:] = [x]
            held.clear()
        log.append(x._version)
        if r.random() < 0.3:
            log.append([h.tolist() for h in held])
    return log, [x.tolist() for x in xs], [h.tolist() for h in held]


def flat(x):
    return [y for part in x for y in flat(part)] if isinstance(x, (list, tuple)) else [x]


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_writes_are_seen_where_pytorchs_are(start):
    for seed in range(start, start + 100):
        ours, theirs = flat(story(torchlike, seed)), flat(story(torch, seed))
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a == (pytest.approx(b, 1e-4, 1e-5) if b.__class__ is float else b), seed


def test_numbers_that_are_written_one_by_one_are_no_calls():
    def fill(n):
        x = torchlike.zeros(n, 9)
        for i in range(n):
            for j in range(9):
                x[i, j] = i + j
        return x.sum().item()

    fill(3)
    compiler.clear_caches()
    compiler.clear_stats()
    assert fill(20) == sum(i + j for i in range(20) for j in range(9))
    assert compiler.stats()["ops"] <= 3 and compiler.stats()["compiles"] <= 1


def test_a_mask_of_lengths_is_one_kind_of_input():
    net = torchlike.nn.Linear(6, 6)

    def step(lengths):
        mask = torchlike.zeros(len(lengths), 6)
        for i, n in enumerate(lengths):
            mask[i, :n] = 1
        loss = (net(mask) * mask).sum()
        loss.backward()
        return loss

    for lengths in ((1, 2, 3), (3, 4, 5), (6, 1, 1), (2, 2, 2)):
        step(lengths).item()
    compiler.clear_stats()
    for lengths in ((1, 1, 6), (0, 5, 2), (4, 4, 3)):
        step(lengths).item()
    assert compiler.stats()["misses"] == 0
