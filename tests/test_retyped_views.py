"""``x.view(dtype)``: the same bytes as PyTorch's, read and written; complex and bool, too."""

import itertools

import pytest

import torchlike as tl

torch = pytest.importorskip("torch")

DTYPES = ("complex64", "complex128", "float32", "bool", "uint8", "int64", "bfloat16")


def read_and_write(m, source, target, shape):
    x = (m.arange(16) % 2).to(getattr(m, source))
    x = x.reshape(shape) if shape else x[1].clone()
    y = x.view(getattr(m, target))
    seen = tuple(y.shape), str(y.tolist())
    y[...] = 0
    return *seen, str(x.tolist())


@pytest.mark.parametrize("shape", [(2, 8), ()])
def test_agrees_with_pytorch(shape):
    for source, target in itertools.permutations(DTYPES, 2):
        try:
            wanted = read_and_write(torch, source, target, shape)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                read_and_write(tl, source, target, shape)
        else:
            assert read_and_write(tl, source, target, shape) == wanted, (source, target)
