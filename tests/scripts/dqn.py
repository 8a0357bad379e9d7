"""Q-learning with a replay memory and a target network that follows slowly."""

import random
from collections import deque, namedtuple

import torch
from torch import nn

torch.manual_seed(5)
random.seed(5)
Transition = namedtuple("Transition", "state action next reward")


def network():
    return nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 3))


online, target = network(), network()
target.load_state_dict(online.state_dict())
optimizer = torch.optim.AdamW(online.parameters(), lr=3e-3, amsgrad=True)
memory = deque(maxlen=200)
criterion = nn.SmoothL1Loss()

state = torch.rand(2)
for step in range(120):
    if random.random() < 0.3:
        action = random.randrange(3)
    else:
        with torch.no_grad():
            action = online(state.unsqueeze(0)).max(1).indices.view(1, 1).item()
    moved = (state + 0.2 * torch.tensor([action - 1.0, 0.5])).clamp(-1, 2)
    reward = -(moved - 1).abs().sum()
    ended = step % 10 == 9
    memory.append(Transition(state, action, None if ended else moved, reward))
    state = torch.rand(2) if ended else moved
    if len(memory) < 16:
        continue
    batch = Transition(*zip(*random.sample(list(memory), 16)))
    going = torch.tensor([n is not None for n in batch.next])
    states = torch.stack(batch.state)
    actions = torch.tensor(batch.action).unsqueeze(1)
    q = online(states).gather(1, actions)
    ahead = torch.zeros(16)
    with torch.no_grad():
        ahead[going] = target(torch.stack([n for n in batch.next if n is not None])).max(1).values
    loss = criterion(q, (torch.stack(batch.reward) + 0.9 * ahead).unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(online.parameters(), 100)
    optimizer.step()
    fresh, slow = online.state_dict(), target.state_dict()
    for key in slow:
        slow[key] = 0.05 * fresh[key] + 0.95 * slow[key]
    target.load_state_dict(slow)
    if step % 20 == 0:
        print(step, loss.item(), q.mean().item())
