"""Views, strides, writes through them, indexing, and the errors of wrong shapes."""

import numpy as np
import torch

torch.manual_seed(0)
x = torch.arange(24).reshape(2, 3, 4)
print(x.stride(), x.is_contiguous(), x.permute(2, 0, 1).stride(), x.transpose(0, 2).is_contiguous())
y = x.permute(2, 0, 1)
try:
    y.view(-1)
except RuntimeError as e:
    print(e)
print(y.reshape(-1)[:5], y.contiguous().view(-1)[:5], y.flatten(1).shape)
v = x[:, 1]
v += 100
print(x[0], v.storage_offset(), v.data_ptr() - x.data_ptr(), x._base is None, v._base is x)
s = torch.as_strided(torch.arange(10.0), (3, 3), (2, 1))
print(s)
u = torch.arange(10.0).unfold(0, 4, 2)
print(u, u.stride())
e = torch.ones(3, 1).expand(3, 4)
print(e.stride(), e.is_contiguous())
try:
    e[0, 0] = 5
    e.add_(1)
except RuntimeError as er:
    print(er)
a = torch.zeros(4, 4)
a.diagonal().fill_(2)
a[1:3, 1:3] = 9
a[a > 5] -= 1
a[[0, 2], [1, 3]] = torch.tensor([7.0, 6.0])
a[..., 0].mul_(3)
print(a)
a.view(-1)[::5].zero_()
print(a)
b = a.T
b[0, 1] = -1
print(a[1, 0], a.t().data_ptr() == a.data_ptr())
i = torch.tensor([0, 2])
g = a[i]
g.zero_()
print(a.sum())
a.index_fill_(0, i, 4.0)
a.index_copy_(1, i, torch.ones(4, 2))
a.masked_fill_(torch.eye(4).bool(), 0)
a.scatter_(1, torch.tensor([[3], [2], [1], [0]]), 8.0)
print(a)
c, d = torch.chunk(torch.arange(6), 2)
c += 10
print(c, d)
p, q = torch.split(torch.arange(10), [3, 7])
print(p, q, torch.arange(7).tensor_split(3), torch.arange(8).view(2, 4).hsplit(2))
print(
    x.movedim(0, -1).shape,
    x.swapaxes(0, 1).shape,
    x.squeeze().shape,
    x[None].shape,
    x.unsqueeze(-1).shape,
    x.ravel().shape,
    x[:, None, ..., 0].shape,
    x.select(1, 2).shape,
    x.narrow(2, 1, 2).shape,
    torch.narrow(x, 0, 0, 1).shape,
)
print(
    torch.ones(4, dtype=torch.float32).view(torch.int32),
    torch.tensor([1.0, 2.0]).view(torch.uint8)[:4],
)
z = torch.zeros(3)
z[1] = 5
z[-1] = z[1]
w = z
w += 1
print(z, w is z, id(w) == id(z))
n = torch.ones(3)
m = n.numpy()
m[0] = 7
n[1] = 8
print(n, m)
np_ = np.zeros((2, 2))
t = torch.from_numpy(np_)
t[0] = 1
np_[1] = 2
print(t, np_)
k = torch.tensor(np_)
k += 1
print(np_)


def flip_(t):
    t.copy_(t.flip(0))
    return t


r = torch.arange(5)
flip_(r)
print(
    r,
    r.roll(2),
    torch.rot90(torch.arange(4).view(2, 2)),
    r.repeat(2),
    r.repeat_interleave(2),
    torch.tile(r, (2,)),
    r[[-1, 0]],
    r[torch.tensor([True, False, True, False, True])],
    r.take(torch.tensor([0, 4])),
)
o = torch.empty(3)
torch.add(torch.ones(3), 1, out=o)
torch.sum(torch.ones(3, 3), 0, out=o)
print(o)
mx, ix = torch.empty(3), torch.empty(3, dtype=torch.long)
torch.max(torch.eye(3), 1, out=(mx, ix))
print(mx, ix)
q = torch.rand(3, requires_grad=True)
h = q * 2
h[0] = 0
h.sum().backward()
print(q.grad)
h2 = q.clone()
h2[1:] *= 3
h2.sum().backward()
print(q.grad)
q.data[0] = 5.0
print(q[0].item())
q.grad.data.zero_()
print(q.grad)
with torch.no_grad():
    q.clamp_(max=1.0)
    q[1] = 2
print(q[0], q[1], q.requires_grad, q._version)
try:
    x[0, 5]
except IndexError as e:
    print(e)
try:
    x[0, 0, 0, 0]
except IndexError as e:
    print(e)
try:
    x.view(5, 5)
except RuntimeError as e:
    print(e)
try:
    torch.ones(2, 3) + torch.ones(2, 4)
except RuntimeError as e:
    print(e)
try:
    torch.cat([torch.ones(2, 3), torch.ones(3, 4)])
except RuntimeError as e:
    print(e)
try:
    torch.stack([torch.ones(2), torch.ones(3)])
except RuntimeError as e:
    print(e)
for a_, b_ in ((1, 2), (slice(None), None)):
    print(x[a_, b_].shape)
it = iter(torch.arange(3))
print(
    next(it),
    len(x),
    list(torch.arange(3)),
    2 in torch.arange(3),
    torch.arange(3).tolist(),
    [*torch.eye(2)],
    max(torch.tensor([1, 5, 2])),
    sum(torch.tensor([1, 2])),
    sorted(torch.tensor([3, 1])),
)
f = torch.tensor(3.7)
print(
    int(f),
    float(f),
    f.long(),
    round(f.item()),
    f"{f:.1f}",
    f"{torch.tensor(5):03d}",
    bool(f),
    range(torch.tensor(3)),
    [1, 2, 3][torch.tensor(1)],
    -f,
    abs(-f),
    f**2,
    2**f,
    7 // torch.tensor(2),
    7 % torch.tensor(4),
    ~torch.tensor(True),
    torch.tensor(5) >> 1,
    f.is_floating_point(),
    divmod(7, 2),
    torch.tensor(5) & 3,
    f == 3.7,
    hash(f) != 0,
)
