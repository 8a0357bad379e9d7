"""The text of tensors, compared with PyTorch's own for the same data."""

import numpy as np
import pytest

from torchlike._tensor import printing

torch = pytest.importorskip("torch")
ml_dtypes = pytest.importorskip("ml_dtypes")

FLOATS = ["float64", "float32", "float16", "bfloat16"]
FLOAT8S = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
COMPLEXES = ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMPY_DTYPES = {name: np.dtype(name) for name in FLOATS[:3] + COMPLEXES + INTEGERS + ["bool"]}
NUMPY_DTYPES |= {name: np.dtype(getattr(ml_dtypes, name)) for name in ["bfloat16", *FLOAT8S]}


@pytest.fixture(autouse=True)
def default_options():
    yield
    for module in (torch, printing):
        module.set_printoptions(profile="default")
    torch.set_default_dtype(torch.float32)


def set_both(**options):
    torch.set_printoptions(**options)
    printing.set_printoptions(**options)


def as_torch(array: np.ndarray, dtype_name: str):
    """The same bits as a torch tensor."""
    dtype = getattr(torch, dtype_name)
    if array.size == 0:
        return torch.empty(array.shape, dtype=dtype)
    raw = torch.from_numpy(np.array(array, order="C").reshape(-1).view(np.uint8))
    return raw.view(dtype).reshape(array.shape)


def ours(array, dtype_name, **keywords):
    default = str(torch.get_default_dtype()).removeprefix("torch.")
    return printing.format_tensor(
        array, dtype_name=dtype_name, default_dtype_name=default, **keywords
    )


def check(array, dtype_name):
    assert ours(array, dtype_name) == repr(as_torch(array, dtype_name))


# ---- a table of chosen values -----------------------------------------------

VALUES = {
    "0-d": np.float32(3.25),
    "0-d whole": np.float32(-3),
    "0-d huge": np.float32(1e30),
    "0-d nan": np.float32(np.nan),
    "whole": np.float32([1, 2, 30]),
    "whole, negative zero": np.float32([-0.0, 0.0, 5]),
    "zeros": np.zeros((2, 3), np.float32),
    "whole, not finite": np.float32([1, np.inf, -np.inf, np.nan]),
    "fractions, not finite": np.float32([1.5, np.inf, -np.inf, np.nan]),
    "only not finite": np.float32([np.inf, -np.inf, np.nan]),
    "sci by ratio": np.float32([1, 1001.5]),
    "no sci by ratio": np.float32([1, 1000]),
    "sci by size": np.float32([1.1e8]),
    "whole at 1e8": np.float32([1e8]),
    "sci by smallness": np.float32([0.9e-4]),
    "just not small": np.float32([1.05e-4]),
    "sci and zero": np.float32([0.0, 1e-9, -3]),
    "sci and nan": np.float32([np.nan, 1e-9, np.inf]),
    "denormal": np.float32([1e-42, 1e-45]),
    "float64 extremes": np.float64([1e-308, 1e308]),
    "long row": np.arange(100, dtype=np.int64),
    "3-d": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "4-d": np.arange(16, dtype=np.int32).reshape(2, 2, 2, 2),
    "bools": np.array([[True, False], [False, True]]),
    "bool 0-d": np.array(True),
    "complex": np.array([1 + 2j, -1.5 - 0.25j, complex(np.nan, -np.inf)], np.complex64),
    "complex 0-d": np.array(-0.0 - 0.0j, np.complex64),
    "complex sci imaginary": np.array([1 + 1e-9j, 2 - 1j], np.complex128),
    "exactly 1000": np.arange(1000),
    "1001": np.arange(1001),
    "summary 2-d": np.arange(5000, dtype=np.float32).reshape(50, 100),
    "summary, narrow": np.arange(4000, dtype=np.float32).reshape(1000, 4),
    "summary, low": np.arange(4000, dtype=np.float32).reshape(4, 1000),
    "summary 3-d": np.linspace(-1, 1, 9 * 10 * 20).reshape(9, 10, 20),
    "summary, nothing cut": np.arange(4096).reshape((4,) * 6),
    "summary bool": np.zeros((40, 40), bool),
    "uint64 top": np.uint64([2**64 - 1, 0]),
    "int64 bottom": np.int64([-(2**63), 1]),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name):
    array = np.asarray(VALUES[name])
    check(array, array.dtype.name)


@pytest.mark.parametrize("dtype_name", NUMPY_DTYPES)
@pytest.mark.parametrize("default", ["float32", "float64", "float16", "bfloat16"])
def test_dtype_is_shown_as_pytorch_shows_it(dtype_name, default):
    torch.set_default_dtype(getattr(torch, default))
    for shape in [(), (2,), (0,), (0, 3), (2, 0, 1)]:
        check(np.ones(shape, NUMPY_DTYPES[dtype_name]), dtype_name)


# ---- suffixes ---------------------------------------------------------------


@pytest.mark.parametrize("length", range(1, 24))
def test_suffixes_wrap(length):
    array = np.full(length, 0.5)
    tensor = torch.from_numpy(array).requires_grad_()
    assert ours(array, "float64", requires_grad=True) == repr(tensor)
    assert ours(array, "float64", requires_grad=True, grad_fn_name="AddBackward0") == repr(
        tensor + 0
    )


@pytest.mark.parametrize("linewidth", [10, 20, 30, 40, 41, 42, 60, 120])
def test_suffixes_wrap_at_linewidth(linewidth):
    set_both(linewidth=linewidth)
    for shape in [(), (3,), (2, 5), (0, 4)]:
        tensor = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        expected = repr(tensor)
        assert ours(np.zeros(shape), "float64", requires_grad=True) == expected


def test_parameter():
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    text = ours(np.ones((2, 2), np.float32), "float32", requires_grad=True, is_parameter=True)
    assert text == repr(parameter)


def test_subclass_name_sets_the_indent():
    class Longer(torch.Tensor):
        pass

    array = np.arange(40.0, dtype=np.float32).reshape(20, 2)
    assert ours(array, "float32", class_name="Longer") == repr(
        torch.from_numpy(array).as_subclass(Longer)
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, inside
def test_tangent():
    forward_ad = torch.autograd.forward_ad
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(2), torch.zeros(2))
        text = ours(np.ones(2, np.float32), "float32", tangent=ours(np.zeros(2), "float32"))
        assert text == repr(dual)


@pytest.mark.parametrize("dtype_name", ["float32", "int64", "float64", "bool", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 3), (100, 100)])
def test_meta(shape, dtype_name):
    tensor = torch.empty(shape, dtype=getattr(torch, dtype_name), device="meta")
    assert printing.format_meta_tensor(shape, dtype_name=dtype_name) == repr(tensor)
    if tensor.is_floating_point():
        text = printing.format_meta_tensor(shape, dtype_name=dtype_name, requires_grad=True)
        assert text == repr(tensor.requires_grad_())


def test_device():
    # There is no second device here to print from; the rule is that it comes first.
    text = ours(np.float64([1.5]), "float64", device="cuda:0", requires_grad=True)
    assert text == ("tensor([1.5000], device='cuda:0', dtype=torch.float64, requires_grad=True)")


# ---- options ----------------------------------------------------------------

OPTIONS = [
    {"precision": 2},
    {"precision": 0},
    {"precision": 10, "linewidth": 120},
    {"threshold": 5},
    {"threshold": 0},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 0},
    {"edgeitems": 0},
    {"threshold": 20, "edgeitems": 7},
    {"linewidth": 20},
    {"linewidth": 1},
    {"sci_mode": True},
    {"sci_mode": False},
    {"sci_mode": True, "precision": 1, "threshold": 5},
    {"profile": "short"},
    {"profile": "full"},
    {"profile": "short", "precision": 6},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options):
    set_both(**options)
    assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
    rng = np.random.default_rng(0)
    shapes = [(), (1,), (4,), (15,), (30,), (2, 3), (9, 9), (40, 40), (2, 9, 3), (3, 3, 20)]
    for shape in shapes:
        check(rng.standard_normal(shape), "float64")
        check(np.float32(rng.integers(-9, 9, shape)), "float32")
        check(rng.integers(-9, 9, shape), "int64")
        check(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), "complex128")


def test_printoptions_restores():
    before = printing.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=1, sci_mode=True):
        assert ours(np.float32([0.25]), "float32") == "tensor([2.5e-01])"
        raise KeyError
    assert printing.get_printoptions() == before


def test_unknown_profile():
    with pytest.raises(ValueError, match="default, short, full"):
        printing.set_printoptions(profile="loud")


# ---- only what is shown is read ---------------------------------------------


class Watched:
    """An array that counts what is taken from it."""

    def __init__(self, array):
        self.array, self.shape, self.taken = array, array.shape, 0

    def __getitem__(self, index):
        part = self.array[index]
        self.taken += part.size
        return part

    def __array__(self, dtype=None, copy=None):
        self.taken += self.array.size
        return self.array


@pytest.mark.parametrize("shape", [(2000,), (300, 400), (3, 5000), (10, 10, 11)])
def test_summary_reads_the_edges_only(shape):
    array = np.random.default_rng(0).standard_normal(shape)
    watched = Watched(array)
    assert ours(watched, "float64") == repr(torch.from_numpy(array))
    assert watched.taken == np.prod([min(size, 6) for size in shape])


# ---- random tensors ---------------------------------------------------------


def random_shape(rng):
    return tuple(rng.integers(1, 12, rng.integers(0, 4)).tolist())


def random_floats(rng, shape):
    kind = rng.integers(6)
    values = rng.standard_normal(shape)
    if kind == 0:
        values = values * 10.0 ** rng.integers(-30, 30)
    elif kind == 1:
        values = values * 10.0 ** rng.integers(-30, 30, shape)
    elif kind == 2:
        values = np.round(values * 10.0 ** rng.integers(0, 10))
    elif kind == 3:
        values = np.round(values * 100) / 100
    elif kind == 4:
        values = values * 10.0 ** rng.integers(-3, 3, shape)
    specials = np.array([0.0, -0.0, np.nan, np.inf, -np.inf])
    chosen = specials[rng.integers(0, 5, shape)]
    return np.where(rng.random(shape) < rng.choice([0, 0.2, 0.9]), chosen, values)


def random_array(rng, dtype_name, shape):
    dtype = NUMPY_DTYPES[dtype_name]
    with np.errstate(all="ignore"):
        if dtype_name in COMPLEXES:
            return (random_floats(rng, shape) + 1j * random_floats(rng, shape)).astype(dtype)
        if dtype_name in FLOATS:
            return random_floats(rng, shape).astype(dtype)
        if dtype_name == "bool":
            return rng.random(shape) < 0.5
        # All bit patterns of an 8-bit float; numbers of all lengths for the integers.
        if dtype_name in FLOAT8S:
            bits = rng.integers(0, 256, shape, dtype=np.uint8)
            if rng.random() < 0.5:
                return np.asarray(rng.standard_normal(shape).astype(dtype))
            return np.asarray(bits).view(dtype)
        bits = rng.integers(0, 2**63, shape, dtype=np.uint64) * np.uint64(2)
        shift = rng.integers(0, 64)
        return np.asarray(bits >> np.uint64(shift)).astype(dtype)


@pytest.mark.parametrize("dtype_name", NUMPY_DTYPES)
def test_random(dtype_name):
    rng = np.random.default_rng(list(dtype_name.encode()))
    for _ in range(150):
        if rng.random() < 0.3:
            set_both(
                precision=int(rng.integers(0, 9)),
                threshold=int(rng.integers(0, 200)),
                edgeitems=int(rng.integers(0, 5)),
                linewidth=int(rng.integers(10, 120)),
                sci_mode=[None, None, True, False][rng.integers(4)],
            )
        else:
            set_both(profile="default")
        check(random_array(rng, dtype_name, random_shape(rng)), dtype_name)
