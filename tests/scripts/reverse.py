"""A small Transformer that learns to reverse digits, with causal and padding masks."""

import math

import torch
from torch import nn

torch.manual_seed(2)
DIGITS, LENGTH, WIDTH, PAD = 10, 6, 32, 10


class Positions(nn.Module):
    def __init__(self, width, longest):
        super().__init__()
        place = torch.arange(longest).unsqueeze(1)
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(longest, width)
        table[:, 0::2] = torch.sin(place * rate)
        table[:, 1::2] = torch.cos(place * rate)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x):
        return x + self.table[: x.size(1)]


class Reverser(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(DIGITS + 1, WIDTH, padding_idx=PAD)
        self.positions = Positions(WIDTH, 2 * LENGTH + 1)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, DIGITS + 1)

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.size(1))
        x = self.positions(self.embed(tokens) * math.sqrt(WIDTH))
        return self.out(self.body(x, mask=mask, is_causal=True))


model = Reverser()
print(sum(p.numel() for p in model.parameters()), "parameters")
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
for step in range(30):
    first = torch.randint(DIGITS, (32, LENGTH))
    tokens = torch.cat([first, torch.full((32, 1), PAD), first.flip(1)], dim=1)
    wanted = tokens[:, 1:].clone()
    wanted[:, :LENGTH] = PAD
    logits = model(tokens[:, :-1])
    loss = criterion(logits.reshape(-1, DIGITS + 1), wanted.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 6 == 0:
        print(step, loss.item(), schedule.get_last_lr()[0])
