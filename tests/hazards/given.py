"""Hazards of objects among the arguments: batches, records, containers of the user's classes."""

import collections
import copy
import dataclasses

import numpy as np

from tests.hazards import again, hazard, numbers
from tests.hazards.unseen import Box


@dataclasses.dataclass
class Record:
    """A tensor and a number."""

    value: object
    scale: float = 2.0
    log: list = dataclasses.field(default_factory=list)


class Batch:
    """What a loader makes for each step."""

    factor = 2.0

    def __init__(self, source, padding):
        self.source, self.padding = source, padding
        self.mask = source != padding

    def length(self):
        """How many are no padding."""
        return self.mask.sum()


@hazard
def arguments_returned_as_they_are(torch, compile):
    def rows(values):
        return type("Row", (list,), {})(values)

    seen, x = [], numbers(torch, 3)
    made = [
        lambda: collections.OrderedDict(a=x), lambda: collections.defaultdict(list, a=x),
        lambda: Record(x), lambda: Box(x=x), lambda: [x], lambda: {"a": 1}, lambda: rows([x]),
    ]  # fmt: skip
    for make in made:
        run = compile(lambda given: (given, [given]))
        for _ in range(4):
            given = make()
            result, inside = run(given)
            seen.append((result is given, inside[0] is given))
    return seen


@hazard
def batches_made_for_each_call(torch, compile):
    run = compile(lambda b: b.source * b.mask * b.factor + b.length() + b.padding)
    seen = [run(Batch(torch.arange(4) + n, 2)) for n in range(10)]
    Batch.factor = 3.0
    try:
        seen += [run(Batch(torch.arange(4) + n, 2)) for n in range(3)]
    finally:
        Batch.factor = 2.0
    batch = Batch(torch.arange(4), 2)
    batch.factor = 5.0
    return seen + again(run, batch)


@hazard
def records_written_inside(torch, compile):
    weight = numbers(torch, 3).requires_grad_()

    def function(record, box):
        record.value = record.value * weight
        record.scale += 1
        record.log.append(record.value)
        box.total = box.total + record.value.detach()
        box.last = record
        return record.value.sum()

    run, seen = compile(function), []
    for n in range(6):
        record, box = Record(numbers(torch, 3, start=n)), Box(total=numbers(torch, 3))
        run(record, box).backward()
        seen += [record.value, record.scale, record.log[0] is record.value, box.last is record]
        seen += [box.total, weight.grad.clone()]
    return seen


@hazard
def names_of_functions_and_classes(torch, compile):
    class Kind:
        pass

    def helper():
        """Two."""

    kind, x = Kind(), numbers(torch, 3)
    run = compile(lambda x: x * len(type(kind).__name__ + helper.__name__ + helper.__doc__))
    seen = again(run, x)
    Kind.__name__ = "Another"
    seen += again(run, x)
    helper.__doc__ = "Some."
    seen += again(run, x)
    helper.__name__ = "other"
    return seen + again(run, x)


@hazard
def one_object_passed_twice(torch, compile):
    def function(a, b):
        a.x = a.x + 1
        return b.x * 1, a is b

    run, seen = compile(function), []
    for n in range(8):
        a = Box(x=numbers(torch, 3))
        b = a if n % 2 else Box(x=numbers(torch, 3))
        seen.append((run(a, b), a.x))
    return seen


@hazard
def object_given_that_is_state(torch, compile):
    state = Box(h=numbers(torch, 3))

    def function(given, x):
        given.h = given.h + x
        return state.h * 1

    run, x = compile(function), numbers(torch, 3)
    seen = [run(state if n % 2 else Box(h=numbers(torch, 3)), x) for n in range(8)]
    state.h = numbers(torch, 3, start=5)
    return seen + [run(state, x) for _ in range(3)], state.h


@hazard
def containers_that_are_known_or_only_alike(torch, compile):
    x = numbers(torch, 3)

    def told_apart(known):
        run = compile(lambda given, x: x * (2 if given is known else 3))
        return [run(known if n % 2 else copy.copy(known), x) for n in range(6)]

    return [told_apart(known) for known in ([1, 2], {1}, {"a": 1}, [x], Box(x=x), Record(x))]


@hazard
def attributes_that_are_set_by_code(torch, compile):
    class Doubled:
        def __init__(self, x):
            object.__setattr__(self, "x", x)

        def __setattr__(self, name, value):
            object.__setattr__(self, name, value * 2)

    def function(given):
        given.x = given.x + 1
        return given.x * 1

    run, seen = compile(function), []
    for n in range(5):
        given = Doubled(numbers(torch, 3, start=n))
        seen += [run(given), given.x]
    return seen


# ---- tensors over the memory of a NumPy array --------------------------------------------------


def array(start=0.0):
    return np.arange(1, 7, dtype=np.float32).reshape(2, 3) + np.float32(start)


@hazard
def arrays_as_batches(torch, compile):
    """A new array for each call, or the same one filled anew, as loops over NumPy's data do."""
    weight = numbers(torch, 3).requires_grad_()
    run, kept, seen = compile(lambda x: (x @ weight).relu().sum()), array(), []
    for n in range(5):
        loss = run(torch.from_numpy(array(n)))
        loss.backward()
        kept += n
        seen += [loss.detach(), weight.grad.clone(), run(torch.as_tensor(kept)).detach()]
    return seen


@hazard
def one_array_behind_two_arguments(torch, compile):
    run, seen = compile(lambda x, y: x * 2 + y), []
    for n in range(5):
        kept = array(n)
        x, y = torch.from_numpy(kept), torch.from_numpy(kept if n % 2 else array(n))
        seen.append(run(x, y))
        kept[0] = -1
        y[1] = 5
        seen += [run(x, y), run(x[0], y[:, 1].sum())]
    return seen


@hazard
def results_over_the_memory_of_an_array(torch, compile):
    run, seen = compile(lambda x: (x[0], x.view(-1), x + 1)), []
    for n in range(5):
        kept = array(n)
        row, flat, more = run(torch.from_numpy(kept))
        kept[0] = n
        flat[1] = 7.0
        seen += [row, flat, more, kept]
    return seen


@hazard
def arrays_written_by_the_call(torch, compile):
    run, seen = compile(lambda x: x.mul_(2).sum() + x), []
    for n in range(5):
        kept = array(n)
        x = torch.from_numpy(kept)
        seen += [run(x), kept.copy(), x]
    return seen


@hazard
def arrays_written_while_the_call_runs(torch, compile):
    kept, log = array(), []

    def function(x):
        before = x * 1
        log.append(0)
        kept[0] = len(log)
        return before + x

    run = compile(function)
    return [*[(run(torch.from_numpy(kept)), kept.copy()) for _ in range(5)], len(log)]
