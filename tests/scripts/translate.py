"""Sequence to sequence with attention: Roman numbers become digits, letter by letter."""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F

ONES = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
TENS = ["", "X", "XX", "XXX", "XL", "L"]
LETTERS = "ILVX"
LONGEST = 7
START, END, PAD = 10, 11, 12


def spell(number):
    tens, ones = divmod(number, 10)
    return TENS[tens] + ONES[ones]


class Encoder(nn.Module):
    def __init__(self, letters, hidden):
        super().__init__()
        self.embedding = nn.Embedding(letters + 1, hidden, padding_idx=letters)
        self.rnn = nn.GRU(hidden, hidden, bidirectional=True, batch_first=True)
        self.join = nn.Linear(2 * hidden, hidden)

    def forward(self, words):
        outputs, last = self.rnn(self.embedding(words))
        return outputs, torch.tanh(self.join(torch.cat((last[0], last[1]), dim=1)))


class Attention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(2 * hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, state, outputs, mask):
        scores = self.score(torch.tanh(self.query(state).unsqueeze(1) + self.key(outputs)))
        scores = scores.squeeze(2).masked_fill(~mask, float("-inf"))
        weights = F.softmax(scores, dim=1)
        return torch.bmm(weights.unsqueeze(1), outputs).squeeze(1), weights


class Decoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(13, hidden)
        self.attention = Attention(hidden)
        self.cell = nn.GRUCell(3 * hidden, hidden)
        self.out = nn.Linear(3 * hidden, 12)

    def forward(self, digit, state, outputs, mask):
        context, weights = self.attention(state, outputs, mask)
        state = self.cell(torch.cat((self.embedding(digit), context), dim=1), state)
        return self.out(torch.cat((state, context), dim=1)), state, weights


def batch(numbers):
    words = [[LETTERS.index(c) for c in spell(n)] for n in numbers]
    words = torch.tensor([w + [len(LETTERS)] * (LONGEST - len(w)) for w in words])
    digits = [[*map(int, str(n)), END] for n in numbers]
    digits = torch.tensor([d + [PAD] * (3 - len(d)) for d in digits])
    return words, words != len(LETTERS), digits


def main():
    random.seed(3)
    torch.manual_seed(3)
    numbers = list(range(1, 60))
    random.shuffle(numbers)
    encoder, decoder = Encoder(len(LETTERS), 24), Decoder(24)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for epoch in range(8):
        total = 0.0
        for i in range(0, 48, 16):
            words, mask, digits = batch(numbers[i : i + 16])
            outputs, state = encoder(words)
            digit, loss = torch.full((len(words),), START), 0
            for step in range(digits.size(1)):
                logits, state, _ = decoder(digit, state, outputs, mask)
                loss = loss + F.cross_entropy(logits, digits[:, step], ignore_index=PAD)
                digit = digits[:, step]  # what should have been said
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            total += loss.item()
        print(epoch, total / 3)

    encoder.eval()
    decoder.eval()
    with torch.no_grad():
        for number in numbers[48:52]:
            words, mask, _ = batch([number])
            outputs, state = encoder(words)
            digit, said = START, []
            while digit != END and len(said) < 4:
                logits, state, weights = decoder(torch.tensor([digit]), state, outputs, mask)
                digit = logits.argmax().item()
                said.append(digit)
            print(spell(number), said, weights.max().item())


if __name__ == "__main__":
    main()
