"""Classes of one's own: tensors, layers, schedulers, samplers, Functions; and library helpers."""

import functools
import itertools
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, optim
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn import Module, Parameter
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.utils import _pair, _single
from torch.optim.lr_scheduler import _LRScheduler
from torch.utils.data import Sampler, get_worker_info
from torch.utils.data.dataloader import default_collate

torch.manual_seed(0)


class MT(torch.Tensor):
    @staticmethod
    def __new__(cls, data, *a, **k):
        return torch.as_tensor(data).as_subclass(cls)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        calls.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


calls = []
a = MT([1.0, 2.0])
b = a + 1
print(type(b).__name__, calls, isinstance(b, Tensor), torch.sum(b))
s = torch.Tensor.as_subclass(torch.ones(2), MT)
print(type(s * 2).__name__)


class Meta:
    def __init__(self, d):
        self.d = d

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func(*[x.d if isinstance(x, Meta) else x for x in args], **(kwargs or {}))


print(torch.add(Meta(torch.ones(2)), 1))


class EqualLR(Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = Parameter(torch.randn(o, i).div_(1.0))
        self.bias = Parameter(torch.zeros(o))
        self.scale = 1 / math.sqrt(i)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


class WS(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = w - w.mean(dim=(1, 2, 3), keepdim=True)
        w = w / (w.view(w.size(0), -1).std(1).view(-1, 1, 1, 1) + 1e-5)
        return self._conv_forward(x, w, self.bias)


class MyBN(_BatchNorm):
    def _check_input_dim(self, i):
        pass


class AdaIN(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.n = nn.InstanceNorm2d(c)
        self.s = EqualLR(4, c * 2)

    def forward(self, x, w):
        h = self.s(w).view(w.size(0), -1, 1, 1)
        g, b = torch.chunk(h, 2, dim=1)
        return (1 + g) * self.n(x) + b


class SE(nn.Module):
    def __init__(self, c, r=2):
        super().__init__()
        self.a = nn.AdaptiveAvgPool2d(1)
        self.f = nn.Sequential(
            nn.Linear(c, c // r, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(c // r, c, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        return x * self.f(self.a(x).view(b, c)).view(b, c, 1, 1).expand_as(x)


class DWS(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, i, 3, padding=1, groups=i), nn.Conv2d(i, o, 1), nn.ReLU6())


x = torch.randn(2, 4, 6, 6)
net = nn.Sequential(
    WS(4, 4, 3, padding=1), MyBN(4), SE(4), DWS(4, 6), nn.PixelShuffle(1), nn.Hardswish()
)
y = AdaIN(6)(net(x), torch.randn(2, 4))
y.mean().backward()
print(y.shape, y.mean(), net[0].weight.grad.norm(), net)


class Sched(_LRScheduler):
    def __init__(self, o, w, last_epoch=-1):
        self.w = w
        super().__init__(o, last_epoch)

    def get_lr(self):
        return [b * min(1, (self.last_epoch + 1) / self.w) for b in self.base_lrs]


o = optim.SGD(net.parameters(), 0.1)
sc = Sched(o, 4)
lr = []
for _ in range(5):
    o.step()
    lr.append(round(sc.get_last_lr()[0], 4))
    sc.step()
print(lr, sc.state_dict())


class S(Sampler):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n - 1, -1, -1))

    def __len__(self):
        return self.n


print(
    [d for d in torch.utils.data.DataLoader(torch.arange(5), sampler=S(5), batch_size=2)],
    default_collate([{"a": 1, "b": [2.0, "x"]}, {"a": 3, "b": [4.0, "y"]}]),
    default_collate([(torch.ones(1), 1), (torch.zeros(1), 2)]),
    get_worker_info(),
)
fl = _flatten_dense_tensors([torch.ones(2), torch.zeros(2, 2)])
print(fl, _unflatten_dense_tensors(fl, [torch.ones(2), torch.zeros(2, 2)]), _pair(3), _single(2))


@torch.no_grad()
def f(x: Tensor, *, k: int | None = None) -> tuple[Tensor, Tensor]:
    return x.topk(k or 1)


print(f(torch.arange(4.0), k=2))
print(f.__name__, torch.is_grad_enabled())


class G(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, n):
        return x**n, x.detach() * 0

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, n = inputs
        ctx.save_for_backward(x)
        ctx.n = n
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, g, _):
        (x,) = ctx.saved_tensors
        return ctx.n * x ** (ctx.n - 1) * g if ctx.needs_input_grad[0] else None, None


q = torch.tensor([2.0, 3.0], requires_grad=True)
r, z = G.apply(q, 3)
r.sum().backward()
print(q.grad, z.requires_grad, torch.vmap(lambda t: G.apply(t, 2)[0])(q).detach())


class Sort(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        n = x.detach().numpy()
        i = n.argsort()
        ctx.i = i
        return torch.from_numpy(n[i])

    @staticmethod
    def backward(ctx, g):
        r = torch.empty_like(g)
        r[torch.from_numpy(ctx.i)] = g
        return r


w = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
(Sort.apply(w) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
print(w.grad)
tr = torch.utils._pytree
lv, sp = tr.tree_flatten({"a": [torch.ones(1), 2]})
print(lv, tr.tree_unflatten(lv, sp), tr.tree_map(lambda v: v * 2, (1, [2])))
print(
    torch.finfo(torch.float32).eps,
    torch.finfo(torch.bfloat16).max,
    torch.iinfo(torch.int8).min,
    torch.float32.is_floating_point,
    torch.promote_types(torch.int32, torch.float16),
    torch.result_type(torch.tensor(1), 2.0),
    torch.can_cast(torch.float, torch.int),
    torch.Size([1, 2]).numel(),
    torch.Size((1, 2)) + (3,),
    torch.broadcast_shapes((2, 1), (1, 3)),
    torch.float,
    torch.strided,
    torch.contiguous_format,
    torch.device("cuda", 1),
    torch.device("cpu") == torch.device("cpu"),
    torch.device("cuda:1").index,
    repr(torch.device("cpu")),
    str(torch.int64).split(".")[-1],
    torch.pi,
    torch.inf,
    torch.e,
)
torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)
print(
    torch.allclose(torch.ones(1), torch.ones(1) + 1e-6),
    torch.isclose(
        torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")]), equal_nan=True
    ),
)
try:
    torch.testing.assert_close(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.5, 3.0]))
except AssertionError as e:
    print(e)
try:
    torch.testing.assert_close(torch.ones(2), torch.ones(3), msg=lambda m: "mine: " + m)
except AssertionError as e:
    print(e)
with torch.device("meta"):
    mm = nn.Linear(1000, 1000)
print(mm.weight.device, mm.weight.shape, mm.to_empty(device="cpu").weight.device)
torch.set_default_device("cpu")
torch.manual_seed(1)
st = torch.get_rng_state()
u = torch.rand(1)
torch.set_rng_state(st)
print(u == torch.rand(1))
with torch.random.fork_rng():
    torch.manual_seed(5)
    torch.rand(3)
print(torch.rand(1), torch.seed() > 0)
e = torch.Tensor.__add__
print(
    e(torch.ones(1), 1),
    torch.Tensor.abs(torch.tensor([-1.0])),
    functools.reduce(torch.add, [torch.ones(1)] * 3),
    functools.partial(F.relu, inplace=True)(torch.tensor([-1.0])),
    sum(p.numel() for p in itertools.chain(net.parameters(), mm.parameters())),
    nn.utils.skip_init(nn.Linear, 2, 3).weight.shape,
    nn.utils.fusion.fuse_conv_bn_eval(nn.Conv2d(2, 2, 1).eval(), nn.BatchNorm2d(2).eval())(
        torch.ones(1, 2, 1, 1)
    ).shape,
)
