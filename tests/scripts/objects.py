"""Objects that are no tensors and take over functions; settings of the compiler."""

import io

import torch
import torch._functorch.config
import torch._inductor.config
from torch import nn
from torch._subclasses import FakeTensor, FakeTensorMode

torch.manual_seed(0)
KNOWN = {}


class Diagonal:
    """A number times the unit matrix."""

    def __init__(self, size, value):
        self.size, self.value = size, value

    def __repr__(self):
        return f"Diagonal({self.size}, {self.value})"

    def full(self):
        return self.value * torch.eye(self.size)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in KNOWN:
            return KNOWN[func](*args, **(kwargs or {}))
        if func is torch.mul:
            return NotImplemented
        return func(*[a.full() if isinstance(a, cls) else a for a in args], **(kwargs or {}))


def add(a, b):
    if isinstance(a, Diagonal) and isinstance(b, Diagonal):
        return Diagonal(a.size, a.value + b.value)
    return torch.add(*[x.full() if isinstance(x, Diagonal) else x for x in (a, b)])


KNOWN[torch.add] = add
KNOWN[torch.mean] = lambda d: d.value / d.size

d = Diagonal(2, 3.0)
print(
    torch.mean(d), torch.add(d, d), torch.add(d, torch.ones(2, 2)), torch.add(torch.ones(2, 2), d)
)
print(torch.sin(d), torch.matmul(torch.ones(2), d), nn.functional.relu(d), d.full() @ torch.ones(2))
try:
    torch.mul(d, 2)
except TypeError as error:
    print(str(error)[:46])


class Labelled:
    """A tensor with a label, which its results have, too."""

    def __init__(self, data, label):
        self.data, self.label = torch.as_tensor(data), label

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        label = next(a.label for a in args if isinstance(a, cls))
        args = [a.data if isinstance(a, cls) else a for a in args]
        return cls(func(*args, **(kwargs or {})), label)


m = Labelled([[1.0, 2.0], [3.0, 4.0]], "m")
for made in (torch.add(torch.ones(2), m), torch.mul(m, m), nn.functional.softmax(m, dim=0)):
    print(made.label, made.data)

torch._inductor.config.coordinate_descent_tuning = True
torch._inductor.config.triton.unique_kernel_names = True
torch._inductor.config.fx_graph_cache = True
torch._functorch.config.activation_memory_budget = 0.5
print(torch._inductor.config.max_autotune, torch._functorch.config.donated_buffer)
print(
    torch.compile(lambda x: x * 2, backend="eager")(torch.ones(2)),
    isinstance(torch.ones(1), FakeTensor),
)
print(FakeTensorMode is torch._subclasses.fake_tensor.FakeTensorMode)

# What libraries for several kinds of arrays ask for, and files name.
print(type(m.data), type(m.data).__module__, type(nn.Parameter(m.data)), nn.Parameter(m.data))
file = io.BytesIO()
torch.save([torch.Tensor, nn.Parameter], file)
file.seek(0)
print(torch.load(file))
