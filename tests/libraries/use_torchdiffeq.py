"""torchdiffeq: solvers of several orders, a network fitted through one and through its adjoint."""

import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

start, times = torch.tensor([[2.0, 0.0]]), torch.linspace(0.0, 2.0, 12)
matrix = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])


def spiral(t, y):
    return y**3 @ matrix


with torch.no_grad():
    for method in ("dopri5", "rk4", "midpoint", "explicit_adams"):
        found = odeint(spiral, start, times, method=method)
        print(method, [round(v, 4) for v in found[-1].flatten().tolist()])
    target = odeint(spiral, start, times)


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, t, y):
        return self.net(y)


for solve in (odeint, odeint_adjoint):
    torch.manual_seed(1)
    field = Field()
    optimizer = torch.optim.RMSprop(field.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (solve(field, start, times[:4], method="rk4") - target[:4]).abs().mean()
        loss.backward()
        optimizer.step()
        print(solve.__name__, round(loss.item(), 5))
