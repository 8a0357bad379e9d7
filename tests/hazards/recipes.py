"""Hazards of recipes: what training programs do besides a plain step."""

import copy

from tests.hazards import again, hazard, linear, numbers, parameters


def regression(torch, model, optimizer, x):
    """A plain step of a model towards zero."""

    def step():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


# ---- optimizers --------------------------------------------------------------------------------


def _optimizer(name, **options):
    """A scenario: five steps of an optimizer, its state, another learning rate, two steps."""

    def scenario(torch, compile):
        model, x = linear(torch), numbers(torch, 4, 3)
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, **options)
        step = compile(regression(torch, model, optimizer, x))
        seen = again(step, times=5) + parameters(model)
        state = copy.deepcopy(optimizer.state_dict()["state"])
        seen += [dict(sorted(state[i].items())) for i in sorted(state)]
        optimizer.param_groups[0]["lr"] = 0.01
        return seen + again(step, times=2) + parameters(model)

    scenario.__name__ = f"optimizer_{name}"
    hazard(scenario)


for _name, _options in (
    ("AdamW", {"amsgrad": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Rprop", {}),
    ("ASGD", {"t0": 2}),
):
    _optimizer(_name, **_options)


@hazard
def optimizer_with_a_closure(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    optimizer, calls = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3), []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    step = compile(lambda: optimizer.step(closure))
    return [*again(step, times=4), len(calls), *parameters(model)]


@hazard
def step_counted_by_the_user(torch, compile):
    """Warm-up by hand: the learning rate is computed from a counter inside the step."""
    model, x = linear(torch), numbers(torch, 4, 3)
    optimizer, state = torch.optim.SGD(model.parameters(), lr=0.0), {"n": 0}

    @compile
    def step():
        state["n"] += 1
        for group in optimizer.param_groups:
            group["lr"] = min(1.0, state["n"] / 4) * 0.1
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    again(step, times=6)
    return [state, optimizer.param_groups[0]["lr"], *parameters(model)]


@hazard
def plateau_scheduler_inside(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    optimizer.param_groups[0]["lr"] = 0.5

    @compile
    def step():
        loss = model(x).mean()
        scheduler.step(loss.item() * 0 + 1)
        return loss

    seen = []
    for _ in range(6):
        seen += [step(), optimizer.param_groups[0]["lr"]]
    return seen


@hazard
def update_during_backward(torch, compile):
    """An optimizer a parameter, stepped by a hook as soon as its gradient is there."""
    model, x = linear(torch), numbers(torch, 4, 3)
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def update(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    handles = [p.register_post_accumulate_grad_hook(update) for p in model.parameters()]
    step = compile(lambda: model(x).square().mean().backward())
    again(step, times=4)
    seen = parameters(model) + [p.grad for p in model.parameters()]
    handles[0].remove()
    step()
    return seen + parameters(model) + [p.grad for p in model.parameters()]


# ---- state carried from call to call -----------------------------------------------------------


@hazard
def hidden_state_carried(torch, compile):
    """Truncated backpropagation through time: the state is detached and kept on the module."""

    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.hidden = linear(torch, 3, 3), None

        def forward(self, x):
            hidden = torch.zeros(3) if self.hidden is None else self.hidden.detach()
            self.hidden = torch.tanh(self.layer(x) + hidden)
            return self.hidden

    model = Recurrent()
    optimizer, seen = torch.optim.SGD(model.parameters(), lr=0.01), []

    @compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    for i in range(5):
        seen += [step(numbers(torch, 3) * 0.1), model.hidden]
        if i == 3:
            model.hidden = None
    return seen + parameters(model)


@hazard
def state_handed_through(torch, compile):
    layer = linear(torch, 3, 3)
    run = compile(lambda x, state: (torch.tanh(layer(x) + state), {"state": state + x}))
    state, seen = torch.zeros(3), []
    for i in range(5):
        y, kept = run(numbers(torch, 3, start=i / 10) * 0.1, state)
        state = kept["state"]
        seen += [y, state]
    return seen


@hazard
def recurrent_layer_with_its_state(torch, compile):
    model = torch.nn.GRU(3, 2, batch_first=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(numbers(torch, *parameter.shape) * 0.1)
    run, state, seen = compile(model), None, []
    for i in range(4):
        y, state = run(numbers(torch, 1, 2, 3, start=i / 10), state)
        state = state.detach()
        seen += [y, state]
    return seen


@hazard
def replay_buffer(torch, compile):
    """A ring of past inputs with a Python position."""

    class Ring:
        def __init__(self):
            self.data, self.at, self.full = torch.zeros(3, 2), 0, False

        def push(self, x):
            self.data[self.at] = x
            self.at += 1
            if self.at == 3:
                self.at, self.full = 0, True

    ring = Ring()

    def function(x):
        ring.push(x)
        return (ring.data if ring.full else ring.data[: ring.at]).mean(0)

    run = compile(function)
    return [run(numbers(torch, 2, start=float(i))) for i in range(7)] + [ring.data, ring.at]


@hazard
def best_weights_kept(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step, kept = compile(regression(torch, model, optimizer, x)), []
    for _ in range(4):
        step()
        kept.append({key: value.clone() for key, value in model.state_dict().items()})
    alive = model.state_dict()  # shares memory with the parameters
    step()
    seen = [kept, dict(alive)]
    model.load_state_dict(kept[0])
    return [*seen, step(), *parameters(model), dict(alive)]


@hazard
def averaged_model(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    average = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plain = regression(torch, model, optimizer, x)

    @compile
    def step():
        plain()
        average.update_parameters(model)
        return average(x).sum()

    return [*again(step, times=5), average.n_averaged, *parameters(average)]


# ---- layers that change themselves -------------------------------------------------------------


@hazard
def spectral_norm_iterates(torch, compile):
    torch.manual_seed(0)
    model = torch.nn.utils.parametrizations.spectral_norm(linear(torch))
    norm, x = model.parametrizations.weight[0], numbers(torch, 4, 3)
    norm._u.copy_(torch.tensor([0.6, 0.8]))
    norm._v.copy_(torch.tensor([0.6, 0.8, 0.0]))
    run, seen = compile(model), []
    for training in (True, True, True, False, False, True):
        model.train(training)
        seen += [run(x), norm._u.clone()]
    return seen


@hazard
def weight_norm_added_and_removed(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    run = compile(lambda x: model(x))
    seen = again(run, x)
    torch.nn.utils.parametrizations.weight_norm(model)
    with torch.no_grad():
        model.parametrizations.weight.original0.mul_(3)
    seen += again(run, x)
    torch.nn.utils.parametrize.remove_parametrizations(model, "weight")
    seen += again(run, x)
    return seen


@hazard
def embedding_with_a_norm(torch, compile):
    model = torch.nn.Embedding(4, 2, max_norm=1.0)
    with torch.no_grad():
        model.weight.copy_(numbers(torch, 4, 2) * 10)
    run, seen = compile(model), []
    for index in ([0], [0], [1, 2], [0], [3, 0]):
        seen += [run(torch.tensor(index)), model.weight.detach().clone()]
    return seen


@hazard
def lazy_module(torch, compile):
    model = torch.nn.LazyLinear(2)
    run, x, seen = compile(model), numbers(torch, 4, 3), []
    run(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(numbers(torch, *parameter.shape))
    seen += [type(model).__name__, *again(run, x)]
    return seen


@hazard
def dropout_probability_changed(torch, compile):
    model, x = torch.nn.Dropout(0.0), numbers(torch, 4, 3)
    run = compile(model)
    seen = again(run, x)
    model.p = 1.0
    seen += again(run, x)
    model.p = 0.0
    return seen + again(run, x)


@hazard
def lists_of_modules_changed(torch, compile):
    layers = torch.nn.ModuleList([linear(torch, 3, 3)])
    named = torch.nn.ModuleDict({"a": linear(torch, 3, 3)})
    scales = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(3))])

    def function(x):
        for layer in (*layers, *named.values()):
            x = layer(x)
        for scale in scales:
            x = x * scale
        return x

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    layers.append(linear(torch, 3, 3))
    seen += again(run, x)
    named["b"] = torch.nn.Tanh()
    seen += again(run, x)
    scales.append(torch.nn.Parameter(torch.ones(3) * 2))
    seen += again(run, x)
    del layers[0]
    return seen + again(run, x)


# ---- autograd ----------------------------------------------------------------------------------


@hazard
def function_of_ones_own(torch, compile):
    calls = []

    class Doubled(torch.autograd.Function):
        factor = 2.0

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            calls.append(1)
            return gradient * Doubled.factor * x

    weight = numbers(torch, 3).requires_grad_()

    @compile
    def step(x):
        weight.grad = None
        Doubled.apply(weight * x).sum().backward()

    seen = []
    for i in range(4):
        step(numbers(torch, 3, start=float(i)))
        seen.append(weight.grad)
    Doubled.factor = 10.0
    for i in range(3):
        step(numbers(torch, 3, start=float(i)))
        seen.append(weight.grad)
    return [*seen, len(calls)]


@hazard
def checkpoint_inside(torch, compile):
    from importlib import import_module

    checkpoint = import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    model, x, seen = linear(torch, 3, 3), numbers(torch, 4, 3) * 0.1, []

    @compile
    def step(x):
        model.zero_grad()
        y = checkpoint(lambda t: torch.tanh(model(t)), x, use_reentrant=False)
        y.sum().backward()
        return y

    for i in range(4):
        seen += [step(x * i), model.weight.grad]
    return seen


@hazard
def transforms_inside(torch, compile):
    factor = [2.0]

    def loss(w, x):
        return (w * x).square().sum() * factor[0]

    weight = numbers(torch, 3)
    run = compile(lambda x: (torch.func.grad(loss)(weight, x), torch.func.vmap(torch.sum)(x)))
    x = numbers(torch, 2, 3)
    seen = again(run, x)
    factor[0] = 3.0
    seen += again(run, x)
    weight.mul_(2)
    return seen + again(run, x)


@hazard
def functional_call_inside(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, x):
        return torch.func.functional_call(model, weights, (x,)).square().mean()

    @compile
    def step(weights, x):
        gradients = torch.func.grad(loss)(weights, x)
        return {name: w - 0.1 * gradients[name] for name, w in weights.items()}

    seen = []
    for _ in range(4):
        weights = step(weights, x)
        seen.append(weights)
    return seen + parameters(model)


@hazard
def gradient_kept_of_what_is_between(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)

    @compile
    def step(x):
        model.zero_grad()
        y = model(x)
        y.retain_grad()
        y.square().sum().backward()
        return y.grad, model.weight.grad

    return [step(x * i) for i in range(4)]


@hazard
def gradient_penalty_inside(torch, compile):
    model, x = torch.nn.Sequential(linear(torch), torch.nn.Tanh()), numbers(torch, 4, 3) * 0.1
    optimizer, weight = torch.optim.SGD(model.parameters(), lr=0.1), [1.0]

    @compile
    def step(x):
        x = x.detach().requires_grad_()
        optimizer.zero_grad()
        y = model(x).sum()
        (gradient,) = torch.autograd.grad(y, x, create_graph=True)
        loss = y + weight[0] * gradient.square().sum()
        loss.backward()
        optimizer.step()
        return loss

    seen = again(step, x)
    weight[0] = 0.0
    return seen + again(step, x) + parameters(model)


@hazard
def input_that_is_trained(torch, compile):
    model, image = linear(torch), numbers(torch, 4, 3).requires_grad_()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.SGD([image], lr=0.1)

    @compile
    def step(target):
        optimizer.zero_grad()
        loss = (model(image) - target).square().mean()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0.2, 1.0)
        return loss

    return [step(target) for target in (0.0, 0.0, 0.0, 1.0, 1.0)] + [image, image.grad]


@hazard
def parts_frozen_in_turn(torch, compile):
    """Two halves, of which each step trains one."""
    model, x = torch.nn.Sequential(linear(torch, 3, 3), linear(torch)), numbers(torch, 4, 3) * 0.1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    @compile
    def step(which):
        for i, part in enumerate(model):
            part.requires_grad_(i == which)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    seen = [step(which) for which in (0, 0, 1, 1, 0, 1)]
    return seen + parameters(model) + [p.requires_grad for p in model.parameters()]


@hazard
def target_network(torch, compile):
    model, x = linear(torch), numbers(torch, 4, 3)
    target, state = copy.deepcopy(model), {"n": 0}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    @compile
    def step():
        with torch.no_grad():
            goal = 0.9 * target(x) + 1
        optimizer.zero_grad()
        loss = (model(x) - goal).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    seen = []
    for state["n"] in range(6):
        seen.append(step())
        if state["n"] % 2:
            target.load_state_dict(model.state_dict())
    return seen + parameters(target)


@hazard
def hooks_of_all_modules(torch, compile):
    from importlib import import_module

    register = import_module(f"{torch.__name__}.nn.modules.module").register_module_forward_hook
    model, x = linear(torch), numbers(torch, 4, 3)
    run = compile(lambda x: model(x) * 1)
    seen = again(run, x)
    handle = register(lambda module, args, output: output * 10)
    try:
        seen += again(run, x)
    finally:
        handle.remove()
    return seen + again(run, x)


@hazard
def samples_by_the_weights_that_are_computed(torch, compile):
    """A policy: what is drawn does not depend on the weights, what comes of it does."""
    torch.manual_seed(0)
    model, x = linear(torch, 3, 4), numbers(torch, 5, 3)

    def act(x):
        weights = model(x).softmax(-1)
        chosen = torch.distributions.Categorical(weights)
        action = chosen.sample()
        rest = torch.multinomial(weights, 3), torch.multinomial(weights[0].double(), 1)
        coins = torch.bernoulli(weights), torch.empty(5, 4).bernoulli_(weights.detach().double())
        return action, chosen.log_prob(action), *rest, *coins

    run = compile(act)
    return [*(run(x * n) for n in range(6)), torch.rand(3)]
