"""Hazards of modules: attributes, children, parameters, buffers, hooks, modes, copies."""

import builtins
import copy
import os
import pickle
import sysconfig

from tests.hazards import again, hazard, linear, numbers, parameters


def scaled(torch, scale=2.0):
    """A module that multiplies by an attribute."""

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = linear(torch)
            self.scale = scale

        def forward(self, x):
            return self.layer(x) * self.scale

    return Scaled()


# ---- attributes and children -------------------------------------------------------------------


@hazard
def module_attribute_changed(torch, compile):
    model, x = scaled(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    for scale in (3.0, 3, -1.5):
        model.scale = scale
        seen += again(run, x, times=2)
    return seen


@hazard
def module_attribute_of_another_type(torch, compile):
    model, x = scaled(torch), numbers(torch, 2, 3)
    run = compile(lambda x: model(x))
    seen = again(run, x)
    model.scale = torch.tensor([1.0, 10.0])
    seen += again(run, x)
    model.scale = torch.tensor([2.0, 20.0])
    return seen + again(run, x)


LIBRARY = """
class Scaled(Module):
    calls = 0

    def forward(self, x):
        self.calls += COUNTS
        return x * SCALE
"""


def installed(torch, counts):
    """A module of a library, and the library's globals."""
    path = os.path.join(sysconfig.get_path("purelib"), "library", "scaled.py")
    names = {"Module": torch.nn.Module, "SCALE": 2.0, "COUNTS": counts, "__name__": "library"}
    exec(builtins.compile(LIBRARY, path, "exec"), names)
    return names["Scaled"](), names


@hazard
def global_of_an_installed_library(torch, compile):
    model, names = installed(torch, 0)
    run, x = compile(model), numbers(torch, 2, 3)
    seen = again(run, x)
    names["SCALE"] = 3.0
    return seen + again(run, x)


@hazard
def counter_of_an_installed_library(torch, compile):
    model, _ = installed(torch, 1)
    run, x = compile(model), numbers(torch, 2, 3)
    return [*again(run, x), model.calls]


@hazard
def module_attribute_deleted(torch, compile):
    class Optional(torch.nn.Module):
        def forward(self, x):
            return x * self.factor if hasattr(self, "factor") else x

    model, x = Optional(), numbers(torch, 3)
    run = compile(model)
    seen = again(run, x)
    model.factor = 5.0
    seen += again(run, x)
    del model.factor
    return seen + again(run, x)


@hazard
def attribute_in_a_container_of_a_module(torch, compile):
    class Configured(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = {"scale": 2.0, "shifts": [1.0]}

        def forward(self, x):
            return x * self.config["scale"] + sum(self.config["shifts"])

    model, x = Configured(), numbers(torch, 3)
    run = compile(model)
    seen = again(run, x)
    model.config["scale"] = 7.0
    seen += again(run, x)
    model.config["shifts"].append(10.0)
    return seen + again(run, x)


@hazard
def class_attribute_changed(torch, compile):
    class Shared(torch.nn.Module):
        scale = 2.0

        def forward(self, x):
            return x * self.scale

    model, x = Shared(), numbers(torch, 3)
    run = compile(model)
    seen = again(run, x)
    Shared.scale = 4.0
    return seen + again(run, x)


@hazard
def method_of_the_class_replaced(torch, compile):
    class Plain(torch.nn.Module):
        def helper(self, x):
            return x + 1

        def forward(self, x):
            return self.helper(x) * 2

    model, x = Plain(), numbers(torch, 3)
    run = compile(model)
    seen = again(run, x)
    Plain.helper = lambda self, x: x - 1
    return seen + again(run, x)


@hazard
def forward_of_the_instance_replaced(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(lambda x: model(x))
    seen = again(run, x)
    model.forward = lambda x: x.sum(1)
    return seen + again(run, x)


@hazard
def submodule_replaced(torch, compile):
    model, x = scaled(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    model.layer = torch.nn.Tanh()
    seen += again(run, x)
    model.layer = linear(torch, 3, 4)
    return seen + again(run, x)


@hazard
def sequential_grown(torch, compile):
    model, x = torch.nn.Sequential(linear(torch)), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    model.append(torch.nn.Tanh())
    seen += again(run, x)
    model[0] = linear(torch, 3, 4)
    return seen + again(run, x)


@hazard
def properties_of_a_module(torch, compile):
    class Measured(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base = 1.0

        @property
        def factor(self):
            return self.base * 2

        def forward(self, x):
            return x * self.factor

    model, x = Measured(), numbers(torch, 3)
    run = compile(model)
    seen = again(run, x)
    model.base = 3.0
    return seen + again(run, x)


# ---- modes --------------------------------------------------------------------------------------


@hazard
def train_and_eval_flipped(torch, compile):
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Dropout(1.0))
    head, x = linear(torch), numbers(torch, 4, 3)
    run = compile(lambda x: head(model(x)))
    seen = again(run, x)
    model.eval()
    seen += again(run, x)
    model[1].train()
    seen += again(run, x)
    model.train()
    seen += again(run, x)
    return [*seen, model[0].running_mean, model[0].running_var, model[0].num_batches_tracked]


@hazard
def training_flag_read_by_the_function(torch, compile):
    model, x = torch.nn.Identity(), numbers(torch, 3)
    run = compile(lambda x: x + 1 if model.training else x - 1)
    seen = again(run, x)
    model.eval()
    return seen + again(run, x)


@hazard
def batch_norm_statistics(torch, compile):
    model = torch.nn.BatchNorm1d(3)
    run = compile(model)
    seen = []
    for i in range(4):
        run(numbers(torch, 4, 3, start=float(i)))
        seen.append([model.running_mean.clone(), model.num_batches_tracked.clone()])
    model.momentum = None  # from now on the average over all batches
    for i in range(3):
        run(numbers(torch, 4, 3, start=float(i)))
        seen.append([model.running_mean.clone(), model.running_var.clone()])
    return seen


# ---- parameters and buffers ---------------------------------------------------------------------


@hazard
def parameter_replaced(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    model.weight = torch.nn.Parameter(torch.ones(2, 3))
    seen += again(run, x)
    model.bias = None
    seen += again(run, x)
    model.bias = torch.nn.Parameter(torch.ones(2))
    return seen + again(run, x)


@hazard
def parameter_data_assigned(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    model.weight.data = torch.ones(2, 3)
    seen += again(run, x)
    model.bias.data.zero_()
    seen += again(run, x)
    model.weight.data = torch.ones(4, 3)
    model.bias.data = torch.ones(4)
    return seen + again(run, x)


@hazard
def parameter_written_in_place(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    with torch.no_grad():
        model.weight.mul_(2)
        seen += again(run, x)
        model.bias[0] = 100.0
    return seen + again(run, x)


@hazard
def state_dict_loaded(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    other = {key: value + 1 for key, value in model.state_dict().items()}
    model.load_state_dict(other)
    seen += again(run, x)
    model.load_state_dict({key: value * 3 for key, value in other.items()}, assign=True)
    return seen + again(run, x)


@hazard
def parameter_frozen(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step():
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()

    seen = []
    for frozen in (False, False, False, True, True, True, False, False):
        model.weight.requires_grad_(not frozen)
        step()
        seen += [parameters(model), model.weight.grad]
    return seen


@hazard
def frozen_parameter_and_a_gradient_outside(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = []
    for frozen in (False, False, True, True, False):
        model.weight.requires_grad_(not frozen)
        model.zero_grad()
        run(x).sum().backward()
        seen += [model.weight.grad, model.bias.grad]
    return seen


@hazard
def dtype_of_a_module_changed(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    model.double()
    seen += again(run, x.double())
    model.float()
    return seen + again(run, x)


@hazard
def tied_weights(torch, compile):
    first, second = linear(torch, 3, 3), linear(torch, 3, 3)
    second.weight = first.weight
    model, x = torch.nn.Sequential(first, second), numbers(torch, 2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    @compile
    def step():
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    seen = again(step)
    seen += [first.weight.grad, second.weight is first.weight]
    second.weight = torch.nn.Parameter(torch.ones(3, 3))  # not tied any more
    return seen + again(step) + parameters(model)


@hazard
def buffers_replaced_and_written(torch, compile):
    class Counter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.count += 1
            return x * self.count

    model, x = Counter(), numbers(torch, 3)
    run = compile(model)
    seen = again(run, x)
    model.count.fill_(10)
    seen += again(run, x)
    model.count = torch.tensor(100.0)
    return [*seen, *again(run, x), model.count]


@hazard
def buffer_rebound_inside(torch, compile):
    class Average(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            self.mean = 0.5 * self.mean + 0.5 * x
            return x - self.mean

    model, x = Average(), numbers(torch, 3)
    run = compile(model)
    seen = []
    for _ in range(4):
        seen += [run(x), model.mean]
    return [*seen, list(model.state_dict())]


@hazard
def attributes_written_inside(torch, compile):
    class Remembers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.last = 0, None

        def forward(self, x):
            self.calls += 1
            self.last = x * 2
            return x + self.calls

    model = Remembers()
    run = compile(model)
    seen = []
    for i in range(4):
        seen += [run(numbers(torch, 3, start=float(i))), model.calls, model.last]
    return seen


# ---- hooks -------------------------------------------------------------------------------------


@hazard
def forward_hooks_added_and_removed(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(lambda x: model(x) + 0)
    seen = again(run, x)
    handle = model.register_forward_hook(lambda module, args, output: output * 10)
    seen += again(run, x)
    before = model.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    seen += again(run, x)
    handle.remove()
    seen += again(run, x)
    before.remove()
    return seen + again(run, x)


@hazard
def hook_on_the_compiled_module_itself(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    handle = model.register_forward_hook(lambda module, args, output: output * 10)
    seen += again(run, x)
    handle.remove()
    return seen + again(run, x)


@hazard
def hooks_on_the_wrapper(torch, compile):
    model, x, calls = linear(torch), numbers(torch, 2, 3), []
    run = compile(model)
    seen = again(run, x)
    handles = [
        run.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
        run.register_forward_hook(lambda module, args, output: output * 10),
        run.register_full_backward_hook(lambda module, inputs, outputs: calls.append(outputs)),
    ]
    seen += again(run, x)
    run(x.clone().requires_grad_()).sum().backward()
    for handle in handles:
        handle.remove()
    return seen + again(run, x), calls


@hazard
def backward_hooks_added_and_removed(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)

    @compile
    def step():
        model.zero_grad()
        model(x).sum().backward()

    def gradients(times=3):
        return [step() or [p.grad.clone() for p in model.parameters()] for _ in range(times)]

    seen = gradients()
    handle = model.weight.register_hook(lambda gradient: gradient * 10)
    seen += gradients()
    handle.remove()
    seen += gradients()
    calls = []
    handle = model.register_full_backward_hook(lambda m, inputs, outputs: calls.append(1))
    x = numbers(torch, 2, 3).requires_grad_()
    seen += gradients()
    handle.remove()
    return [*seen, *gradients(), len(calls)]


@hazard
def hook_with_a_side_effect(torch, compile):
    model, x, norms = linear(torch), numbers(torch, 2, 3), []
    model.weight.register_hook(lambda gradient: norms.append(float(gradient.sum())))

    @compile
    def step(x):
        model.zero_grad()
        model(x).sum().backward()

    for i in range(4):
        step(x * i)
    return norms


# ---- instances, copies, names -------------------------------------------------------------------


@hazard
def modules_as_arguments(torch, compile):
    first, second, x = linear(torch), linear(torch), numbers(torch, 2, 3)
    with torch.no_grad():
        second.weight.neg_()
    run = compile(lambda model, x: model(x))
    return again(run, first, x) + again(run, second, x) + again(run, first, x)


@hazard
def short_lived_modules(torch, compile):
    """Objects that die and leave their id to the next."""
    run, x, seen = compile(lambda model, x: model(x)), numbers(torch, 2, 3), []
    for scale in (1.0, 2.0, 3.0, 4.0, 5.0):
        model = scaled(torch, scale)
        seen.append(run(model, x))
        del model
    return seen


@hazard
def compiled_method_of_two_instances(torch, compile):
    class Adder:
        def __init__(self, amount):
            self.amount = amount

        @compile
        def add(self, x):
            return x + self.amount

    first, second, x = Adder(1.0), Adder(10.0), numbers(torch, 3)
    seen = again(first.add, x) + again(second.add, x)
    first.amount = 5.0
    return seen + again(first.add, x) + again(second.add, x)


@hazard
def module_copied(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    twin = copy.deepcopy(run)
    with torch.no_grad():
        model.weight.zero_()
    seen += again(run, x) + again(twin, x)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    return seen + again(run, x) + again(twin, x)


@hazard
def module_pickled(torch, compile):
    model, x = torch.nn.Sequential(linear(torch), torch.nn.Tanh()), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    twin = compile(pickle.loads(pickle.dumps(model)))
    with torch.no_grad():
        model[0].weight.zero_()
    return seen + again(run, x) + again(twin, x)


@hazard
def wrapper_passes_on(torch, compile):
    """Parameters, modes and attributes of a compiled module are its model's."""
    model, x = scaled(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = [*again(run, x), len(list(run.parameters())), run.scale, run.training]
    run.eval()
    seen += [model.training, model.layer.training]
    run.scale = 5.0
    return [*seen, *again(run, x), model.scale]


@hazard
def private_attributes_of_the_librarys_modules(torch, compile):
    layer, x = torch.nn.Conv1d(1, 1, 2, padding=1, padding_mode="reflect"), numbers(torch, 1, 1, 4)
    with torch.no_grad():
        layer.weight.copy_(numbers(torch, 1, 1, 2))
        layer.bias.zero_()
    run = compile(lambda x: layer(x))
    seen = again(run, x)
    layer._reversed_padding_repeated_twice = [2, 2]
    seen += again(run, x)
    layer._conv_forward = lambda x, weight, bias: x * 3
    seen += again(run, x)
    del layer._conv_forward
    return seen + again(run, x)


@hazard
def state_dict_hooks_and_persistence(torch, compile):
    model, x = torch.nn.Sequential(linear(torch)), numbers(torch, 2, 3)
    model.register_buffer("scale", torch.ones(1))
    run = compile(lambda x: model(x) + len(model.state_dict()))
    seen = again(run, x)
    model._non_persistent_buffers_set.add("scale")
    seen += again(run, x)
    hook = model.register_state_dict_post_hook(lambda model, state, *rest: state.update(more=1))
    seen += again(run, x)
    hook.remove()
    return seen + again(run, x)
