"""A Transformer language model: letters of a text, causal masks, sliding windows, a schedule."""

import math

import torch
from torch import Tensor, nn
from torch.nn import TransformerEncoder, TransformerEncoderLayer
from torch.nn import functional as F

TEXT = """
a loop that runs again and again learns what comes next; what comes next is what came before.
the net that reads the text sees the text as numbers, and the numbers as places in a space.
what is near in the space is alike, and what is alike comes near: so it learns to read the text.
"""


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int = 64):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        rate = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * rate)
        pe[:, 0, 1::2] = torch.cos(position * rate)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.pe[: x.size(0)])


class LanguageModel(nn.Module):
    def __init__(self, letters: int, d_model: int, heads: int, hidden: int, layers: int):
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(letters, d_model)
        self.positions = PositionalEncoding(d_model)
        layer = TransformerEncoderLayer(d_model, heads, hidden, dropout=0.1)
        self.encoder = TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(d_model, letters)
        self.init_weights()

    def init_weights(self) -> None:
        self.embedding.weight.data.uniform_(-0.1, 0.1)
        self.out.bias.data.zero_()
        self.out.weight.data.uniform_(-0.1, 0.1)

    def forward(self, text: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(text))
        x = self.positions(self.embedding(text) * math.sqrt(self.d_model))
        return self.out(self.encoder(x, mask, is_causal=True))


def batchify(data: Tensor, size: int) -> Tensor:
    length = data.size(0) // size
    return data[: length * size].view(size, length).t().contiguous()


def main() -> None:
    torch.manual_seed(5)
    letters = sorted(set(TEXT))
    data = torch.tensor([letters.index(c) for c in TEXT], dtype=torch.long)
    train, valid = batchify(data[:248], 8), batchify(data[232:276], 4)
    model = LanguageModel(len(letters), 32, 4, 48, 2)
    print(sum(p.numel() for p in model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1.0, gamma=0.9)
    window = 10

    def part(source: Tensor, i: int):
        end = min(window, len(source) - 1 - i)
        return source[i : i + end], source[i + 1 : i + 1 + end].reshape(-1)

    for epoch in range(4):
        model.train()
        for i in range(0, train.size(0) - 1, window):
            x, y = part(train, i)
            loss = F.cross_entropy(model(x).view(-1, len(letters)), y)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        model.eval()
        total = 0.0
        with torch.no_grad():
            for i in range(0, valid.size(0) - 1, window):
                x, y = part(valid, i)
                total += len(x) * F.cross_entropy(model(x).view(-1, len(letters)), y).item()
        total /= len(valid) - 1
        print(epoch, loss.item(), norm.item(), total, math.exp(total), scheduler.get_last_lr()[0])
        scheduler.step()

    text = data[:5].unsqueeze(1)
    with torch.no_grad():
        for _ in range(12):
            chances = F.softmax(model(text)[-1, 0], dim=-1)
            text = torch.cat([text, torch.multinomial(chances, 1).unsqueeze(1)])
    print(text.flatten().tolist())


if __name__ == "__main__":
    main()
