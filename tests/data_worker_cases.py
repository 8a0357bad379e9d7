"""Datasets for the tests of a loader's workers: in a module of its own, which workers import."""

import os
import random
import signal
import time

import numpy as np

import torchlike
from torchlike.utils.data import Dataset, IterableDataset, get_worker_info


class Squares(Dataset):
    """Tensors, numbers, names and the process they come from."""

    def __init__(self, count=20):
        self.x = torchlike.arange(count * 4, dtype=torchlike.float32).view(count, 4)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] * 2, i * i, f"sample {i}", os.getpid()


class Big(Dataset):
    """Arrays that travel through shared memory, of each dtype, and small ones beside them."""

    dtypes = ("float32", "bfloat16", "int64", "bool", "complex64", "uint8", "float16")

    def __len__(self):
        return 14

    def __getitem__(self, i):
        values = np.random.RandomState(i).rand(300, 200)
        x = torchlike.tensor(values).to(getattr(torchlike, self.dtypes[i % 7]))
        return {"x": x, "array": values, "label": torchlike.tensor(i), "text": ["a" * i]}


class Sparse(Dataset):
    """Sparse tensors of each layout, one of which the dataset holds."""

    layouts = ("sparse", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")

    def __init__(self):
        self.held = torchlike.eye(2).to_sparse()

    def __len__(self):
        return 6

    def __getitem__(self, i):
        if i == 5:
            return self.held * 2
        x = torchlike.eye(4) * (i + 1)
        return getattr(x, f"to_{self.layouts[i]}")(*[(2, 2)] * (i > 2))


class Noisy(Dataset):
    """A number of each global generator, for each sample."""

    def __init__(self, count=24):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return i, torchlike.rand(()), random.random(), np.random.rand(), torchlike.randn(3)


class Stream(IterableDataset):
    """Numbers, each worker its share, with noise."""

    def __init__(self, count=23):
        self.count = count

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for i in range(first, self.count, step):
            yield i, torchlike.rand(()), random.random()


class Stateful(IterableDataset):
    """A stream that keeps its own place, and must not be read from the start again."""

    def __init__(self, count=12):
        self.count, self.at, self.reads = count, 0, 0

    def __iter__(self):
        while self.at < self.count:
            self.at += 1
            self.reads += 1
            yield self.at, self.reads
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Slow(Dataset):
    """Each sample takes a while."""

    def __init__(self, count, seconds):
        self.count, self.seconds = count, seconds

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        time.sleep(self.seconds)
        return i


class Custom(Exception):
    """An error that wants two arguments."""

    def __init__(self, a, b):
        super().__init__(a, b)


class Failing(Dataset):
    """What goes wrong with each sample is in a list."""

    def __init__(self, *faults):
        self.faults = faults

    def __len__(self):
        return len(self.faults)

    def __getitem__(self, i):
        fault = self.faults[i]
        if fault == "ValueError":
            raise ValueError("bad sample")
        if fault == "KeyError":
            return {}["no such key\nin two lines"]
        if fault == "Custom":
            raise Custom(1, 2)
        if fault == "StopIteration":
            raise StopIteration
        if fault == "exit":
            os._exit(3)
        if fault == "sys.exit":
            raise SystemExit(4)
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "lambda":
            return lambda: None
        if fault == "grad":
            return torchlike.ones(2, requires_grad=True) * 2
        if isinstance(fault, float):
            time.sleep(fault)
        return torchlike.tensor(i)


def collated_as_list(samples):
    """The samples as they are."""
    return samples


def fail_to_start(number):
    """A worker_init_fn with a fault."""
    raise ValueError(f"worker {number} does not start")
