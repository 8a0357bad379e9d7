"""Hazards of gradients that a call finds there: read, added to, and shown by something else too."""

from tests.hazards import again, hazard, linear, numbers


def _adding(torch, compile):
    """Two leaves, and a function that adds to the gradients of both and reads them."""
    one, two = numbers(torch, 4).requires_grad_(), numbers(torch, 4).requires_grad_()

    def function(x):
        (one * x.detach()).sum().backward()
        (two * x.detach() * 2).sum().backward()
        return x + one.grad + two.grad

    return one, two, compile(function)


@hazard
def gradient_that_is_a_part_of_another_tensor(torch, compile):
    one, _, run = _adding(torch, compile)
    x, whole, seen = numbers(torch, 4), numbers(torch, 12), []
    for gradient in (None, whole[:4], whole[6:10], whole.view(3, 4)[1], None):
        one.grad = gradient
        seen += [*again(run, x), whole.clone(), one.grad.clone()]
    return seen


@hazard
def gradients_that_come_to_be_one(torch, compile):
    one, two, run = _adding(torch, compile)
    x, seen = numbers(torch, 4), []
    seen += again(run, x)
    one.grad = two.grad
    seen += [*again(run, x), one.grad.clone()]
    two.grad = one.grad[:]
    seen += [*again(run, x), one.grad.clone()]
    two.grad = two.grad.clone()
    return [*seen, *again(run, x), one.grad, two.grad]


@hazard
def gradient_that_shows_its_own_tensor(torch, compile):
    one, two, run = _adding(torch, compile)
    x = numbers(torch, 4)
    seen = again(run, x)
    one.grad = one.detach()
    seen += [*again(run, x), one.detach().clone()]
    one.grad = two.detach()
    return [*seen, *again(run, x), one, two]


@hazard
def gradient_given_as_an_argument(torch, compile):
    """Of a tensor that is none: what the call adds to it, the argument shows."""
    weight = numbers(torch, 4).requires_grad_()

    def function(x):
        (weight * 2).sum().backward()
        return x + weight.grad

    run, x = compile(function), numbers(torch, 4)
    seen = again(run, x)
    for _ in range(3):
        seen += [run(weight.grad), run(weight.grad[:])]
    return [*seen, *again(run, x), weight.grad]


@hazard
def gradient_that_is_on_the_tape(torch, compile):
    one, _, run = _adding(torch, compile)
    x, seen = numbers(torch, 4), []
    for i in range(3):
        one.grad = one * 2 if i else None
        seen += [*again(run, x), one.grad.requires_grad]
    return seen


@hazard
def gradient_of_a_gradient_past_state_written_inside(torch, compile):
    count, x, seen = torch.ones(4), numbers(torch, 3, 4), []
    norm = torch.nn.BatchNorm1d(4)
    with torch.no_grad():
        norm.weight.copy_(numbers(torch, 4))

    def function(x):
        count.add_(1)
        return norm(x * count).tanh()

    run = compile(function)
    for i in range(4):
        leaf = (x.square() + i).requires_grad_()
        (gradient,) = torch.autograd.grad(run(leaf).sum(), leaf, create_graph=True)
        gradient.square().sum().backward()
        seen += [gradient.detach(), leaf.grad, norm.running_mean.clone()]
    return seen, count


@hazard
def second_derivatives_past_constants(torch, compile):
    """What autograd saw as constants, by ``detach`` or ``no_grad``, is constant a second time."""

    def function(x):
        with torch.no_grad():
            spread = x.std()
        y = x * x
        y[0] = x.detach()[1] * x[0]
        return (x - spread) * y * x.exp().detach()

    run, seen = compile(function), []
    for i in range(4):
        x = (numbers(torch, 3) + i).requires_grad_()
        (first,) = torch.autograd.grad(run(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        seen += [first.detach(), second]
    layer = linear(torch, 3, 1)
    critic = compile(lambda x: layer(x.square()))
    for _ in range(3):
        x = numbers(torch, 2, 3).requires_grad_()
        (first,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        wanted = list(layer.parameters())  # of which the bias has no part in it
        seen += torch.autograd.grad(first.square().sum(), wanted, allow_unused=True)
    scaled = compile(lambda x: x * x.detach())
    for _ in range(3):
        x = numbers(torch, 3).requires_grad_()
        seen += torch.autograd.grad(scaled(x).sum(), x, create_graph=True)
    return seen


@hazard
def backward_again_through_what_saves_nothing(torch, compile):
    def function(x):
        y = torch.stack([x[0], x[1]])
        (y * y).sum().backward()
        return y - 1

    run, sums, seen = compile(function), compile(lambda x: x.sum(0) + 1), []
    for i in range(4):
        x = (numbers(torch, 2, 2) + i).requires_grad_()
        run(x).sum().backward()
        out = sums(x).sum()
        out.backward()
        out.backward()
        seen.append(x.grad)
    return seen


@hazard
def gradient_of_what_needs_none(torch, compile):
    frozen, plain = numbers(torch, 3), numbers(torch, 3)
    run = compile(lambda x: x + sum(t.grad for t in (frozen, plain) if t.grad is not None))
    x, seen = numbers(torch, 3), []
    for t in (frozen, plain):
        for gradient in (numbers(torch, 3), None, numbers(torch, 3, start=2)):
            t.grad = gradient
            seen += again(run, x)
    return seen


@hazard
def step_of_what_needs_no_gradient(torch, compile):
    layer, plain = linear(torch).requires_grad_(False), numbers(torch, 3)
    optimizer = torch.optim.SGD([*layer.parameters(), plain], lr=0.1)
    x = numbers(torch, 3)

    @compile
    def step():
        optimizer.step()
        return layer(x) + plain.sum()

    seen = again(step)
    plain.grad = numbers(torch, 3)
    seen += again(step)
    layer.bias.grad = numbers(torch, 2)
    seen += again(step)
    plain.grad = None
    return seen + again(step)


@hazard
def view_given_that_is_written_behind_its_back(torch, compile):
    def function(x):
        x.detach()[0] = 7.0
        return x

    run, seen = compile(function), []
    for i in range(4):
        whole = numbers(torch, 4, 3, start=i)
        seen += [run(whole.t()), whole]
    return seen


@hazard
def state_that_an_argument_comes_to_share(torch, compile):
    """When it was recorded, nothing could show the state's memory: there was one handle."""
    state = numbers(torch, 4)

    def function(x):
        state.add_(1)
        return x * 2

    run = compile(function)
    seen = again(run, numbers(torch, 4))
    part = state[:]
    return [*seen, *again(run, part), part, *again(run, numbers(torch, 4))]


@hazard
def state_of_an_optimizer_held(torch, compile):
    """A step goes on in the tensor that its user took, and skips it if it skips."""
    seen, x = [], numbers(torch, 4, 3)
    for scaled in (False, True):
        layer, other = linear(torch), linear(torch, 2, 2)
        optimizer = torch.optim.Adam([*layer.parameters(), *other.parameters()], lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=scaled)

        @compile
        def step(x, both, layer=layer, other=other, optimizer=optimizer, scaler=scaler):
            optimizer.zero_grad()
            loss = (other(layer(x)) if both else layer(x)).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

        step(x, True)
        held = optimizer.state[layer.weight]["exp_avg"]
        for i, both in enumerate((True, True, True, False, False, True)):
            step(x * (float("inf") if scaled and i == 3 else 1.0), both)
            seen += [held.clone(), held is optimizer.state[layer.weight]["exp_avg"]]
        seen += [p.detach().clone() for p in layer.parameters()]
    return seen


@hazard
def gradients_made_and_returned(torch, compile):
    """Whoever scales the gradients that a call returns has scaled those of the parameters."""
    layer, seen = linear(torch), []

    @compile
    def gradients(x):
        layer.zero_grad()
        layer(x).square().sum().backward()
        return [p.grad for p in layer.parameters()]

    for _ in range(5):
        found = gradients(numbers(torch, 4, 3))
        found[0].mul_(0.5)
        seen.append((found[0] is layer.weight.grad, layer.weight.grad.clone(), found[1].clone()))
    return seen


@hazard
def gradients_of_some_results_only(torch, compile):
    run, seen = compile(lambda x: (x * 2, x.sqrt(), x.log() + x)), []
    for wanted in ((0,), (1,), (0, 2), (2,), (0, 1, 2), (0,)):
        x = torch.tensor([0.0, 4.0], requires_grad=True)
        results = run(x)
        sum(results[i].sum() for i in wanted).backward()
        seen.append(x.grad)
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    (slope,) = torch.autograd.grad(run(x)[0].sum(), x, create_graph=True)
    parts = compile(lambda x: torch.linalg.svd(x))
    for _ in range(3):
        x = torch.eye(2).requires_grad_()
        parts(x)[1].sum().backward()
        seen.append(x.grad)
    return [*seen, slope]


@hazard
def functions_of_which_some_results_have_gradients(torch, compile):
    class Ones(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return torch.ones_like(grad)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, a, b):
            return (a + 1) * (b + 3)

    class Told(Product):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, a, b):
            return a * 10 if b is None else b * 20 if a is None else a + b

    seen = []
    for function in (Ones, Product, Told):

        def compute(x, function=function):
            found = function.apply(x)
            return x * 2, *(found if isinstance(found, tuple) else (found,))

        run = compile(compute)
        for wanted in ((0,), (1,), (0, 1), (-1,), (0, 1, -1)):
            x = numbers(torch, 3).requires_grad_()
            results = run(x)
            sum(results[i].sum() for i in wanted).backward()
            seen.append(x.grad)
    return seen
