"""timm: model families, forward and backward, from the same seed; names may be given."""

import sys

import timm
import torch

MODELS = {
    "resnet18": 64, "vit_tiny_patch16_224": 32, "convnext_atto": 64, "efficientnet_b0": 64,
    "mobilenetv3_small_050": 64, "swin_tiny_patch4_window7_224": 56, "densenet121": 64,
    "regnetx_002": 64, "mixer_s32_224": 64, "deit_tiny_patch16_224": 32,
    "mobilevit_xxs": 64, "resmlp_12_224": 32, "vgg11": 32, "ghostnet_050": 64,
}  # fmt: skip
FIXED = ("vit", "swin", "mixer", "deit", "resmlp")  # which want to be told the image's size

for name in sys.argv[1:] or MODELS:
    size = MODELS.get(name, 64)
    torch.manual_seed(0)
    options = {"img_size": size} if name.startswith(FIXED) else {}
    model = timm.create_model(name, pretrained=False, num_classes=10, **options)
    x = torch.randn(2, 3, size, size)
    model.train()
    out = model(x)
    loss = torch.nn.functional.cross_entropy(out, torch.tensor([1, 7]))
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([g.double().norm() for g in grads]).norm().item()
    model.eval()
    with torch.no_grad():
        after = model(x)
        features = model.forward_features(x)
    print(name, sum(p.numel() for p in model.parameters()), f"{loss.item():.4f} {norm:.4g}")
    print("  ", " ".join(f"{v:.4f}" for v in after[0].tolist()), tuple(features.shape))
