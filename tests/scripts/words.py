"""A language model of the next word from the two before it, and neighbours in its embedding."""

import torch
from torch import nn

TEXT = [
    "the",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    "and",
    "the",
    "dog",
    "sat",
    "on",
    "the",
    "log",
    "while",
    "the",
    "bird",
    "flew",
    "over",
    "the",
    "log",
    "and",
    "the",
    "cat",
    "watched",
    "the",
    "bird",
    "and",
    "the",
    "dog",
    "watched",
    "the",
    "cat",
    "and",
    "the",
    "mat",
    "was",
    "warm",
    "and",
    "the",
    "log",
    "was",
    "cold",
]

torch.manual_seed(1)
vocabulary = sorted(set(TEXT))
number = {word: i for i, word in enumerate(vocabulary)}
ids = torch.tensor([number[w] for w in TEXT])
contexts = torch.stack([ids[:-2], ids[1:-1]], dim=1)
targets = ids[2:]


class NextWord(nn.Module):
    def __init__(self, words, width=8):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.hidden = nn.Linear(2 * width, 32)
        self.out = nn.Linear(32, words)

    def forward(self, context):
        x = self.embedding(context).flatten(1)
        return torch.log_softmax(self.out(torch.tanh(self.hidden(x))), dim=-1)


model = NextWord(len(vocabulary))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
criterion = nn.NLLLoss()
for epoch in range(12):
    order = torch.randperm(len(targets))
    total = 0.0
    for batch in order.split(6):
        optimizer.zero_grad()
        loss = criterion(model(contexts[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    print(epoch, total / len(targets))
with torch.no_grad():
    table = nn.functional.normalize(model.embedding.weight, dim=1)
    likeness = table @ table.T
    likeness.fill_diagonal_(-2)
    best = likeness.max(dim=1)
    for word in ("cat", "log"):
        at = number[word]
        print(word, vocabulary[best.indices[at]], f"{best.values[at].item():.3f}")
    guess = model(contexts[:5]).argmax(dim=1)
    print([vocabulary[i] for i in guess.tolist()])
