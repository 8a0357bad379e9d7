"""Hazards of what looks as it was: equal elements, another order, state in C, filled containers."""

import collections
import ctypes
import datetime
import operator
import time

import numpy as np

from tests.hazards import HAZARDS, Hazard, again, hazard, numbers
from tests.hazards.unseen import Box


def changing(change, function, *, seen=again):
    """A scenario: ``function(torch, box, x)`` compiled, called, and called after each change."""

    def run(torch, compile):
        box, x = Box(), numbers(torch, 3)
        steps = change(torch, box)
        next(steps)
        compiled = compile(lambda x: function(torch, box, x))
        found = seen(compiled, x)
        for _ in steps:
            found += seen(compiled, x)
        return found

    return run


# ---- equal, but not the same -------------------------------------------------------------------


def of_a_set(torch, box):
    box.members = {1}
    yield
    for other in (1.0, True, 1):
        box.members.clear()
        box.members.add(other)
        yield


def of_frozen_sets(torch, box):
    box.members = frozenset([1])
    yield
    box.members = frozenset([1.0])
    yield
    box.members = frozenset([True])
    yield


def of_slices(torch, box):
    box.part = slice(1, 2)
    yield
    box.part = slice(1.0, 2)
    yield
    box.part = slice(True, 2)
    yield


def of_array_numbers(torch, box):
    box.number = np.float32(0.0)
    yield
    box.number = np.float32(-0.0)
    yield


def of_units(torch, box):
    box.number = np.timedelta64(1, "s")
    yield
    box.number = np.timedelta64(1, "ms")
    yield


def of_a_class_named_as_a_plain_one(torch, box):
    class Pattern:
        scale = 1.0

    box.pattern = Pattern()
    yield
    box.pattern.scale = 2.0
    yield


def of_a_square(torch, box):
    box.square = numbers(torch, 2, 2)
    yield
    box.square.t_()
    yield
    box.square.data = box.square.data.t()
    yield


def of_a_window(torch, box):
    box.square = numbers(torch, 6)[:4]
    yield
    box.square.as_strided_((4,), (1,), 2)
    yield


def of_private_marks(torch, box):
    box.weight = numbers(torch, 3)
    box.weight._scale = 2.0
    yield
    box.weight._scale = 3.0
    yield


def of_marks_set_later(torch, box):
    box.weight = numbers(torch, 3)
    yield
    box.weight._skip = 7.0
    yield
    del box.weight._skip
    yield


def of_named_attributes(torch, box):
    box.deep = Box(hidden=2.0)
    yield
    box.deep.hidden = 5.0
    yield


def marked(torch, box, x):
    try:
        return x * box.weight._skip
    except AttributeError:
        return x * 3


def full(torch, box, x):
    """A tensor whose dtype tells the type of a number."""
    return torch.full((2,), next(iter(box.members)))


def signed(torch, box, x):
    return torch.copysign(x, torch.tensor(float(box.number)))


ALIKE = {
    "elements_of_a_set_that_are_equal": (of_a_set, full),
    "frozen_sets_that_are_equal": (of_frozen_sets, full),
    "bounds_that_are_equal": (of_slices, lambda torch, box, x: torch.full((2,), box.part.start)),
    "numbers_of_numpy_that_are_equal": (of_array_numbers, signed),
    "units_of_numpy": (of_units, lambda torch, box, x: x * (box.number / np.timedelta64(1, "ms"))),
    "class_named_as_a_plain_one": (
        of_a_class_named_as_a_plain_one,
        lambda torch, box, x: x * box.pattern.scale,
    ),
    "square_turned_in_place": (
        of_a_square,
        lambda torch, box, x: (box.square.stride(), box.square.reshape(-1)),
    ),
    "window_moved_in_place": (
        of_a_window,
        lambda torch, box, x: (box.square.storage_offset(), box.square * 2),
    ),
    "private_marks_on_a_tensor": (of_private_marks, lambda torch, box, x: x * box.weight._scale),
    "marks_set_later_on_a_tensor": (
        of_marks_set_later,
        lambda torch, box, x: x * getattr(box.weight, "_skip", 3.0),
    ),
    "marks_missed_on_a_tensor": (of_marks_set_later, marked),
    "attributes_by_a_getter_made_inside": (
        of_named_attributes,
        lambda torch, box, x: x * operator.attrgetter("deep" + ".hidden")(box),
    ),
}
for name, (change, function) in ALIKE.items():
    HAZARDS.append(Hazard(name, changing(change, function)))


@hazard
def keys_that_are_equal_among_the_arguments(torch, compile):
    run = compile(lambda d: (torch.full((2,), next(iter(d))), d[1] * 2))
    x = numbers(torch, 2)
    return [run({key: x}) for key in (1, True, 1.0) for _ in range(3)]


@hazard
def tensors_as_keys_among_the_arguments(torch, compile):
    run = compile(lambda d: [key * value for key, value in d.items()])
    x, y = numbers(torch, 2), numbers(torch, 2)
    return [run({key: value}) for key, value in ((x, 2), (y, 2), (x, 3), (y, 3)) for _ in range(3)]


@hazard
def attributes_of_containers_among_the_arguments(torch, compile):
    class Row(list):
        pass

    class Point(tuple):
        pass

    seen, x = [], numbers(torch, 2)
    for kind in (Row, Point):
        run = compile(lambda row: row[0] * row.scale)
        for scale in (2.0, 2.0, 2.0, 3.0, 3.0):
            row = kind([x])
            row.scale = scale
            seen.append(run(row))
    return seen


@hazard
def arrays_whose_bytes_are_equal(torch, compile):
    run = compile(lambda x, a: x * float(a["p"].sum()) if a.dtype.names else x * float(a[0]))
    arrays = [np.array([(1.0, 2.0)], dtype=[(n, "f4"), (m, "f4")]) for n, m in ("pq", "qp")]
    arrays += [np.array([1000], "m8[ms]") / np.timedelta64(1, unit) for unit in ("ms", "s")]
    seen = [run(numbers(torch, 2), a) for a in arrays for _ in range(3)]
    strides = compile(lambda a: torch.from_numpy(a).stride())
    square = np.zeros((2, 2))
    return seen + [strides(a) for a in (square, np.asfortranarray(square)) for _ in range(3)]


@hazard
def marks_set_inside(torch, compile):
    weight, seen = numbers(torch, 3), []

    def function(x):
        weight.seen = True
        return x * 2

    run = compile(function)
    for _ in range(4):
        run(numbers(torch, 3))
        seen.append(weight.__dict__.pop("seen", None))
    return seen


@hazard
def plain_values_made_for_each_call(torch, compile):
    run, x = compile(lambda x, s, r, names: x[s] * sum(r) * len(names)), numbers(torch, 4)
    seen = [run(x, slice(0, 2), range(3), {"a", "b"}) for _ in range(10)]
    return seen + [run(x, slice(1, 3), range(2, 5, 2), {"a"}) for _ in range(3)]


@hazard
def standard_of_a_default_dict(torch, compile):
    values, x = collections.defaultdict(lambda: 2.0), numbers(torch, 3)

    def function(x):
        found = values["any"]
        del values["any"]
        return x * found

    run = compile(function)
    seen = again(run, x)
    values.default_factory = lambda: 5.0
    seen += again(run, x)
    whole = compile(lambda d: x * d["any"])
    two, three = (lambda: 2.0), (lambda: 3.0)
    return seen + [whole(collections.defaultdict(f)) for f in (two, three) for _ in range(3)]


# ---- another order -----------------------------------------------------------------------------


@hazard
def entries_moved_to_the_end(torch, compile):
    values, x, orders = collections.OrderedDict(a=1.0, b=2.0), numbers(torch, 3), []

    def function(x):
        values.move_to_end(next(iter(values)))
        return x * 2

    run = compile(function)
    for _ in range(8):
        orders.append((run(x), list(values)))
    return orders


@hazard
def entry_taken_out_and_put_back(torch, compile):
    values, x, orders = {"a": 1.0, "b": 2.0}, numbers(torch, 3), []

    def function(x):
        values["a"] = values.pop("a")
        return x * 2

    run = compile(function)
    for _ in range(6):
        orders.append((run(x), list(values)))
        values["b"] = values.pop("b")
    return orders


# ---- what neither names nor contents tell ------------------------------------------------------


@hazard
def number_kept_in_c(torch, compile):
    kept, x = ctypes.c_int(2), numbers(torch, 3)
    run = compile(lambda x: x * kept.value)
    seen = again(run, x)
    kept.value = 5
    return seen + again(run, x)


@hazard
def clock_by_a_method_of_a_class(torch, compile):
    now, x = datetime.datetime.now, numbers(torch, 3)
    run, times = compile(lambda x: (x * 2, now().microsecond)), []
    for _ in range(5):
        times.append(run(x)[1])
        time.sleep(0.001)
    return len(set(times))


@hazard
def hash_of_an_argument(torch, compile):
    known, x, y = set(), numbers(torch, 3), numbers(torch, 3)
    run = compile(lambda x: x * (2 if hash(x) in known else 3))
    seen = again(run, x)
    known.add(hash(y))
    return seen + [run(z) for z in (x, y, x, y)]


@hazard
def history_of_an_argument(torch, compile):
    run = compile(lambda x: (x * 1, type(x.grad_fn).__name__))
    x = numbers(torch, 3).requires_grad_()
    made = (operator.mul, operator.add, operator.mul, operator.sub)
    return [seen for by in made for seen in again(run, by(x, 2.0))]


@hazard
def containers_with_a_way_of_their_own_to_write(torch, compile):
    class Doubling(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value * 2)

    class Halving(list):
        def __setitem__(self, key, value):
            super().__setitem__(key, value / 2)

    table, row = Doubling(), Halving([numbers(torch, 3)])
    table["sum"] = numbers(torch, 3)

    def function(x):
        table["sum"] = table["sum"] + x
        row[0] = row[0] + x
        return table["sum"] + row[0]

    return again(compile(function), numbers(torch, 3), times=5), table["sum"], row[0]


@hazard
def tensor_of_a_class_replaced_inside(torch, compile):
    class Total:
        value = numbers(torch, 3)

    def function(x):
        Total.value = Total.value + x
        return Total.value * 1

    return again(compile(function), numbers(torch, 3), times=5), Total.value


# ---- backward passes that do more than compute -------------------------------------------------


def backward_does(action):
    """A scenario: the user's own backward, called after each forward pass."""

    def run(torch, compile):
        weight, other = numbers(torch, 3).requires_grad_(), numbers(torch, 3).requires_grad_()
        box = Box(torch=torch, total=torch.zeros(3), other=other, kept={})

        class Scaled(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, gradient):
                return action(box, ctx, gradient)

        loss, seen = compile(lambda x: Scaled.apply(weight * x).sum()), []
        for n in range(4):
            value = loss(numbers(torch, 3, start=n))
            try:
                value.backward()
            except (ValueError, RuntimeError) as error:
                seen.append(type(error).__name__)
            kept = [
                g.clone() for g in (weight.grad, other.grad, *box.kept.values()) if g is not None
            ]
            seen += [value.detach(), box.total.clone(), kept]
        return seen

    return run


def changes_a_tensor(box, ctx, gradient):
    box.total.add_(gradient)
    return gradient * 2


def goes_backward(box, ctx, gradient):
    with box.torch.enable_grad():
        (box.other * gradient).sum().backward()
    return gradient * 2


def sets_a_gradient(box, ctx, gradient):
    box.other.grad = gradient * 3
    return gradient * 2


def keeps_a_gradient(box, ctx, gradient):
    box.kept["last"] = gradient * 3
    return gradient * 2


def fails(box, ctx, gradient):
    raise ValueError("in backward")


def returns_too_many(box, ctx, gradient):
    return gradient, gradient


for action in (
    changes_a_tensor, goes_backward, sets_a_gradient, keeps_a_gradient, fails, returns_too_many,
):  # fmt: skip
    HAZARDS.append(Hazard(f"backward_that_{action.__name__}", backward_does(action)))


def checkpoint_of(reentrant):
    """A scenario: a checkpoint whose second run changes tensors, or goes backward by itself."""

    def run(torch, compile):
        from importlib import import_module

        checkpoint = import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
        weight, total, seen = numbers(torch, 3).requires_grad_(), torch.zeros(3), []

        def block(x):
            total.add_(1)
            return (x * weight).tanh()

        run = compile(lambda x: checkpoint(block, x, use_reentrant=reentrant).sum())
        for n in range(4):
            x = numbers(torch, 3, start=n).requires_grad_()
            run(x).backward()
            seen += [x.grad, weight.grad.clone(), total.clone()]
        return seen

    return run


for reentrant in (True, False):
    name = f"checkpoint_{'with' if reentrant else 'without'}_a_reentrant_backward"
    HAZARDS.append(Hazard(name, checkpoint_of(reentrant)))


@hazard
def gradient_that_is_an_argument(torch, compile):
    def function(x, y):
        y.add_(1)
        return x.grad * 1

    run, seen = compile(function), []
    for n in range(8):
        x = numbers(torch, 3).requires_grad_()
        x.grad = numbers(torch, 3)
        seen.append(run(x, (x.grad, numbers(torch, 3), x.grad[:2])[n % 3]))
    return seen


@hazard
def gradient_that_is_another_known_tensor(torch, compile):
    weight, known = numbers(torch, 3).requires_grad_(), torch.zeros(3)

    def function(x):
        (weight * x).sum().backward()
        return known * 1

    run, seen = compile(function), []
    for gradient in (known, None, known, known.view(3), None):
        weight.grad = gradient
        seen += again(run, numbers(torch, 3))
    return seen, known


# ---- variables and arguments that are filled ---------------------------------------------------


@hazard
def tensor_of_an_outer_function_replaced(torch, compile):
    total, x = numbers(torch, 3), numbers(torch, 3)

    def function(x):
        nonlocal total
        total = total + x
        return total * 2

    run = compile(function)
    seen = again(run, x)
    total = numbers(torch, 3, start=7)
    seen += again(run, x)
    kept = total
    seen += again(run, x)
    total.add_(100)
    return seen + again(run, x), total, kept


@hazard
def tensor_in_a_slot_replaced(torch, compile):
    class Total:
        __slots__ = ("value",)

    total = Total()
    total.value = numbers(torch, 3)

    def function(x):
        total.value = total.value + x
        return total.value * 1

    run = compile(function)
    seen = again(run, numbers(torch, 3), times=5)
    total.value = numbers(torch, 3, start=2)
    return seen + again(run, numbers(torch, 3)), total.value


@hazard
def argument_list_filled(torch, compile):
    weight = numbers(torch, 3).requires_grad_()

    def function(x, out, log):
        y = x * weight
        out.append(y)
        out += [y.sum(), (x, "text", 3), out]
        log["y"] = y
        log.setdefault("all", []).append(x)
        log["first"] = log.pop("first")
        return y * 2

    run, seen = compile(function), []
    for n in range(5):
        x, out, log = numbers(torch, 3, start=n), [numbers(torch, 1)], {"first": n, "x": 1.0}
        first = out[0]
        result = run(x, out, log)
        (result.sum() + out[2]).backward()
        seen += [result, out[:3], list(log), log["all"][0] is x, log["y"] is out[1]]
        seen += [out[0] is first, out[3][0] is x, out[4] is out, weight.grad.clone()]
    return seen


@hazard
def argument_list_emptied(torch, compile):
    def function(rows, names):
        total = 0
        while rows:
            total = total + rows.pop(0)
        names.add("seen")
        return total, names

    run, seen = compile(function), []
    for n in range(5):
        rows, names = [numbers(torch, 3, start=n), numbers(torch, 3)], {"a"}
        total, same = run(rows, names)
        seen += [total, rows, sorted(names), same is names]
    return seen


@hazard
def one_list_filled_twice(torch, compile):
    def function(x, out, others):
        out.append(x * 2)
        others.append(x * 3)
        return x

    run, seen = compile(function), []
    for n in range(8):
        out = []
        others = out if n % 2 else []
        run(numbers(torch, 3, start=n), out, others)
        seen += [out, others]
    return seen


@hazard
def views_put_into_an_argument(torch, compile):
    def function(x, out):
        out.append(x[0])
        out.append(x.t())
        return x

    run, seen = compile(function), []
    for n in range(5):
        x, out = numbers(torch, 2, 2, start=n), []
        run(x, out)
        out[0].add_(5)
        seen += [x, out]
    return seen
