"""A generator of points on a ring against its critic: two optimizers and detached fakes."""

import math

import torch
from torch import nn, optim

torch.manual_seed(7)


def points(n):
    angle = 2 * math.pi * torch.rand(n)
    return torch.stack((angle.cos(), angle.sin()), dim=1) + 0.05 * torch.randn(n, 2)


def weights(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.3)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


generator = nn.Sequential(
    nn.Linear(3, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(True), nn.Linear(24, 2)
)
critic = nn.Sequential(
    nn.Linear(2, 24),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Dropout(0.1),
    nn.Linear(24, 1),
    nn.Sigmoid(),
)
generator.apply(weights)
critic.apply(weights)
loss = nn.BCELoss()
of_generator = optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
of_critic = optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.999))
for step in range(60):
    critic.zero_grad()
    label = torch.full((16,), 0.9)
    real = loss(critic(points(16)).view(-1), label)
    real.backward()
    fake = generator(torch.randn(16, 3))
    label.fill_(0.0)
    made = loss(critic(fake.detach()).view(-1), label)
    made.backward()
    of_critic.step()
    generator.zero_grad()
    label.fill_(1.0)
    fooled = loss(critic(fake).view(-1), label)
    fooled.backward()
    of_generator.step()
    if step % 15 == 0:
        print(step, (real + made).item(), fooled.item(), fake.norm(dim=1).mean().item())
generator.eval()
with torch.no_grad():
    print(generator(torch.zeros(1, 3)))
