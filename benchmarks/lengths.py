"""Programs whose shapes change all the time, from their first step on: PyTorch and torchlike.

    python benchmarks/lengths.py [case ...]

    window    a GPT of 4 layers writes 100 words, each from all words before, 64 at most
    cache     the same with its keys and values kept
    encoder   200 training steps of a transformer on sequences of 10 to 60 words
    lstm      the same of an LSTM

Each side runs in a process of its own, the whole run is timed: seconds in all, of the last fifth,
and the ratios.
"""

from __future__ import annotations

import importlib
import json
import random
import subprocess
import sys
import time

from measure import busy, table

WORDS, WIDTH, LAYERS, HEADS, WINDOW = 65, 128, 4, 4, 64
STEPS, FIFTHS = 200, 5


def writer(lib, kept: bool):
    """A function that writes 100 words with a small GPT."""
    nn, functional = lib.nn, lib.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.mlp = nn.Sequential(
                nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
            )

        def forward(self, x, cache):
            batch, length, _ = x.shape
            heads = [
                y.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
                for y in self.qkv(self.before(x)).chunk(3, -1)
            ]
            if cache is not None:
                query, *new = heads
                new = [lib.cat(pair, 2) for pair in zip(cache, new)] if cache else new
                cache[:] = new
                heads = [query, *new]
            y = functional.scaled_dot_product_attention(*heads, is_causal=cache is None)
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))
            return x + self.mlp(self.after(x))

    lib.manual_seed(0)
    words, places = nn.Embedding(WORDS, WIDTH), nn.Embedding(256, WIDTH)
    blocks = nn.ModuleList(Block() for _ in range(LAYERS))
    norm, head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS)

    def logits(text, caches, first):
        x = words(text) + places(lib.arange(first, first + text.shape[1]))
        for block, cache in zip(blocks, caches):
            x = block(x, cache)
        return head(norm(x))[:, -1]

    @lib.no_grad()
    def write():
        text = lib.zeros(1, 1, dtype=lib.long)
        caches = [[] if kept else None for _ in blocks]
        for n in range(100):
            seen = text[:, -1:] if kept else text[:, -WINDOW:]
            chances = logits(seen, caches, n if kept else 0).softmax(-1)
            text = lib.cat([text, lib.multinomial(chances, 1)], 1)
        return text.tolist()

    return write


def trainer(lib, recurrent: bool, width: int = 64):
    """A function that trains on sequences of other lengths in each of a fifth of all steps."""
    nn, lengths = lib.nn, random.Random(0)
    lib.manual_seed(0)
    words, head = nn.Embedding(500, width), nn.Linear(width, 500)
    if recurrent:
        body = nn.LSTM(width, width, batch_first=True)
    else:
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        body = nn.TransformerEncoder(layer, 2)
    optimizer = lib.optim.Adam(nn.ModuleList([words, body, head]).parameters(), 1e-3)

    def train():
        for _ in range(STEPS // FIFTHS):
            length = lengths.randint(10, 60)
            x, y = (lib.randint(0, 500, (16, length)) for _ in range(2))
            found = body(words(x))
            logits = head(found[0] if recurrent else found)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return train


CASES = {
    "window": lambda lib: writer(lib, False),
    "cache": lambda lib: writer(lib, True),
    "encoder": lambda lib: trainer(lib, False),
    "lstm": lambda lib: trainer(lib, True),
}


def run_here(library: str, name: str) -> None:
    """Print the seconds of each fifth of a case."""
    function, seconds = CASES[name](importlib.import_module(library)), []
    for _ in range(FIFTHS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))


def main() -> None:
    rows = []
    for name in sys.argv[1:] or CASES:
        sides = {}
        for library in ("torch", "torchlike"):
            command = [sys.executable, __file__, "--here", library, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
            sides[library] = json.loads(done.stdout.splitlines()[-1])
        theirs, ours = sides.values()
        rows.append(
            [name, f"{sum(theirs):.2f}", f"{sum(ours):.2f}", f"**{sum(ours) / sum(theirs):.1f}**",
             f"{theirs[-1]:.2f}", f"{ours[-1]:.2f}", f"**{ours[-1] / theirs[-1]:.1f}**"]
        )  # fmt: skip
    header = ["seconds", "PyTorch", "torchlike", "ratio", "last fifth: PyTorch", "torchlike",
              "ratio"]  # fmt: skip
    print(table(header, rows))
    print(busy())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        run_here(*sys.argv[2:])
    else:
        main()
