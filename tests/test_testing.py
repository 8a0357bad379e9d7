"""torch.testing: the verdicts, the words and the random tensors of PyTorch."""

import warnings

import numpy as np
import pytest

import torchlike as T

torch = pytest.importorskip("torch")

# Expressions over ``t``, the library, and ``v``, its ``tensor``.
COMPARISONS = [
    "v([1., 2.]), v([1., 3.])", "v([1, 2]), v([1, 3])", "v([1., 2.]), v([1., 2.0000001])",
    "v([True, False]), v([True, True])", "v(1.), v(2.)", "v(0), v(1)", "1., 2.", "1, 2", "1, 1.",
    "1j, 2.", "True, False", "None, None", "None, 1", "'a', 'b'", "v([nan]), v([nan])",
    "nan, nan", "v([1.]), v([1., 2.])", "v([1.]), v([1.]).double()", "v([1.]), v(1.).to('meta')",
    "[v(1.), v(2.)], [v(1.), v(3.)]", "[1.], [1., 2.]", "{'a': 1.}, {'b': 1.}",
    "{'a': [1., v([1.])]}, {'a': [1., v([2.])]}", "(1.,), [1.]", "np.ones(2), np.ones(2) * 2",
    "np.ones(2), t.ones(2)", "v(1.), 1.", "[1.], 1.", "t.zeros(2, 2), t.eye(2)",
    "t.eye(2), t.zeros(2, 2)", "v([1., inf]), v([1., 2.])", "v([1 + 1j]), v([1 + 2j])",
    "t.empty(0), t.empty(0)", "v([1.]).bfloat16(), v([1.1]).bfloat16()",
    "v([1.]).half(), v([1.1]).half()", "v([1.]).double(), v([1.1]).double()",
    "v([1]).to(t.uint8), v([255]).to(t.uint8)", "[1., 'a'], [1., 'b']", "{1}, {1}",
    "t.nn.Parameter(t.ones(2)), t.ones(2)", "inf, 1.", "1., 0.", "v([[1., 2.]]), v([[1., 5.]])",
    "t.eye(2).to_sparse(), t.eye(2).to_sparse() * 2", "t.eye(2).to_sparse(), t.eye(2)",
    "t.eye(2).to_sparse_csr(), t.eye(2).to_sparse_csr() * 2",
    "t.eye(2).to_sparse_csc(), v([[1., 0], [1, 0]]).to_sparse_csc()",
    "t.eye(2).to_sparse(), v([[0., 1], [1, 0]]).to_sparse()",
    "t.eye(2).to_sparse_csr(), v([[1., 0], [0, 0]]).to_sparse_csr()",
]  # fmt: skip
OPTIONS = [
    ("v([1.]), v([2.])", {"rtol": 0.1}), ("v([1.]), v([2.])", {"atol": 1}),
    ("v([1.]), v([2.])", {"rtol": 0.1, "atol": 0.1}), ("v([1.]), v([2.])", {"rtol": 0, "atol": 0}),
    ("v([1.]), v([1.9])", {"rtol": 0.5, "atol": 0}), ("v([nan]), v([nan])", {"equal_nan": True}),
    ("nan, nan", {"equal_nan": True}), ("v([1.]), v([1.]).double()", {"check_dtype": False}),
    ("v([1.]), v([1.1]).bfloat16()", {"check_dtype": False}), ("1, 1.", {"check_dtype": False}),
    ("t.ones(2, 3), t.ones(3, 2).t()", {"check_stride": True}),
    ("v([1, 2]).to(t.uint16), v([1, 3])", {"check_dtype": False}),
    ("v([1, 2]).to(t.uint64), v([1, 2]).to(t.uint32)", {"check_dtype": False}),
    ("v([1.]), v([2.])", {"msg": "hello"}), ("[v([1.])], [v([2.])]", {"msg": lambda m: "X" + m}),
    ("t.nn.Parameter(t.ones(2)), t.ones(2)", {"allow_subclasses": False}),
]  # fmt: skip


def verdict(t, text, options):
    names = {"t": t, "v": t.tensor, "np": np, "nan": float("nan"), "inf": float("inf")}
    actual, expected = eval(text, names)
    try:
        t.testing.assert_close(actual, expected, **options)
    except (AssertionError, TypeError, ValueError) as error:
        return type(error), str(error).replace("torchlike", "torch")
    return None


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(("text", "options"), [*((c, {}) for c in COMPARISONS), *OPTIONS])
def test_assert_close(text, options):
    ours, theirs = verdict(T, text, options), verdict(torch, text, options)
    if ours and "nn." in text:  # classes of Parameter are shown by other paths
        ours, theirs = ours[0], theirs[0]
    assert ours == theirs


def test_assert_allclose():
    for t in (T, torch):
        with pytest.warns(FutureWarning, match="assert_close"):
            t.testing.assert_allclose(t.tensor([1.0]), [1.00005])
        with pytest.warns(FutureWarning), pytest.raises(AssertionError, match="0001 allowed"):
            t.testing.assert_allclose(t.tensor([1.0]), [2.0])


DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "uint8", "bool", "complex64"]


def test_tolerances():
    def told(t):
        found = t.testing._comparison.get_tolerances
        one = t.ones(1, dtype=t.float16)
        return found(one, t.float64, rtol=None, atol=None), found(one, rtol=1, atol=2)

    assert told(T) == told(torch)


@pytest.mark.parametrize("dtype", DTYPES)
def test_make_tensor_draws_pytorchs_numbers(dtype):
    def run(t):
        make, d = t.testing.make_tensor, getattr(t, dtype)
        t.manual_seed(0)
        made = [
            make(2, 3, dtype=d, device="cpu"),
            make((4,), dtype=d, device="cpu", low=0, high=2, exclude_zero=True),
            make((2, 3), dtype=d, device="cpu", noncontiguous=True),
            make((), dtype=d, device="cpu"),
        ]
        return [(x.tolist(), str(x.dtype), x.is_contiguous()) for x in made]

    assert run(T) == run(torch)


@pytest.mark.parametrize(
    "options",
    [{"low": 3, "high": 2}, {"low": float("nan")}, {"requires_grad": True, "dtype": "int64"},
     {"dtype": "uint8", "low": -5, "high": -2}],
)  # fmt: skip
def test_make_tensor_errors(options):
    texts = []
    for t in (T, torch):
        kwargs = {**options, "dtype": getattr(t, options.get("dtype", "float32"))}
        with pytest.raises(ValueError) as error, warnings.catch_warnings():
            t.testing.make_tensor(2, device="cpu", **kwargs)
        texts.append(str(error.value))
    assert texts[0] == texts[1]
