"""A variational autoencoder of the handwritten digits: reparameterisation, two losses, sampling."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images = torch.from_numpy(load_digits().images).float().div(16)[:480]
loader = DataLoader(TensorDataset(images.unsqueeze(1)), batch_size=96, shuffle=True)


class Autoencoder(nn.Module):
    def __init__(self, size=4):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
        )
        self.mean, self.spread = nn.Linear(32, size), nn.Linear(32, size)
        self.decode = nn.Sequential(
            nn.Linear(size, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        )  # fmt: skip

    def forward(self, x):
        h = self.encode(x)
        mean, logvar = self.mean(h), self.spread(h)
        z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        return torch.sigmoid(self.decode(z)), mean, logvar


model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(4):
    total = 0.0
    for (x,) in loader:
        made, mean, logvar = model(x)
        fit = F.binary_cross_entropy(made, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
        optimizer.zero_grad(set_to_none=True)
        (fit + kl).backward()
        optimizer.step()
        total += (fit + kl).item()
    print(epoch, total / len(loader.dataset))
model.eval()
with torch.no_grad():
    print(torch.sigmoid(model.decode(torch.zeros(1, 4)))[0, 0].mean(dim=0))
