"""Processes that share memory, and forks: ``sharing_cases.py LIBRARY`` prints what each gives."""

import ctypes
import importlib
import multiprocessing as mp
import sys
import warnings
from multiprocessing.shared_memory import SharedMemory

import numpy as np

torch = importlib.import_module(sys.argv[1])
nn, data = importlib.import_module(f"{sys.argv[1]}.nn"), torch.utils.data


NAMED: list[SharedMemory] = []


# ---- memory that a loader's workers write ------------------------------------------------------


class Written(data.Dataset):
    """Three samples, each of which writes its number to ``target``."""

    def __init__(self, target):
        self.target, self.kept = target, NAMED[:]

    def __len__(self):
        return 3

    def __getitem__(self, i):
        assert not self.kept or self.kept[0].buf is not None
        self.target[i] += i + 1
        return i


def raw_array():
    return np.frombuffer(mp.RawArray(ctypes.c_double, 3))


def rows_of_an_array():
    whole = np.ctypeslib.as_array(mp.Array(ctypes.c_float, 9).get_obj())
    return whole.reshape(3, 3)[:, 1]


def tensor_of_an_array():
    return torch.from_numpy(np.ctypeslib.as_array(mp.Array(ctypes.c_int, 3).get_obj()))


def shared_tensor():
    return torch.zeros(3).share_memory_()


def view_of_a_shared_tensor():
    return torch.zeros(2, 3).share_memory_()[1]


def named_memory():
    memory = SharedMemory(create=True, size=24)
    NAMED.append(memory)
    array = np.ndarray((3,), "f8", buffer=memory.buf)
    array[:] = 0
    return array


def many_tensors():
    return [torch.zeros(()).share_memory_() for _ in range(70)]


def own_array():
    return np.zeros(3)


def own_tensor():
    return torch.zeros(3)


TARGETS = [
    raw_array, rows_of_an_array, tensor_of_an_array, shared_tensor, view_of_a_shared_tensor,
    named_memory, many_tensors, own_array, own_tensor,
]  # fmt: skip


def seen_by_workers_later():
    """What the main process writes while the workers live."""
    target = shared_tensor()
    loader = data.DataLoader(Written(target), num_workers=1, persistent_workers=True)
    list(loader)
    target.fill_(10)
    list(loader)
    return target.tolist()


class OfWorkers(data.Dataset):
    """What a worker has of the settings of its loader's process."""

    def __init__(self, listed):
        self.listed = listed

    def __len__(self):
        return 1

    def __getitem__(self, i):
        self.listed.append(i)
        try:
            warnings.warn("an error here", FutureWarning, stacklevel=1)
        except FutureWarning:
            return sys.getrecursionlimit()
        return 0


def settings_of_workers():
    sys.setrecursionlimit(1234)
    with mp.Manager() as manager, warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        listed = manager.list()
        limit = [x.item() for x in data.DataLoader(OfWorkers(listed), num_workers=1)]
        return list(listed), limit


# ---- forks of a process that has computed ------------------------------------------------------


def training(results):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(6, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
    results.put(round(loss.item(), 4))


def a_large_product(results):
    results.put((torch.ones(500, 300) @ torch.ones(300, 500)).sum().item())


def random_numbers(results):
    torch.manual_seed(1)
    results.put((torch.rand(3).tolist(), torch.randperm(5).tolist()))


def what_was_pending(results):
    results.put((PENDING.sum() + 1).item())


def hogwild(results):
    optimizer = torch.optim.SGD(SHARED.parameters(), lr=0.5)
    SHARED(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    results.put(None)


FORKS = [training, a_large_product, random_numbers, what_was_pending, hogwild]


def forked(target):
    """What a fork puts into a queue."""
    context = mp.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=target, args=(results,))
    process.start()
    process.join(60)
    if process.exitcode is None:
        process.kill()
        return "hangs"
    return results.get()


if __name__ == "__main__":
    for make in TARGETS:
        target = make()
        list(data.DataLoader(Written(target), num_workers=2))
        print(make.__name__, [float(target[i]) for i in range(3)], flush=True)
    for case in (seen_by_workers_later, settings_of_workers):
        print(case.__name__, case(), flush=True)
    for memory in NAMED:
        memory.unlink()

    (torch.ones(300, 300) @ torch.ones(300, 300)).sum().item()
    training(mp.get_context("fork").SimpleQueue())
    PENDING = torch.arange(4.0) * 2
    SHARED = nn.Linear(2, 1).share_memory()
    for case in FORKS:
        before = SHARED.weight.detach().clone()
        print(case.__name__, forked(case), (before - SHARED.weight).tolist(), flush=True)
