"""A digits classifier and how few steps along the gradient of its input it takes to fool it."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn, optim

torch.manual_seed(0)
data, labels = load_digits(return_X_y=True)
x = torch.tensor(data, dtype=torch.float32).view(-1, 1, 8, 8) / 16
y = torch.tensor(labels)
train, test = x[:640], x[640:740]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return F.log_softmax(self.fc(torch.flatten(x, 1)), dim=1)


net = Net()
optimizer = optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
for epoch in range(4):
    for batch in range(0, 640, 64):
        optimizer.zero_grad()
        loss = F.nll_loss(net(train[batch : batch + 64]), y[:640][batch : batch + 64])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
net.eval()
for epsilon in (0.0, 0.1, 0.3):
    image = test.clone().requires_grad_(True)
    loss = F.nll_loss(net(image), y[640:740])
    net.zero_grad()
    loss.backward()
    fooled = torch.clamp(image + epsilon * image.grad.sign(), 0, 1)
    print(epsilon, loss.item(), f"{(net(fooled).argmax(1) == y[640:740]).float().mean():.2f}")
