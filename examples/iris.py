"""Iris: a small multilayer perceptron tells three species apart by four measurements.

Plain PyTorch: replace `torchlike` by `torch` in the import lines and it is a PyTorch script.
"""

from sklearn.datasets import load_iris
from tqdm import tqdm

import report
import torchlike as torch
from torchlike import nn
from torchlike.utils.data import DataLoader, TensorDataset, random_split


class MLP(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x):  # (B, features)
        return self.layers(x)  # (B, classes)


def main():
    args = report.arguments(__doc__, epochs=300)
    torch.manual_seed(args.seed)

    iris = load_iris()
    x = torch.tensor(iris.data, dtype=torch.float32)  # (150, 4), in cm
    y = torch.tensor(iris.target)  # (150,)
    train_set, test_set = random_split(TensorDataset(x, y), [120, 30])
    train_loader = DataLoader(train_set, batch_size=16, shuffle=True)

    model = MLP(features=4, hidden=16, classes=3).to(args.device)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    print(model)

    epoch_losses, step_losses = [], []
    model.train()
    for _ in (progress := tqdm(range(args.epochs), desc="iris", disable=None)):
        running = 0.0
        for inputs, labels in train_loader:  # (B, 4), (B,)
            inputs, labels = inputs.to(args.device), labels.to(args.device)
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), labels)
            loss.backward()
            optimizer.step()
            step_losses.append(loss.item())
            running += step_losses[-1]
        epoch_losses.append(running / len(train_loader))
        progress.set_postfix(loss=f"{epoch_losses[-1]:.4f}")

    model.eval()
    with torch.no_grad():
        inputs, labels = test_set[:]  # (30, 4), (30,)
        predicted = model(inputs.to(args.device)).argmax(dim=1).cpu()  # (30,)

    target, predicted = labels.numpy(), predicted.numpy()
    metrics = report.print_class_scores(target, predicted, iris.target_names)
    pictures = [
        report.plot_losses(args.out / "iris_loss.png", {"train": epoch_losses}),
        report.plot_confusion(
            args.out / "iris_confusion.png", target, predicted, iris.target_names
        ),
    ]
    report.finish(epoch_losses, step_losses, metrics, pictures)


if __name__ == "__main__":
    main()
