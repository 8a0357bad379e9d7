"""flex_attention and its block masks against PyTorch's."""

import warnings

import numpy as np
import pytest

import torchlike
import torchlike.nn.attention.flex_attention as ours

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")
theirs = pytest.importorskip("torch.nn.attention.flex_attention")

BATCH, HEADS, LENGTH, WIDTH = 2, 4, 40, 8
rng = np.random.default_rng(0)
BIAS = rng.normal(size=(HEADS, 2 * LENGTH)).astype("float32")
SLOPES = rng.uniform(size=HEADS).astype("float32")
DOCUMENTS = np.sort(rng.integers(0, 4, size=(BATCH, LENGTH)), -1)
PREFIX = np.array([3, 17])


def causal(lib):
    return lambda b, h, q, k: q >= k


def window(lib):
    return lambda b, h, q, k: (q - k).abs() <= 5


def documents(lib):
    ids = lib.tensor(DOCUMENTS)
    return lambda b, h, q, k: ids[b, q] == ids[b, k]


def prefix(lib):
    lengths, fx = lib.tensor(PREFIX), flex(lib)
    return fx.or_masks(lambda b, h, q, k: k < lengths[b], causal(lib))


def both(lib):
    return flex(lib).and_masks(causal(lib), window(lib), flex(lib).noop_mask)


def some_rows(lib):
    """Hides everything from the first queries."""
    return lambda b, h, q, k: (q > 4) & (k < q)


def flex(lib):
    return ours if lib is torchlike else theirs


def biased(w):
    return lambda s, b, h, q, k: s + w[h, q - k + LENGTH]


SCORES = {
    "relative": lambda lib: lambda s, b, h, q, k: s + (q - k),
    "bias": lambda lib: biased(lib.tensor(BIAS)),
    "alibi": lambda lib: (lambda w: lambda s, b, h, q, k: s + w[h] * (k - q))(lib.tensor(SLOPES)),
    "soft cap": lambda lib: lambda s, b, h, q, k: 2.0 * lib.tanh(s / 2.0),
    "causal": lambda lib: lambda s, b, h, q, k: lib.where(q >= k, s, -float("inf")),
    "hides all": lambda lib: lambda s, b, h, q, k: lib.where(q < 3, -float("inf"), s),
    "by batch": lambda lib: lambda s, b, h, q, k: s * (b + 1) - h,
    "bool": lambda lib: lambda s, b, h, q, k: q > k,
}
MASKS = {f.__name__: f for f in (causal, window, documents, prefix, both, some_rows)}
CASES = [(s, None) for s in SCORES] + [(None, m) for m in MASKS] + [("alibi", "causal")]


def tensors(lib, *shapes):
    draw = np.random.default_rng(1)
    return [lib.tensor(draw.normal(size=s).astype("float32")) for s in shapes]


def attend(lib, score, mask, shared=1, length=LENGTH, block=16, call=None, **given):
    fx = flex(lib)
    q, k, v = tensors(
        lib, (BATCH, HEADS, length, WIDTH), *[(BATCH, HEADS // shared, LENGTH, WIDTH)] * 2
    )
    blocks = mask and fx.create_block_mask(
        MASKS[mask](lib), BATCH, HEADS, length, LENGTH, device="cpu", BLOCK_SIZE=block
    )
    call = call or fx.flex_attention
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, that it is not compiled
        return call(
            q, k, v, score and SCORES[score](lib), blocks, enable_gqa=shared > 1,
            return_aux=fx.AuxRequest(lse=True), **given,
        )  # fmt: skip


def numbers(result):
    out, aux = result
    return [x.detach().numpy() for x in (out, aux.lse)]


@pytest.mark.parametrize(("score", "mask"), CASES)
def test_values_are_pytorchs(score, mask):
    wanted = numbers(attend(torch, score, mask))
    for call in (ours.flex_attention, torchlike.compile(ours.flex_attention)):
        for a, b in zip(numbers(attend(torchlike, score, mask, call=call)), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "given", [{"shared": 2}, {"shared": 4, "scale": 0.3}, {"length": 7}, {"block": (8, 32)}]
)
def test_sizes_are_free(given):
    results = [attend(lib, "alibi", "causal", **given) for lib in (torchlike, torch)]
    for a, b in zip(*map(numbers, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_gradients_are_those_of_attention_with_a_bias():
    """PyTorch has none on the CPU; they go to what score_mod uses, too."""
    made = {}
    for lib in (torchlike, torch):
        q, k, v = tensors(lib, *[(BATCH, HEADS, LENGTH, WIDTH)] * 3)
        w = lib.tensor(BIAS)
        for t in (q, k, v, w):
            t.requires_grad_()
        if lib is torchlike:
            blocks = ours.create_block_mask(causal(lib), None, None, LENGTH, LENGTH, BLOCK_SIZE=8)
            out = ours.flex_attention(q, k, v, biased(w), blocks)
        else:
            i = lib.arange(LENGTH)
            bias = w[:, i[:, None] - i + LENGTH].masked_fill(i[:, None] < i, -float("inf"))
            out = lib.nn.functional.scaled_dot_product_attention(q, k, v, bias)
        out.square().sum().backward()
        made[lib] = [t.grad.numpy() for t in (q, k, v, w)]
    for a, b in zip(*made.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_listed_blocks_count_beside_the_mask():
    """PyTorch's compiled kernels skip blocks that are not listed, whatever mask_mod says."""
    q, k, v = tensors(torchlike, *[(1, 1, 32, WIDTH)] * 3)
    lists = torchlike.tensor([[[1, 2]]]), torchlike.tensor([[[[1, 0], [0, 1]]]])
    blocks = ours.BlockMask.from_kv_blocks(*[x.int() for x in lists], BLOCK_SIZE=16)
    seen = torch.ones(32, 32, dtype=torch.bool)
    seen[:16, :16] = False
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *tensors(torch, *[(1, 1, 32, WIDTH)] * 3), seen
    )
    found = ours.flex_attention(q, k, v, block_mask=blocks)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=2e-5, atol=2e-6)
    # A row of blocks with a mask of its own, as in decoding with a cache.
    whole = ours.create_block_mask(causal(torchlike), None, None, 32, 32, BLOCK_SIZE=16)
    row = whole[:, :, 1]
    row.seq_lengths = (1, 32)
    row.mask_mod = lambda b, h, i, j: i + 20 >= j
    one = ours.flex_attention(q[:, :, 20:21], k, v, block_mask=row)
    every = ours.flex_attention(q, k, v, block_mask=whole)
    np.testing.assert_allclose(one[0, 0, 0].numpy(), every[0, 0, 20].numpy(), rtol=2e-5, atol=2e-6)


def described(lib, make):
    """A mask in numbers and words, and parts of it."""
    fx = flex(lib)
    mask = make(fx, lib)
    parts = [mask, mask[0], mask[:, -1], mask[:, :, 1], mask._adjust(50, 300), mask.to("cpu")]
    return [
        (
            repr(m), str(m), m.to_string(grid_size=(2, 3), limit=1), m.to_string(-1), m.shape,
            m.numel(), m.sparsity(), m.to_dense().tolist(), len(m.as_tuple()),
            len(m.as_tuple(flatten=False)),
            [None if (x := getattr(m, name)) is None else (str(x.dtype)[-5:], x.tolist())
             for name in ours.BlockMask._TENSORS],
        )
        for m in parts
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda fx, lib: fx.create_block_mask(causal(lib), None, None, 300, 300),
        lambda fx, lib: fx.create_block_mask(causal(lib), 3, 2, 100, 70, BLOCK_SIZE=(16, 8)),
        lambda fx, lib: fx.create_block_mask(
            documents(lib), BATCH, None, LENGTH, LENGTH, BLOCK_SIZE=4, separate_full_blocks=False
        ),
        lambda fx, lib: fx.BlockMask.from_kv_blocks(
            lib.tensor([[[1, 2, 0]]]).int(), lib.tensor([[[[1, 0], [0, 1], [0, 1]]]]).int(),
            BLOCK_SIZE=16, seq_lengths=(48, 30),
        ),
    ],
)  # fmt: skip
def test_block_masks_are_pytorchs(make):
    for a, b in zip(described(torchlike, make), described(torch, make), strict=True):
        assert a == b


WRONG = {
    "three dimensions": lambda fx, lib, q, f: f(q[0], q[0], q[0]),
    "another width": lambda fx, lib, q, f: f(q, q[..., :4], q),
    "another batch": lambda fx, lib, q, f: f(q, q[:1], q[:1]),
    "other heads": lambda fx, lib, q, f: f(q, q[:, :2], q[:, :2]),
    "heads that do not divide": lambda fx, lib, q, f: f(q, q[:, :3], q[:, :3], enable_gqa=True),
    "both kinds of extras": lambda fx, lib, q, f: f(
        q, q, q, return_lse=True, return_aux=fx.AuxRequest()
    ),
    "a longer mask": lambda fx, lib, q, f: f(
        q, q, q, block_mask=fx.create_block_mask(causal(lib), None, None, 90, 90)
    ),
    "a shorter mask": lambda fx, lib, q, f: f(
        q, q, q, block_mask=fx.create_block_mask(causal(lib), None, None, LENGTH, 9)
    ),
    "a part of a mask": lambda fx, lib, q, f: f(
        q, q, q, block_mask=fx.create_block_mask(causal(lib), 2, 4, LENGTH, LENGTH)[0]
    ),
    "a mask of numbers": lambda fx, lib, q, f: fx.create_block_mask(
        lambda b, h, i, j: i - j, None, None, 8, 8
    ),
    "a mask of two arguments": lambda fx, lib, q, f: fx.create_mask(
        lambda i, j: i > j, None, None, 8, 8
    ),
    "no function": lambda fx, lib, q, f: fx.and_masks(causal(lib), 3),
    "half of the full blocks": lambda fx, lib, q, f: fx.BlockMask.from_kv_blocks(
        lib.ones(1, 1, 2), lib.ones(1, 1, 2, 2), lib.ones(1, 1, 2)
    ),
    "too few dimensions": lambda fx, lib, q, f: fx.BlockMask.from_kv_blocks(
        lib.ones(2), lib.ones(2)
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_are_pytorchs(wrong):
    found = []
    for lib in (torchlike, torch):
        fx, (q,) = flex(lib), tensors(lib, (BATCH, HEADS, LENGTH, WIDTH))
        with warnings.catch_warnings(), pytest.raises(Exception) as caught:
            warnings.simplefilter("ignore")
            WRONG[wrong](fx, lib, q, fx.flex_attention)
        found.append((caught.type.__name__, str(caught.value).replace("torchlike.", "torch.")))
    assert found[0] == found[1]
