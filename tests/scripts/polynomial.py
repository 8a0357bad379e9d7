"""A cubic through a sine: gradients by hand, by autograd, by a Function, in a module."""

import math

import torch

torch.manual_seed(0)
x = torch.linspace(-math.pi, math.pi, 400)
y = torch.sin(x)

weights = torch.randn(4)
powers = torch.stack([x**k for k in range(4)], dim=1)
for step in range(200):
    error = powers @ weights - y
    weights -= 1e-4 * powers.T @ error / 4
    if step % 50 == 0:
        print("by hand", step, error.square().sum().item())


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return value**3

    @staticmethod
    def backward(ctx, grad):
        (value,) = ctx.saved_tensors
        return 3 * value**2 * grad


a, b = (torch.tensor(v, requires_grad=True) for v in (0.5, -0.05))
for step in range(100):
    loss = (a * x + b * Cube.apply(x / 2) * 8 - y).square().mean()
    loss.backward()
    with torch.no_grad():
        for p, rate in ((a, 3e-2), (b, 1e-3)):
            p -= rate * p.grad
            p.grad = None
    if step % 25 == 0:
        print("autograd", step, loss.item())
print(a, b)


class Polynomial(torch.nn.Module):
    def __init__(self, degree):
        super().__init__()
        self.coefficients = torch.nn.ParameterList(
            torch.nn.Parameter(0.1 * torch.randn(())) for _ in range(degree + 1)
        )

    def forward(self, x):
        total = torch.zeros_like(x)
        for c in reversed(self.coefficients):
            total = total * x + c
        return total

    def extra_repr(self):
        return f"degree={len(self.coefficients) - 1}"


model = Polynomial(3)
print(model)
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-2)
for step in range(100):
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 25 == 0:
        print("module", step, loss.item())
