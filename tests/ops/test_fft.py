"""Fourier transforms, windows, finite differences and grids of bins against PyTorch."""

import warnings

import numpy as np
import pytest

import torchlike

from .table import Row, S, T, cases, check, check_error, error_cases, same, torch

V, M, X = T((6,)), T((4, 6)), T((3, 4, 5))
C, CM, CX = T((6,), "complex64"), T((4, 5), "complex64"), T((3, 4, 5), "complex64")
INTS, BOOLS, DOUBLES = T((5,), "int64"), T((5,), "bool"), T((4, 5), "complex128")


def one_dimension(name, first, second, *extra, errors=()):
    samples = [
        S(first),
        S(second, 4, 0, "ortho"),
        S(second, n=9, norm="forward"),
        *extra,
    ]
    bad = [
        S(T()), S(first, 0), S(first, -1), S(first, dim=3), S(first, norm="bad"), S(first, 2.5),
        S(5), S(T((6,), "float16")), *errors,
    ]  # fmt: skip
    return Row(f"fft.{name}", samples, forms=("out",), errors=bad)


def several(name, data, *extra, errors=()):
    samples = [
        S(data),
        S(data, (2, 6), (0, -1), "ortho"),
        S(data, s=(3, -1), norm="forward"),
        *extra,
    ]
    bad = [
        S(data, (1, 2, 3, 4)), S(data, (2,), (0, 1)), S(data, dim=(0, 0)), S(data, dim=(0, 3)),
        S(data, (0, 2)), S(data, norm="bad"), S(data, (2.5, 2)), *errors,
    ]  # fmt: skip
    if name.endswith("2"):
        samples[1:3] = [S(data, s=(3, -1), norm="forward", dim=(1, 0))]
        bad.append(S(T((4,), data.dtype)))
    # Linear: that second derivatives vanish is seen in one dimension.
    return Row(f"fft.{name}", samples, second=False, forms=("out",), errors=bad)


LONG = T((2, 40))
SPECTRUM, WHOLE = T((2, 5, 6), "complex64"), T((5, 6), "complex64")
HANN = np.hanning(9)[:8].astype("float32")
WINDOW = T((8,), low=0.5, high=1.5)
RANDOM = T((8,), "complex64", 0.5, 1.5)


ROWS = [
    one_dimension("fft", C, CM, S(V), S(INTS), S(BOOLS), S(DOUBLES), S(T((0, 3)), 4, 0)),
    one_dimension("ifft", C, CM, S(V), S(INTS)),
    one_dimension("rfft", V, M, S(INTS), S(T((3, 5), "float64"), 8), errors=[S(C)]),
    one_dimension("irfft", C, CM, S(V), S(INTS), S(C, 5), errors=[S(T((3, 1)))]),
    one_dimension("hfft", C, CM, S(V), S(INTS), S(C, 5)),
    one_dimension("ihfft", V, M, S(INTS), errors=[S(C)]),
    several("fft2", CX, S(X), S(CX, dim=0)),
    several("ifft2", CX),
    several("rfft2", X, errors=[S(CX)]),
    several("irfft2", CX),
    several("hfft2", CX),
    several("ihfft2", X, errors=[S(CX)]),
    several("fftn", CX, S(X), S(CX, dim=()), S(CX, 3), S(T((2, 3, 2, 2), "complex64")), S(T())),
    several("ifftn", CX),
    several("rfftn", X, errors=[S(CX), S(T()), S(X, dim=())]),
    several("irfftn", CX, errors=[S(T())]),
    several("hfftn", CX),
    several("ihfftn", X, errors=[S(CX)]),
    Row(
        "fft.fftfreq",
        [S(5), S(6, 0.1), S(0), S(4, d=2, dtype="torch.float64"), S(5, dtype="torch.float16")],
        forms=("out",),
        errors=[S(-1), S(2.5), S(5, dtype="torch.int64"), S(5, dtype="torch.complex64")],
    ),
    Row("fft.rfftfreq", [S(5), S(6, 0.1), S(0), S(-1)], forms=("out",), errors=[S(2.5)]),
    Row(
        "fft.fftshift",
        [S(V), S(X), S(X, 1), S(INTS, dim=(0,)), S(CM, (-1, 0)), S(T((2, 0)))],
        errors=[S(M, 3), S(T()), S(M, ())],
    ),
    Row("fft.ifftshift", [S(T((5,))), S(X, (0, 2)), S(INTS)], errors=[S(M, -3)]),
    Row(
        "stft",
        [
            S(LONG, 8, return_complex=True),
            S(LONG, 8, 3, 6, T((6,)), return_complex=True),
            S(T((40,)), 8, 4, window=HANN, normalized=True, return_complex=False),
            S(T((40,), "complex64"), 8, center=False),
            S(LONG, 8, window=RANDOM, pad_mode="replicate"),
            S(LONG, 8, win_length=5, center=False, align_to_window=True, return_complex=True),
            S(LONG, 7, win_length=4, pad_mode="constant", onesided=False, return_complex=True),
            S(T((160,)), 70, 1, return_complex=True),
        ],
        forms=("method",),
        tol=1e-4,  # sums of up to 70 products in another order
        errors=[
            S(LONG, 8), S(LONG, 0, return_complex=True), S(LONG, 8, 0, return_complex=True),
            S(LONG, 8, win_length=9, return_complex=True), S(LONG, 80, return_complex=True),
            S(LONG, 8, win_length=4, window=WINDOW, return_complex=True),
            S(T((1, 2, 40)), 8, return_complex=True), S(T((40,), "int64"), 8, return_complex=True),
            S(LONG, 8, pad_mode="bad", return_complex=True), S(LONG, 8, 2.5, return_complex=True),
            S(T((40,), "complex64"), 8, onesided=True),
            S(LONG, 8, align_to_window=True, return_complex=True),
        ],
    ),
    Row(
        "istft",
        [
            S(SPECTRUM, 8),
            S(SPECTRUM, 8, 3, 6, T((6,), low=0.5, high=1.5)),
            S(WHOLE, 8, window=WINDOW, normalized=True, length=7),
            S(SPECTRUM, 8, 2, window=WINDOW, center=False),
            S(T((8, 6), "complex64"), 8, window=RANDOM, return_complex=True),
            S(T((5, 6), "complex128"), 8, 4, window=HANN),
        ],
        forms=("method",),
        tol=1e-4,
        errors=[
            S(LONG, 8), S(SPECTRUM, 10), S(SPECTRUM, 8, 9), S(SPECTRUM, 8, 0),
            S(SPECTRUM, 8, win_length=9), S(SPECTRUM, 8, win_length=4, window=WINDOW),
            S(SPECTRUM, 8, window=np.zeros(8, "float32")),
            S(SPECTRUM, 8, window=HANN, center=False),
            S(SPECTRUM, 8, return_complex=True), S(SPECTRUM, 8, window=RANDOM),
            S(SPECTRUM, 8, onesided=False), S(SPECTRUM, 8, window=[1.0] * 8),
            S(T((2, 5, 0), "complex64"), 8),
            S(T((1, 2, 5, 6), "complex64"), 8), S(SPECTRUM, 8, length=0),
        ],
    ),
    Row(
        "gradient",
        [
            S(M),
            S(M, spacing=2.0, dim=0), S(T((2, 4))), S(T((3,)), edge_order=2),
            S(T((2, 4)), spacing=(np.array([-2.0, -1]), np.array([1.0, 2, 4, 6]))),
            S(X, spacing=(2, 3.5), dim=(0, -1), edge_order=2),
            S(M, spacing=(np.cumsum([1, 2, 1, 4.0]), np.arange(6)), edge_order=2),
            S(V, spacing=(T((6,), low=0, high=9),)),
            S(INTS, spacing=2.5), S(T((4, 5), "complex64"), spacing=2j), S(M, spacing=2j),
            S(T((5,), "bfloat16")), S(T()), S(M, dim=()),
        ],
        tol=1e-4,  # differences cancel
        errors=[
            S(M, spacing=[2.0] * 3), S(M, spacing=[2.0], dim=(0, 1)), S(M, dim=(0, 0)), S(5),
            S(M, dim=2), S(M, edge_order=3), S(T((1, 4))), S(T((2, 4)), edge_order=2), S(BOOLS),
            S(T((5,), "uint8")), S(M, spacing=(np.arange(4), np.arange(4))), S(M, edge_order=True),
            S(M, spacing=(2, np.arange(6.0))), S(M, spacing=(np.ones((2, 2)), np.arange(6.0))),
        ],
    ),
    # PyTorch has no second derivative of it.
    Row(
        "pdist",
        [S(M), S(M, 1)],
        second=False,
        errors=[S(V), S(M, -1), S(T((3, 2), "int64")), S(5)],
    ),
    Row(
        "histogramdd",
        [
            S(T((20, 2)), 3),
            S(T((2, 10, 2)), [3, 4], weight=T((2, 10)), density=True),
            S(T((20, 2), "float64"), 3, range=[0.0, 1.0, -1.0, 0.5]),
            S(T((20, 2)), (np.float32([-1, 0, 1, 2]), np.float32([-2, 1.5, 2]))),
            S(T((0, 2)), 2),
        ],
        grad=False,
        errors=[
            S(T((6, 2)), [3, 4, 5]), S(T((6, 2)), 3, range=[0.0, 1.0]), S(V, 3), S(T(), 3),
            S(T((6, 2)), 3, weight=T((5,))), S(T((6, 2), "int64"), 3), S(T((6, 2)), 0),
            S(T((6, 2)), (np.float32([0, 1]),)), S(T((6, 2)), 2.5),
            S(T((6, 2)), [3, 4], range=(1.0, 0.0, 0.0, 1.0)),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
@pytest.mark.filterwarnings("ignore:A window was not provided", "ignore:stft with return_complex")
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
@pytest.mark.filterwarnings("ignore:A window was not provided")
def test_error(row, sample):
    check_error(row, sample)


# ---- windows -----------------------------------------------------------------------------------

WINDOWS = {
    "bartlett": [{}],
    "blackman": [{}],
    "cosine": [{}],
    "exponential": [{}, {"tau": 0.5, "sym": False}, {"center": 2, "sym": False}],
    "gaussian": [{}, {"std": 0.9}],
    "general_cosine": [{"a": [0.46, 0.23, 0.31]}],
    "general_hamming": [{}, {"alpha": 0.7}],
    "hamming": [{}],
    "hann": [{}],
    "kaiser": [{}, {"beta": 0.9, "sym": False}],
    "nuttall": [{}],
}


@pytest.mark.parametrize("name", WINDOWS)
def test_window(name):
    ours = getattr(torchlike.signal.windows, name)
    theirs = getattr(torch.signal.windows, name)
    for kwargs in WINDOWS[name]:
        for length in (0, 1, 2, 9):
            same(ours(length, **kwargs), theirs(length, **kwargs), 1e-5, f"{name}({length})")
        periodic = {**kwargs, "sym": False}
        a = ours(8, **periodic, dtype=torchlike.float64)
        same(a, theirs(8, **periodic, dtype=torch.float64), 1e-9, f"{name}, periodic")
    for bad in ({"M": -1}, {"M": 5, "dtype": "float16"}, {"M": 5, "layout": "sparse_coo"}):
        for lib, window in ((torchlike, ours), (torch, theirs)):
            given = {k: getattr(lib, v) if k != "M" else v for k, v in bad.items()}
            with pytest.raises(ValueError, match=r"requires|expects|strided"):
                window(**WINDOWS[name][0], **given)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("exponential", {"tau": 0}),
        ("exponential", {"center": 1}),
        ("gaussian", {"std": 0}),
        ("kaiser", {"beta": -1}),
        ("general_cosine", {"a": []}),
        ("general_cosine", {"a": 3}),
    ],
)
def test_window_error(name, kwargs):
    kind = TypeError if kwargs == {"a": 3} else ValueError
    for lib in (torchlike, torch):
        with pytest.raises(kind):
            getattr(lib.signal.windows, name)(5, **kwargs)


# ---- the rest ----------------------------------------------------------------------------------


def test_the_inverse_short_time_transform_gives_the_signal_back():
    x = torchlike.randn(2, 100, generator=torchlike.Generator().manual_seed(0))
    window = torchlike.hann_window(16)
    parts = torchlike.stft(x, 16, window=window, return_complex=True)
    back = torchlike.istft(parts, 16, window=window, length=100)
    assert back.shape == x.shape
    assert torchlike.allclose(back, x, atol=1e-5)


def test_a_signal_longer_than_its_frames_is_padded_with_a_warning():
    data = np.ones((5, 6), "complex64")
    with pytest.warns(UserWarning, match="shorter than the length"):
        ours = torchlike.istft(torchlike.tensor(data), 8, length=30)
    with pytest.warns(UserWarning, match="shorter than the length"):
        theirs = torch.istft(torch.tensor(data), 8, length=30)
    same(ours, theirs, 1e-5, "istft")


def test_names_of_transforms_are_pytorchs():
    assert set(torchlike.fft.__all__) >= set(torch.fft.__all__) - {"Tensor"}
    assert set(torchlike.signal.windows.__all__) == set(torch.signal.windows.__all__)
    assert torchlike.fft.fft.__name__ == "fft"


def test_frombuffer_shares_memory():
    buffer = bytearray(np.arange(6, dtype="float32").tobytes())
    x = torchlike.frombuffer(buffer, dtype=torchlike.float32, offset=4, count=3)
    assert x.tolist() == [1, 2, 3]
    x[0] = 7
    assert np.frombuffer(buffer, "float32")[1] == 7
    buffer[8:12] = np.float32(9).tobytes()
    assert x.tolist() == [7, 9, 3]
    half = torchlike.frombuffer(buffer, dtype=torchlike.bfloat16, requires_grad=True)
    assert half.shape == (12,)
    assert half.is_leaf
    assert half.requires_grad


def test_frombuffer_copies_what_is_read_only():
    with pytest.warns(UserWarning, match="not writable"):
        x = torchlike.frombuffer(b"abcd", dtype=torchlike.uint8)
    assert x.tolist() == [97, 98, 99, 100]


@pytest.mark.parametrize(
    "kwargs",
    [{"offset": 8}, {"offset": -1}, {"offset": 2}, {"count": 3}, {"count": 0}, {"size": 7},
     {"size": 0}, {"offset": 4, "count": 2}, {"size": None}],
)  # fmt: skip
def test_frombuffer_error(kwargs):
    kwargs = dict(kwargs)
    size = kwargs.pop("size", 8)
    for lib in (torch, torchlike):
        with warnings.catch_warnings(), pytest.raises(ValueError, match=r"buffer|offset"):
            lib.frombuffer(5 if size is None else bytearray(size), dtype=lib.float32, **kwargs)
