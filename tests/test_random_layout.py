"""Draws into tensors that are not row-major: PyTorch fills memory in order, and so do we."""

import pytest

import torchlike

torch = pytest.importorskip("torch")

LAYOUTS = {
    "row_major": lambda m: m.ones(3, 4, 5),
    "transposed": lambda m: m.ones(3, 4, 5).transpose(0, 1),
    "permuted": lambda m: m.ones(3, 4, 5).permute(2, 0, 1),
    "small": lambda m: m.ones(2, 3).t(),
    "expanded": lambda m: m.ones(3, 1).expand(3, 2),
    "strided": lambda m: m.ones(3, 8)[:, ::2],
    "strided_transposed": lambda m: m.ones(3, 8)[:, ::2].t(),
    "one_wide": lambda m: m.ones(4, 1, 3).transpose(1, 2),
}
DRAWS = {
    "dropout": lambda m, x: m.nn.functional.dropout(x, 0.5),
    "rand_like": lambda m, x: m.rand_like(x),
    "randn_like": lambda m, x: m.randn_like(x),
    "randint_like": lambda m, x: m.randint_like(x, 3, 100),
    "bernoulli": lambda m, x: m.bernoulli(x, 0.3),
    "bernoulli_of": lambda m, x: m.bernoulli(x),
}
IN_PLACE = {
    "uniform_": lambda x: x.uniform_(2, 3),
    "normal_": lambda x: x.normal_(1, 2),
    "random_": lambda x: x.random_(50),
    "bernoulli_": lambda x: x.bernoulli_(0.3),
    "exponential_": lambda x: x.exponential_(),
}


def drawn(m, layout, draw):
    x = LAYOUTS[layout](m)
    m.manual_seed(5)
    return draw(x), m.rand(2)


CASES = [(layout, name) for layout in LAYOUTS for name in DRAWS]
# Nobody may write to an expanded tensor.
CASES += [(layout, name) for layout in LAYOUTS for name in IN_PLACE if layout != "expanded"]


@pytest.mark.parametrize(("layout", "name"), CASES)
def test_fills_memory_in_order(layout, name):
    results = []
    for m in (torchlike, torch):
        if name in DRAWS:
            results.append(drawn(m, layout, lambda x, m=m: DRAWS[name](m, x)))
        else:
            results.append(drawn(m, layout, IN_PLACE[name]))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(torch.tensor(ours.tolist()), torch.tensor(theirs.tolist()))
