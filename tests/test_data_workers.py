"""Worker processes of a DataLoader: what they give, how they fail, and that nothing is left."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import torchlike as torch
from tests import data_worker_cases as cases
from torchlike.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

CONTEXTS = [
    m for m in ("forkserver", "spawn", "fork") if m in multiprocessing.get_all_start_methods()
]
pytestmark = [
    pytest.mark.skipif("forkserver" not in CONTEXTS, reason="workers are processes on Unix"),
    # On a machine of few processors three workers are worth a warning.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def plain(value):
    """Tensors and containers as what compares."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def gone(pid, seconds=5.0):
    """Whether a process ends within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


# ---- what they give ----------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, *CONTEXTS])
def test_batches_come_from_other_processes(context):
    loader = DataLoader(cases.Squares(), 3, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert [b[1].tolist() for b in batches] == [
        [i * i for i in range(s, min(s + 3, 20))] for s in range(0, 20, 3)
    ]
    assert [b[2][0] for b in batches] == [f"sample {s}" for s in range(0, 20, 3)]
    expected = cases.Squares().x * 2
    assert torch.equal(torch.cat([b[0] for b in batches]), expected)
    pids = {pid for b in batches for pid in b[3].tolist()}
    assert len(pids) == 2 and os.getpid() not in pids


def test_big_arrays_of_each_dtype():
    workers = list(DataLoader(cases.Big(), None, num_workers=2))
    here = list(DataLoader(cases.Big(), None))
    assert plain(workers) == plain(here)
    assert all(type(w["x"]) is torch.Tensor for w in workers)


def test_sparse_tensors_travel_as_their_parts():
    there = list(DataLoader(cases.Sparse(), None, num_workers=2))
    here = list(DataLoader(cases.Sparse(), None))
    assert [x.layout for x in there] == [x.layout for x in here]
    assert [repr(x) for x in there] == [repr(x) for x in here]
    (batch,) = DataLoader([here[0].requires_grad_()], collate_fn=list, num_workers=1)
    assert batch[0].is_coalesced() and batch[0].requires_grad


def test_a_meta_tensor_travels_as_its_shape():
    (x,) = DataLoader([torch.empty(2, 3, device="meta")], None, num_workers=1)
    assert x.is_meta and x.shape == (2, 3)


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
def test_a_tensor_travels_as_its_class_says():
    hidden = torch.masked.masked_tensor(torch.ones(2), torch.tensor([True, False]))
    (x,) = DataLoader([hidden], None, num_workers=1)
    assert x.get_mask().tolist() == [True, False]


def test_batches_may_be_written_and_kept():
    """The memory of a batch is nobody else's as long as somebody holds the batch."""
    loader = DataLoader(cases.Big(), 1, num_workers=1)
    kept, sums = [], []
    for batch in loader:
        x = batch["array"]
        x += 1
        kept.append(x)
        sums.append(x.sum().item())
    assert [x.sum().item() for x in kept] == sums
    rows = [b["array"][0, 0] for b in loader]
    assert [row.tolist() for row in rows] == [b["array"][0, 0].tolist() for b in loader]


def test_workers_give_what_workers_in_turn_give():
    """Also for random numbers; turns are taken where the dataset cannot be sent."""

    class Unsendable(cases.Noisy):
        def __init__(self):
            super().__init__()
            self.generator = (i for i in range(3))

    def run(dataset, **options):
        torch.manual_seed(3)
        loader = DataLoader(dataset, 5, shuffle=True, num_workers=2, **options)
        return plain([list(loader), list(loader), torch.rand(1)])

    with pytest.warns(UserWarning, match=r"cannot pickle 'generator' object.*take turns"):
        turns = run(Unsendable())
    assert turns == run(cases.Noisy())
    numbers = [b[1] for b in turns[0]]
    assert len({str(n) for n in numbers}) == len(numbers)


def test_numpy_and_random_differ_between_workers_and_epochs():
    loader = DataLoader(cases.Noisy(4), 1, num_workers=2)
    seen = [tuple(b[k].item() for k in (2, 3)) for _ in range(2) for b in loader]
    assert len(set(seen)) == 8


def test_order_is_kept_or_not():
    dataset = cases.Failing(0.5, 0.0, 0.0, 0.0)
    kept = [b.tolist() for b in DataLoader(dataset, 1, num_workers=2)]
    free = [b.tolist() for b in DataLoader(dataset, 1, num_workers=2, in_order=False)]
    assert kept == [[0], [1], [2], [3]]
    assert sorted(free) == kept and free[0] == [1]


def test_persistent_workers_are_the_same_processes():
    loader = DataLoader(cases.Squares(), 5, num_workers=2, persistent_workers=True)
    pids = [{p for b in loader for p in b[3].tolist()} for _ in range(3)]
    assert pids[0] == pids[1] == pids[2]
    next(iter(loader))  # a pass that is not finished
    assert [b[1][0].item() for b in loader] == [0, 25, 100, 225]
    loader = None
    gc.collect()
    assert all(gone(pid) for pid in pids[0])


@pytest.mark.parametrize("context", [None, "fork"])
def test_a_dataset_of_tensors_by_value(context):
    """Lambdas and local classes too; what a worker changes is its own."""
    data = torch.arange(12.0).view(6, 2)
    weight = torch.nn.Parameter(torch.ones(2))
    shift = 3

    class Local(Dataset):
        def __init__(self):
            self.data, self.weight = data, weight
            self.transform = lambda x: x * scale + shift

        def __len__(self):
            return 6

        def __getitem__(self, i):
            self.data[i] += 1
            return self.transform(self.data[i]), self.weight.detach(), self.weight.requires_grad

    scale = 2.0
    loader = DataLoader(Local(), 3, num_workers=1, multiprocessing_context=context)
    x, w, needs = next(iter(loader))
    assert torch.equal(x, (data[:3] + 1) * 2 + 3) and needs.all() and w.shape == (3, 2)
    assert torch.equal(data, torch.arange(12.0).view(6, 2))


def test_settings_go_along(monkeypatch):
    class Looks(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return torch.get_default_dtype(), os.environ["DATA_TEST"], os.getcwd(), sys.argv

    monkeypatch.setenv("DATA_TEST", "there")
    torch.set_default_dtype(torch.float64)
    try:
        (seen,) = DataLoader(Looks(), None, num_workers=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == [torch.float64, "there", os.getcwd(), sys.argv]


def test_workers_start_no_device():
    """Small ops are NumPy's: no client of XLA, and no threads but the one that watches."""

    class Counts(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            x = (torch.rand(3, 8, 8) - 0.5) / 0.25
            x = torch.stack([x.flip(2), x]).mean()
            return x.item(), threading.active_count(), len(os.listdir("/proc/self/task"))

    for _, python, system in DataLoader(Counts(), None, num_workers=1):
        assert python == 2 and system == 2


def test_large_ops_work_in_a_worker():
    class Multiplies(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            x = torch.full((400, 400), float(i + 1))
            return (x @ x).sum()

    assert [y.item() for y in DataLoader(Multiplies(), None, num_workers=1)] == [
        400.0**3,
        4 * 400.0**3,
    ]


# ---- how they fail -----------------------------------------------------------------------------


def test_errors_are_pytorchs():
    dataset = cases.Failing(
        "ValueError", "KeyError", "Custom", "StopIteration", "lambda", "grad", ""
    )
    iterator = iter(DataLoader(dataset, None, num_workers=2))
    with pytest.raises(ValueError) as caught:
        next(iterator)
    text = str(caught.value)
    assert text.startswith("Caught ValueError in DataLoader worker process 0.\nOriginal Traceback")
    assert text.endswith("ValueError: bad sample\n") and "data_worker_cases.py" in text
    with pytest.raises(KeyError, match="Caught KeyError in DataLoader worker process 1") as caught:
        next(iterator)
    assert "\nOriginal Traceback" in repr(caught.value.args[0])
    with pytest.raises(RuntimeError, match="Caught Custom in DataLoader worker process 0"):
        next(iterator)
    with pytest.raises(StopIteration, match="Caught StopIteration in DataLoader"):
        iterator._next_batch()
    with pytest.raises(Exception, match=r"(?s)DataLoader worker process 0.*lambda"):
        next(iterator)
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        next(iterator)
    assert next(iterator).item() == 6  # the others go on
    with pytest.raises(StopIteration):
        next(iterator)


def test_workers_are_joined():
    iterator = iter(DataLoader(range(4), num_workers=2))
    workers = iterator._workers
    workers[0].join(0.01)
    assert workers[0].is_alive()
    list(iterator)
    for worker in workers:
        worker.join(10)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_no_batch_ahead():
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        list(DataLoader([1], num_workers=1, prefetch_factor=0))


def test_an_error_in_worker_init_fn():
    loader = DataLoader([1, 2], num_workers=1, worker_init_fn=cases.fail_to_start)
    with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process 0"):
        next(iter(loader))


@pytest.mark.parametrize(
    ("fault", "cause", "context"),
    [("kill", "is killed by signal: Killed", None), ("kill", "signal: Killed", "fork"),
     ("exit", "with exit code 3", None), ("sys.exit", "with exit code 4", None),
     ("segfault", "is killed by signal: Segmentation fault", None)],
)  # fmt: skip
def test_a_worker_that_dies(context, fault, cause):
    dataset = cases.Failing("", "", fault)
    loader = DataLoader(
        dataset, None, num_workers=2, persistent_workers=True, multiprocessing_context=context
    )
    iterator = iter(loader)
    pid = iterator._workers[0].pid
    start = time.monotonic()
    with pytest.raises(RuntimeError) as caught:
        list(iterator)
    assert str(caught.value) == f"DataLoader worker (pid(s) {pid}) exited unexpectedly"
    assert cause in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        next(iterator)
    assert time.monotonic() - start < 5
    dataset.faults = ("", "", "")
    assert [x.item() for x in loader] == [0, 1, 2]  # with new workers


def test_a_worker_that_is_killed_while_another_works():
    iterator = iter(DataLoader(cases.Slow(100, 0.2), 1, num_workers=2))
    next(iterator)
    os.kill(iterator._workers[1].pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        for _ in iterator:
            pass
    assert time.monotonic() - start < 5


def test_the_process_that_forks_is_started_again():
    from torchlike.utils.data.nursery import nursery

    loader = DataLoader(cases.Slow(4, 0.1), 1, num_workers=1)
    iterator = iter(loader)
    next(iterator)
    pid = iterator._workers[0].pid
    nursery._process.kill()
    assert gone(pid)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(iterator)
    assert len(list(loader)) == 4


def test_timeout():
    assert len(list(DataLoader(cases.Squares(), 5, num_workers=1))) == 4  # what forks is ready
    loader = DataLoader(cases.Failing("", 60.0), None, num_workers=1, timeout=1.5)
    iterator = iter(loader)
    next(iterator)
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 1.5 seconds"):
        next(iterator)
    pid = iterator._workers[0].pid
    iterator.close(patience=0.1)
    assert gone(pid)


def test_a_module_that_workers_cannot_import(tmp_path, monkeypatch):
    (tmp_path / "vanishing_module.py").write_text(
        "class Data:\n    def __len__(self): return 1\n    def __getitem__(self, i): return i\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import vanishing_module

    dataset = vanishing_module.Data()
    loader = DataLoader(dataset, num_workers=1)
    assert [b.tolist() for b in loader] == [[0]]
    (tmp_path / "vanishing_module.py").unlink()
    with pytest.raises(RuntimeError, match="could not load the dataset"):
        list(loader)


def test_no_workers_within_workers():
    class Nested(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return list(DataLoader([1, 2], num_workers=1))

    with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
        list(DataLoader(Nested(), None, num_workers=1))


# ---- that nothing stays behind -----------------------------------------------------------------


def test_many_epochs_leak_nothing():
    gc.collect()  # what earlier tests have left
    loader = DataLoader(cases.Big(), 2, num_workers=2)
    assert _resources_after(loader, 2) == _resources_after(loader, 6)


def _resources_after(loader, epochs):
    for epoch in range(epochs):
        for _ in loader:
            if epoch % 3 == 2:  # a pass that ends early
                break
    gc.collect()
    from torchlike.utils.data.nursery import nursery

    workers = _children(nursery._process.pid)
    assert all(gone(pid) for pid in workers)
    with open("/proc/self/maps") as file:
        maps = file.read().count("torchlike-data")
    return len(os.listdir("/proc/self/fd")), maps, threading.active_count()


def test_a_peek_is_quick():
    loader = DataLoader(cases.Slow(1000, 0.01), 1, num_workers=2, prefetch_factor=50)
    next(iter(loader))
    start = time.monotonic()
    next(iter(loader))
    assert time.monotonic() - start < 2  # what was handed out ahead is not waited for


SCRIPT = """
import os, sys, time
import torch
from torch.utils.data import DataLoader, Dataset
print("main runs")
class Data(Dataset):
    def __init__(self, transform): self.transform = transform
    def __len__(self): return 8
    def __getitem__(self, i): {body}
loader = DataLoader(Data(lambda x: x * scale), batch_size=2, num_workers=2)
scale = 10
for x in loader:
    print(x.tolist(), flush=True)
"""


def _script(tmp_path, body, more="", torch_as=None):
    text = SCRIPT.format(body=body) + textwrap.dedent(more)
    if torch_as:
        text = text.replace("import torch\n", f"import {torch_as} as torch\n")
        text = text.replace("from torch.", f"from {torch_as}.")
    path = tmp_path / "train.py"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("way", ["import", "runner"])
def test_a_program_without_a_guard(tmp_path, way):
    path = _script(
        tmp_path, "return self.transform(i)", torch_as="torchlike" if way == "import" else None
    )
    command = (
        [sys.executable, str(path)]
        if way == "import"
        else [sys.executable, "-m", "torchlike", str(path)]
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n") == [
        "main runs",
        "[0, 10]",
        "[20, 30]",
        "[40, 50]",
        "[60, 70]",
        "",
    ]
    assert not done.stderr


@pytest.mark.slow
def test_workers_end_with_their_loader(tmp_path):
    """Killed in the middle, with workers busy: within a second nothing is left."""
    body = "return time.sleep(0.05 if i < 2 else 60) or self.transform(os.getpid())"
    path = _script(tmp_path, body, torch_as="torchlike")
    running = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout.readline() == "main runs\n"
        pid = eval(running.stdout.readline())[0] // 10
        group = _children(running.pid)
        assert pid in {p for child in group for p in _children(child)}
    finally:
        running.kill()
        running.stdout.close()
        running.wait()
    assert gone(pid) and all(gone(child) for child in group)


@pytest.mark.slow
def test_the_end_of_a_program_is_clean(tmp_path):
    """With passes that are not finished, and workers that are busy."""
    more = """
    kept = iter(loader)
    next(kept)
    other = iter(DataLoader(Data(time.sleep), num_workers=2, persistent_workers=True))
    """
    path = _script(tmp_path, "return self.transform(i)", more, torch_as="torchlike")
    start = time.monotonic()
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - start < 20


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


# ---- going on in the middle of an epoch --------------------------------------------------------


def weighted(dataset, generator):
    return WeightedRandomSampler([1.0, 2.0, 3.0] * 8, 24, generator=generator)


def with_replacement(dataset, generator):
    return RandomSampler(dataset, replacement=True, num_samples=70, generator=generator)


def subset(dataset, generator):
    return SubsetRandomSampler(range(0, 24, 2), generator=generator)


RESUMED = {
    "here": {"shuffle": True},
    "here, generator": {"shuffle": True, "generator": True},
    "here, weighted": {"sampler": weighted},
    "here, replacement, generator": {"sampler": with_replacement, "generator": True},
    "workers": {"shuffle": True, "num_workers": 2},
    "workers, generator": {
        "shuffle": True,
        "num_workers": 3,
        "generator": True,
        "prefetch_factor": 3,
    },
    "workers, subset": {"sampler": subset, "num_workers": 2},
    "persistent": {"shuffle": True, "num_workers": 2, "persistent_workers": True},
    "stream": {"dataset": cases.Stream},
    "stream, workers": {"dataset": cases.Stream, "num_workers": 2},
    "stateful": {"dataset": cases.Stateful},
    "stateful, workers": {"dataset": cases.Stateful, "num_workers": 2, "persistent_workers": True},
}


def _loader(dataset=cases.Noisy, generator=False, sampler=None, **options):
    dataset = dataset()
    options["generator"] = torch.Generator().manual_seed(5) if generator else None
    if sampler is not None:
        options["sampler"] = sampler(dataset, options["generator"])
    return DataLoader(dataset, 4, **options)


def _rest(loader, epochs):
    """Batches until the end, with draws in between, as a training with dropout makes them."""
    out = []
    for _ in range(epochs):
        for batch in loader:
            out.append(plain([batch, torch.rand(1)]))
    return out


def _places():
    """Where each kind of loader is stopped: two places for those that start processes."""
    for name, options in RESUMED.items():
        few = "num_workers" in options and name != "persistent"
        yield from ((name, stop) for stop in ((3, "end") if few else (0, 1, 3, "end", "next")))


@pytest.mark.parametrize(("name", "stop"), list(_places()))
def test_going_on_in_the_middle(name, stop):
    options = RESUMED[name]
    torch.manual_seed(1)
    loader = _loader(**options)
    before = []
    if stop == "next":  # within the second epoch
        _rest(loader, 1)
    iterator = iter(loader)
    for _ in range({"end": 0, "next": 2}.get(stop, stop)):
        before.append(plain([next(iterator), torch.rand(1)]))
    if stop == "end":
        for _ in iterator:
            pass
    state = loader.state_dict()
    expected = [plain([batch, torch.rand(1)]) for batch in iterator] + _rest(loader, 1)
    torch.manual_seed(77)
    del iterator
    resumed = _loader(**options)
    resumed.load_state_dict(state)
    del state
    if stop == "end":
        again = _rest(resumed, 1)
    else:
        again = _rest(resumed, 2)
    if name.startswith("stateful"):  # counts of reads start anew
        expected, again = ([[b[0][0], b[1]] for b in x] for x in (expected, again))
    assert again == expected


def test_a_state_goes_through_a_file_and_a_new_process(tmp_path):
    """Losses of the rest of two epochs, bit for bit, from a checkpoint with the model's."""
    program = textwrap.dedent("""
        import sys
        import torchlike as torch
        from torchlike.utils.data import DataLoader, Dataset
        class Data(Dataset):
            def __init__(self): self.x = torch.linspace(0, 1, 80).view(40, 2)
            def __len__(self): return 40
            def __getitem__(self, i): return self.x[i] + torch.rand(2), self.x[i].sum()
        mode, path = sys.argv[1:]
        torch.manual_seed(int(mode == "resume"))
        loader = DataLoader(Data(), 4, shuffle=True, num_workers=2)
        nn = torch.nn
        model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters())
        if mode == "resume":
            state = torch.load(path, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            loader.load_state_dict(state["loader"])
        step = 0
        for epoch in range(2):
            for x, y in loader:
                loss = (model(x)[:, 0] - y).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                print(loss.item().hex())
                step += 1
                if mode == "run" and step == 4:
                    print("saved")
                    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                                "loader": loader.state_dict()}, path)
    """)
    script = tmp_path / "train.py"
    script.write_text(program)
    path = str(tmp_path / "state.pt")

    def run(mode):
        return subprocess.run(
            [sys.executable, str(script), mode, path], capture_output=True, text=True, timeout=60,
            check=True,
        ).stdout  # fmt: skip

    whole = run("run").partition("saved\n")[2].split()
    assert len(whole) == 16
    assert run("resume").split() == whole


def test_states_that_do_not_fit():
    loader = DataLoader(cases.Stream(), 2, num_workers=2)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(ValueError, match="num_workers=2, this one has num_workers=0"):
        DataLoader(cases.Stream(), 2).load_state_dict(state)
    with pytest.raises(ValueError, match="no state of a DataLoader"):
        loader.load_state_dict({"batch": 3})

    class Own:
        """Draws from a generator that nobody knows of."""

        def __init__(self, seed):
            self.random = np.random.default_rng(seed)

        def __iter__(self):
            return iter(self.random.permutation(20).tolist())

        def __len__(self):
            return 20

    loader = DataLoader(cases.Noisy(), 3, sampler=Own(0))
    next(iter(loader))
    other = DataLoader(cases.Noisy(), 3, sampler=Own(1))
    other.load_state_dict(loader.state_dict())
    with pytest.raises(RuntimeError, match="did not repeat the order"):
        iter(other)


def test_another_number_of_workers_gives_the_rest_of_the_epoch():
    torch.manual_seed(4)
    loader = DataLoader(TensorDataset(torch.arange(40)), 4, shuffle=True, num_workers=2)
    iterator = iter(loader)
    seen = [next(iterator)[0].tolist() for _ in range(3)]
    state = loader.state_dict()
    rest = [b[0].tolist() for b in iterator]
    for count in (0, 1, 3):
        other = DataLoader(TensorDataset(torch.arange(40)), 4, shuffle=True, num_workers=count)
        other.load_state_dict(state)
        assert [b[0].tolist() for b in other] == rest, (count, seen)
