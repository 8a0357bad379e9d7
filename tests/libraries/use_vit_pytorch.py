"""vit-pytorch: vision transformers, forward, backward and one step of training each."""

import sys

import torch
from torch import nn
from vit_pytorch import SimpleViT, ViT
from vit_pytorch.cait import CaiT
from vit_pytorch.cct import CCT
from vit_pytorch.deepvit import DeepViT
from vit_pytorch.max_vit import MaxViT
from vit_pytorch.pit import PiT
from vit_pytorch.simple_vit_with_register_tokens import SimpleViT as RegisterViT
from vit_pytorch.t2t import T2TViT

plain = {"image_size": 32, "num_classes": 7, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 48}
MODELS = {
    "ViT": lambda: ViT(**plain, patch_size=8, dropout=0.1, emb_dropout=0.1),
    "SimpleViT": lambda: SimpleViT(**plain, patch_size=8),
    "RegisterViT": lambda: RegisterViT(**plain, patch_size=8),
    "DeepViT": lambda: DeepViT(**plain, patch_size=8),
    "CaiT": lambda: CaiT(**plain, patch_size=8, cls_depth=1),
    "PiT": lambda: PiT(
        image_size=32, num_classes=7, dim=32, depth=(1, 1), heads=2, mlp_dim=48, patch_size=8
    ),
    "T2TViT": lambda: T2TViT(
        image_size=32, num_classes=7, dim=32, depth=1, heads=2, mlp_dim=48,
        t2t_layers=((7, 4), (3, 2)),
    ),
    "CCT": lambda: CCT(
        img_size=32, embedding_dim=32, n_conv_layers=1, kernel_size=3, num_layers=2, num_heads=2,
        num_classes=7, positional_embedding="learnable",
    ),
    "MaxViT": lambda: MaxViT(
        num_classes=7, dim_conv_stem=8, dim=16, dim_head=8, depth=(1, 1), window_size=2,
    ),
}  # fmt: skip

for name in sys.argv[1:] or MODELS:
    torch.manual_seed(3)
    model = MODELS[name]()
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([1, 5])
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    shown = [name, str(sum(p.numel() for p in model.parameters()))]
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shown.append(f"{loss.item():.4f}")
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    model.eval()
    with torch.no_grad():
        out = model(images)
    print(*shown, f"{norm:.3f}", " ".join(f"{x:.3f}" for x in out[0].tolist()))
