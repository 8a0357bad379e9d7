"""Modules taken apart, renamed, saved, loaded in part, tied, copied and printed."""

import copy
import io
import os
import pickle
import tempfile
from collections import OrderedDict

import torch
import torch.nn as nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.enc = nn.Sequential(
            OrderedDict([("fc", nn.Linear(4, 5)), ("bn", nn.BatchNorm1d(5)), ("act", nn.ReLU())])
        )
        self.head = nn.Linear(5, n)
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("tmp", torch.zeros(2), persistent=False)
        self.pl = nn.ParameterList([nn.Parameter(torch.randn(2)) for _ in range(2)])
        self.pd = nn.ParameterDict({"a": nn.Parameter(torch.zeros(1))})
        self.alpha = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.head(self.enc(x)) * self.scale * self.alpha


m = Net()
sd = m.state_dict()
print(list(sd), type(sd).__name__, sd._metadata[""])
pre = OrderedDict(("module." + k, v) for k, v in sd.items())
new = {k.replace("module.", "", 1): v for k, v in pre.items()}
print(m.load_state_dict(new))
del new["head.weight"]
new["extra.w"] = torch.ones(1)
print(m.load_state_dict(new, strict=False))
try:
    m.load_state_dict(new)
except RuntimeError as e:
    print(e)
try:
    Net(7).load_state_dict(sd)
except RuntimeError as e:
    print(e)
md = Net(7)
cur = md.state_dict()
ok = {k: v for k, v in sd.items() if k in cur and v.size() == cur[k].size()}
cur.update(ok)
md.load_state_dict(cur)
print(len(ok), len(cur))
tmp = tempfile.mkdtemp()
p = os.path.join(tmp, "ck.pt")
opt = torch.optim.Adam(m.parameters(), 1e-2)
sch = torch.optim.lr_scheduler.StepLR(opt, 1)
m(torch.randn(8, 4)).sum().backward()
opt.step()
sch.step()
torch.save(
    {
        "epoch": 5,
        "model_state_dict": m.state_dict(),
        "optimizer_state_dict": opt.state_dict(),
        "sched": sch.state_dict(),
        "loss": torch.tensor(0.4),
        "rng": torch.get_rng_state(),
        "args": {"lr": 1e-3},
    },
    p,
)
ck = torch.load(p, map_location="cpu")
m2 = Net()
o2 = torch.optim.Adam(m2.parameters(), 1e-2)
m2.load_state_dict(ck["model_state_dict"])
o2.load_state_dict(ck["optimizer_state_dict"])
torch.set_rng_state(ck["rng"])
print(
    ck["epoch"],
    ck["loss"],
    o2.state_dict()["state"][0]["step"],
    o2.param_groups[0]["lr"],
    torch.rand(1),
)
m.eval()
m2.eval()
x = torch.randn(2, 4)
print(torch.equal(m(x), m2(x)))
b = io.BytesIO()
torch.save(m, b)
b.seek(0)
m3 = torch.load(b, weights_only=False)
print(torch.equal(m3(x), m(x)), m3)
b.seek(0)
try:
    torch.load(b)
except pickle.UnpicklingError as e:
    print(type(e).__name__)
m4 = pickle.loads(pickle.dumps(m))
m5 = copy.deepcopy(m)
m5.alpha.data.fill_(0)
print(m4.alpha, m.alpha.item(), m5(x).sum())
tie = nn.ModuleDict({"e": nn.Embedding(5, 3), "o": nn.Linear(3, 5, bias=False)})
tie["o"].weight = tie["e"].weight
print(
    len(list(tie.parameters())),
    list(tie.state_dict()),
    tie["o"].weight is tie["e"].weight,
    copy.deepcopy(tie)["o"].weight.shape,
)
tie["o"](tie["e"](torch.tensor([1]))).sum().backward()
print(tie["e"].weight.grad.sum())


class Lz(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.LazyConv2d(4, 3)
        self.l = nn.LazyLinear(2)
        self.b = nn.LazyBatchNorm2d()

    def forward(self, x):
        return self.l(self.b(self.c(x)).flatten(1))


lz = Lz()
print(lz)
print(lz(torch.randn(2, 3, 6, 6)).shape, lz.l.weight.shape, type(lz.l).__name__)
for n, mod in m.named_modules():
    print(repr(n), type(mod).__name__, end="; ")
print()
print(
    [n for n, _ in m.named_children()],
    [n for n, _ in m.named_buffers()],
    m.get_submodule("enc.fc"),
    m.get_parameter("enc.fc.bias").shape,
)
m.head = nn.Identity()
del m.pd
m.add_module("ex", nn.Linear(1, 1))
m.enc[0] = nn.Linear(4, 5, bias=False)
print(m, len(m.enc), m.enc[1:], m.enc.fc if hasattr(m.enc, "fc") else None)
try:
    m.alpha = torch.ones(1)
except TypeError as e:
    print(e)
try:
    print(m.foo)
except AttributeError as e:
    print(e)


class Bad(nn.Module):
    def __init__(self):
        self.l = nn.Linear(1, 1)


try:
    Bad()
except AttributeError as e:
    print(e)


class NoFwd(nn.Module):
    pass


try:
    NoFwd()(1)
except NotImplementedError as e:
    print(e)
ml = nn.ModuleList([nn.Linear(1, 1)])
ml.append(nn.ReLU())
ml.extend([nn.Tanh()])
ml.insert(0, nn.Identity())
print(ml, len(ml), ml[-1])
try:
    ml(1)
except NotImplementedError as e:
    print(str(e)[:100])
print(
    m.train(False).training,
    m.enc.bn.training,
    sum(p.numel() for p in m.parameters() if p.requires_grad),
)
m.requires_grad_(False)
print(any(p.requires_grad for p in m.parameters()))
m.zero_grad()
m.to(torch.float64)
print(next(m.parameters()).dtype, m.enc.bn.num_batches_tracked.dtype)
m.to("cpu", non_blocking=True)
m.float()
print(
    m.extra_repr() == "",
    m._get_name(),
    nn.Linear(2, 3).extra_repr(),
    nn.Conv2d(1, 2, 3, padding=1, bias=False),
    nn.LSTM(2, 3, 2, batch_first=True),
    nn.Dropout(0.3, True),
    nn.Embedding(3, 2, padding_idx=0),
    nn.GroupNorm(2, 4),
    nn.Upsample(scale_factor=2),
    nn.Flatten(),
    nn.Unflatten(1, (2, 2)),
    nn.PixelShuffle(2),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.Softmax(dim=1),
    nn.CrossEntropyLoss(weight=torch.ones(2)),
    nn.TransformerEncoderLayer(4, 2, 8).self_attn,
    nn.LeakyReLU(0.1),
    nn.ELU(),
    nn.Hardtanh(),
    nn.Bilinear(1, 2, 3),
    nn.ConvTranspose2d(1, 1, 2, 2, output_padding=1),
    nn.LayerNorm([2, 3]),
    nn.CosineSimilarity(),
    nn.ZeroPad2d(1),
    nn.AdaptiveAvgPool2d((1, None)),
    nn.GRUCell(1, 2),
)
