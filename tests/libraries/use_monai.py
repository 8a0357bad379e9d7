"""monai: a network, a loss, transforms and inference by windows."""

import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss, DiceLoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirst,
    NormalizeIntensity,
    RandFlip,
    ScaleIntensity,
)

torch.manual_seed(0)
model = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
image, label = torch.randn(2, 1, 32, 32), torch.randint(0, 2, (2, 1, 32, 32))
loss = DiceCELoss(to_onehot_y=True, softmax=True)(model(image), label)
loss.backward()
print(f"{loss.item():.4f} {sum(p.grad.norm() for p in model.parameters()).item():.4f}")
model.eval()
with torch.no_grad():
    out = sliding_window_inference(torch.randn(1, 1, 48, 48), (32, 32), 2, model)
print(tuple(out.shape), f"{out.std().item():.4f}")
dice = DiceMetric(include_background=False)
dice(torch.nn.functional.one_hot(label[:, 0], 2).movedim(-1, 1), torch.ones(2, 2, 32, 32))
print(f"{dice.aggregate().item():.4f}")
print(f"{DiceLoss()(torch.rand(1, 1, 4, 4), torch.ones(1, 1, 4, 4)):.4f}")

chain = Compose(
    [
        EnsureChannelFirst(channel_dim="no_channel"),
        ScaleIntensity(),
        NormalizeIntensity(),
        RandFlip(1.0, 0),
    ]
)
done = chain(torch.arange(16.0).reshape(4, 4))
print(type(done).__name__, tuple(done.shape), f"{float(done[0, 0, 0]):.4f}")
batch = MetaTensor(torch.arange(8.0).reshape(2, 1, 2, 2), meta={"name": ["a", "b"]})
batch.is_batch = True
one, doubled = batch[1], batch * 2
print(one.as_tensor().tolist(), one.meta["name"], doubled.sum().item(), doubled.meta["name"])
print(torch.stack([batch[0], batch[1]]).sum().item(), batch.clone().meta["name"])
