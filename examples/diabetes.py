"""Diabetes: regression of the disease's progress after a year from ten measurements of a patient.

Plain PyTorch: replace `torchlike` by `torch` in the import lines and it is a PyTorch script.
"""

from sklearn.datasets import load_diabetes
from tqdm import tqdm

import report
import torchlike as torch
from torchlike import nn
from torchlike.utils.data import DataLoader, TensorDataset


class Regressor(nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, x):  # (B, features)
        return self.output(torch.relu(self.hidden(x))).squeeze(1)  # (B,)


def main():
    args = report.arguments(__doc__, epochs=200)
    torch.manual_seed(args.seed)

    features, progression = load_diabetes(return_X_y=True, scaled=False)
    x = torch.from_numpy(features).float()  # (442, 10)
    y = torch.from_numpy(progression).float()  # (442,)

    order = torch.randperm(len(x))
    train, test = order[:352], order[352:]
    x_mean, x_std = x[train].mean(dim=0), x[train].std(dim=0)  # (10,), (10,)
    y_mean, y_std = y[train].mean(), y[train].std()
    x = (x - x_mean) / x_std
    y = (y - y_mean) / y_std
    train_set = TensorDataset(x[train], y[train])
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)

    model = Regressor(features=10, hidden=32).to(args.device)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=50, gamma=0.5)

    epoch_losses, step_losses = [], []
    model.train()
    for _ in (progress := tqdm(range(args.epochs), desc="diabetes", disable=None)):
        running = 0.0
        for inputs, targets in train_loader:  # (B, 10), (B,)
            inputs, targets = inputs.to(args.device), targets.to(args.device)
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running += loss.detach()
            step_losses.append(loss.detach())
        scheduler.step()
        epoch_losses.append(running.item() / len(train_loader))
        progress.set_postfix(loss=f"{epoch_losses[-1]:.4f}", lr=scheduler.get_last_lr()[0])

    model.eval()
    with torch.no_grad():
        predicted = model(x[test].to(args.device)).cpu() * y_std + y_mean  # (90,)
        target = y[test] * y_std + y_mean  # (90,)
        mse = torch.mean((predicted - target) ** 2).item()
        r2 = 1 - mse / torch.var(target, unbiased=False).item()

    report.print_table(["metric", "test"], [["MSE", mse], ["RMSE", mse**0.5], ["R2", r2]])
    target, predicted = target.tolist(), predicted.tolist()
    step_losses = torch.stack(step_losses[:100]).tolist()
    picture = args.out / "diabetes_predictions.png"
    pictures = [
        report.plot_losses(args.out / "diabetes_loss.png", {"train": epoch_losses}),
        report.plot_predictions(picture, target, predicted, "progression"),
    ]
    report.finish(epoch_losses, step_losses, {"mse": mse, "r2": r2}, pictures)


if __name__ == "__main__":
    main()
