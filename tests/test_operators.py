"""Python's protocols on Tensor, each as PyTorch has it: hashing, indexing, Python 2's names."""

import inspect

import pytest

import torchlike

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")


def both(call):
    return [call(lib, lib.tensor([1.0, 2.0, 4.0])) for lib in (torchlike, torch)]


def test_a_tensor_hashes_by_identity():
    x, y = torchlike.ones(2), torchlike.ones(2)
    assert {x: 1, y: 2}[x] == 1
    assert len({x, y, x.detach()}) == 3
    assert hash(torchlike.nn.Parameter(x)) != hash(x)


@pytest.mark.parametrize("name", ["__getitem__", "__setitem__", "__delitem__"])
def test_signature(name):
    ours, theirs = (inspect.signature(getattr(lib.Tensor, name)) for lib in (torchlike, torch))
    assert [(p.name, p.kind) for p in ours.parameters.values()] == [
        (p.name, p.kind) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, x: x.__div__(2),
        lambda lib, x: x.__rdiv__(2),
        lambda lib, x: x.__rdiv__(x * 3),
        lambda lib, x: x.clone().__idiv__(4),
    ],
)
def test_division_under_its_old_name(call):
    ours, theirs = both(call)
    assert ours.tolist() == theirs.tolist()


def test_numbers_under_their_old_names():
    for lib in (torchlike, torch):
        assert lib.tensor(3.7).__long__() == 3
        assert lib.tensor(0.0).__nonzero__() is False


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, x: x.__getitem__(key=0),
        lambda lib, x: x.__delitem__(0),
        lambda lib, x: lib.argmax(x[None, None], True),
        lambda lib, x: lib.softmax(x[None, None, None], True),
    ],
)
def test_refused(call):
    for lib in (torchlike, torch):
        with pytest.raises(TypeError):
            call(lib, lib.tensor([1.0, 2.0]))
