"""Rows of the creation functions, and tensors from data with all that PyTorch refuses."""

import math

import numpy as np
import pytest
import torch

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, same

M, I = T((3, 4)), T((3, 4), "int64")  # noqa: E741
F64, I32, I64 = "torch.float64", "torch.int32", "torch.int64"
BF16, F16, C64, BOOL, U8 = (
    "torch.bfloat16",
    "torch.float16",
    "torch.complex64",
    "torch.bool",
    "torch.uint8",
)

ROWS = [
    Row("zeros", [S(2, 3), S((2, 3)), S([2, 0]), S(()), S(3, dtype=I32), S(2, dtype=float),
            S(size=(2,)),
                  S(2, requires_grad=True), S(2, layout="torch.strided", device="cpu")],
        errors=[S(), S(-1), S(2.0), S(2, dtype="x"), S(2, foo=1),
        S(2, dtype=I64, requires_grad=True)]),
    Row("ones", [S(2, 3), S((2, 3), dtype=BOOL), S(2, dtype=C64)], errors=[S(-1), S((2,), "a")]),
    Row("full", [S((2, 3), 1.5), S([2], 3), S((2,), True), S((2,), 1j),
            S((2,), 3, dtype="torch.float32"),
                 S((), 2), S([2], 1.5, dtype=I64), S((2,), T(())), S(size=(2,), fill_value=3),
                 S((2,), -1, dtype=U8), S((2,), math.nan), S((2,), 2, dtype=BOOL)],
        errors=[S(2, 3), S((2,), "a"), S((2,), 300, dtype=U8), S((2,), 1j, dtype=F64)], grad=False),
    Row("zeros_like", [S(M), S(I), S(M, dtype=I32), S(M, requires_grad=True)], errors=[S(1)]),
    Row("ones_like", [S(M), S(I), S(M, dtype=C64)], errors=[S([1])]),
    Row("full_like", [S(M, 2), S(I, 1.5), S(M, True), S(M, 1j, dtype=C64)],
            errors=[S(M, 1j), S(M, "a")],
        grad=False),
    Row("arange", [S(5), S(1, 5), S(1, 10, 3), S(10, 0, -3), S(5.5), S(1, 10, 2.5), S(0, 1, 0.1),
            S(0, 100, 0.3),
                   S(-3, 9, 0.013), S(0, 3, 1.5, dtype=I64), S(0, 3, 1.5, dtype=I32),
                   S(start=1, end=3), S(end=3), S(1, end=3), S(0), S(2, 2), S(True),
                   S(-5, 5, 3, dtype="torch.float32"),
                   S(5, dtype=BF16), S(T((), "int64", 3, 9)), S(2**40, 2**40 + 3),
                   S(0, 2, 0.25, dtype=F16)],
        tol=0, errors=[S(0, 1, 0), S(1, 0), S("a"), S(5, dtype=BOOL), S(math.nan), S(math.inf),
        S()]),
    Row("arange", [S(0, 50, 0.1, dtype=F64)], tol=1e-15),  # XLA fuses the product
    Row("range", [S(1, 4), S(1, 4, 0.5), S(0, 2, dtype=I64)], errors=[S(1, 4, -1), S(1, 4, 0)]),
    Row("linspace", [S(3, 10, 5), S(0, 1, 100), S(-3, 7.7, 333), S(0, 10, 4, dtype=I64),
        S(-3, 7.7, 33, dtype=I64), S(-3, 7.7, 333, dtype="torch.bfloat16"),
            S(0, 1, 0), S(2, 5, 1),
                     S(start=0, end=1, steps=3), S(5, -5, 1000), S(0, 10, 7, dtype=I32),
                     S(0, 1, 10, dtype=BF16),
                     S(T(()), T(()), 5), S(T(()), 3.0, 5), S(0, 1j, 5)],
        tol=1e-7, grad=False, errors=[S(0, 1, -1), S(0, 1), S("a", 1, 2), S(0, 1, 2.5),
        S(T((2,)), 1, 3)]),
    Row("linspace", [S(0, 1, 77, dtype=F64)], tol=1e-14),
    Row("logspace", [S(0, 2, 3), S(0, 2, 3, base=2), S(-1, 1, 50), S(0, 3, 4, dtype=I64),
            S(0, 1, 1), S(0, 1, 0)],
        tol=1e-6, errors=[S(0, 1, -1)]),
    Row("eye", [S(3), S(3, 2), S(2, 4, dtype=I64), S(0), S(2, dtype=BOOL)],
        errors=[S(-1), S(2, -1), S(2.0), S("a")]),
    Row("tril_indices", [S(3, 3), S(4, 3, -1), S(3, 4, 1), S(0, 3), S(2, 5, offset=2, dtype=I32)],
        errors=[S(-1, 3)]),
    Row("triu_indices", [S(3, 3), S(4, 3, -1), S(3, 4, 1)], errors=[S(3, -1)]),
    Row("vander", [S(T((3,))), S(T((3,), "int64")), S(T((3,)), 5),
            S(T((3,)), N=2, increasing=True), S(T((3,)), 0)],
        errors=[S(M), S(T((3,)), -1)], grad=False),  # PyTorch cannot differentiate its own
    Row("complex", [S(T((2,)), T((2,)))]),
    Row("hann_window", [S(5), S(5, periodic=False), S(0), S(1), S(12, dtype=F64), S(7, dtype=BF16),
            S(4, requires_grad=True)],
        tol=1e-6, errors=[S(-1), S(5, dtype=I64)]),
    Row("hamming_window", [S(5), S(5, True, 0.5, 0.3), S(6, False)], tol=1e-6),
    Row("blackman_window", [S(6), S(7, False)], tol=1e-6),
    Row("bartlett_window", [S(6), S(7), S(6, False), S(7, False), S(2)], tol=1e-6),
    Row("kaiser_window", [S(5), S(5, True, 10), S(6, False, beta=3.5), S(1)], tol=1e-5),
    Row("scalar_tensor", [S(2), S(2.5), S(True), S(2, dtype=I64)]),
    Row("as_tensor", [S([1, 2]), S(M), S(M, dtype=F64), S(2.5)]),
    Row("asarray", [S([1, 2]), S(M), S([1.5], dtype=F16)], grad=False),
    Row("Tensor.new_zeros", [S(M, 3), S(I, (3, 2)), S(M, (2,), dtype=I32), S(M, ())], grad=False),
    Row("Tensor.new_ones", [S(I, 2, 2), S(M, size=(2,))], grad=False),
    Row("Tensor.new_full", [S(M, (2,), 3), S(I, (2, 2), 1)], grad=False),
    Row("Tensor.new_tensor", [S(M, [1, 2]), S(I, [1.5]), S(M, 3)], grad=False),
    Row("Tensor.new", [S(M, [1, 2]), S(I, [3])], grad=False),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.range is deprecated", "ignore:Creating a tensor from")
@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


# ---- from data ---------------------------------------------------------------------------------

DATA = [
    "[]", "[[], []]", "[1, 2.]", "[1, True]", "[1j, 2]", "[True, False]", "((1, 2), (3, 4))",
    "range(3)",
    "[range(2), range(2)]", "2", "2.5", "True", "1j", "[[1.5, 2], [3, 4]]", "2**40", "2**62",
    "-2**63",
    "np.float32(2)", "[np.float32(2), np.float32(1)]", "[np.float64(2), 1]", "[np.int32(2)]",
    "np.arange(3)",
    "np.ones((2, 3), 'float16')", "[np.array([1, 2]), np.array([3, 4])]", "np.array(True)",
    "1e400", "math.nan",
    "[lib.tensor(1), lib.tensor(2.)]", "[lib.tensor([1])]", "[[lib.tensor(1.5), 2], [3, 4]]",
    "[True, 2.5]",
    "[1, 2], dtype=float", "[1.5], dtype=int", "[0, 2], dtype=bool", "[1.5, 2], dtype=lib.bool",
    "[1.7, -1.7], dtype=lib.int64", "[-1], dtype=lib.uint8", "-1, dtype=lib.uint8",
    "[1, 2], dtype=lib.complex64",
    "[1.1], dtype=lib.float16", "[1.1], dtype=lib.bfloat16", "[2**40], dtype=lib.float32",
    "3, dtype=lib.bool",
    "np.array([1.5]), dtype=lib.int32", "lib.ones(2), dtype=lib.int8", "[1.0], requires_grad=True",
    "[2**53 + 1], dtype=lib.int64", "[[[1]], [[2]]]", "[[]], dtype=lib.int64", "[1.0, 2**60]",
]  # fmt: skip
BAD_DATA = [
    "[[1, 2], [3]]", "[[1, 2], 3]", "[3, [1, 2]]", "[[1, [2]], [3, 4]]", "2**70", "2**63",
    "[2**63]",
    "2**40, dtype=lib.int32", "[300], dtype=lib.uint8", "300, dtype=lib.uint8",
    "[128], dtype=lib.int8", "'a'",
    "['a']", "[1, 'a']", "None", "[None]", "{1: 2}", "{1}", "object()", "[object()]",
    "np.array(['a'])",
    "math.nan, dtype=lib.int32", "[math.inf], dtype=lib.int64", "1j, dtype=lib.float32",
    "[1j], dtype=lib.float32",
    "(x for x in [1])", "b'a'", "1, 2", "[1], foo=1", "[1], dtype='float32'",
    "[1], requires_grad=True",
    "[lib.ones(2), lib.ones(2)]", "[[1], [2, 3]]", "[[[1]], [[2], [3]]]", "",
]  # fmt: skip


def make(lib, source):
    return eval(f"lib.tensor({source})", {"lib": lib, "np": np, "math": math})


@pytest.mark.filterwarnings("ignore:To copy construct", "ignore:Creating a tensor from")
@pytest.mark.parametrize("source", DATA)
def test_tensor_of_data(source):
    ours, theirs = make(torchlike, source), make(torch, source)
    same(ours, theirs, 0, source)
    assert ours.requires_grad == theirs.requires_grad


@pytest.mark.filterwarnings("ignore:Creating a tensor from")
@pytest.mark.parametrize("source", BAD_DATA)
def test_tensor_of_bad_data(source):
    with pytest.raises(Exception) as theirs:
        make(torch, source)
    with pytest.raises(theirs.type) as ours:
        make(torchlike, source)
    if isinstance(theirs.value, ValueError):
        assert str(ours.value) == str(theirs.value)


def test_tensor_copies_its_data():
    array = np.ones(2, "float32")
    x = torchlike.tensor(array)
    array[0] = 5
    assert x.tolist() == [1.0, 1.0]


# ---- legacy constructors -----------------------------------------------------------------------

LEGACY = [
    "Tensor([1, 2])", "Tensor()", "Tensor((2, 3))", "Tensor(np.ones(2))", "FloatTensor([1, 2])",
    "LongTensor([1.5])",
    "DoubleTensor([[1], [2]])", "IntTensor([3])", "ShortTensor([3])", "CharTensor([-3])",
    "ByteTensor([3])",
    "BoolTensor([0, 2])", "HalfTensor([1.1])", "BFloat16Tensor([1.1])", "Tensor([[1, 2], [3, 4]])",
]  # fmt: skip


@pytest.mark.parametrize("source", LEGACY)
def test_legacy_types(source):
    ours, theirs = (eval(f"lib.{source}", {"lib": lib, "np": np}) for lib in (torchlike, torch))
    same(ours, theirs, 1e-6, source)
    kind = source.split("(")[0]
    assert isinstance(ours, getattr(torchlike, kind))
    assert type(ours) is torchlike.Tensor


@pytest.mark.parametrize("args", [(2, 3), (2,), (0,), ()], ids=str)
@pytest.mark.parametrize("kind", ["Tensor", "FloatTensor", "LongTensor"])
def test_legacy_types_of_a_size(kind, args):
    ours, theirs = (getattr(lib, kind)(*args) for lib in (torchlike, torch))
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)


def test_legacy_types_tell_dtypes_apart():
    for lib in (torchlike, torch):
        assert isinstance(lib.ones(2), lib.FloatTensor)
        assert not isinstance(lib.ones(2), lib.LongTensor)
        assert isinstance(lib.arange(2), (lib.IntTensor, lib.LongTensor))
        with pytest.raises(TypeError):
            lib.Tensor(2.5)


# ---- shape, strides, uninitialised -------------------------------------------------------------


def test_uninitialised_tensors_have_shape_dtype_and_strides():
    for lib in (torchlike, torch):
        assert lib.empty(2, 3).shape == (2, 3)
        assert lib.empty((2,), dtype=lib.int32).dtype == lib.int32
        assert lib.ones(2).new_empty(2, 3).shape == (2, 3)
        assert lib.empty_like(lib.ones(2, 3)).shape == (2, 3)
        assert lib.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
        assert lib.empty_strided((2, 3), (1, 2)).shape == (2, 3)
        with pytest.raises(RuntimeError):
            lib.empty(-1)


def test_creation_writes_into_out():
    for name, args in {"zeros": (2,), "ones": (2,), "full": ((2,), 3.0), "arange": (2,),
    "linspace": (0, 1, 2),
                       "eye": (1, 2)}.items():  # fmt: skip
        results = []
        for lib in (torchlike, torch):
            out = lib.empty((1, 2) if name == "eye" else 2)
            assert getattr(lib, name)(*args, out=out) is out
            results.append(out)
        same(*results, 1e-6, name)


def test_default_dtype_rules():
    try:
        for lib in (torchlike, torch):
            lib.set_default_dtype(lib.float64)
            assert lib.tensor(1.5).dtype == lib.float64
            assert lib.tensor(1j).dtype == lib.complex128
            assert lib.zeros(2).dtype == lib.float64
            assert lib.arange(0, 1, 0.5).dtype == lib.float64
            assert (lib.tensor([1]) / 2).dtype == lib.float64
    finally:
        for lib in (torchlike, torch):
            lib.set_default_dtype(lib.float32)
