"""functorch, as torch.func was called before: modules as functions of their state, ensembles."""

import functorch
import torch
from functorch import combine_state_for_ensemble, grad, jacrev, vmap
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, middle):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, 4), middle, nn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.relu(self.middle(self.first(x))))


def told(call, *args):
    try:
        call(*args)
    except RuntimeError as error:
        return str(error)[:60]


x, target = torch.randn(5, 3), torch.randn(5, 2)
model = Net(nn.Identity())
f, params = functorch.make_functional(model)
print(f(params, x), [p.requires_grad for p in params], params[0] is model.first.weight)


def loss(params, x, target):
    return nn.functional.mse_loss(f(params, x), target)


print([g.sum() for g in grad(loss)(params, x, target)])
print([g.shape for g in vmap(grad(loss), in_dims=(None, 0, 0))(params, x, target)])
print([j.shape for j in jacrev(f)(params, x)], told(f, params[:1], x) is not None)
f, params = functorch.make_functional(model, disable_autograd_tracking=True)
print([p.requires_grad for p in params], isinstance(f, nn.Module), type(params))

normed = Net(nn.BatchNorm1d(4)).eval()
f, params, buffers = functorch.make_functional_with_buffers(normed)
print(f(params, buffers, x), len(buffers), told(functorch.make_functional, normed))

models = [Net(nn.Identity()) for _ in range(3)]
f, params, buffers = combine_state_for_ensemble(models)
print([p.shape for p in params], params[0].requires_grad, buffers)
print(vmap(f, in_dims=(0, 0, None))(params, buffers, x).sum((1, 2)))
print(torch.stack([m(x) for m in models]).sum((1, 2)), told(combine_state_for_ensemble, []))

tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
tied[1].weight = tied[0].weight
f, params = functorch.make_functional(tied)
print(len(params), f((torch.eye(2) * 2,), torch.ones(1, 2)))
