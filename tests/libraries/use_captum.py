"""captum: attributions of a small convolutional network by gradients, ablation and layers."""

import torch
from captum import attr
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
).eval()
x = torch.randn(2, 1, 8, 8)


def show(name, found):
    print(
        name, tuple(found.shape), round(found.sum().item(), 4), round(found.abs().sum().item(), 4)
    )


found, delta = attr.IntegratedGradients(model).attribute(
    x, target=1, n_steps=8, return_convergence_delta=True
)
show("IntegratedGradients", found)
print([round(v, 4) for v in delta.tolist()])
for name in ("Saliency", "InputXGradient", "DeepLift", "GuidedBackprop", "FeatureAblation"):
    show(name, getattr(attr, name)(model).attribute(x, target=1))
window = {"sliding_window_shapes": (1, 3, 3)}
show("Occlusion", attr.Occlusion(model).attribute(x, target=1, **window))
for name in ("LayerGradCam", "LayerConductance"):
    show(name, getattr(attr, name)(model, model[0]).attribute(x, target=1))
