"""Hazards of what a tensor is besides its value, and of the objects that hold tensors."""

import collections
import dataclasses
import typing

from tests.hazards import again, hazard, linear, numbers


class Pair(typing.NamedTuple):
    first: object
    second: object


# ---- tensors that a call changes other than by a value -----------------------------------------


@hazard
def hook_registered_on_an_argument(torch, compile):
    def step(x):
        x.register_hook(lambda gradient: gradient * 2)
        return x * 3

    run, seen = compile(step), []
    for i in range(4):
        leaf = numbers(torch, 3, start=i).requires_grad_()
        for x in (leaf, leaf * 1):
            run(x).sum().backward()
        seen.append(leaf.grad)
    return seen


@hazard
def memory_of_an_argument_replaced(torch, compile):
    def step(x):
        x.set_(torch.arange(4.0))
        return x + 1

    run, seen = compile(step), []
    for i in range(4):
        x = numbers(torch, 3, start=i)
        seen += [run(x), x.fill_(7)]
    return seen


@hazard
def argument_turned_in_place(torch, compile):
    def step(x, y):
        return x.t_() + y

    run, seen = compile(step), []
    for i in range(4):
        x = numbers(torch, 2, 3, start=i)
        seen += [run(x, numbers(torch, 3, 2)), x, x.stride()]
    return seen


@hazard
def view_taken_before_a_write(torch, compile):
    def step(x):
        before, part = x.detach(), x[1:]
        x.mul_(2)
        return before, part

    run, seen = compile(step), []
    for i in range(4):
        x = numbers(torch, 3, start=i)
        before, part = run(x)
        seen += [before.clone(), part.clone(), x.add_(1).clone(), before, part]
    return seen


@hazard
def views_of_bases_of_other_shapes(torch, compile):
    def step(x):
        x[0] = 5
        return x.view(-1)

    run, seen = compile(step), []
    rows = [lambda: numbers(torch, 2, 3)[1]] * 3 + [lambda: numbers(torch, 9)[3:6]]
    for row in [*rows, rows[0], rows[-1]]:
        x = row()
        run(x)[1] = -1
        seen += [x, x._base]
    return seen


@hazard
def batches_cut_from_one_tensor(torch, compile):
    data, model = numbers(torch, 12, 3), linear(torch)

    def step(x):
        loss = model(x).square().sum()
        loss.backward()
        return loss, x * 2

    run = compile(step)
    seen = [run(data[i : i + 2]) for i in range(0, 12, 2)]
    data.mul_(3)
    return seen, [run(data[i : i + 2]) for i in range(0, 4, 2)], model.weight.grad


@hazard
def offset_of_a_view_read(torch, compile):
    data = numbers(torch, 12)
    run = compile(lambda x: x + x.storage_offset())
    return [run(data[i : i + 2]) for i in (2, 2, 2, 4, 6, 2)]


@hazard
def argument_changed_in_place_on_the_tape(torch, compile):
    def step(x, w):
        x.mul_(w)
        x[0] = x[1] * 2
        return x + 1

    run, seen = compile(step), []
    for i in range(4):
        leaf = numbers(torch, 3, start=i).requires_grad_()
        w = numbers(torch, 3).requires_grad_()
        x = leaf * 2
        y = run(x, w)
        (y * x.exp()).sum().backward()
        seen += [x, y, leaf.grad, w.grad]
    return seen


@hazard
def views_returned_with_their_history(torch, compile):
    model = linear(torch, 3, 4)

    def encode(x):
        hidden = model(x)
        return hidden, *hidden.chunk(2, -1), x.view(-1)

    run, seen = compile(encode), []
    for i in range(4):
        model.zero_grad()
        x = (numbers(torch, 2, 3) + i).requires_grad_()
        _, mean, spread, flat = run(x)
        (mean * spread.exp() * flat[:4].view(2, 2)).sum().backward()
        seen += [mean, spread, flat, x.grad, model.weight.grad]
    return seen


# ---- classes and containers --------------------------------------------------------------------


@hazard
def classes_that_only_arguments_lead_to(torch, compile):
    def scaled(factor):
        return lambda self: next(iter(vars(self).values() or self)) * factor

    @dataclasses.dataclass
    class Record:
        value: object

    class Row(list):
        pass

    class Couple(tuple):
        pass

    seen = []
    for kind, make in (
        (Record, Record),
        (Row, lambda x: Row([x])),
        (Couple, lambda x: Couple([x])),
    ):
        run = compile(lambda held: held.scaled())
        for factor in (2, 3):
            kind.scaled = scaled(factor)
            seen += [run(make(numbers(torch, 3))) for _ in range(3)]
    return seen


@hazard
def bases_of_a_class_replaced(torch, compile):
    class Slow:
        speed = 1

    class Fast:
        speed = 5

    class Car(Slow):
        pass

    run, x = compile(lambda x: x * Car.speed), numbers(torch, 3)
    seen = again(run, x)
    Car.__bases__ = (Fast,)
    return seen + again(run, x)


@hazard
def subclasses_counted(torch, compile):
    class Base:
        pass

    kept = [type("First", (Base,), {})]
    run, x = compile(lambda x: x * len(Base.__subclasses__())), numbers(torch, 3)
    seen = again(run, x)
    kept.append(type("Second", (Base,), {}))
    return seen + again(run, x)


@hazard
def one_list_passed_twice(torch, compile):
    def step(a, b):
        a[0] = a[0] * 2
        return b[0] + (a is b)

    run, seen = compile(step), []
    for shared in (1, 1, 1, 0, 0, 1):
        a = [numbers(torch, 3)]
        b = a if shared else [numbers(torch, 3)]
        seen += [run(a, b), a[0], b[0]]
    return seen


@hazard
def entries_of_arguments_replaced(torch, compile):
    model = linear(torch, 3, 3)

    def step(x, state, rest):
        state["hidden"] = (model(x) + state["hidden"]).tanh()
        rest[0], rest[1] = rest[1], rest[0] + 1
        return state["hidden"] * 2, rest

    run, x = compile(step), numbers(torch, 3)
    state, rest, seen = {"hidden": x}, [x, x * 2], []
    for _ in range(5):
        old = state["hidden"]
        y, same = run(x, state, rest)
        seen += [y, same is rest, state["hidden"], *rest, old is state["hidden"]]
    y.sum().backward()
    other = {"hidden": x * 3}
    return seen, model.weight.grad, run(x, other, [x, x])[0], other, state


@hazard
def results_that_are_objects(torch, compile):
    class Output:
        def __init__(self, value):
            self.value, self.all, self.count = value, [value], 1

    class Named(dict):
        def __init__(self, value):
            super().__init__(value=value)
            self.value = value

    def step(x):
        out = Output(x * 2)
        groups = collections.defaultdict(list, first=out.all, again=out.all)
        return out, groups, Named(x + 1), Pair(x, None)

    run, seen = compile(step), []
    for i in range(4):
        out, groups, named, pair = run(numbers(torch, 3, start=i))
        out.count += 1
        groups["new"].append(out.count)
        seen += [out.value, out.all[0] is out.value, groups["first"] is groups["again"] is out.all]
        seen += [dict(groups), named["value"] is named.value, named.value, pair, type(out).__name__]
    return seen


@hazard
def results_that_were_there_before(torch, compile):
    held, x = [1, 2], numbers(torch, 3)
    run = compile(lambda x, given: (x + given[0], held, given))
    seen = []
    for i in range(4):
        given = [x * i]
        y, first, second = run(x, given)
        seen += [y, first is held, second is given]
    return seen


@hazard
def all_attributes_of_an_object_replaced(torch, compile):
    class Box:
        pass

    box, x, seen = Box(), numbers(torch, 3), []
    box.total = numbers(torch, 3)

    def function(x):
        box.total = box.total + x
        return box.total * 2

    run = compile(function)
    for i in range(3):
        seen += [*again(run, x), box.total]
        box.__dict__ = {"total": numbers(torch, 3, start=i)}
    return seen, box.total
