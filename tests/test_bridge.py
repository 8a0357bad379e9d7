"""Memory shared with NumPy, both ways, against PyTorch."""

import gc
import random

import numpy as np
import pytest

import torchlike
from torchlike._tensor.bridge import SharedStorage

torch = pytest.importorskip("torch")

MODULES = {torchlike.Tensor: torchlike, torch.Tensor: torch}
VIEWS = [
    lambda t: t.t() if t.ndim == 2 else t[1:],
    lambda t: t[0] if t.ndim > 1 else t[:2],
    lambda t: t[..., ::2],
    lambda t: t.reshape(-1) if t.is_contiguous() else t,
    lambda t: t.detach(),
]
WRITES = [
    lambda t, x: t.add_(x),
    lambda t, x: t.mul_(x),
    lambda t, x: t.__setitem__(0, x),
    lambda t, x: t.data.sub_(x),
    lambda t, x: t.copy_(t * x),
    lambda t, x: MODULES[type(t)].nn.init.constant_(t, x),  # which asks nothing of what was there
]
ARRAY_VIEWS = [lambda n: n.T, lambda n: n[:1], lambda n: n[..., -1:], lambda n: n.view()]
ARRAY_WRITES = [
    lambda n, x: np.add(n, x, out=n),
    lambda n, x: n.fill(x),
    lambda n, x: n.__setitem__((..., 0), x),
]


def run(m, seed):
    """A random program on tensors and arrays that share one memory; all that it can see."""
    rng = random.Random(seed)
    start = np.arange(12.0, dtype=rng.choice(["f4", "f8", "i4"])).reshape(3, 4)
    if rng.random() < 0.5:
        tensors, arrays = [rng.choice([m.from_numpy, m.from_dlpack])(start)], [start]
    else:
        tensors, arrays = [m.tensor(start)], []
    seen = []
    for _ in range(25):
        kind, x = rng.randrange(6), rng.randrange(1, 4)
        t, n = rng.choice(tensors), rng.choice(arrays) if arrays else None
        if kind == 0:
            tensors.append(rng.choice(VIEWS)(t))
            if rng.random() < 0.3:
                tensors.append(m.from_dlpack(m.utils.dlpack.to_dlpack(t)))
        elif kind == 1:
            rng.choice(WRITES)(t, x)
        elif kind == 2 or n is None:
            arrays.append(rng.choice([lambda t: t.numpy(), np.asarray, np.from_dlpack])(t))
        elif kind == 3:
            rng.choice(ARRAY_WRITES)(n, x)
        elif kind == 4:
            arrays.append(rng.choice(ARRAY_VIEWS)(n))
        else:
            arrays.pop(rng.randrange(len(arrays)))
        del n
        seen.append(rng.choice(tensors).sum().item())
    return seen, [t.tolist() for t in tensors], [n.tolist() for n in arrays]


@pytest.mark.parametrize("seed", range(40))
def test_fuzz(seed):
    assert run(torchlike, seed) == run(torch, seed)


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.ones(2, 3),
        lambda m: m.ones(2, 3).t(),
        lambda m: m.ones(2, 3)[:, 1],
        lambda m: m.ones(2, 1).expand(2, 3),
        lambda m: m.tensor(5),
        lambda m: m.zeros(0, 3),
        lambda m: m.tensor([True, False]),
        lambda m: m.tensor([1 + 2j, 3j]),
        lambda m: m.view_as_real(m.tensor([1 + 2j, 3j])),
    ],
)
def test_arrays_have_the_layout(m, make):
    ours, theirs = make(m).numpy(), make(torch).numpy()
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.size == 0 or ours.strides == theirs.strides
    np.testing.assert_array_equal(ours, theirs)


def test_an_optimizer_step_shows():
    seen = []
    for m in (torchlike, torch):
        w = m.ones(3, requires_grad=True)
        array = w.detach().numpy()
        optimizer = m.optim.SGD([w], lr=0.5)
        (w * m.arange(3)).sum().backward()
        optimizer.step()
        array[0] = 9
        seen.append((array.tolist(), w.tolist()))
    assert seen[0] == seen[1]


def test_sharing_ends_with_the_array():
    t = torchlike.ones(4)
    array = t.numpy()[1:]
    assert t._storage.__class__ is SharedStorage
    del array
    gc.collect()
    t + 1
    assert t._storage.__class__ is not SharedStorage
    private = torchlike.from_numpy(np.ones(4)[1:])
    private + 1
    assert private._storage.__class__ is not SharedStorage


def test_what_cannot_be_shared():
    flipped = np.ones(3)[::-1]
    swapped = np.ones(3, ">f4")
    for m in (torchlike, torch):
        with pytest.raises(ValueError, match="stride in the given numpy array is negative"):
            m.from_numpy(flipped)
        with pytest.raises(ValueError, match="byte order different"):
            m.from_numpy(swapped)


def test_parts_of_a_tensor_are_shared_piece_by_piece():
    """Overlapping parts, asked for one after the other, are one memory; only they are copied."""

    def run(lib):
        x = lib.arange(60.0).reshape(10, 6)
        seen = []
        a = x[2].numpy()
        c = x[7:9, 2:4].numpy()
        if lib is torchlike:
            seen.append(sum(j - i for i, j in x._storage.filled) < 20)
        else:
            seen.append(True)
        b = x[1:5].numpy()
        a[3] = -1
        x[3, 0] = -2
        b[3, 5] = -3
        x[8] *= 2
        e = x.t()[1].numpy()
        e[7] = -4
        c += 100
        whole = x.numpy()
        whole[0, 0] = -5
        seen += [y.tolist() for y in (a, b, c, e, x, whole)]
        del a, b, c, e, whole
        x += 1
        return [*seen, x.tolist(), x[4].numpy().tolist()]

    assert run(torchlike) == run(torch)


def test_an_array_of_a_tensor_that_nobody_holds_is_a_copy():
    x = torchlike.arange(6.0).reshape(2, 3)
    array = (x * 2).numpy()
    assert array.flags.writeable
    array[0, 0] = 7
    assert (x * 2).tolist()[0][0] == 0
    held = x * 2
    shared = held.numpy()
    shared[0, 0] = 7
    assert held.tolist()[0][0] == 7
    viewed = x.detach().numpy()  # the handle ends here, the memory is x's
    viewed[1, 2] = 9
    assert x.tolist()[1][2] == 9
