"""A body trained on one task, frozen and given a new head for another: groups, buffers, files."""

import copy
import io

import torch
from torch import nn
from torch.optim import lr_scheduler

torch.manual_seed(4)
x = torch.randn(120, 5)
first, second = (x[:, 0] * x[:, 1] > 0).long(), (x.abs().sum(1) > 4).float().unsqueeze(1)
body = nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU())


def fit(model, criterion, targets, optimizer, schedule, epochs):
    best, kept = float("inf"), None
    for epoch in range(epochs):
        model.train()
        for index in torch.arange(len(x)).split(40):
            optimizer.zero_grad()
            criterion(model(x[index]), targets[index]).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            loss = criterion(model(x), targets).item()
        if loss < best:
            best, kept = loss, copy.deepcopy(model.state_dict())
        print(epoch, loss, [round(g["lr"], 6) for g in optimizer.param_groups])
    model.load_state_dict(kept)
    return best


model = nn.Sequential(body, nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
print(
    fit(model, nn.CrossEntropyLoss(), first, optimizer, lr_scheduler.StepLR(optimizer, 3, 0.5), 6)
)
file = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
file.seek(0)
saved = torch.load(file, weights_only=True)
print(sorted(saved["model"])[:3], saved["optimizer"]["param_groups"][0]["momentum"])

frozen = copy.deepcopy(body)
for parameter in frozen.parameters():
    parameter.requires_grad_(False)
model = nn.Sequential(frozen, nn.Linear(16, 1))
groups = [{"params": model[1].weight}, {"params": model[1].bias, "lr": 0.1}]
optimizer = torch.optim.Adam(groups, lr=0.02)
schedule = lr_scheduler.ExponentialLR(optimizer, 0.9)
print(fit(model, nn.BCEWithLogitsLoss(), second, optimizer, schedule, 5))
print(all(torch.equal(a, b) for a, b in zip(frozen.parameters(), body.parameters())))
