"""A convolutional network on pictures that lie in files, one folder a class; saved and loaded."""

import math
import os
import random
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, random_split

SIZE = 16
KINDS = ["cross", "disc", "square"]


def draw(kind, x, y, radius):
    """The grey levels of a figure, row by row."""
    for row in range(SIZE):
        for column in range(SIZE):
            dx, dy = abs(column - x), abs(row - y)
            inside = {
                "cross": min(dx, dy) < 1.5 and max(dx, dy) < radius,
                "disc": math.hypot(dx, dy) < radius,
                "square": max(dx, dy) < radius * 0.8,
            }[kind]
            yield min(255, int(random.random() * 90) + 160 * inside)


def write_pictures(folder, each):
    for kind in KINDS:
        os.makedirs(os.path.join(folder, kind))
        for i in range(each):
            x, y = random.uniform(5, 10), random.uniform(5, 10)
            pixels = bytes(draw(kind, x, y, random.uniform(3, 5)))
            with open(os.path.join(folder, kind, f"{i:03}.pgm"), "wb") as file:
                file.write(b"P5\n%d %d\n255\n" % (SIZE, SIZE) + pixels)


class Pictures(Dataset):
    def __init__(self, folder, transform=None):
        self.transform = transform
        self.files = [
            (os.path.join(folder, kind, name), label)
            for label, kind in enumerate(KINDS)
            for name in sorted(os.listdir(os.path.join(folder, kind)))
        ]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        path, label = self.files[index]
        with open(path, "rb") as file:
            assert file.readline() == b"P5\n"
            width, height = map(int, file.readline().split())
            file.readline()
            pixels = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
        picture = pixels.reshape(1, height, width).float() / 255
        return (self.transform(picture) if self.transform else picture), label


def flip(picture):
    return picture.flip(-1) if torch.rand(1).item() < 0.5 else picture


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.25)
        self.fc = nn.Linear(16 * 4 * 4, len(KINDS))

    def forward(self, x):
        x = self.pool(F.relu(self.norm1(self.conv1(x))))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc(self.drop(torch.flatten(x, 1)))


def evaluate(model, loader):
    model.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            output = model(x)
            loss += F.cross_entropy(output, y, reduction="sum").item()
            right += (output.argmax(1) == y).sum().item()
    return loss / len(loader.dataset), right


def main():
    random.seed(0)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(os.path.join(folder, "pictures"), 24)
        pictures = Pictures(os.path.join(folder, "pictures"), flip)
        train, test = random_split(pictures, [54, 18])
        train_loader = DataLoader(train, batch_size=18, shuffle=True)
        test_loader = DataLoader(test, batch_size=18)

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        for epoch in range(4):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            print(epoch, loss.item(), *evaluate(model, test_loader))

        path = os.path.join(folder, "best.pt")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
        again = Net()
        saved = torch.load(path, weights_only=True)
        print(again.load_state_dict(saved["model"]), len(saved["optimizer"]["state"]))
        again.eval()
        x, y = next(iter(test_loader))
        model.eval()
        print(torch.equal(again(x), model(x)), [KINDS[i] for i in again(x).argmax(1)[:6]])
        print(again.norm1.running_mean, again.norm1.num_batches_tracked)


if __name__ == "__main__":
    main()
