"""A DataLoader against PyTorch's: batches of a TensorDataset, workers on slow samples, start-up.

Each case runs in a process of its own, the two sides in turn, the best of several rounds counts.

    python benchmarks/dataloader.py [case ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

ROUNDS = 3


def sides() -> tuple:
    """PyTorch (None if it is not installed) and torchlike."""
    import torchlike

    try:
        import torch
    except ImportError:
        torch = None
    return torch, torchlike


def spin(seconds: float) -> None:
    """Keep a processor busy."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def tensors(m) -> dict:
    """One epoch over 10,000 rows of 32 floats, batches of 64, shuffled, in this process."""
    data = m.utils.data
    dataset = data.TensorDataset(m.randn(10_000, 32), m.arange(10_000))
    loader = data.DataLoader(dataset, batch_size=64, shuffle=True)

    def epoch():
        for _x, _y in loader:
            pass

    epoch()
    best = min(_timed(epoch) for _ in range(7))
    return {"us a batch": best / len(loader) * 1e6}


def samples(m) -> dict:
    """The same rows through a dataset of one's own, sample by sample."""
    data = m.utils.data

    class Own(data.Dataset):
        def __init__(self):
            self.x, self.y = m.randn(4096, 32), m.arange(4096)

        def __len__(self):
            return 4096

        def __getitem__(self, i):
            return self.x[i], self.y[i]

    loader = data.DataLoader(Own(), batch_size=64)

    def epoch():
        for _x, _y in loader:
            pass

    epoch()
    return {"us a batch": min(_timed(epoch) for _ in range(4)) / len(loader) * 1e6}


def sleeping(m) -> dict:
    """Samples that wait 5 ms each (a disk): 2 workers against none."""
    return _speedup(m, lambda: time.sleep(0.005))


def computing(m) -> dict:
    """Samples that compute for 5 ms each: 2 workers against none."""
    return _speedup(m, lambda: spin(0.005))


def _speedup(m, work) -> dict:
    data = m.utils.data

    class Slow(data.Dataset):
        def __len__(self):
            return 256

        def __getitem__(self, i):
            work()
            return i

    alone = data.DataLoader(Slow(), batch_size=16)
    shared = data.DataLoader(Slow(), batch_size=16, num_workers=2)
    list(shared)  # what workers come from is there; an epoch still starts its own
    slow = _timed(lambda: list(alone))
    fast = min(_timed(lambda: list(shared)) for _ in range(2))
    return {"times faster": slow / fast}


def starting(m) -> dict:
    """From iter() to the first batch, with 2 workers: at first, and for a later epoch."""
    data = m.utils.data

    class Quick(data.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            return i

    loader = data.DataLoader(Quick(), batch_size=2, num_workers=2)
    first = _timed(lambda: next(iter(loader)))
    later = min(_timed(lambda: next(iter(loader))) for _ in range(5))
    return {"ms first": first * 1e3, "ms later": later * 1e3}


def images(m) -> dict:
    """Batches of 64 x 3 x 224 x 224 floats from 2 workers: what shared memory brings across."""
    data = m.utils.data
    import numpy as np

    class Images(data.Dataset):
        def __init__(self):
            self.x = np.ones((3, 224, 224), np.float32)

        def __len__(self):
            return 64 * 12

        def __getitem__(self, i):
            return self.x, i

    loader = data.DataLoader(Images(), batch_size=64, num_workers=2)

    def epoch():
        for x, _ in loader:
            x[0, 0, 0, 0].item()

    epoch()
    return {"ms a batch": min(_timed(epoch) for _ in range(2)) / len(loader) * 1e3}


def _timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


CASES = {f.__name__: f for f in (tensors, samples, sleeping, computing, starting, images)}


def _in_process(case: str, side: str) -> dict | None:
    done = subprocess.run(
        [sys.executable, __file__, "--one", case, side],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, timeout=300,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> None:
    """Print a table: PyTorch, torchlike, and the ratio."""
    if arguments[:1] == ["--one"]:
        _, case, side = arguments
        m = dict(zip(("torch", "torchlike"), sides()))[side]
        if m is not None:
            import importlib

            importlib.import_module(f"{m.__name__}.utils.data")
        print(json.dumps(None if m is None else CASES[case](m)))
        return
    print(f"{'case':<12}{'':<16}{'PyTorch':>10}{'torchlike':>12}{'ratio':>8}")
    for case in arguments or CASES:
        runs = [(_in_process(case, "torch"), _in_process(case, "torchlike")) for _ in range(ROUNDS)]
        for what in runs[0][1]:
            pick = max if what == "times faster" else min
            ours = pick(run[1][what] for run in runs)
            line = f"{case:<12}{what:<16}"
            if runs[0][0] is None:
                print(line + f"{'-':>10}{ours:>12.2f}{'-':>8}")
                continue
            theirs = pick(run[0][what] for run in runs)
            print(line + f"{theirs:>10.2f}{ours:>12.2f}{ours / theirs:>8.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
