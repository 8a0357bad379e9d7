"""Digits: a convolutional network with dropout reads handwritten digits of 8 x 8 pixels.

Plain PyTorch: replace `torchlike` by `torch` in the import lines and it is a PyTorch script.
"""

from sklearn.datasets import load_digits
from tqdm import tqdm

import report
import torchlike as torch
import torchlike.nn.functional as F
from torchlike import nn
from torchlike.utils.data import DataLoader, TensorDataset, random_split


class CNN(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, classes)
        self.log_softmax = nn.LogSoftmax(dim=1)

    def forward(self, x):  # (B, 1, 8, 8)
        x = self.pool(F.relu(self.conv1(x)))  # (B, 16, 4, 4)
        x = self.pool(F.relu(self.conv2(x)))  # (B, 32, 2, 2)
        x = torch.flatten(x, 1)  # (B, 128)
        x = self.dropout(F.relu(self.fc1(x)))  # (B, 64)
        return self.log_softmax(self.fc2(x))  # (B, classes)


def main():
    args = report.arguments(__doc__, epochs=30)
    torch.manual_seed(args.seed)

    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16  # (1797, 1, 8, 8)
    y = torch.tensor(digits.target)  # (1797,)
    train_set, test_set = random_split(TensorDataset(x, y), [1437, 360])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=len(test_set))

    model = CNN().to(args.device)
    loss_fn = nn.NLLLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    print(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")

    epoch_losses, test_losses, step_losses = [], [], []
    for _ in (progress := tqdm(range(args.epochs), desc="digits", disable=None)):
        model.train()
        batch_losses = []
        for images, labels in train_loader:  # (B, 1, 8, 8), (B,)
            images, labels = images.to(args.device), labels.to(args.device)
            optimizer.zero_grad()
            loss = loss_fn(model(images), labels)
            loss.backward()
            optimizer.step()
            batch_losses.append(loss.detach())
        scheduler.step()
        batch_losses = torch.stack(batch_losses)  # (batches,)
        step_losses += batch_losses.tolist()
        epoch_losses.append(batch_losses.mean().item())

        model.eval()
        with torch.no_grad():
            for images, labels in test_loader:  # (360, 1, 8, 8), (360,): one batch
                log_probs = model(images.to(args.device)).cpu()  # (360, 10)
                test_losses.append(loss_fn(log_probs, labels).item())
        progress.set_postfix(train=f"{epoch_losses[-1]:.4f}", test=f"{test_losses[-1]:.4f}")

    predicted = log_probs.argmax(dim=1).numpy()  # (360,)
    target = labels.numpy()
    metrics = report.print_class_scores(target, predicted, digits.target_names)
    curves = {"train": epoch_losses, "test": test_losses}
    shown = images[:32].squeeze(1).numpy()  # (32, 8, 8)
    pictures = [
        report.plot_losses(args.out / "digits_loss.png", curves),
        report.plot_confusion(
            args.out / "digits_confusion.png", target, predicted, digits.target_names
        ),
        report.plot_images(args.out / "digits_predictions.png", shown, target, predicted),
    ]
    report.finish(epoch_losses, step_losses, metrics, pictures)


if __name__ == "__main__":
    main()
