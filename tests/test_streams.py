"""The host-side random streams, compared with PyTorch's CPU generator draw by draw."""

import random
import warnings

import ml_dtypes
import numpy as np
import pytest

from torchlike._core.errors import NotSupported
from torchlike._core.streams import HostStream

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="the streams reproduce PyTorch's AVX2 and AVX-512 kernels",
)

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]
UNSIGNED = ["uint16", "uint32", "uint64"]
ALL = [*FLOATS, *INTEGERS, "bool"]
NUMPY = {
    name: np.dtype(name)
    for name in [*ALL, *UNSIGNED, "complex64", "complex128"]
    if "bf" not in name
}
NUMPY["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
SEEDS = [0, 1234, 2**63 + 11]
SHAPES = [(), (0,), (1,), (5,), (15,), (16,), (17,), (3, 5, 7), (8, 16), (1000,), (2**15 + 7,)]


def pair(seed):
    return HostStream(seed), torch.Generator().manual_seed(seed)


def to_torch(array):
    """The tensor with the bits of a numpy array."""
    if array.dtype == NUMPY["bfloat16"]:
        return torch.from_numpy(array.view(np.int16).copy(order="C")).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def to_numpy(tensor):
    """The numpy array with the bits of a tensor."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(NUMPY["bfloat16"])
    return tensor.numpy()


def assert_same(ours, theirs, where, rtol=0.0):
    theirs = to_numpy(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), where
    if rtol:
        np.testing.assert_allclose(ours, theirs, rtol=rtol, err_msg=str(where))
    else:
        different = np.flatnonzero(
            ours.reshape(-1).view(np.uint8) != theirs.reshape(-1).view(np.uint8)
        )
        assert different.size == 0, (where, different[:3] // ours.itemsize, ours, theirs)


def assert_in_step(stream, generator, where):
    assert_same(stream.get_state(), generator.get_state(), where)


# ---- draws of a shape ----------------------------------------------------------------------------


def filled(method, *args):
    """PyTorch's in-place draw as a function of a generator, a shape and a dtype."""

    def draw(generator, shape, dtype):
        return getattr(torch.empty(shape, dtype=dtype), method)(*args, generator=generator)

    return draw


def made(function, *args):
    return lambda generator, shape, dtype: function(*args, shape, dtype=dtype, generator=generator)


# what -> ours, PyTorch's, dtypes
DRAWS = {
    "rand": (HostStream.rand, made(torch.rand), [*FLOATS, "complex64", "complex128"]),
    "randn": (HostStream.randn, made(torch.randn), [*FLOATS, "complex64", "complex128"]),
    "random": (HostStream.random, filled("random_"), ALL),
    "random from 5": (
        lambda s, shape, dtype: s.random(shape, dtype, 5),
        filled("random_", 5, None),
        [*FLOATS, *INTEGERS],
    ),
    "random from the bottom": (
        lambda s, shape, dtype: s.random(shape, dtype, -(2**63)),
        filled("random_", -(2**63), None),
        ["int64"],
    ),
}
for low, high in [(-0.3, 1.7), (0.1, 0.37), (-1 / 28, 1 / 28), (0, 5), (3, 3), (1000, 1001)]:
    DRAWS[f"uniform {low:.3g} {high:.3g}"] = (
        lambda s, shape, dtype, low=low, high=high: s.uniform(shape, low, high, dtype),
        filled("uniform_", low, high),
        FLOATS,
    )
for mean, std in [(0.3, 2.7), (-1, 0), (0, 0.02), (1e5, 1)]:
    DRAWS[f"normal {mean} {std}"] = (
        lambda s, shape, dtype, mean=mean, std=std: s.normal(shape, mean, std, dtype),
        filled("normal_", mean, std),
        FLOATS,
    )
for low, high, dtypes in [
    (0, 2, ALL),
    (-7, 100, [*FLOATS, *INTEGERS[:4]]),
    (0, 10, UNSIGNED),
    (0, 2**28 - 1, ["int64", "int32", "uint32"]),
    (0, 2**28, ["int64", "int32", "uint64"]),
    (-(2**40), 2**62, ["int64"]),
    (-(2**63), 2**63 - 1, ["int64"]),
]:
    DRAWS[f"randint {low} {high}"] = (
        lambda s, shape, dtype, low=low, high=high: s.randint(low, high, shape, dtype),
        made(torch.randint, low, high),
        dtypes,
    )
for p in [0.0, 0.1, 0.5, 2 / 3, 1.0]:
    DRAWS[f"bernoulli {p:.3g}"] = (
        lambda s, shape, dtype, p=p: s.bernoulli_p(shape, p, dtype),
        filled("bernoulli_", p),
        ALL if p == 0.5 else ["float32", "float64"],
    )
for name, args in [
    ("exponential", (1.0,)),
    ("exponential", (0.3,)),
    ("geometric", (0.3,)),
    ("geometric", (0.05,)),
    ("cauchy", (0.0, 1.0)),
    ("cauchy", (0.3, 2.7)),
    ("log_normal", (1.0, 2.0)),
    ("log_normal", (-0.3, 0.25)),
]:
    DRAWS[f"{name} {args}"] = (
        lambda s, shape, dtype, name=name, args=args: getattr(s, name)(shape, *args, dtype),
        filled(f"{name}_", *args),
        [*FLOATS, *INTEGERS[:3]] if name == "geometric" else FLOATS,
    )
CASES = [(what, dtype) for what, (_, _, dtypes) in DRAWS.items() for dtype in dtypes]


@pytest.mark.parametrize("what, dtype", CASES)
def test_draws_and_what_follows_them(what, dtype):
    ours, theirs, _ = DRAWS[what]
    for seed in SEEDS:
        stream, generator = pair(seed)
        for shape in SHAPES:
            where = what, dtype, seed, shape
            expected = theirs(generator, shape, getattr(torch, dtype))
            assert_same(ours(stream, shape, NUMPY[dtype]), expected, where)
        assert_in_step(stream, generator, where)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("span", [2**11 + 2, 2**24 + 3, 2**24 + 4, 2**53 + 3, 2**60])
def test_integers_that_a_float_dtype_skips(dtype, span):
    if dtype == "float16":
        span = min(span, 60000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for low in (0, -999, -span, 1023):
            stream, generator = pair(low % 97)
            expected = torch.empty(500, dtype=getattr(torch, dtype))
            expected.random_(low, low + span, generator=generator)
            drawn = stream.randint(low, low + span, (500,), NUMPY[dtype])
            assert_same(drawn, expected, (dtype, low, span))


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float64"])
def test_permutations(dtype):
    stream, generator = pair(5)
    for n in (0, 1, 2, 3, 17, 1000, 40000):
        expected = torch.randperm(n, generator=generator, dtype=getattr(torch, dtype))
        assert_same(stream.randperm(n, NUMPY[dtype]), expected, n)
    assert_in_step(stream, generator, dtype)


def test_a_permutation_by_pytorchs_other_algorithm_is_refused():
    with pytest.raises(NotSupported, match="randperm of 214748364 numbers or more"):
        HostStream().randperm(214748364)


@pytest.mark.parametrize("dtype", FLOATS)
def test_normals_of_a_tensor_that_is_not_contiguous(dtype):
    stream, generator = pair(3)
    for shape in [(20, 30), (5, 3), (9, 7)]:
        tensor = torch.empty(shape, dtype=getattr(torch, dtype)).t()
        tensor.normal_(0.5, 2, generator=generator)
        assert_same(stream.normal(shape, 0.5, 2, NUMPY[dtype], serial=True), tensor.t(), shape)
    assert_in_step(stream, generator, dtype)


# ---- draws of an array of parameters -------------------------------------------------------------


def parameters(seed, shape, dtype, scale=1.0):
    values = np.asarray(np.random.default_rng(seed).random(shape) * scale)
    return values.astype(np.float32).astype(NUMPY[dtype])


def multinomial(num_samples, replacement):
    def ours(stream, p):
        return stream.multinomial(p, num_samples, replacement)

    def theirs(generator, p):
        return torch.multinomial(p, num_samples, replacement, generator=generator)

    return ours, theirs


def normal_arrays(ours_of, dtype_of=lambda p: p.dtype):
    """torch.normal with the parameters in the places that ``ours_of`` gives them."""
    return (
        lambda stream, p: stream.normal_arrays(*ours_of(p), dtype_of(p)),
        lambda generator, p: torch.normal(*ours_of(p), generator=generator),
    )


SIZES = [(1,), (3, 5), (40,), (6, 100)]
# what -> (ours, PyTorch's), dtypes, shapes, scale of the parameters
SAMPLERS = {
    "bernoulli": (
        (HostStream.bernoulli, lambda g, p: torch.bernoulli(p, generator=g)),
        FLOATS,
        [*SIZES, (0,), ()],
        1,
    ),
    "bernoulli into int32": (
        (
            lambda s, p: s.bernoulli(p, np.int32),
            lambda g, p: torch.empty(p.shape, dtype=torch.int32).bernoulli_(p, generator=g),
        ),
        FLOATS,
        SIZES,
        1,
    ),
    "normal, both": (normal_arrays(lambda p: (p, p)), FLOATS, SIZES, 3),
    "normal, mean": (normal_arrays(lambda p: (p, 0.3)), FLOATS, SIZES, 3),
    "normal, std": (normal_arrays(lambda p: (2.5, p)), FLOATS, SIZES, 3),
    "multinomial, one": (multinomial(1, False), FLOATS, [*SIZES, (0, 4)], 1),
    "multinomial, one of many": (multinomial(1, True), FLOATS, SIZES, 7),
    "multinomial, four": (multinomial(4, False), ["float32", "float64"], SIZES[1:], 7),
    "multinomial, replacing": (multinomial(20, True), FLOATS, [*SIZES, (20000,)], 7),
    "poisson, low": ((HostStream.poisson, lambda g, p: torch.poisson(p, g)), FLOATS, SIZES, 9),
    "poisson, high": ((HostStream.poisson, lambda g, p: torch.poisson(p, g)), FLOATS, SIZES, 5000),
    "gamma": (
        (HostStream.standard_gamma, lambda g, p: torch._standard_gamma(p, g)),
        FLOATS[:2],
        [*SIZES, ()],
        3,
    ),
    "dirichlet": (
        (HostStream.dirichlet, lambda g, p: torch._sample_dirichlet(p, g)),
        FLOATS[:2],
        SIZES,
        3,
    ),
}
for trials in [5, 40, 1000, 7e6]:
    SAMPLERS[f"binomial of {trials}"] = (
        (
            lambda s, p, trials=trials: s.binomial(np.full_like(p, trials), p),
            lambda g, p, trials=trials: torch.binomial(torch.full_like(p, trials), p, g),
        ),
        FLOATS[:2],
        [*SIZES, ()],
        1,
    )


@pytest.mark.parametrize(
    "what, dtype", [(what, dtype) for what, row in SAMPLERS.items() for dtype in row[1]]
)
def test_draws_with_arrays_of_parameters(what, dtype):
    (ours, theirs), _, shapes, scale = SAMPLERS[what]
    rtol = 1e-15 if (what, dtype) == ("dirichlet", "float64") else 0.0
    for seed in SEEDS:
        stream, generator = pair(seed)
        for shape in shapes:
            p = parameters(seed, shape, dtype, scale)
            where = what, dtype, seed, shape
            assert_same(ours(stream, p), theirs(generator, to_torch(p)), where, rtol)
        assert_in_step(stream, generator, where)


# ---- what other parts of PyTorch draw ------------------------------------------------------------


def shuffled_indices(stream, n):
    return HostStream(int(stream.random(()))).randperm(n)


DATA = torch.utils.data.TensorDataset(torch.arange(20))


def dropout_mask(name, *shape):
    """Where PyTorch's dropout of 0.3 keeps ones."""
    return (getattr(torch.nn.functional, name)(torch.ones(shape), 0.3, True) > 0.5).numpy()


# what -> ours, PyTorch's from its default generator
USES = {
    "dropout": (lambda s: s.bernoulli_p((9, 50), 0.7) == 1, lambda: dropout_mask("dropout", 9, 50)),
    "dropout2d": (
        lambda s: np.broadcast_to(s.bernoulli_p((4, 5, 1, 1), 0.7) == 1, (4, 5, 2, 3)),
        lambda: dropout_mask("dropout2d", 4, 5, 2, 3),
    ),
    "alpha_dropout": (
        lambda s: s.bernoulli_p((9, 50), 0.7) == 1,
        lambda: dropout_mask("alpha_dropout", 9, 50),
    ),
    "RandomSampler": (
        lambda s: shuffled_indices(s, 20),
        lambda: np.array(list(torch.utils.data.RandomSampler(DATA))),
    ),
    "DataLoader": (
        lambda s: s.random(()) * 0 + shuffled_indices(s, 20),  # first comes the workers' base seed
        lambda: np.array([int(x) for (x,) in torch.utils.data.DataLoader(DATA, shuffle=True)]),
    ),
    "random_split": (
        lambda s: s.randperm(20)[:13],
        lambda: np.array(torch.utils.data.random_split(DATA, [13, 7])[0].indices),
    ),
}


@pytest.mark.parametrize("what", USES)
def test_what_dropout_and_data_loaders_draw(what):
    ours, theirs = USES[what]
    torch.manual_seed(11)
    np.testing.assert_array_equal(ours(stream := HostStream(11)), theirs())
    assert_in_step(stream, torch.default_generator, what)


def test_large_draws_do_not_depend_on_pytorchs_threads():
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            stream, generator = pair(8)
            for name in ("bernoulli_p", "exponential", "normal", "uniform"):
                expected = filled(name.removesuffix("_p") + "_")(generator, 100003, torch.float32)
                assert_same(getattr(stream, name)(100003), expected, (name, count))
    finally:
        torch.set_num_threads(threads)


# ---- sequences and states ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_draws_stays_in_step(seed):
    choose = random.Random(seed)
    stream, generator = pair(seed)
    trace = []
    for _ in range(60):
        what, dtype = choose.choice(CASES)
        shape = tuple(choose.randrange(9) for _ in range(choose.randrange(4)))
        trace.append((what, dtype, shape))
        ours, theirs, _ = DRAWS[what]
        expected = theirs(generator, shape, getattr(torch, dtype))
        assert_same(ours(stream, shape, NUMPY[dtype]), expected, trace)
        if choose.random() < 0.1:
            stream = stream.clone()
        if choose.random() < 0.1:
            stream.set_state(generator.get_state().numpy())
        if choose.random() < 0.1:
            generator.set_state(torch.from_numpy(stream.get_state()))
    assert_in_step(stream, generator, trace)
    assert stream.initial_seed() == generator.initial_seed() == seed


@pytest.mark.parametrize("normals", [0, 1, 2, 7, 16, 23])
@pytest.mark.parametrize("words", [0, 1, 623, 624, 625, 1248])
def test_states_are_exchanged_both_ways(normals, words):
    stream, generator = pair(42)
    assert_in_step(stream, generator, "fresh")
    stream.rand(words), torch.rand(words, generator=generator)
    stream.randn(normals), torch.randn(normals, generator=generator)
    assert_in_step(stream, generator, (words, normals))

    heir, their_heir = HostStream(1), torch.Generator()
    heir.set_state(bytes(generator.get_state().numpy()))
    their_heir.set_state(torch.from_numpy(stream.get_state()))
    assert heir.initial_seed() == their_heir.initial_seed() == 42
    for other in (heir, stream.clone()):
        assert_in_step(other, their_heir, "heirs")
        expected = torch.randn(5, generator=their_heir.clone_state())
        assert_same(other.randn(5), expected, "heirs")


def test_the_default_seed_is_pytorchs():
    assert_in_step(HostStream(), torch.Generator(), "default")


def test_seed_takes_entropy():
    stream = HostStream(3)
    stream.randn(1)
    seed = stream.seed()
    assert stream.initial_seed() == seed != HostStream().seed()
    assert_in_step(stream, torch.Generator().manual_seed(seed), seed)


# ---- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 5, -1, -5, 2**32, 2**63, 2**64 - 1, -(2**63)])
def test_seeds_wrap_as_in_pytorch(seed):
    stream, generator = HostStream().manual_seed(seed), torch.Generator().manual_seed(seed)
    assert stream.initial_seed() == generator.initial_seed()
    assert_in_step(stream, generator, seed)


def fill(name, *args, dtype=torch.float32):
    return lambda: getattr(torch.empty(3, dtype=dtype), name)(*args)


STREAM = HostStream()
NAN = float("nan")
# ours, PyTorch's: both raise the same
ERRORS = [
    *(
        (lambda s=seed: STREAM.manual_seed(s), lambda s=seed: torch.Generator().manual_seed(s))
        for seed in (2**64, -(2**63) - 1, 1.5, "a", True, None)
    ),
    *(
        (
            lambda state=state: STREAM.set_state(state),
            lambda state=state: torch.Generator().set_state(torch.from_numpy(state)),
        )
        for state in (np.zeros(10, np.uint8), np.zeros(5056, np.uint8), np.zeros(5056, np.float32))
    ),
    (lambda: STREAM.uniform(3, 1, 0), fill("uniform_", 1, 0)),
    (lambda: STREAM.uniform(3, 0, 1e39), fill("uniform_", 0, 1e39)),
    (lambda: STREAM.uniform(3, NAN, 1), fill("uniform_", NAN, 1)),
    (lambda: STREAM.uniform(3, -3e38, 3e38), fill("uniform_", -3e38, 3e38)),
    (lambda: STREAM.uniform(3, 0, 1, np.int64), fill("uniform_", 0, 1, dtype=torch.int64)),
    (lambda: STREAM.uniform(3, 0, 7e4, np.float16), fill("uniform_", 0, 7e4, dtype=torch.float16)),
    (lambda: STREAM.normal(3, 0, -1), fill("normal_", 0, -1)),
    (lambda: STREAM.normal(3, 0, NAN), fill("normal_", 0, NAN)),
    (lambda: STREAM.normal(3, dtype=np.int64), fill("normal_", dtype=torch.int64)),
    (
        lambda: STREAM.normal_arrays(np.zeros(2), -np.ones(2)),
        lambda: torch.normal(torch.zeros(2), -torch.ones(2)),
    ),
    (lambda: STREAM.log_normal(3, 0, 0), fill("log_normal_", 0, 0)),
    (lambda: STREAM.log_normal(3, dtype=np.int32), fill("log_normal_", dtype=torch.int32)),
    (lambda: STREAM.exponential(3, 0), fill("exponential_", 0)),
    (lambda: STREAM.exponential(3, dtype=np.int64), fill("exponential_", dtype=torch.int64)),
    (lambda: STREAM.cauchy(3, 0, -1), fill("cauchy_", 0, -1)),
    (lambda: STREAM.cauchy(3, dtype=np.int16), fill("cauchy_", dtype=torch.int16)),
    (lambda: STREAM.geometric(3, 1), fill("geometric_", 1)),
    (lambda: STREAM.geometric(3, 0.5, np.bool_), fill("geometric_", 0.5, dtype=torch.bool)),
    (lambda: STREAM.randint(3, 3, 2), lambda: torch.randint(3, 3, (2,))),
    (lambda: STREAM.randint(0, 300, 2, np.uint8), fill("random_", 0, 300, dtype=torch.uint8)),
    (lambda: STREAM.randint(-200, 3, 2, np.int8), fill("random_", -200, 3, dtype=torch.int8)),
    (lambda: STREAM.randint(0, 3, 2, np.bool_), fill("random_", 0, 3, dtype=torch.bool)),
    (lambda: STREAM.randint(0, 65536, 2, "f2"), fill("random_", 0, 65536, dtype=torch.float16)),
    (lambda: STREAM.random(2, np.int8, 200), fill("random_", 200, None, dtype=torch.int8)),
    (lambda: STREAM.random(2, np.uint16), fill("random_", dtype=torch.uint16)),
    (lambda: STREAM.randperm(-1), lambda: torch.randperm(-1)),
    (lambda: STREAM.randperm(3000, np.float16), lambda: torch.randperm(3000, dtype=torch.float16)),
    (lambda: STREAM.randperm(300, np.uint8), lambda: torch.randperm(300, dtype=torch.uint8)),
    (lambda: STREAM.randperm(1, np.bool_), lambda: torch.randperm(1, dtype=torch.bool)),
    (lambda: STREAM.bernoulli_p(3, 1.5), fill("bernoulli_", 1.5)),
    (lambda: STREAM.bernoulli_p(3, NAN), fill("bernoulli_", NAN)),
    (lambda: STREAM.bernoulli(np.array([1.5])), lambda: torch.bernoulli(torch.tensor([1.5]))),
    (lambda: STREAM.bernoulli(np.array([1])), lambda: torch.bernoulli(torch.tensor([1]))),
    (lambda: STREAM.poisson(np.array([-1.0])), lambda: torch.poisson(torch.tensor([-1.0]))),
    (lambda: STREAM.poisson(np.array([1])), lambda: torch.poisson(torch.tensor([1]))),
    (
        lambda: STREAM.binomial(np.ones(1, np.float32), np.ones(1)),
        lambda: torch.binomial(torch.ones(1), torch.ones(1, dtype=torch.float64)),
    ),
    *(
        (
            lambda p=p, args=args: STREAM.multinomial(np.array(p), *args),
            lambda p=p, args=args: torch.multinomial(torch.tensor(p), *args),
        )
        for p, args in [
            ([1.0, -1], (1,)), ([1.0, -1], (2, True)), ([1.0, NAN], (1,)), ([1.0, NAN], (2, True)),
            ([1.0, float("inf")], (1,)), ([1.0, float("inf")], (2, True)), ([0.0, 0], (1,)),
            ([0.0, 0], (3, True)), ([[1.0, 1], [0, 0]], (1,)), ([1.0, 2], (3,)), ([1.0, 2], (0,)),
            ([1, 2], (1,)), (1.0, (1,)), ([[[1.0]]], (1,)), ([], (1,)),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_are_pytorchs(case):
    ours, theirs = ERRORS[case]
    with pytest.raises((RuntimeError, TypeError, ValueError, NotImplementedError)) as expected:
        theirs()
    with pytest.raises(type(expected.value)) as raised:
        ours()
    # PyTorch may put a hint for its own developers below the first line.
    assert str(raised.value) == str(expected.value).split("\n")[0]


def test_a_float_range_with_gaps_warns_as_in_pytorch():
    with pytest.warns(UserWarning) as raised:
        STREAM.randint(0, 2**24 + 3, 2, np.float32)
    with pytest.warns(UserWarning) as expected:
        fill("random_", 0, 2**24 + 3)()
    assert str(expected[0].message).startswith(str(raised[0].message))
