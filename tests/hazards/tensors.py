"""Hazards of tensors: aliases, views, state kept outside, kinds of inputs, modes, gradients."""

import copy
import threading

import numpy as np

from tests.hazards import again, hazard, linear, numbers

outside = None  # a global tensor

# ---- inputs: shape, dtype, layout --------------------------------------------------------------


@hazard
def shapes_and_dtypes_of_inputs(torch, compile):
    run = compile(lambda x: x * 2 + x.sum())
    inputs = [
        numbers(torch, 3), numbers(torch, 4), numbers(torch, 2, 3), numbers(torch, 3).double(),
        torch.arange(3), torch.zeros(()), torch.ones(0), torch.tensor([True, False]),
        numbers(torch, 3).bfloat16(), torch.tensor([1 + 2j]),
    ]  # fmt: skip
    return [run(x) for x in inputs * 2]


@hazard
def devices_of_inputs(torch, compile):
    run, x = compile(lambda x: x * 2), numbers(torch, 3)
    seen = again(run, x)
    meta = run(torch.ones(3, device="meta"))
    return [*seen, meta, str(meta.device), *again(run, x + 1)]


@hazard
def layouts_of_inputs(torch, compile):
    def function(x):
        return x.view(-1) if x.is_contiguous() else x.t().view(-1) * 10

    run, x = compile(function), numbers(torch, 3, 3)
    seen = [run(x), run(x), run(x.t()), run(x.t()), run(x)]
    strides = compile(lambda x: x * x.stride(0) + x.storage_offset())
    wide = numbers(torch, 6, 6)
    views = (x, x.t(), wide[:3, :3], wide[3:, :3], wide[3:, 3:].t())
    return seen + [strides(v) for v in views * 2]


@hazard
def names_on_a_tensor(torch, compile):
    x = numbers(torch, 3)
    x.factor = 2.0
    run = compile(lambda x: x * x.factor)
    seen = again(run, x)
    x.factor = 5.0
    return seen + again(run, x)


@hazard
def gradient_wanted_or_not(torch, compile):
    run, x = compile(lambda x: x * 2 if x.requires_grad else x * 3), numbers(torch, 3)
    seen = again(run, x)
    x.requires_grad_()
    seen += again(run, x)
    return [*seen, run(x).grad_fn is not None, run(x.detach()).grad_fn is None]


# ---- aliases and views -------------------------------------------------------------------------


@hazard
def input_mutated_inside(torch, compile):
    def function(x, y):
        x.add_(1)
        x[0] = 100.0
        return x * y

    run, seen = compile(function), []
    for i in range(4):
        x = numbers(torch, 3, start=float(i))
        seen += [run(x, numbers(torch, 3)), x, x._version > 0]
    return seen + again(run, x, x)


@hazard
def input_mutated_outside(torch, compile):
    run, x = compile(lambda x: x * 2), numbers(torch, 3)
    seen = again(run, x)
    x.add_(1)
    seen += again(run, x)
    x[1:] = 0
    return seen + again(run, x)


@hazard
def same_tensor_passed_twice(torch, compile):
    def function(a, b):
        a.mul_(2)
        return a + b

    run, seen = compile(function), []
    for i in range(3):
        a, b = numbers(torch, 3, start=float(i)), numbers(torch, 3)
        seen += [run(a, b), a, b]
    for i in range(3):
        a = numbers(torch, 3, start=float(i))
        seen += [run(a, a), a]
    a, b = numbers(torch, 3), numbers(torch, 3)
    return [*seen, run(a, b), a, b]


@hazard
def inputs_that_share_memory(torch, compile):
    def function(a, b):
        b.add_(10)
        return a.sum(), a * 1

    run, seen = compile(function), []
    for _ in range(2):
        for kind in ("apart", "overlap", "disjoint", "same view", "apart"):
            base = numbers(torch, 6)
            pairs = {
                "apart": (numbers(torch, 3), numbers(torch, 3)),
                "overlap": (base[:3], base[1:4]),
                "disjoint": (base[:3], base[3:]),
                "same view": (base[:3], base[:3]),
            }
            a, b = pairs[kind]
            seen += [run(a, b), a, b, base]
    return seen


@hazard
def base_and_view_passed(torch, compile):
    def function(base, view):
        view.mul_(2)
        base.add_(1)
        return base.sum() + view.sum()

    run, seen = compile(function), []
    for i in range(3):
        base = numbers(torch, 2, 3, start=float(i))
        seen += [run(base, base[0]), base]
        base = numbers(torch, 2, 3, start=float(i))
        seen += [run(base, base[1]), base]
    base, other = numbers(torch, 2, 3), numbers(torch, 3)
    return [*seen, run(base, other), base, other]


@hazard
def views_at_other_offsets(torch, compile):
    base = numbers(torch, 4, 3)
    run, seen = compile(lambda row: row.mul_(2).sum()), []
    for i in (0, 1, 2, 3, 0, 2):
        seen += [run(base[i]), base.clone()]
    for view in (base[:, 0], base.t()[1], base[1:, 1], base.view(-1)[2:5]):
        seen += [run(view), base.clone()]
    return seen


@hazard
def views_of_a_parameter(torch, compile):
    weight = torch.nn.Parameter(numbers(torch, 4, 3))
    run, seen = compile(lambda w, x: w @ x), []
    for rows in (slice(0, 2), slice(2, 4), slice(1, 3), slice(0, 2)):
        weight.grad = None
        out = run(weight[rows], numbers(torch, 3))
        out.sum().backward()
        seen += [out, weight.grad]
    return seen


@hazard
def output_is_an_input(torch, compile):
    def function(x, y):
        return x if y is None else x.mul_(y)

    run, seen = compile(function), []
    for y in (None, None, 2.0, 3.0, None):
        x = numbers(torch, 3)
        out = run(x, y)
        out.add_(1)
        seen += [x, out is x]
    return seen


@hazard
def output_is_a_view_of_an_input(torch, compile):
    run, seen = compile(lambda x: (x[0], x.t(), x.detach())), []
    for i in range(4):
        x = numbers(torch, 2, 3, start=float(i))
        row, turned, detached = run(x)
        row.zero_()
        turned[2] = -1.0
        seen += [x.clone(), row, turned, detached]
        x.add_(5)
        seen += [row.clone(), turned.clone(), detached.clone(), row._base is x]
    return seen


@hazard
def output_is_a_view_of_state_on_the_tape(torch, compile):
    w, seen = numbers(torch, 2, 2).clone().requires_grad_(), []
    run = compile(lambda x: (w[0], x * w))
    for i in range(4):
        row, product = run(numbers(torch, 2))
        with torch.no_grad():
            row.add_(i + 1)
        seen += [row.detach().clone(), w.detach().clone(), product.detach()]
        (row * 2).sum().backward()
        seen.append(w.grad.clone())
    return seen


@hazard
def outputs_that_share_memory(torch, compile):
    def function(x):
        y = x * 2
        return y, y[0], y.view(-1)

    run, seen = compile(function), []
    for i in range(4):
        y, row, flat = run(numbers(torch, 2, 2, start=float(i)))
        row.zero_()
        flat[3] = 100.0
        seen += [y, row, flat]
    return seen


@hazard
def outputs_kept(torch, compile):
    run, x = compile(lambda x: x + 1), numbers(torch, 3)
    outputs = [run(x * i) for i in range(5)]
    outputs[0].zero_()
    x.zero_()
    return outputs


@hazard
def output_fed_back(torch, compile):
    run, x, seen = compile(lambda x: x * 2 + 1), numbers(torch, 3), []
    for _ in range(5):
        x = run(x)
        seen.append(x)
    return seen


@hazard
def output_is_a_tensor_from_outside(torch, compile):
    state = {"tensor": numbers(torch, 3)}
    run, x, seen = compile(lambda x: (state["tensor"], x + 1)), numbers(torch, 3), []
    for i in range(4):
        found, _ = run(x)
        seen += [found is state["tensor"], found.clone()]
        found.add_(1)
        if i == 2:
            state["tensor"] = numbers(torch, 3) * 10
    return seen


@hazard
def tensors_changed_in_shape(torch, compile):
    """One tensor object that is given another shape, layout or dtype."""
    global outside
    outside = numbers(torch, 2, 3)
    run = compile(lambda: outside * 2)
    seen = again(run)
    outside.t_()
    seen += again(run)
    outside.unsqueeze_(0)
    seen += again(run)
    outside.data = numbers(torch, 4)
    seen += again(run)
    outside.data = numbers(torch, 4).double()
    return seen + again(run)


# ---- tensors kept outside ----------------------------------------------------------------------


@hazard
def global_tensor_replaced_and_written(torch, compile):
    global outside
    outside = numbers(torch, 3)
    run, x = compile(lambda x: x + outside), numbers(torch, 3)
    seen = again(run, x)
    outside = numbers(torch, 3) * 5
    seen += again(run, x)
    outside.zero_()
    seen += again(run, x)
    outside = 7.0
    return seen + again(run, x)


@hazard
def list_of_tensors_grown(torch, compile):
    tensors = [numbers(torch, 3)]
    run, x = compile(lambda x: x + sum(tensors)), numbers(torch, 3)
    seen = again(run, x)
    tensors.append(numbers(torch, 3) * 10)
    seen += again(run, x)
    tensors[0] = torch.zeros(3)
    seen += again(run, x)
    tensors.pop()
    return seen + again(run, x)


@hazard
def counter_tensor(torch, compile):
    count = torch.zeros((), dtype=torch.int64)

    def function(x):
        count.add_(1)
        return x * count

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    count.fill_(100)
    return [*seen, *again(run, x), count]


@hazard
def tensor_rebound_inside(torch, compile):
    state = {"total": torch.zeros(3)}

    def function(x):
        state["total"] = state["total"] + x
        return state["total"] * 2

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x, times=4)
    before = state["total"]
    return [*seen, run(x), before, state["total"]]


@hazard
def cache_of_keys_and_values(torch, compile):
    cache = torch.zeros(6, 2)

    def function(x, i):
        cache[i] = x
        return cache[: i + 1].sum(0)

    run = compile(function)
    seen = [run(numbers(torch, 2, start=float(i)), i) for i in range(6)]
    return [*seen, cache, run(torch.zeros(2), 2), cache.sum()]


@hazard
def cache_at_a_position_tensor(torch, compile):
    cache, position = torch.zeros(6, 2), torch.zeros((), dtype=torch.int64)

    def function(x):
        cache.index_copy_(0, position.view(1), x.view(1, 2))
        position.add_(1)
        return cache.sum(0)

    run = compile(function)
    seen = [run(numbers(torch, 2, start=float(i))) for i in range(5)]
    return [*seen, cache, position]


@hazard
def cache_grown_by_concatenation(torch, compile):
    cache = {"keys": torch.zeros(0, 2)}

    def function(x):
        cache["keys"] = torch.cat([cache["keys"], x.view(1, 2)])
        return cache["keys"].mean(0)

    run = compile(function)
    return [*[run(numbers(torch, 2, start=float(i))) for i in range(5)], cache["keys"]]


@hazard
def view_kept_outside(torch, compile):
    base = numbers(torch, 2, 3)
    row = base[1]

    def function(x):
        row.add_(x)
        return base.sum()

    run, x = compile(function), numbers(torch, 3)
    seen = [*again(run, x), base.clone()]
    base.zero_()
    return [*seen, *again(run, x), base, row]


@hazard
def constant_made_inside_and_written(torch, compile):
    def function(x):
        total = torch.zeros(3)
        for i in range(3):
            total[i] += x[i] * i
        return total

    run = compile(function)
    outputs = [run(numbers(torch, 3, start=float(i))) for i in range(4)]
    outputs[0].fill_(-1)
    return outputs


@hazard
def array_behind_a_tensor(torch, compile):
    """A NumPy array and a tensor that share memory."""
    array = np.array([1.0, 2.0, 3.0], np.float32)
    tensor = torch.from_numpy(array)
    run, x = compile(lambda x: x * tensor), numbers(torch, 3)
    seen = again(run, x)
    array[0] = 50.0
    seen += again(run, x)
    tensor[1] = 70.0
    return [*seen, *again(run, x), array]


@hazard
def short_lived_tensors(torch, compile):
    """Objects that die and leave their id to the next."""
    holder, seen = {}, []
    run, x = compile(lambda x: x * holder["factor"]), numbers(torch, 3)
    for i in range(5):
        holder["factor"] = torch.full((3,), float(i))
        seen.append(run(x))
        holder.clear()
    return seen


@hazard
def tensor_and_its_copy(torch, compile):
    state = [numbers(torch, 3)]
    run, x = compile(lambda x: state[0].add_(x)), numbers(torch, 3)
    seen = again(run, x)
    kept = copy.deepcopy(state[0])
    seen += again(run, x)
    state[0] = kept
    return [*seen, *again(run, x), kept]


# ---- gradients outside -------------------------------------------------------------------------


@hazard
def gradient_of_an_input(torch, compile):
    run, seen = compile(lambda x, y: (x * y).sum() * x.mean()), []
    for i in range(4):
        x, y = numbers(torch, 3, start=float(i)).requires_grad_(), numbers(torch, 3)
        run(x, y).backward()
        seen += [x.grad, y.grad]
    run(x, y).backward()  # accumulates
    seen.append(x.grad.clone())
    y.requires_grad_()
    run(x, y).backward()
    return [*seen, x.grad, y.grad]


@hazard
def gradients_of_several_outputs(torch, compile):
    run, seen = compile(lambda x: (x * 2, x * x, x.detach() * 3)), []
    for used in ([0], [1], [0, 1], [1], [0]):
        x = numbers(torch, 3).requires_grad_()
        outputs = run(x)
        sum(outputs[i].sum() for i in used).backward()
        seen += [x.grad, outputs]
    return seen


@hazard
def gradient_of_what_is_not_a_leaf(torch, compile):
    run, seen = compile(lambda h: torch.tanh(h) * 2), []
    for i in range(4):
        x = numbers(torch, 3, start=i / 10).requires_grad_()
        run(x * x + 1).sum().backward()
        seen.append(x.grad)
    return seen


@hazard
def double_backward_outside(torch, compile):
    run, seen = compile(lambda x: (x**3).sum()), []
    for i in range(4):
        x = numbers(torch, 3, start=float(i)).requires_grad_()
        (first,) = torch.autograd.grad(run(x), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        seen += [first, second]
    return seen


@hazard
def gradients_inside(torch, compile):
    def function(x):
        x = x.detach().requires_grad_()
        (first,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        return first, second

    run = compile(function)
    return [run(numbers(torch, 3, start=float(i))) for i in range(4)]


@hazard
def backward_twice(torch, compile):
    run, seen = compile(lambda x: (x * x).sum()), []
    for retain in (True, False, True, False):
        x = numbers(torch, 3).requires_grad_()
        loss = run(x)
        loss.backward(retain_graph=retain)
        try:
            loss.backward()
        except RuntimeError:
            seen.append("RuntimeError")
        seen.append(x.grad)
    return seen


@hazard
def backward_of_an_earlier_call(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(lambda x: model(x).square().sum())
    seen = []
    for i in range(3):
        first, second = run(x), run(x * (i + 2))
        second.backward()
        model.zero_grad()
        first.backward()
        seen.append(model.weight.grad)
    return seen


@hazard
def saved_tensor_overwritten_before_backward(torch, compile):
    """PyTorch raises; nothing may take the new value for the old one."""
    model, x, seen = linear(torch), numbers(torch, 2, 3).requires_grad_(), []
    run = compile(lambda x: model(x).square().sum())
    for written in (False, False, True, True, False):
        loss = run(x)
        if written:
            with torch.no_grad():
                model.weight.mul_(2)
        try:
            seen.append(torch.autograd.grad(loss, x))
        except RuntimeError:
            seen.append("RuntimeError")
    return seen


@hazard
def hook_on_an_output(torch, compile):
    run, seen = compile(lambda x: (x * 2).square()), []
    for factor in (None, None, 2.0, 3.0, None):
        x = numbers(torch, 3).requires_grad_()
        y = run(x)
        if factor:
            y.register_hook(lambda gradient, factor=factor: gradient * factor)
        y.sum().backward()
        seen.append(x.grad)
    return seen


@hazard
def hook_on_an_input(torch, compile):
    run, seen = compile(lambda x: (x * 2).square().sum().backward()), []
    for factor in (None, None, 2.0, 3.0, None):
        x = numbers(torch, 3).requires_grad_()
        if factor:
            x.register_hook(lambda gradient, factor=factor: gradient * factor)
        run(x)
        seen.append(x.grad)
    return seen


@hazard
def in_place_on_what_needs_a_gradient(torch, compile):
    def function(x):
        y = x * 1
        y[0] = 0.0
        y.mul_(x)
        return y.sum()

    run, seen = compile(function), []
    for i in range(4):
        x = numbers(torch, 3, start=float(i)).requires_grad_()
        run(x).backward()
        seen.append(x.grad)
    return seen


# ---- modes -------------------------------------------------------------------------------------


@hazard
def grad_mode_changed(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    with torch.no_grad():
        seen += again(run, x)
    with torch.inference_mode():
        seen += again(run, x)
    return seen + again(run, x)


@hazard
def compiled_first_without_gradients(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(lambda x: model(x).sum())
    with torch.no_grad():
        seen = again(run, x)
    seen += again(run, x)
    run(x).backward()
    return [*seen, model.weight.grad]


@hazard
def grad_mode_read_and_set_inside(torch, compile):
    def function(x, enabled):
        with torch.set_grad_enabled(enabled):
            y = x * 2
        return y * (3 if torch.is_grad_enabled() else 5)

    run, x, seen = compile(function), numbers(torch, 3).requires_grad_(), []
    for enabled in (True, True, False, False, True):
        seen.append(run(x, enabled))
    with torch.no_grad():
        return [*seen, run(x, True), run(x, False), run(x, True)]


@hazard
def grad_mode_left_changed(torch, compile):
    def function(x, enabled):
        torch.set_grad_enabled(enabled)
        return x * 2

    run, x, seen = compile(function), numbers(torch, 3).requires_grad_(), []
    try:
        for enabled in (True, False, False, False, True, True, False):
            seen += [run(x, enabled), torch.is_grad_enabled()]
    finally:
        torch.set_grad_enabled(True)
    return seen


@hazard
def autocast_changed(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(model)
    seen = [y.dtype for y in again(run, x)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen += [y.dtype for y in again(run, x)]
        with torch.autocast("cpu", enabled=False):
            seen += [y.dtype for y in again(run, x)]
    with torch.autocast("cpu", dtype=torch.float16):
        seen += [y.dtype for y in again(run, x)]
    return [str(dtype).rpartition(".")[2] for dtype in seen + [y.dtype for y in again(run, x)]]


@hazard
def default_dtype_changed(torch, compile):
    run, x = compile(lambda x: torch.ones(2) * 3 + torch.tensor(0.5) * x), torch.arange(2)
    seen = again(run, x)
    torch.set_default_dtype(torch.float64)
    try:
        seen += again(run, x)
    finally:
        torch.set_default_dtype(torch.float32)
    return seen + again(run, x)


@hazard
def default_device_changed(torch, compile):
    run = compile(lambda: torch.ones(2) * 3)
    seen = [str(y.device) for y in again(run)]
    torch.set_default_device("meta")
    try:
        seen += [str(y.device) for y in again(run)]
    finally:
        torch.set_default_device(None)
    with torch.device("meta"):
        seen += [str(y.device) for y in again(run)]
    return seen + [str(y.device) for y in again(run)]


# ---- random numbers: another stream is allowed, standing still or repeating it is not ----------


def _all_differ(draws):
    return len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)


@hazard
def dropout_draws(torch, compile):
    run, x = compile(torch.nn.Dropout(0.5)), torch.ones(64)
    torch.manual_seed(0)
    first = again(run, x, times=4)
    torch.manual_seed(0)
    second = again(run, x, times=4)
    torch.manual_seed(1)
    third = again(run, x, times=4)
    kept = [0.2 < (draw > 0).float().mean().item() < 0.8 for draw in first]
    return [_all_differ(first), all(map(torch.equal, first, second)), _all_differ(first + third),
            kept]  # fmt: skip


@hazard
def draws_inside_and_outside(torch, compile):
    """What is drawn outside moves the stream inside, and the other way round."""
    run = compile(lambda: torch.randn(16))
    draws = []
    for n in (0, 1, 2, 1):
        torch.manual_seed(0)
        draws.append([torch.randn(16) for _ in range(n)] + [run(), torch.randn(16), run()])
    return [_all_differ(row) for row in draws] + [
        torch.equal(draws[1][-1], draws[3][-1]), torch.equal(draws[0][0], draws[1][1])
    ]  # fmt: skip


@hazard
def generator_passed_in(torch, compile):
    run = compile(lambda g: torch.rand(8, generator=g))
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    draws = again(run, first) + again(run, second)
    first.manual_seed(1)
    repeated = again(run, first)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    again(run, second)  # leaves the default generator alone
    return [_all_differ(draws), all(map(torch.equal, draws, repeated)),
            torch.equal(state, torch.get_rng_state())]  # fmt: skip


@hazard
def random_state_saved_and_restored(torch, compile):
    run = compile(lambda x: x + torch.rand(8))
    again(run, torch.zeros(8))
    state = torch.get_rng_state()
    first = again(run, torch.zeros(8))
    torch.set_rng_state(state)
    second = again(run, torch.zeros(8))
    with torch.random.fork_rng():
        again(run, torch.zeros(8))
    after = run(torch.zeros(8))
    torch.set_rng_state(state)
    again(run, torch.zeros(8))
    return [_all_differ([*first, after]), all(map(torch.equal, first, second)),
            torch.equal(after, run(torch.zeros(8)))]  # fmt: skip


@hazard
def seed_set_inside(torch, compile):
    def function(seed):
        torch.manual_seed(seed)
        return torch.rand(8)

    run = compile(function)
    a, b, c, d = (run(seed) for seed in (1, 1, 2, 1))
    return [torch.equal(a, b), torch.equal(a, c), torch.equal(a, d)]


# ---- threads -----------------------------------------------------------------------------------


@hazard
def threads_calling_one_function(torch, compile):
    model = linear(torch)
    run, found = compile(lambda x: model(x) * 2), {}

    def work(i):
        with torch.set_grad_enabled(i % 2 == 0):
            found[i] = [run(numbers(torch, 2, 3, start=float(i))) for _ in range(5)]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    return [found[i] for i in range(4)]
