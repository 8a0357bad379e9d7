"""Rows of torch.special: values beside every seam, edges, promotion, gradients, errors."""

import math

import numpy as np
import pytest
import torch

import torchlike
from tests.ops.host import check_host
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases

nan, inf = math.nan, math.inf
M, P = T((3, 4)), T((3, 4), low=0.1, high=3.0)
U = T((3, 4), low=0.05, high=0.95)
C, E = T((3,), "complex64"), T((2, 0))
H = T((5,), "bfloat16", grad=False)  # PyTorch lacks most gradients in half precision
I, B = T((3,), "int64", 1, 6), T((3,), "bool")  # noqa: E741
D = T((4,), "float64", 0.2, 3.0)
EDGE = np.array([0.0, -0.0, 1e-30, -1.0, -12.5, 9.5, 40.0, 1e30, inf, -inf, nan], "float32")
WIDE = np.linspace(-13, 13, 27)  # across the seams of all series
OUT = ("out",)


def unary(name, x=M, *samples, errors=(), **kwargs):
    """A row of a function of one operand: its domain, integers and the edges."""
    samples = [S(x), S(I), S(EDGE), *samples]
    return Row(f"special.{name}", samples, forms=OUT, errors=[S(C), S(1.0), *errors], **kwargs)


def fixed(name, *samples):
    """A row of a function that has neither half precision nor a gradient."""
    return unary(name, M, S(WIDE), *samples, errors=[S(H)])


def polynomial(name, *samples, errors=()):
    x = np.array([-1.5, -1.0, -0.3, 0.0, 0.4, 0.5, 0.9, 1.0, 1.25], "float64")
    degrees = np.array([[-1], [0], [1], [2], [5], [13]])
    return Row(
        f"special.{name}",
        [S(U, 3), S(x, degrees), S(I, 2.9), S(1.5, T((3,))), *samples],
        forms=OUT, errors=[S(1.5, 2), S(C, 2), S(H, H), S(M, T((5,))), *errors],
    )  # fmt: skip


ROWS = [
    unary("erfcx", M, S(WIDE[8:])),
    unary("log_ndtr", M, S(WIDE), S(E)),
    unary("ndtr", M, S(H), S(WIDE)),
    unary("ndtri", U, S(np.array([0.0, 1.0, 1e-10, -0.5, 2.0, nan])), errors=[S(H)]),
    unary("entr", P, S(H), S(B)),
    unary("i0", M, S(H), S(np.array([0.0, -3.0], "float32"))),
    unary("i0e", M, S(H), S(B)),
    unary("i1", M, S(H), S(WIDE)),
    unary("i1e", M, S(H), S(WIDE)),
    fixed("airy_ai"),
    fixed("bessel_j0"),
    fixed("bessel_j1"),
    fixed("bessel_y0"),
    fixed("bessel_y1"),
    fixed("modified_bessel_i0"),
    fixed("modified_bessel_i1"),
    fixed("modified_bessel_k0"),
    fixed("modified_bessel_k1"),
    fixed("scaled_modified_bessel_k0"),
    fixed("scaled_modified_bessel_k1"),
    fixed("spherical_bessel_j0"),
    Row("special.xlog1py", [S(M, P), S(M, 2), S(1.5, P), S(I, I), S(H, H),
                            S(np.array([0.0, 0.0, 0.0, 2.0, 0.0]),
                              np.array([-1.0, nan, -3.0, -1.0, inf]))],
        forms=OUT, errors=[S(1.5, 2), S(C, C), S(T((3,)), T((4,)))]),
    Row("special.zeta", [S(P._replace(low=1.5, grad=False), P), S(2, P), S(3, I),
                         S(T((3,), low=2, high=4, grad=False), 1),
                         S(np.array([2.0, 1.0, 0.5, 3.0, 2.0, 2.5, nan, inf]),
                           np.array([0.0, 1.0, 1.0, -1.5, -8.48, -1.5, 1.0, 0.5]))],
        forms=OUT, errors=[S(1.5, 2), S(C, C), S(H, H)]),
    polynomial("chebyshev_polynomial_t", S(D, 200)),
    polynomial("chebyshev_polynomial_u"),
    polynomial("chebyshev_polynomial_v"),
    polynomial("chebyshev_polynomial_w"),
    polynomial("shifted_chebyshev_polynomial_t"),
    polynomial("shifted_chebyshev_polynomial_u"),
    polynomial("shifted_chebyshev_polynomial_v"),
    polynomial("shifted_chebyshev_polynomial_w"),
    polynomial("hermite_polynomial_h", S(M, 129)),
    polynomial("hermite_polynomial_he", S(M, 200)),
    polynomial("laguerre_polynomial_l"),
    polynomial("legendre_polynomial_p"),
    Row("special.gammainc", [S(P, P)], grad=False, errors=[S(I, I), S(P, 1.0)]),
    Row("special.gammaincc", [S(P, P)], grad=False, errors=[S(I, I), S(P, 1.0)]),
    # What the top-level namespace has too; test_pointwise.py and others try it harder.
    Row("special.multigammaln", [S(T((3,), low=2.0, high=4.0), 2)], forms=OUT, tol=1e-4,
        errors=[S(P, 0)]),
    Row("special.polygamma", [S(1, P), S(2, np.array([-8.48, -0.5, 0.3]))], forms=OUT, tol=1e-3),
    Row("special.round", [S(M), S(M, decimals=1)], forms=OUT),
    Row("special.sinc", [S(M), S(np.array([0.0, 1e-30, 1.0], "float32"))], forms=OUT),
    Row("special.softmax", [S(M, 1), S(I, dim=0, dtype="torch.float64")]),
    Row("special.log_softmax", [S(M, dim=-1)]),
    Row("special.logsumexp", [S(M, 1, keepdim=True)], forms=OUT),
    Row("special.xlogy", [S(M, P), S(2, P)], forms=OUT, errors=[S(1, 2)]),
    Row("special.logit", [S(U), S(M, eps=0.1)], forms=OUT),
    *(Row(f"special.{name}", [S(U)], forms=OUT, tol=1e-4) for name in (
        "digamma", "psi", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "log1p")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_deferred(row, sample):
    check(row, sample, immediate=False)


@pytest.mark.parametrize(("row", "sample"), cases(ROWS[:22], 1))
def test_immediate(row, sample):
    check(row, sample, immediate=True)


@pytest.mark.parametrize(("row", "sample"), cases(ROWS[22:], 1))
def test_numpy_and_xla_agree(row, sample):
    check_host(row, sample)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_errors(row, sample):
    check_error(row, sample)


def test_every_name_of_pytorch_is_there():
    assert set(torch.special.__all__) == set(torchlike.special.__all__)


def special(name, x):
    return getattr(torchlike.special, name)(torchlike.tensor(x)).numpy()


X = np.array([0.01, 0.7, 1.99, 2.01, 5.0, 7.99, 8.01, 30.0, 500.0])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        # PyTorch's own Bessel functions are good to 1e-8 only; Wronskians are exact (Abramowitz and
        # Stegun 9.1.16, 9.6.15).
        (special("bessel_j1", X) * special("bessel_y0", X)
         - special("bessel_j0", X) * special("bessel_y1", X), 2 / (math.pi * X)),
        (special("i0e", X) * special("scaled_modified_bessel_k1", X)
         + special("i1e", X) * special("scaled_modified_bessel_k0", X), 1 / X),
    ],
    ids=["bessel", "modified"],
)  # fmt: skip
def test_double_precision(left, right):
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_zeta_refuses_a_gradient_of_its_exponent():
    x = torchlike.tensor([2.5], requires_grad=True)
    with pytest.raises(NotImplementedError, match="derivative for 'zeta' is not implemented"):
        torchlike.special.zeta(x, torchlike.tensor([1.5])).sum().backward()
    assert (x * 2).sum().item() == 5.0  # the engine is none the worse for it


def test_bessel_functions_record_no_history():
    x = torchlike.tensor([0.5], requires_grad=True)
    assert not torchlike.special.bessel_j0(x).requires_grad
    assert not torchlike.special.hermite_polynomial_h(x, 3).requires_grad
