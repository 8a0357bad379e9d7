"""A policy gradient in a corridor: actions drawn from the network, returns, a baseline."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
LENGTH = 6


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(LENGTH, 16), nn.Dropout(p=0.2), nn.ReLU())
        self.actions, self.value = nn.Linear(16, 2), nn.Linear(16, 1)

    def forward(self, state):
        x = self.body(state)
        return F.softmax(self.actions(x), dim=-1), self.value(x).squeeze(-1)


policy = Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-2)
for episode in range(12):
    place, logs, values, rewards = LENGTH // 2, [], [], []
    for _ in range(20):
        state = F.one_hot(torch.tensor(place), LENGTH).float()
        chances, value = policy(state)
        action = torch.multinomial(chances, 1).item()
        logs.append(torch.log(chances[action]))
        values.append(value)
        place += 1 if action else -1
        rewards.append(1.0 if place == LENGTH - 1 else -0.1)
        if place in (0, LENGTH - 1):
            break
    returns, total = [], 0.0
    for reward in reversed(rewards):
        total = reward + 0.95 * total
        returns.insert(0, total)
    returns = torch.tensor(returns)
    values = torch.stack(values)
    advantage = returns - values.detach()
    loss = -(torch.stack(logs) * advantage).sum() + F.smooth_l1_loss(values, returns)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(episode, len(rewards), loss.item())
