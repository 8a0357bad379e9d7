"""The first steps: a Dataset of files and a table, a model, training, saving and loading."""

import csv
import os
import tempfile

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(42)
rng = np.random.RandomState(0)
tmp = tempfile.mkdtemp()
with open(os.path.join(tmp, "labels.csv"), "w", newline="") as f:
    w = csv.writer(f)
    for i in range(48):
        label = i % 3
        img = rng.randint(0, 100, (16, 16), dtype=np.uint8)
        img[label * 5 : label * 5 + 5] += 150
        Image.fromarray(img).save(os.path.join(tmp, f"{i}.png"))
        w.writerow([f"{i}.png", label])


class CustomImageDataset(Dataset):
    def __init__(self, annotations_file, img_dir, transform=None, target_transform=None):
        with open(annotations_file) as f:
            self.img_labels = [(r[0], int(r[1])) for r in csv.reader(f)]
        self.img_dir = img_dir
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self):
        return len(self.img_labels)

    def __getitem__(self, idx):
        if torch.is_tensor(idx):
            idx = idx.tolist()
        img_path = os.path.join(self.img_dir, self.img_labels[idx][0])
        image = Image.open(img_path)
        label = self.img_labels[idx][1]
        if self.transform:
            image = self.transform(image)
        if self.target_transform:
            label = self.target_transform(label)
        return image, label


ds = CustomImageDataset(
    os.path.join(tmp, "labels.csv"),
    tmp,
    transform=lambda image: torch.from_numpy(np.array(image)).unsqueeze(0).div(127.5).sub(1),
    target_transform=lambda y: torch.zeros(3, dtype=torch.float).scatter_(
        0, torch.tensor(y), value=1
    ),
)
train_dataloader = DataLoader(ds, batch_size=16, shuffle=True)
train_features, train_labels = next(iter(train_dataloader))
print(f"Feature batch shape: {train_features.size()}")
print(f"Labels batch shape: {train_labels.size()}")
print(train_labels[:3], train_features[0].squeeze().mean())


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(16 * 16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
        )

    def forward(self, x):
        x = self.flatten(x)
        return self.linear_relu_stack(x)


device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
print(f"Using {device} device")
model = NeuralNetwork().to(device)
print(model)
logits = model(torch.rand(1, 16, 16, device=device))
pred_probab = nn.Softmax(dim=1)(logits)
y_pred = pred_probab.argmax(1)
print(f"Predicted class: {y_pred}")
for name, param in model.named_parameters():
    print(f"Layer: {name} | Size: {param.size()} | Values : {param[:2]} \n")

loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-1)


def train(dataloader, model, loss_fn, optimizer):
    size = len(dataloader.dataset)
    model.train()
    for batch, (X, y) in enumerate(dataloader):
        X, y = X.to(device), y.to(device)
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if batch % 2 == 0:
            loss, current = loss.item(), (batch + 1) * len(X)
            print(f"loss: {loss:>7f}  [{current:>5d}/{size:>5d}]")


def test(dataloader, model, loss_fn):
    size = len(dataloader.dataset)
    num_batches = len(dataloader)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in dataloader:
            X, y = X.to(device), y.to(device)
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y.argmax(1)).type(torch.float).sum().item()
    test_loss /= num_batches
    correct /= size
    print(f"Test Error: \n Accuracy: {(100 * correct):>0.1f}%, Avg loss: {test_loss:>8f} \n")


for t in range(3):
    print(f"Epoch {t + 1}\n-------------------------------")
    train(train_dataloader, model, loss_fn, optimizer)
    test(train_dataloader, model, loss_fn)
p = os.path.join(tmp, "model.pth")
torch.save(model.state_dict(), p)
model = NeuralNetwork().to(device)
print(model.load_state_dict(torch.load(p, weights_only=True)))
test(train_dataloader, model, loss_fn)
torch.save(model, p)
model = torch.load(p, weights_only=False)
model.eval()
x, y = ds[0]
with torch.no_grad():
    pred = model(x)
    print(pred[0].argmax(0), y)
