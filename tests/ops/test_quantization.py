"""Fake quantization, eigenpairs, files and patterns: the small functions of the top level."""

import numpy as np
import pytest
import torch
import torch.func

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

X = np.array([-1, -0.3, -0.25, 0, 0.15, 0.35, 0.4, 0.44, 0.5, np.nan, np.inf, -np.inf], "float32")
ZERO = np.array([1, 0, 7], "int32")
STEP = np.array([0.1, 0.2, 0.03], "float32")
Y, HALF = T((3, 4)), T((3, 4), "bfloat16")

ROWS = [
    Row("fake_quantize_per_tensor_affine",
        [S(Y, 0.1, 3, 0, 7), S(X, 0.1, 3, 0, 7), S(X, 0.1, 0, -128, 127),
         S(Y, np.array(0.1, "float32"), np.array(3, "int32"), 0, 7),
         S(Y, np.array(0.1, "float32"), np.array(3.0, "float32"), quant_min=0, quant_max=7),
         S(T((2,), "float64"), 0.3, 1, -4, 4), S(HALF, 0.1, 3, 0, 7), S(T((0,)), 0.1, 3, 0, 7)],
        errors=[S(Y, 0.1, 9, 0, 7), S(Y, 0.1, 0, 7, 0), S(T((3,), "int64"), 0.1, 3, 0, 7),
                S(3, 0.1, 3, 0, 7)]),
    Row("fake_quantize_per_channel_affine",
        [S(Y, STEP, ZERO, 0, 0, 7), S(T((2, 3)), STEP, ZERO, 1, 0, 7),
         S(Y, STEP, np.array([1.5, 0, 2.25], "float32"), 0, 0, 7),
         S(T((3, 2), "float64"), STEP, ZERO, 0, -8, 7)],
        errors=[S(Y, STEP, np.array([1, 0, 7]), 0, 0, 7), S(Y, STEP[:2], ZERO, 0, 0, 7),
                S(Y, STEP.astype("float64"), ZERO, 0, 0, 7), S(Y, STEP, ZERO, 5, 0, 7),
                S(T((4, 3)), STEP, ZERO, -1, 0, 7), S(Y, STEP, ZERO + 9, 0, 0, 7)]),
    Row("dequantize", [S(Y), S(T((2,), "float16"))], grad=False),
    # A slice of a whole tensor has its memory; two tensors do not share any.
    Row("slice_inverse", [S(Y, Y), S(T((2, 6)), T((2, 6)), 1, 0, 6)], second=False,
        errors=[S(T((3,)), T((7,)), 0, 1, 7, 2)]),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


def test_the_gradient_goes_straight_through():
    x = torchlike.tensor(X, requires_grad=True)
    torchlike.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 7).sum().backward()
    y = torch.tensor(X, requires_grad=True)
    torch.fake_quantize_per_tensor_affine(y, 0.1, 3, 0, 7).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())


@pytest.mark.parametrize("largest", [None, False])
@pytest.mark.parametrize("generalized", [False, True])
def test_lobpcg(largest, generalized):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(2, 12, 12)) for _ in range(2))
    a, b = a @ a.transpose(0, 2, 1), b @ b.transpose(0, 2, 1) + 3 * np.eye(12)
    given = [torchlike.tensor(x) for x in (a, b)]
    theirs = [torch.tensor(x) for x in (a, b)]
    b = given[1] if generalized else None
    values, vectors = torchlike.lobpcg(given[0], 3, b, largest=largest)
    torch.manual_seed(0)
    expected, _ = torch.lobpcg(
        theirs[0], 3, theirs[1] if generalized else None, largest=largest, niter=200, tol=1e-9
    )
    np.testing.assert_allclose(values.numpy(), expected.numpy(), rtol=1e-6)
    right = vectors if b is None else b @ vectors
    np.testing.assert_allclose(
        (given[0] @ vectors).numpy(), (right * values[:, None]).numpy(), atol=1e-9
    )
    with pytest.raises(ValueError, match="not applicable"):
        torchlike.lobpcg(given[0], 5)
    with pytest.raises(AssertionError, match="square"):
        torchlike.lobpcg(given[0][:, :5])


def test_from_file(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(16)))
    assert torchlike.from_file(str(path), size=4, dtype=torchlike.uint8).tolist() == [0, 1, 2, 3]
    assert torchlike.from_file(str(path), size=2, dtype=torchlike.int32).tolist() == (
        torch.from_file(str(path), size=2, dtype=torch.int32).tolist()
    )
    shared = torchlike.from_file(str(path), True, 4, dtype=torchlike.uint8)
    shared[1] = 99
    shared.sum().item()
    assert path.read_bytes()[:4] == bytes([0, 99, 2, 3])
    made = torchlike.from_file(str(tmp_path / "new"), shared=True, size=3)
    assert made.tolist() == [0.0] * 3 and (tmp_path / "new").stat().st_size == 12
    with pytest.raises(RuntimeError, match="unable to open file"):
        torchlike.from_file(str(tmp_path / "none"), size=1)
    with pytest.raises(RuntimeError, match="smaller than the required mapping size"):
        torchlike.from_file(str(path), size=40)


PATTERNS = [
    ("a b c -> c (a b)", {}), ("a b c -> (c b) a", {}), ("... c -> c ...", {}),
    ("a b (c1 c2) -> a c2 b c1", {"c1": 2}), ("a ... -> ... a", {}), ("a b c->a b c 1", {}),
    ("a b c -> a () b c", {}), ("a ... c -> a (... c)", {}), ("a b c -> a b (c 1)", {}),
    ("(a b) ... -> ... a b", {"b": 2}), ("a b c -> (a b c)", {}), ("... -> (...)", {}),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "sizes"), PATTERNS)
def test_rearrange(pattern, sizes):
    x = np.arange(24, dtype="float32").reshape(2, 3, 4)
    ours = torchlike.func.rearrange(torchlike.tensor(x), pattern, **sizes)
    theirs = torch.func.rearrange(torch.tensor(x), pattern, **sizes)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    ("pattern", "sizes"),
    [("a b c -> b a", {}), ("a b -> a b", {}), ("a a c -> a c", {}), ("a (b c -> a", {}),
     ("a b c", {}), ("a b c -> a b c", {"e": 2}), ("a _ c -> a c", {}), ("a.b c -> a", {}),
     ("1 a b c -> a b c", {}), ("a b c d ... -> a b c d ...", {})],
)  # fmt: skip
def test_bad_patterns(pattern, sizes):
    for lib in (torchlike, torch):
        with pytest.raises(ValueError, match=r"\w"):
            lib.func.rearrange(lib.zeros(2, 3, 4), pattern, **sizes)


def test_rearrange_in_vmap_and_of_lists():
    x = torchlike.arange(24.0).reshape(2, 3, 4)
    found = torchlike.func.vmap(lambda t: torchlike.func.rearrange(t, "a (b c) -> c a b", b=2))(x)
    assert found.shape == (2, 2, 3, 2)
    assert torchlike.func.rearrange([x, x], "l a b c -> a l (b c)").shape == (2, 2, 12)


def test_grad_dtype():
    x = torchlike.ones(3, requires_grad=True)
    assert x.grad_dtype is torchlike.float32
    x.grad_dtype = torchlike.float32
    with pytest.raises(torchlike.NotSupported, match="float64"):
        x.grad_dtype = torchlike.float64
    with pytest.raises(RuntimeError, match="leaf"):
        _ = (x * 2).grad_dtype
