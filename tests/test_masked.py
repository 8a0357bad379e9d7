"""torch.masked against PyTorch: the functions with a mask, and MaskedTensor."""

import copy
import pickle

import numpy as np
import pytest

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, torch
from torchlike import masked

pytestmark = [
    pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors"),
    pytest.mark.filterwarnings("ignore:It is not recommended to create a MaskedTensor"),
]

M, C, V = T((2, 3)), T((2, 3), "complex64"), T((5,))
H, N, U = T((2, 3), "float16"), T((2, 3), "int32"), T((2, 3), "uint8")
B, E, Z = T((2, 3), "bool"), T((2, 0, 3)), T(())
LET = np.array([[True, False, True], [False, True, False]])
NONE_IN_ROW = np.array([[True, False, True], [False, False, False]])
ROW = np.array([True, False, True])
NUMBERS = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])  # a mask of another dtype is cast to bool


def m(*args, mask=LET, **kwargs):
    return S(*args, mask=mask, **kwargs)


REDUCED = [m(M, 1), m(M, mask=ROW, keepdim=True), m(M, (0, -1)), m(M, 1, mask=NONE_IN_ROW),
           m(Z, None, mask=np.array(True))]  # fmt: skip
SUMMED = [*REDUCED, m(M, [-1], mask=NUMBERS, dtype="torch.float64"), S(M, 0), m(C, 0), m(N, 1),
          m(B, 1), m(E, 1, mask=ROW)]  # fmt: skip
SPREAD = [m(M, 1, False), m(M, None, True), m(M, 1, mask=NONE_IN_ROW), m(M, 0, correction=0),
          m(M, 1, correction=0.5, keepdim=True), S(M, 1), m(N, 1, False), m(C, 1, False),
          m(M, 1, dtype="torch.float64")]  # fmt: skip
ALONG = [m(M, 1), m(M, 0, mask=ROW), m(M, -1, mask=NONE_IN_ROW), m(M, 1, dtype="torch.float64")]
BAD = [m(M, 2), m(M, (0, 0)), m(M, 1, mask=LET[:, :2]), m(M, 1, mask=LET[None])]

ROWS = [
    Row("masked.sum", SUMMED, errors=BAD),
    Row("masked.prod", [*SUMMED, m(N, 1, dtype="torch.int32")]),
    Row("masked.mean", [*SUMMED[:7], m(C, 0), m(N, 1, dtype="torch.float32")],
        errors=[m(N, 1), m(M, 1, dtype="torch.int64"), m(M, 3)]),
    *[Row(f"masked.{name}", [*REDUCED, m(N, 1), m(U, 1), m(N, 1, dtype="torch.float32"), S(B, 1)],
          errors=[m(B, 1), m(C, 1), m(E, 1, mask=ROW)]) for name in ("amax", "amin")],
    *[Row(f"masked.{name}", [m(M, 1), m(M), m(M, 0, keepdim=True, mask=ROW), m(N, 1),
                             m(M, 1, mask=NONE_IN_ROW), m(M, 1, dtype="torch.int64"), m(H, 1)],
          errors=[m(B, 1), S(C, 1), m(M, 2), m(M, (0, 1))])
      for name in ("argmax", "argmin")],
    Row("masked.median", [m(M, 1), m(M, mask=ROW), m(V, 0, mask=np.array([True] * 4 + [False])),
                          m(M, 1, mask=NONE_IN_ROW), m(N, 1, keepdim=True), m(H, 1), S(M)],
        errors=[m(N, 1, mask=NONE_IN_ROW), m(M, 2)]),
    Row("masked.logsumexp", [*REDUCED, m(N, 1), m(C, 1, mask=ROW), S(M, 0)], errors=[m(B, 1)]),
    Row("masked.norm", [m(M), m(M, 2.0, 1), m(M, 0, 1), m(M, 3, (0, 1)), m(M, float("inf"), 1),
                        m(M, -float("inf"), 1, mask=NONE_IN_ROW), m(C, 2, 1, keepdim=True),
                        m(M, 2, 1, dtype="torch.float64")],
        errors=[m(N, 2, 1), m(M, None, 1), m(M, 2, 2)]),
    Row("masked.var", SPREAD, errors=[m(M, 1, False, correction=1), m(B, 1)], tol=2e-4),
    Row("masked.std", SPREAD, tol=2e-4, second=False),
    *[Row(f"masked.{name}", [*ALONG, m(C, 1), m(N, 1), S(M, 1), m(B, 1, dtype="torch.int32")],
          errors=[m(B, 1), m(M, [])]) for name in ("cumsum", "cumprod")],
    *[Row(f"masked.{name}", [*ALONG, m(N, 1, dtype="torch.float32"), S(M, 1), m(H, 1)],
          errors=[m(N, 1), m(B, 1), m(C, 1), m(M, 2)])
      for name in ("softmax", "log_softmax", "softmin")],
    Row("masked.normalize", [m(M, 2.0, 1), m(M, 1, 0, mask=ROW), m(M, 2, 1, mask=NONE_IN_ROW),
                             m(C, 2, 1), m(M, 2, (0, 1), eps=100.0), S(M, 2, -1)],
        errors=[m(N, 2, 1)]),
    Row("masked.logaddexp", [S(M, M), S(M, M, input_mask=LET, other_mask=ROW),
                             S(M, T((3,)), input_mask=LET), S(M, M, dtype="torch.float64"),
                             S(M, M, input_mask=LET, other_mask=LET)],
        errors=[S(N, N), S(C, C, input_mask=LET), S(B, B, input_mask=LET)]),
]  # fmt: skip


for _row in ROWS:  # of the ops below, second derivatives are tested in their own families
    _row.second = _row.name in ("masked.sum", "masked.mean", "masked.var", "masked.normalize")


@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_function(row, sample):
    check(row, sample, False)


@pytest.mark.parametrize(("row", "sample"), cases(ROWS, 1))
def test_function_immediate(row, sample):
    check(row, sample, True)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


def test_what_the_mask_hides_does_not_count_even_if_it_is_nan():
    x = torchlike.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    out = masked.mean(x, mask=torchlike.tensor([True, False, True]))
    out.backward()
    assert out.item() == 2
    assert x.grad.tolist() == [0.5, 0, 0.5]


def test_sparse_inputs_are_refused_with_the_way_out():
    x = torchlike.eye(3).to_sparse()
    with pytest.raises(torchlike.NotSupported, match="to_dense"):
        masked.sum(x, 0)
    with pytest.raises(ValueError, match="expects strided tensor"):
        masked.softmax(x, 0)


# ---- MaskedTensor ------------------------------------------------------------------------------

DATA = np.array([[-3.0, -2.0, -1.0], [0.0, 1.0, 2.0]], "float32")


def pair(lib, mask=LET, data=DATA, **kwargs):
    return lib.masked.masked_tensor(lib.tensor(data), lib.tensor(mask), **kwargs)


CALLS = {
    "repr": lambda lib, x: x,
    "repr of numbers": lambda lib, x: x.to(lib.int64),
    "add": lambda lib, x: x + x,
    "with a number": lambda lib, x: (1 + x * 2) / 3,
    "with a tensor": lambda lib, x: x * lib.ones(3),
    "comparison": lambda lib, x: (x < 0) | (x == 1),
    "not": lambda lib, x: ~(x < 0),
    "unary": lambda lib, x: lib.exp(x).sqrt().clamp(0.1, 2),
    "power": lambda lib, x: x**2,
    "in place": lambda lib, x: x.clone().mul_(2).exp_(),
    "cast": lambda lib, x: x.double(),
    "like": lambda lib, x: lib.ones_like(x),
    "where": lambda lib, x: lib.where(lib.tensor(LET), x, pair(lib, ~LET) + 1),
    "sum": lambda lib, x: x.sum(),
    "sum along": lambda lib, x: lib.sum(x, 1, keepdim=True),
    "nothing there": lambda lib, x: pair(lib, NONE_IN_ROW).mean(1),
    "amax": lambda lib, x: x.amax(0),
    "argmin": lambda lib, x: x.argmin(1),
    "prod": lambda lib, x: x.prod(1),
    "all": lambda lib, x: (x > 0).all(1),
    "var": lambda lib, x: x.var(1),
    "softmax": lambda lib, x: x.softmax(1),
    "t": lambda lib, x: x.t(),
    "view": lambda lib, x: x.view(3, 2),
    "item of a view": lambda lib, x: x[0, 2].item(),
    "slices": lambda lib, x: x[:, 1:],
    "element": lambda lib, x: x[0, 1],
    "indices": lambda lib, x: x[lib.tensor(LET)],
    "unsqueeze": lambda lib, x: x.unsqueeze(0).expand(2, 2, 3),
    "split": lambda lib, x: x.split(1),
    "cat": lambda lib, x: lib.cat([x, x]),
    "stack": lambda lib, x: lib.stack([x, x]),
    "get_data": lambda lib, x: x.get_data(),
    "get_mask": lambda lib, x: x.get_mask(),
    "to_tensor": lambda lib, x: x.to_tensor(7),
    "function": lambda lib, x: lib.masked.softmax(x, 1),
    "detach": lambda lib, x: x.detach(),
    "strides": lambda lib, x: (x.t().stride(), x.shape, x.dtype, x.is_sparse, x.is_sparse_coo()),
    "copy": lambda lib, x: (copy.deepcopy(x), pickle.loads(pickle.dumps(x))),
    "empty": lambda lib, x: pair(lib, LET[:0], DATA[:0]),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_masked_tensor(name):
    ours, theirs = (CALLS[name](lib, pair(lib)) for lib in (torchlike, torch))
    assert repr(ours).replace("\n", "") == repr(theirs).replace("\n", "")
    assert type(ours).__name__ == type(theirs).__name__


LOSSES = {
    "sum": lambda x: x.sum(),
    "mean of squares": lambda x: (x * x).mean(),
    "amax": lambda x: x.amax(),
    "prod": lambda x: x.prod(),
    "nan where it is hidden": lambda x: (x + 3).sqrt().sum(),
    "softmax": lambda x: (x.softmax(1) * x).sum(),
    "view": lambda x: x.t().sum(),
    "function": lambda x: type(x).__mul__(x, x).to_tensor(0).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_masked(name):
    grads = []
    for lib in (torchlike, torch):
        x = pair(lib, requires_grad=True)
        LOSSES[name](x).backward()
        assert lib.masked.is_masked_tensor(x.grad)
        grads.append(x.grad)
    assert repr(grads[0]) == repr(grads[1])


def test_gradients_add_up():
    x = pair(torchlike, requires_grad=True)
    for _ in range(2):
        (x * 2).sum().backward()
    assert x.grad.to_tensor(0).tolist() == [[4, 0, 4], [0, 4, 0]]
    assert x.is_leaf and not (x * 2).is_leaf and not x.detach().requires_grad


def test_as_masked_tensor_is_on_the_tape():
    x = torchlike.tensor([4.0, -1.0], requires_grad=True)
    y = masked.as_masked_tensor(x * 1, torchlike.tensor([True, False]))
    assert y.requires_grad and not y.is_leaf
    y.sqrt().sum().backward()
    assert x.grad.tolist() == [0.25, 0]  # and no nan of what is hidden


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.masked.masked_tensor([1.0], lib.tensor([True])),
        lambda lib: lib.masked.masked_tensor(lib.ones(1), [True]),
        lambda lib: lib.masked.as_masked_tensor(lib.ones(1), lib.ones(1)),
        lambda lib: lib.masked.MaskedTensor(lib.ones(2), lib.tensor([True])),
        lambda lib: lib.masked.MaskedTensor(lib.ones(2, 3), lib.tensor(ROW)),
        lambda lib: lib.masked.masked_tensor(lib.ones(1).to(lib.uint8), lib.tensor([True])),
        lambda lib: lib.masked.masked_tensor(pair(lib), lib.tensor(LET)),
        lambda lib: pair(lib) + pair(lib, ~LET),
        lambda lib: pair(lib)[0, 1].item(),
        lambda lib: lib.cat([pair(lib), lib.ones(2, 3)]),
        lambda lib: pair(lib, requires_grad=True).add_(1),
        lambda lib: pair(lib).tolist(),
        lambda lib: bool(pair(lib)),
    ],
)
def test_refused_as_by_pytorch(make):
    with pytest.raises(Exception) as theirs:
        make(torch)
    with pytest.raises(theirs.type) as ours:
        make(torchlike)
    if theirs.type is not TypeError and "torch_dispatch" not in str(theirs.value):
        assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x @ x.t(),
        lambda x: x.sort(),
        lambda x: torchlike.nn.functional.dropout(x),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.copy_(x),
        lambda x: masked.sum(x, 1, mask=torchlike.tensor(LET)),
        lambda x: torchlike.autograd.grad(x.sum(), x),
    ],
)
def test_refused_with_the_way_out(call):
    with pytest.raises(NotImplementedError, match=r"get_data|make a new|use "):
        call(pair(torchlike, requires_grad=True))


@pytest.mark.parametrize("lib", [torchlike, torch])
def test_a_history_that_is_dropped_is_told(lib):
    data = lib.ones(2, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="with a tensor that requires_grad"):
        made = lib.masked.masked_tensor(data * 2, lib.tensor(LET))
    assert not made.requires_grad
