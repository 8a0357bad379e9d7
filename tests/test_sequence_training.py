"""An LSTM language model and a GRU classifier train to PyTorch's losses."""

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch")

TEXT = ("the quick brown fox jumps over the lazy dog; " * 6)[:264]
LETTERS = sorted(set(TEXT))
BATCH, LENGTH = 8, 16


def language_model(lib):
    """Truncated backpropagation: the state goes on from batch to batch, detached; gradients are
    clipped, the head shares the embedding's weight, dropout is off."""

    class Model(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = lib.nn.Embedding(len(LETTERS), 32)
            self.rnn = lib.nn.LSTM(32, 32, num_layers=2, batch_first=True)
            self.head = lib.nn.Linear(32, len(LETTERS))
            self.head.weight = self.embed.weight

        def forward(self, x, state):
            out, state = self.rnn(self.embed(x), state)
            return self.head(out), state

    lib.manual_seed(0)
    model = Model()
    optimizer = lib.optim.Adam(model.parameters(), lr=2e-2)
    scheduler = lib.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    text = lib.tensor([LETTERS.index(c) for c in TEXT]).view(BATCH, -1)
    losses = []
    for _ in range(10):
        state = None
        for at in range(0, text.shape[1] - 1, LENGTH):
            x, y = text[:, at : at + LENGTH], text[:, at + 1 : at + 1 + LENGTH]
            out, state = model(x, state)
            state = tuple(s.detach() for s in state)
            loss = lib.nn.functional.cross_entropy(out.flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            lib.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    return losses


def classifier(lib):
    """Sequences of different lengths, packed, through a bidirectional GRU: which letter starts
    them; the data come shuffled from a loader, with a padding collate function."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 48)
    rows = [lib.tensor(rng.integers(0, 4, n)) for n in lengths]

    def collate(items):
        xs, ys = zip(*items, strict=True)
        sizes = lib.tensor([len(x) for x in xs])
        return lib.nn.utils.rnn.pad_sequence(xs, batch_first=True), sizes, lib.stack(ys)

    class Model(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = lib.nn.Embedding(4, 12)
            self.rnn = lib.nn.GRU(12, 16, batch_first=True, bidirectional=True)
            self.head = lib.nn.Linear(32, 4)

        def forward(self, x, sizes):
            packed = lib.nn.utils.rnn.pack_padded_sequence(
                self.embed(x), sizes, batch_first=True, enforce_sorted=False
            )
            _, h = self.rnn(packed)
            return self.head(lib.cat([h[0], h[1]], 1))

    lib.manual_seed(0)
    model = Model()
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-2)
    loader = lib.utils.data.DataLoader(
        [(x, x[0]) for x in rows], 16, shuffle=True, collate_fn=collate
    )
    losses = []
    for _ in range(8):
        for x, sizes, y in loader:
            loss = lib.nn.functional.cross_entropy(model(x, sizes), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("program", [language_model, classifier])
def test_training_gives_pytorchs_losses(program):
    theirs, ours = program(torch), program(torchlike)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert theirs[-1] < 0.6 * theirs[0], "it learns something"
