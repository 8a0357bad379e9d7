"""lightning: a module trained, validated and tested by its Trainer."""

import logging
import tempfile

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(0)
x = torch.randn(64, 4)
y = (x.sum(1) > 0).long()


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.losses = []

    def forward(self, x):
        return self.body(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    test_step = validation_step

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), 0.05)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
valid = DataLoader(TensorDataset(x, y), batch_size=16)
with tempfile.TemporaryDirectory() as root:
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=root,
    )  # fmt: skip
    net = Net()
    trainer.fit(net, loader, valid)
    print(" ".join(f"{v:.4f}" for v in net.losses))
    print({k: round(float(v), 4) for k, v in trainer.callback_metrics.items()})
    trainer.save_checkpoint(f"{root}/a.ckpt")
    again = Net.load_from_checkpoint(f"{root}/a.ckpt")
    tested = trainer.test(again, valid, verbose=False)[0]
    print(f"{again(x).sum().item():.4f} {tested['val_loss']:.4f}")
