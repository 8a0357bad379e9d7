"""Validation: early stopping on a validation set; the best weights go to a file and come back.

The task is to tell malignant from benign tumours by thirty measurements of their cells.
Plain PyTorch: replace `torchlike` by `torch` in the import lines and it is a PyTorch script.
"""

from sklearn.datasets import load_breast_cancer
from tqdm import tqdm

import report
import torchlike as torch
from torchlike import nn
from torchlike.utils.data import DataLoader, TensorDataset, random_split

PATIENCE = 20


def train_epoch(model, loader, loss_fn, optimizer, device):
    """Train on each batch once; return the losses of the batches."""
    model.train()
    losses = []
    for x, y in loader:  # (B, 30), (B,)
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x).squeeze(1), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def evaluate(model, dataset, loss_fn, device):
    """Return the loss over a whole data set, its probabilities and its labels."""
    model.eval()
    x, y = dataset[:]  # (N, 30), (N,)
    logits = model(x.to(device)).squeeze(1).cpu()  # (N,)
    return loss_fn(logits, y).item(), torch.sigmoid(logits), y


def main():
    args = report.arguments(__doc__, epochs=300)
    torch.manual_seed(args.seed)

    cancer = load_breast_cancer()
    x = torch.tensor(cancer.data, dtype=torch.float32)  # (569, 30)
    y = torch.tensor(cancer.target, dtype=torch.float32)  # (569,), 1 is benign
    generator = torch.Generator().manual_seed(args.seed)
    train_set, valid_set, test_set = random_split(
        TensorDataset(x, y), [0.6, 0.2, 0.2], generator=generator
    )
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)

    model = nn.Sequential(
        nn.BatchNorm1d(30),  # the measurements have many scales: let the model learn them
        nn.Linear(30, 16),
        nn.ReLU(),
        nn.Linear(16, 1),
    ).to(args.device)
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)

    best_path = args.out / "validation_best.pt"
    best_loss, best_epoch = float("inf"), 0
    train_losses, valid_losses, step_losses = [], [], []
    for epoch in (progress := tqdm(range(1, args.epochs + 1), desc="validation", disable=None)):
        losses = train_epoch(model, train_loader, loss_fn, optimizer, args.device)
        step_losses += losses
        train_losses.append(sum(losses) / len(losses))
        valid_loss, _, _ = evaluate(model, valid_set, loss_fn, args.device)
        valid_losses.append(valid_loss)
        progress.set_postfix(train=f"{train_losses[-1]:.4f}", valid=f"{valid_loss:.4f}")

        if valid_loss < best_loss:
            best_loss, best_epoch = valid_loss, epoch
            torch.save(model.state_dict(), best_path)
        elif epoch - best_epoch >= PATIENCE:
            break
    print(f"stopped after epoch {epoch}; best epoch {best_epoch}, validation loss {best_loss:.4f}")

    model.load_state_dict(torch.load(best_path, weights_only=True))
    again, _, _ = evaluate(model, valid_set, loss_fn, args.device)
    print(f"loaded {best_path}: validation loss {again:.4f}")
    test_loss, probability, target = evaluate(model, test_set, loss_fn, args.device)
    predicted = (probability > 0.5).long()

    probability, predicted, target = probability.numpy(), predicted.numpy(), target.long().numpy()
    metrics = report.print_class_scores(target, predicted, cancer.target_names)
    metrics |= {"test_loss": test_loss, "best_epoch": best_epoch, "stopped_epoch": epoch}
    curves = {"train": train_losses, "validation": valid_losses}
    pictures = [
        report.plot_losses(args.out / "validation_loss.png", curves, best_epoch),
        report.plot_roc(args.out / "validation_roc.png", target, probability),
    ]
    report.finish(train_losses, step_losses, metrics, pictures)


if __name__ == "__main__":
    main()
