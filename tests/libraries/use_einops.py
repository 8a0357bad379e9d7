"""einops: rearranging tensors, and its layers trained."""

import torch
from einops import einsum, pack, parse_shape, rearrange, reduce, repeat, unpack
from einops.layers.torch import EinMix, Rearrange, Reduce
from torch import nn


def show(name, t):
    print(name, tuple(t.shape), f"{float(t.double().sum()):.5f} {float(t.double().std()):.5f}")


torch.manual_seed(0)
x = torch.randn(2, 6, 8, 4)
show("rearrange", rearrange(x, "b (h1 h) w c -> (b h1) w (h c)", h1=2))
show("mean", reduce(x, "b (h 2) (w 2) c -> b h w c", "mean"))
show("max", reduce(x, "b h w c -> b c", "max"))
show("repeat", repeat(x, "b h w c -> b (h k) w c", k=3))
show("einsum", einsum(x, x, "b h w c, b h w d -> b c d"))
packed, shapes = pack([x, x.sum(1)], "b * c")
show("pack", packed)
show("unpack", unpack(packed, shapes, "b * c")[1])
print(parse_shape(x, "b h _ c"))
print(rearrange([x, x], "k b h w c -> b k h w c").shape, rearrange(x, "b ... -> (...) b").shape)

model = nn.Sequential(
    Rearrange("b h w c -> b c h w"),
    nn.Conv2d(4, 8, 3, padding=1),
    nn.ReLU(),
    Reduce("b c (h 2) (w 2) -> b c h w", "max"),
    EinMix("b c h w -> b d h w", weight_shape="c d", bias_shape="d", c=8, d=6),
    Reduce("b c h w -> b c", "mean"),
    nn.Linear(6, 3),
)
print(model)
optimizer = torch.optim.Adam(model.parameters(), 0.01)
target = torch.tensor([0, 2])
for _ in range(5):
    loss = nn.functional.cross_entropy(model(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.5f}")
try:
    rearrange(x, "b h w -> b (h w)")
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
