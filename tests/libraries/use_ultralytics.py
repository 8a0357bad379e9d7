"""ultralytics: a YOLO network from its description, forward, its loss and its boxes."""

import torch
from ultralytics import YOLO

torch.manual_seed(0)
model = YOLO("yolo11n.yaml").model
model.eval()
with torch.no_grad():
    out = model(torch.rand(1, 3, 64, 64))
print(
    tuple(out[0].shape), f"{out[0].double().mean().item():.4f} {out[0].double().std().item():.4f}"
)
