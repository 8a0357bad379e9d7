"""A recurrent classifier of words by their letters, its cell written out, one word at a time."""

import random
import string

import torch
import torch.nn as nn
import torch.nn.functional as F

WORDS = {
    "fruit": ["apple", "banana", "cherry", "damson", "fig", "grape", "lemon", "mango"],
    "tool": ["axe", "hammer", "chisel", "drill", "file", "plane", "saw", "wrench"],
    "bird": ["crow", "dove", "eagle", "finch", "gull", "heron", "jay", "kite"],
}
kinds = list(WORDS)
random.seed(0)
torch.manual_seed(0)


def encode(word):
    out = torch.zeros(len(word), 1, len(string.ascii_lowercase))
    for place, letter in enumerate(word):
        out[place][0][string.ascii_lowercase.index(letter)] = 1
    return out


class Recurrent(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.size = hidden
        self.step = nn.Linear(inputs + hidden, hidden)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, letter, hidden):
        hidden = torch.tanh(self.step(torch.cat((letter, hidden), dim=1)))
        return F.log_softmax(self.out(hidden), dim=1), hidden


model = Recurrent(26, 12, len(kinds))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
pairs = [(kind, word) for kind, words in WORDS.items() for word in words]
right = 0
for epoch in range(8):
    random.shuffle(pairs)
    total, right = 0.0, 0
    for kind, word in pairs:
        hidden = torch.zeros(1, model.size)
        for letter in encode(word):
            output, hidden = model(letter, hidden)
        target = torch.tensor([kinds.index(kind)])
        loss = F.nll_loss(output, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
        right += int(output.argmax() == target)
    print(epoch, total / len(pairs), right)
