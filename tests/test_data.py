"""Datasets, samplers and the DataLoader: PyTorch's batches, order, random draws and words."""

import collections
import dataclasses
import itertools
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

import torchlike
import torchlike.utils.data as our_data

torch = pytest.importorskip("torch")
import torch.utils.data as their_data  # noqa: E402

BOTH = ((torch, their_data), (torchlike, our_data))
X = np.random.RandomState(0).rand(37, 3).astype(np.float32)
Y = np.random.RandomState(1).randint(0, 5, 37)


def plain(value):
    """Tensors as (dtype, shape, numbers), containers as themselves, so that both sides compare."""
    if isinstance(value, (torch.Tensor, torchlike.Tensor)):
        return (str(value.dtype), tuple(value.shape), value.tolist(), value.requires_grad)
    if isinstance(value, Mapping):
        return type(value).__name__, {k: plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple, collections.UserList)):
        return type(value).__name__, [plain(v) for v in value]
    return value


def outcome(action):
    """What a call gives, or its error, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(action())
        except Exception as error:
            result = (type(error), str(error))
    return result, [(w.category, str(w.message)) for w in caught]


def same(action):
    """The action gives on both sides the same; returns that."""
    theirs, ours = (outcome(lambda m=m, d=d: action(m, d)) for m, d in BOTH)
    assert ours == theirs
    return ours


# ---- datasets made of the same numbers on both sides -------------------------------------------


def tensors(m, d):
    return d.TensorDataset(m.tensor(X), m.tensor(Y))


def subset(m, d):
    return d.Subset(tensors(m, d), [3, 1, 36, 7, 7, 20, 0])


def subset_of_subset(m, d):
    return d.Subset(subset(m, d), range(1, 6))


def one_tensor(m, d):
    return d.TensorDataset(m.arange(23))


def computed(m, d):
    return d.TensorDataset(m.tensor(X) * 2, m.tensor(Y) + 1)


def tracked(m, d):
    return d.TensorDataset(m.tensor(X, requires_grad=True), m.tensor(Y))


def own(m, d):
    class Own(d.Dataset):
        def __init__(self):
            self.x, self.y = m.tensor(X), m.tensor(Y)

        def __len__(self):
            return len(self.x)

        def __getitem__(self, i):
            return {"x": self.x[i, 1:], "y": self.y[i], "twice": self.x[i] * 2, "i": i}

    return Own()


def arrays(m, d):
    class Arrays(d.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            if i >= len(X):
                raise IndexError(i)
            return X[i], Y[i], float(Y[i]), str(i)

    return Arrays()


def noisy(m, d):
    class Noisy(d.Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, i):
            return m.rand(2), random.random(), np.random.rand(), m.randint(0, 9, (1,)) + i

    return Noisy()


def batched(m, d):
    class Batched(d.Dataset):
        def __len__(self):
            return 20

        def __getitems__(self, indices):
            return [(i, i * 0.5) for i in indices]

    return Batched()


def concat(m, d):
    return tensors(m, d) + d.Subset(tensors(m, d), [0, 1])


def stacked(m, d):
    return d.StackDataset(tensors(m, d), arrays(m, d))


def stacked_names(m, d):
    return d.StackDataset(image=subset(m, d), label=d.Subset(arrays(m, d), range(7)))


def stream(m, d):
    class Stream(d.IterableDataset):
        def __iter__(self):
            x = m.tensor(X)
            return (x[i] for i in range(17))

    return Stream()


def sized_stream(m, d):
    class Stream(d.IterableDataset):
        def __len__(self):
            return 7

        def __iter__(self):
            return iter(range(10))

    return Stream()


def sharded_stream(m, d):
    class Stream(d.IterableDataset):
        def __iter__(self):
            info = d.get_worker_info()
            start, step = (0, 1) if info is None else (info.id, info.num_workers)
            for i in range(start, 21, step):
                yield i, m.rand(1)

    return Stream()


def chain(m, d):
    return stream(m, d) + stream(m, d)


@dataclass
class Case:
    """A dataset with the options of a loader; a value may be a function of (torch, data)."""

    dataset: object
    options: dict

    def __str__(self):
        shown = ",".join(f"{k}={getattr(v, '__name__', v)}" for k, v in self.options.items())
        return f"{self.dataset.__name__}({shown})"

    def loader(self, m, d):
        dataset = self.dataset(m, d)
        options = {
            k: v(m, d, dataset) if k in ("sampler", "batch_sampler", "generator") else v
            for k, v in self.options.items()
        }
        return d.DataLoader(dataset, **options)


def seeded(m, d, dataset):
    return m.Generator().manual_seed(11)


def weighted(m, d, dataset):
    return d.WeightedRandomSampler([0.1 + i % 3 for i in range(len(dataset))], 45)


def weighted_once(m, d, dataset):
    generator = m.Generator().manual_seed(5)
    return d.WeightedRandomSampler(m.arange(1, len(dataset) + 1), 20, False, generator)


def with_replacement(m, d, dataset):
    return d.RandomSampler(dataset, replacement=True, num_samples=70)


def more_than_all(m, d, dataset):
    return d.RandomSampler(dataset, num_samples=80, generator=m.Generator().manual_seed(3))


def of_some(m, d, dataset):
    return d.SubsetRandomSampler([1, 5, 2, 30, 9])


def backwards(m, d, dataset):
    return list(range(len(dataset)))[::-1]


def own_batches(m, d, dataset):
    return [[0, 1, 2], [5], [7, 8, 36, 3]]


def random_batches(m, d, dataset):
    return d.BatchSampler(d.RandomSampler(dataset), 6, True)


def first_only(batch):
    return batch[0]


CASES = [
    Case(tensors, {}),
    Case(tensors, {"batch_size": 8}),
    Case(tensors, {"batch_size": 8, "shuffle": True}),
    Case(tensors, {"batch_size": 8, "shuffle": True, "drop_last": True}),
    Case(tensors, {"batch_size": 100, "shuffle": True, "drop_last": True}),
    Case(tensors, {"batch_size": 37, "shuffle": True, "generator": seeded}),
    Case(tensors, {"batch_size": 5, "sampler": weighted}),
    Case(tensors, {"batch_size": 5, "sampler": weighted_once}),
    Case(tensors, {"batch_size": 5, "sampler": with_replacement}),
    Case(tensors, {"batch_size": 5, "sampler": more_than_all}),
    Case(tensors, {"batch_size": 2, "sampler": of_some}),
    Case(tensors, {"batch_size": 4, "sampler": backwards}),
    Case(tensors, {"batch_sampler": own_batches}),
    Case(tensors, {"batch_sampler": random_batches}),
    Case(tensors, {"batch_size": None}),
    Case(tensors, {"batch_size": None, "shuffle": True}),
    Case(tensors, {"batch_size": None, "sampler": own_batches}),
    Case(tensors, {"batch_size": 4, "collate_fn": first_only, "shuffle": True}),
    Case(tensors, {"batch_size": 4, "shuffle": True, "pin_memory": True}),
    Case(tensors, {"batch_size": 4, "pin_memory": True, "pin_memory_device": "cuda"}),
    Case(one_tensor, {"batch_size": 6, "shuffle": True}),
    Case(computed, {"batch_size": 6, "shuffle": True}),
    Case(tracked, {"batch_size": 6, "shuffle": True}),
    Case(subset, {"batch_size": 3, "shuffle": True}),
    Case(subset_of_subset, {"batch_size": 3, "shuffle": True}),
    Case(own, {"batch_size": 5, "shuffle": True}),
    Case(own, {"batch_size": None}),
    Case(arrays, {"batch_size": 5, "shuffle": True}),
    Case(arrays, {"batch_size": None}),
    Case(noisy, {"batch_size": 6, "shuffle": True}),
    Case(batched, {"batch_size": 6, "shuffle": True}),
    Case(concat, {"batch_size": 10, "shuffle": True}),
    Case(stacked, {"batch_size": 10, "shuffle": True}),
    Case(stacked_names, {"batch_size": 3, "shuffle": True}),
    Case(stream, {"batch_size": 4}),
    Case(stream, {"batch_size": 4, "drop_last": True}),
    Case(stream, {"batch_size": None}),
    Case(stream, {"batch_size": 4, "generator": seeded}),
    Case(chain, {"batch_size": 4}),
    Case(sharded_stream, {"batch_size": 4}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_batches_order_and_later_draws(case):
    def epochs(m, d):
        m.manual_seed(123)
        random.seed(4)
        np.random.seed(4)
        loader = case.loader(m, d)
        seen = []
        for _ in range(3):
            seen.append(list(loader))
            seen.append(m.rand(2))
        if loader.generator is not None:
            seen.append(m.rand(2, generator=loader.generator))
        return seen

    same(epochs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lengths(case):
    same(lambda m, d: len(case.loader(m, d)))


WORKER_CASES = [
    Case(tensors, {"batch_size": 8, "shuffle": True, "num_workers": 2}),
    Case(noisy, {"batch_size": 3, "shuffle": True, "num_workers": 2}),
    Case(noisy, {"batch_size": 3, "num_workers": 2, "persistent_workers": True}),
    Case(noisy, {"batch_size": 3, "num_workers": 3, "generator": seeded, "prefetch_factor": 1}),
    Case(noisy, {"batch_size": 3, "sampler": more_than_all, "num_workers": 1}),
    Case(stream, {"batch_size": 4, "num_workers": 2}),
    Case(sharded_stream, {"batch_size": 4, "num_workers": 2}),
    Case(sharded_stream, {"batch_size": None, "num_workers": 3}),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", WORKER_CASES, ids=str)
def test_workers_that_take_turns_give_what_processes_give(case):
    """Also for transforms that draw random numbers, with each of the three generators."""

    def epochs(m, d):
        m.manual_seed(123)
        random.seed(4)
        np.random.seed(4)
        loader = case.loader(m, d)
        seen = []
        for _ in range(2):
            iterator = iter(loader)
            seen.append(m.rand(1))
            seen.append(list(iterator))
            seen.append((m.rand(1), random.random(), np.random.rand()))
        return seen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking, and of more workers than processors
        theirs, ours = (plain(epochs(m, d)) for m, d in BOTH)
    assert ours == theirs


def test_worker_init_and_info():
    class Range(our_data.IterableDataset):
        def __init__(self, start, stop):
            self.start, self.stop = start, stop

        def __iter__(self):
            return iter(range(self.start, self.stop))

    def split(number):
        info = our_data.get_worker_info()
        assert (info.id, info.num_workers, info.seed) == (number, 2, seed + number)
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'id'"):
            info.id = 3
        middle = (info.dataset.start + info.dataset.stop) // 2
        if number:
            info.dataset.start = middle
        else:
            info.dataset.stop = middle

    seed = our_data.sampler.draw_seed(torchlike.Generator().manual_seed(9))
    dataset = Range(3, 11)
    loader = our_data.DataLoader(
        dataset, num_workers=2, worker_init_fn=split, batch_size=None,
        generator=torchlike.Generator().manual_seed(9),
    )  # fmt: skip
    assert list(loader) == [3, 7, 4, 8, 5, 9, 6, 10]
    assert (dataset.start, dataset.stop) == (3, 11)
    assert our_data.get_worker_info() is None


# ---- random_split ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths",
    [[30, 7], [37], [0, 37], [0.5, 0.5], [0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.99, 0.01],
     [10, 10], [1.5, -0.5], [0.3, 0.3], [], [1], [0.999, 0.0005, 0.0005]],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("source", ["default", "given", "none"])
def test_random_split(lengths, source):
    def split(m, d):
        m.manual_seed(77)
        options = {}
        if source == "given":
            options["generator"] = m.Generator().manual_seed(42)
        if source == "none":
            options["generator"] = None
        parts = d.random_split(tensors(m, d), lengths, **options)
        return [[list(part.indices), list(part)] for part in parts], m.rand(1)

    same(split)


# ---- samplers ----------------------------------------------------------------------------------

SAMPLERS = {
    "sequential": lambda m, d: d.SequentialSampler(range(5)),
    "random": lambda m, d: d.RandomSampler(range(40)),
    "random of one": lambda m, d: d.RandomSampler(range(1)),
    "random replacement": lambda m, d: d.RandomSampler(range(40), True, 64),
    "random generator": lambda m, d: d.RandomSampler(range(9), generator=seeded(m, d, None)),
    "subset": lambda m, d: d.SubsetRandomSampler(list("abcde")),
    "subset empty": lambda m, d: d.SubsetRandomSampler([]),
    "weighted": lambda m, d: d.WeightedRandomSampler([1, 0, 3.5], 9),
    "weighted too many": lambda m, d: d.WeightedRandomSampler([1, 1], 9, False),
    "batch": lambda m, d: d.BatchSampler(d.SequentialSampler(range(10)), 3, False),
    "batch drop": lambda m, d: d.BatchSampler(range(10), 3, True),
    "batch of iterator": lambda m, d: d.BatchSampler(iter(range(4)), 3, False),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name):
    def draw(m, d):
        m.manual_seed(1)
        sampler = SAMPLERS[name](m, d)
        return [list(sampler), list(sampler), m.rand(1), len(sampler)]

    same(draw)


def test_two_passes_of_one_sampler_at_once():
    def draw(m, d):
        m.manual_seed(1)
        sampler = d.RandomSampler(range(6), num_samples=15)
        return list(zip(sampler, sampler, strict=True))

    same(draw)


# ---- collating ---------------------------------------------------------------------------------

Point = collections.namedtuple("Point", "x y")


class Bag(collections.UserList):
    """A list with something of its own."""


class Strange:
    """Nothing that can be collated."""


BATCHES = {
    "tensors": lambda m: [m.tensor([1, 2]), m.tensor([3, 4])],
    "0-d": lambda m: [m.tensor(1.5), m.tensor(2.5), m.tensor(0.0)],
    "bool": lambda m: [m.tensor(True), m.tensor(False)],
    "bfloat16": lambda m: [m.tensor([1.5], dtype=m.bfloat16)] * 3,
    "complex": lambda m: [m.tensor([1j]), m.tensor([2 + 0j])],
    "empty": lambda m: [m.zeros(0, 3), m.zeros(0, 3)],
    "no samples": lambda m: [],
    "pending": lambda m: [m.tensor([1.0]) + 1, m.tensor([2.0]) * 3],
    "grad": lambda m: [m.ones(2, requires_grad=True), m.zeros(2)],
    "views": lambda m: list(m.tensor(X)[:3, ::2].unbind(0)),
    "mixed dtypes": lambda m: [m.tensor([1.0]), m.tensor([2])],
    "mixed sizes": lambda m: [m.zeros(2), m.zeros(3)],
    "tensor and int": lambda m: [m.zeros(2), 3],
    "int": lambda m: [1, 2, 3],
    "int and float": lambda m: [1, 2.5],
    "float": lambda m: [1.5, 2, 3.0],
    "bools": lambda m: [True, False],
    "str": lambda m: ["a", "bc"],
    "bytes": lambda m: [b"a", b"bc"],
    "None": lambda m: [None, None],
    "object": lambda m: [Strange, Strange],
    "numpy": lambda m: [np.ones(2), np.zeros(2)],
    "numpy 0-d": lambda m: [np.array(1), np.array(2)],
    "numpy f16": lambda m: [np.ones(2, np.float16)] * 2,
    "numpy sizes": lambda m: [np.ones(2), np.zeros(3)],
    "numpy text": lambda m: [np.array(["a", "b"])] * 2,
    "numpy float64": lambda m: [np.float64(1.5), np.float64(2)],
    "numpy float32": lambda m: [np.float32(1.5), np.float32(2)],
    "numpy int32": lambda m: [np.int32(1), np.int32(2)],
    "numpy bool": lambda m: [np.bool_(True), np.bool_(False)],
    "tuple": lambda m: [(1, "a", m.zeros(1)), (2, "b", m.ones(1))],
    "list": lambda m: [[1, 2.0], [3, 4.0]],
    "ragged": lambda m: [[1, 2], [3]],
    "namedtuple": lambda m: [Point(1, 2.0), Point(3, 4.0)],
    "dict": lambda m: [{"a": 1, "b": [2.0]}, {"a": 3, "b": [4.0]}],
    "missing key": lambda m: [{"a": 1}, {"b": 2}],
    "ordered": lambda m: [collections.OrderedDict(a=1, b=2)] * 2,
    "default": lambda m: [collections.defaultdict(int, a=1)] * 2,
    "frozen mapping": lambda m: [__import__("types").MappingProxyType({"a": 1})] * 2,
    "bag": lambda m: [Bag([1, 2.0]), Bag([3, 4.0])],
    "range": lambda m: [range(3), range(3)],
    "set": lambda m: [{1}, {2}],
    "nested": lambda m: [{"a": (1, [m.zeros(2), {"b": "x"}])}] * 2,
}


@pytest.mark.parametrize("name", BATCHES)
def test_default_collate(name):
    same(lambda m, d: d.default_collate(BATCHES[name](m)))


@pytest.mark.parametrize("name", BATCHES)
def test_default_convert(name):
    if name == "object":
        return  # neither changes it, and the class is the same
    same(lambda m, d: d.default_convert(BATCHES[name](m)))


def test_collate_functions_of_ones_own():
    def total(batch, *, collate_fn_map=None):
        return sum(batch)

    def collated(m, d):
        collate = d._utils.collate.collate
        own = {int: total, **d._utils.collate.default_collate_fn_map}
        own = {**own, int: total}
        return collate([(1, 2.0), (3, 4.0)], collate_fn_map=own)

    same(collated)
    same(lambda m, d: d._utils.collate.collate([1, 2]))


# ---- words -------------------------------------------------------------------------------------


def loader_of(dataset, **options):
    return lambda m, d: d.DataLoader(dataset(m, d), **options)


def set_batch_size(m, d):
    d.DataLoader(tensors(m, d)).batch_size = 3


def no_getitem(m, d):
    class Empty(d.Dataset):
        def __len__(self):
            return 3

    return list(d.DataLoader(Empty()))


def half_a_subset(m, d):
    class Half(d.Subset):
        def __getitem__(self, i):
            return i

    return Half(tensors(m, d), [1])


def wrong_length(m, d):
    class Wrong(d.Dataset):
        def __len__(self):
            return 2

        def __getitems__(self, indices):
            return [1]

    return d.StackDataset(Wrong(), range(2)).__getitems__([0, 1])


def promised_too_little(read):
    def run(m, d):
        dataset = sized_stream(m, d)
        loader = d.DataLoader(dataset, batch_size=None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen = read(loader)
        texts = [str(w.message).replace(repr(dataset), "it") for w in caught]
        return seen, texts

    return run


ERRORS = {
    "negative workers": loader_of(tensors, num_workers=-1),
    "negative timeout": loader_of(tensors, timeout=-1),
    "prefetch alone": loader_of(tensors, prefetch_factor=2),
    "negative prefetch": loader_of(tensors, num_workers=1, prefetch_factor=-2),
    "persistent alone": loader_of(tensors, persistent_workers=True),
    "sampler and shuffle": loader_of(tensors, sampler=[1], shuffle=True),
    "batch sampler and size": loader_of(tensors, batch_sampler=[[1]], batch_size=3),
    "batch sampler and drop": loader_of(tensors, batch_sampler=[[1]], drop_last=True),
    "drop without batches": loader_of(tensors, batch_size=None, drop_last=True),
    "batch size 0": loader_of(tensors, batch_size=0),
    "batch size float": loader_of(tensors, batch_size=2.5),
    "batch size bool": loader_of(tensors, batch_size=True),
    "context alone": loader_of(tensors, multiprocessing_context="spawn"),
    "no such context": loader_of(tensors, num_workers=1, multiprocessing_context="no"),
    "context type": loader_of(tensors, num_workers=1, multiprocessing_context=3),
    "stream shuffled": loader_of(stream, shuffle=True),
    "stream sampler": loader_of(stream, sampler=[1]),
    "stream batch sampler": loader_of(stream, batch_sampler=[[1]]),
    "length of stream": lambda m, d: len(d.DataLoader(stream(m, d))),
    "set an option": set_batch_size,
    "shuffle nothing": lambda m, d: d.DataLoader([], shuffle=True),
    "index too large": lambda m, d: list(d.DataLoader(tensors(m, d), sampler=[40])),
    "tensor dataset sizes": lambda m, d: d.TensorDataset(m.zeros(2), m.zeros(3)),
    "no getitem": no_getitem,
    "concat nothing": lambda m, d: d.ConcatDataset([]),
    "concat streams": lambda m, d: d.ConcatDataset([stream(m, d)]),
    "concat too negative": lambda m, d: concat(m, d)[-100],
    "concat negative": lambda m, d: concat(m, d)[-1],
    "concat old name": lambda m, d: concat(m, d).cummulative_sizes,
    "chain others": lambda m, d: list(d.ChainDataset([tensors(m, d)])),
    "chain length": lambda m, d: len(d.ChainDataset([sized_stream(m, d)] * 2)),
    "stack nothing": lambda m, d: d.StackDataset(),
    "stack both": lambda m, d: d.StackDataset([1], a=[1]),
    "stack sizes": lambda m, d: d.StackDataset([1], [1, 2]),
    "stack wrong length": wrong_length,
    "half a subset": half_a_subset,
    "subset by list": lambda m, d: subset(m, d)[[0, 2]],
    "sampler of nothing": lambda m, d: d.RandomSampler([]),
    "sampler replacement": lambda m, d: d.RandomSampler([1], replacement=1),
    "sampler count": lambda m, d: d.RandomSampler([1], num_samples=0),
    "weights count": lambda m, d: d.WeightedRandomSampler([1.0], True),
    "weights replacement": lambda m, d: d.WeightedRandomSampler([1.0], 1, 1),
    "weights 2-d": lambda m, d: d.WeightedRandomSampler([[1.0]], 1),
    "batch drop type": lambda m, d: d.BatchSampler([1], 1, 0),
    "sampler without processes": lambda m, d: d.DistributedSampler([1]),
    "sparse samples": lambda m, d: d.default_collate([m.eye(2).to_sparse()] * 2),
    "bare sampler": lambda m, d: iter(d.Sampler()),
    "promised too little": promised_too_little(lambda loader: [len(loader), *loader]),
    "promised after it began": promised_too_little(list),
    "promised before": promised_too_little(lambda loader: [list(loader), list(loader)]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_pytorchs_words(name):
    same(ERRORS[name])


# ---- ours --------------------------------------------------------------------------------------


def test_reads_while_fetching_are_views():
    """Writing into a sample writes into the dataset, as in PyTorch."""

    def fetched(m, d):
        class Marks(d.Dataset):
            def __init__(self):
                self.x = m.zeros(4, 3)

            def __len__(self):
                return 4

            def __getitem__(self, i):
                sample = self.x[i]
                sample += i
                part = self.x[i, 1:]
                part.mul_(2)
                self.x[-1] += 1
                return sample.clone(), self.x[i:, ::2].sum(), self.x[[i, 0]], self.x[m.tensor([i])]

        dataset = Marks()
        return list(d.DataLoader(dataset, batch_size=2)), dataset.x

    same(fetched)


def test_a_tensor_dataset_follows_its_tensors():
    def fetched(m, d):
        x = m.arange(6.0)
        loader = d.DataLoader(d.TensorDataset(x), batch_size=3)
        first = list(loader)
        x.mul_(2)
        return first, list(loader)

    same(fetched)


def test_batches_cost_no_program_and_no_sync():
    loader = our_data.DataLoader(
        our_data.TensorDataset(torchlike.tensor(X), torchlike.tensor(Y)), 8, shuffle=True
    )
    own_loader = our_data.DataLoader(own_reads(), 8, shuffle=True)
    torchlike.compiler.flush()
    torchlike.compiler.clear_stats()
    seen = list(itertools.chain(loader, own_loader))
    torchlike.compiler.flush()
    stats = torchlike.compiler.stats()
    assert len(seen) == 10
    assert (stats["ops"], stats["programs"], stats["syncs"]) == (0, 0, 0), stats


def own_reads():
    class Reads(our_data.Dataset):
        def __init__(self):
            self.x, self.y = torchlike.tensor(X), torchlike.tensor(Y)

        def __len__(self):
            return 37

        def __getitem__(self, i):
            return self.x[i, 1:], self.x[-1], self.x[i][None], self.y[i]

    return Reads()


def test_host_reads_end_with_the_fetch():
    from torchlike._tensor.modes import modes

    class Fails(our_data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            assert modes.host
            raise KeyError(i)

    with pytest.raises(KeyError):
        list(our_data.DataLoader(Fails()))
    assert not modes.host


# ---- distributed -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 5, 12])
@pytest.mark.parametrize("replicas", [1, 3, 8])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_distributed_sampler(length, replicas, drop_last, shuffle):
    def shares(m, d):
        out = []
        for rank in range(replicas):
            sampler = d.distributed.DistributedSampler(
                range(length), replicas, rank, shuffle, seed=3, drop_last=drop_last
            )
            sampler.set_epoch(2)
            out.append((len(sampler), list(sampler)))
        return out

    same(shares)


def test_distributed_sampler_refuses():
    same(lambda m, d: d.DistributedSampler(range(3), 2, 2))


# ---- data pipes --------------------------------------------------------------------------------


def wrapped(d, source=range(10)):
    return d.datapipes.iter.IterableWrapper(source)


PIPES = {
    "map": lambda d: wrapped(d).map(lambda x: x * 2),
    "map a column": lambda d: wrapped(d, [(1, 2), (3, 4)]).map(lambda x: -x, input_col=1),
    "map two columns": lambda d: wrapped(d, [[1, 2]]).map(max, input_col=[0, 1], output_col=-1),
    "map columns": lambda d: wrapped(d, [(1, 2, 3)]).map(max, input_col=[0, 2]),
    "map keys": lambda d: wrapped(d, [{"a": 1, "b": 2}]).map(max, input_col=["b", "a"]),
    "filter": lambda d: wrapped(d).filter(lambda x: x % 3 == 0),
    "batch": lambda d: wrapped(d).batch(4),
    "batch, drop": lambda d: wrapped(d).batch(4, drop_last=True),
    "unbatch": lambda d: wrapped(d, [[1, [2]], [[3]]]).unbatch(),
    "unbatch all": lambda d: wrapped(d, [[1, [2]], [[3]]]).unbatch(-1),
    "shuffle": lambda d: wrapped(d).shuffle(),
    "shuffle, buffer": lambda d: wrapped(d).shuffle(buffer_size=3).batch(2),
    "sharding": lambda d: wrapped(d).sharding_filter(),
    "collate": lambda d: wrapped(d).batch(5).collate(),
    "concat": lambda d: wrapped(d).concat(wrapped(d, "ab")),
    "zip": lambda d: wrapped(d).zip(wrapped(d, "ab")),
    "mux": lambda d: wrapped(d).mux(wrapped(d, "ab")),
    "group": lambda d: wrapped(d).groupby(lambda x: x % 3, group_size=2),
    "group, key": lambda d: wrapped(d).groupby(lambda x: x % 3, keep_key=True),
    "fork": lambda d: d.datapipes.iter.Zipper(*wrapped(d).fork(2)),
    "demux": lambda d: d.datapipes.iter.Concater(*wrapped(d).demux(2, lambda x: x % 2)),
    "by key": lambda d: d.datapipes.map.SequenceWrapper(range(6)).map(lambda x: x + 1).batch(4),
    "by key, shuffle": lambda d: d.datapipes.map.SequenceWrapper(range(6)).shuffle(),
}


def appended_to(pipe, **options):
    """The samples of one reader after another one has changed its own."""
    one, other = pipe.fork(2, **options)
    for x in one:
        x.append(9)
    return list(other), len(one)


REFUSED_PIPES = {
    "concat": lambda d: wrapped(d).concat(3),
    "zip": lambda d: wrapped(d).zip(3),
    "zip by key": lambda d: by_key(d).zip(3),
    "zip too far": lambda d: repr(by_key(d).zip(by_key(d))[7])[:40],
    "map a number": lambda d: by_key(d).map(3),
    "map two": lambda d: wrapped(d).map(lambda a, b: a),
    "map two columns": lambda d: wrapped(d).map(lambda a: a, input_col=[0, 1]),
    "map with a keyword": lambda d: wrapped(d).map(lambda a, *, k: a),
    "filter": lambda d: wrapped(d).filter(3),
    "shuffle": lambda d: wrapped(d).shuffle(buffer_size=0),
    "group": lambda d: wrapped(d).groupby(abs, guaranteed_group_size=2),
    "group of too many": lambda d: wrapped(d).groupby(abs, group_size=20, buffer_size=3),
    "copies": lambda d: wrapped(d).fork(2, copy="x"),
    "fork one": lambda d: next(iter(wrapped(d).fork(1))),
    "read by one": lambda d: list(wrapped(d).fork(2, buffer_size=3)[0]),
    "shared": lambda d: appended_to(wrapped(d, [[1], [2]])),
    "copied": lambda d: appended_to(wrapped(d, [[1], [2]]), copy="shallow"),
    "copied deeply": lambda d: appended_to(wrapped(d, [[[1]], [[2]]]), copy="deep"),
}


def by_key(d):
    return d.datapipes.map.SequenceWrapper([1, 2])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED_PIPES)
def test_data_pipes_refuse_and_copy(name):
    found = [outcome(lambda d=d: REFUSED_PIPES[name](d))[0] for _, d in BOTH]
    names = [repr(x).replace("MapDataPipe.", ".").replace("IterDataPipe", "") for x in found]
    assert names[0] == names[1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PIPES)
def test_data_pipes(name):
    """Alone and in a loader, which seeds them and gives each worker its share."""

    def passes(m, d):
        m.manual_seed(5)
        pipe = PIPES[name](d)
        out = [list(pipe), list(pipe)]
        if not name.startswith("by key"):
            out.append(list(d.DataLoader(pipe, batch_size=None)))
            for shuffle in (True, False) if "shuffle" in name else (False,):
                out.append(list(d.DataLoader(pipe, batch_size=None, shuffle=shuffle)))
        return [[list(x) if isinstance(x, d.DataChunk) else x for x in part] for part in out]

    # PyTorch warns that it cannot pickle lambdas; here they are sent by value.
    theirs, ours = (outcome(lambda m=m, d=d: passes(m, d))[0] for m, d in BOTH)
    assert ours == theirs and ours[0] == "list"


def test_data_pipes_of_ones_own():
    @our_data.functional_datapipe("thrice_in_a_test")
    class Thrice(our_data.IterDataPipe[int]):
        def __init__(self, source):
            self.source = source

        @our_data.runtime_validation
        def __iter__(self):
            for x in self.source:
                yield x * 3

    pipe = wrapped(our_data, [1, 2]).thrice_in_a_test()
    assert isinstance(pipe, Thrice) and list(pipe) == [3, 6]
    with pytest.raises(RuntimeError, match="Expected an instance as subtype of <class 'int'>"):
        list(wrapped(our_data, ["a"]).thrice_in_a_test())
    with our_data.runtime_validation_disabled():
        assert list(wrapped(our_data, ["a"]).thrice_in_a_test()) == ["aaa"]
    with pytest.raises(AttributeError, match="no attribute 'fourfold'"):
        pipe.fourfold()
    with pytest.raises(Exception, match="already taken"):
        our_data.functional_datapipe("map")(Thrice)

    @our_data.non_deterministic
    class Random(our_data.IterDataPipe):
        pass

    with (
        our_data.guaranteed_datapipes_determinism(),
        pytest.raises(TypeError, match="Random is non-deterministic"),
    ):
        Random()
    assert isinstance(Random(), our_data.IterDataPipe)
    assert our_data.DataChunk([1, 2]).as_str(">") == ">[1, 2]"


# ---- on a device -------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_on_a_device(workers):
    dataset = [({"x": torchlike.ones(2)}, i, "text") for i in range(6)]
    loader = our_data.DataLoader(dataset, 2, num_workers=workers).to("meta")
    for batch, numbers, texts in loader:
        assert batch["x"].device.type == numbers.device.type == "meta"
        assert batch["x"].shape == (2, 2) and list(texts) == ["text"] * 2
    assert next(iter(loader.to("cpu")))[1].tolist() == [0, 1]
