"""Hazards of tensors that calls put in the place of others, keep, hand out and draw."""

from tests.hazards import again, hazard, linear, numbers, parameters


class Holder:
    """An object with one attribute."""

    kept = None


# ---- entries that each call replaces -----------------------------------------------------------


@hazard
def old_tensor_returned(torch, compile):
    state = {"a": torch.zeros(2)}

    def function(x):
        old = state["a"]
        state["a"] = old + x
        return old

    run = compile(function)
    return [run(numbers(torch, 2, start=float(i))).clone() for i in range(5)], state


@hazard
def tensors_swapped(torch, compile):
    state, holder = {"a": torch.zeros(2), "b": torch.ones(2)}, Holder()
    holder.kept, holder.next = torch.zeros(2), torch.ones(2)

    def function(x):
        state["a"], state["b"] = state["b"], state["a"]
        holder.next.copy_(holder.kept + x)
        holder.kept, holder.next = holder.next, holder.kept
        return state["a"] * x + holder.kept

    return again(compile(function), numbers(torch, 2), times=7), state, holder.kept, holder.next


@hazard
def replaced_tensor_has_another_name(torch, compile):
    start = torch.ones(2)
    state = {"a": start, "b": start}

    def function(x):
        state["a"] = state["a"] * 2
        return state["a"] + 10 * state["b"] + 100 * start

    run = compile(function)
    seen = again(run, 1.0, times=1)
    state["a"] = start
    return seen + again(run, 1.0, times=4), state


@hazard
def state_reset_to_none(torch, compile):
    holder, seen = Holder(), []

    def function(x):
        holder.kept = x * 1 if holder.kept is None else holder.kept + x
        return holder.kept * 1

    run = compile(function)
    for _ in range(3):
        holder.kept = None
        seen += again(run, numbers(torch, 2))
    return seen


@hazard
def state_reset_to_numbers(torch, compile):
    holder, seen = Holder(), []

    def function(x):
        holder.kept = holder.kept + x
        return holder.kept * 1

    run = compile(function)
    for holder.kept in (0.0, 0.0, 5.0, 7.0, 0.0):
        seen += again(run, numbers(torch, 2))
    return seen


@hazard
def state_in_a_tuple(torch, compile):
    torch.manual_seed(0)
    cell, holder, seen = torch.nn.LSTMCell(2, 3), Holder(), []

    @compile
    def run(x):
        holder.kept = cell(x, holder.kept)
        return holder.kept[0] * 1

    with torch.no_grad():
        for i in range(6):
            seen.append(run(numbers(torch, 1, 2, start=float(i))))
        holder.kept = (torch.ones(1, 3), holder.kept[1])
        seen += again(run, numbers(torch, 1, 2))
        holder.kept = None
        seen += again(run, numbers(torch, 1, 2))
    return seen, holder.kept


@hazard
def state_in_a_list(torch, compile):
    states = [torch.zeros(2), torch.ones(2), torch.full((2,), 2.0)]

    def function(x):
        states[0], states[1] = states[1], states[0] + x
        return states[0] + states[2]

    run = compile(function)
    seen = again(run, numbers(torch, 2), times=5)
    states[2] = torch.zeros(2)
    seen += again(run, numbers(torch, 2))
    states.reverse()
    seen += again(run, numbers(torch, 2))
    states.append(torch.zeros(2))
    return seen + again(run, numbers(torch, 2)), states


@hazard
def replaced_state_that_is_a_view(torch, compile):
    holder = Holder()
    holder.kept = torch.zeros(2, 2)[0]

    def function(x):
        holder.kept.add_(x)
        shown = holder.kept.view(1, 2)
        holder.kept = (torch.ones(2, 2) * holder.kept)[1]
        return shown, holder.kept * 1

    run = compile(function)
    seen = again(run, 1.0, times=4)
    holder.kept = torch.zeros(3, 2)[2]
    return seen + again(run, 1.0), holder.kept


@hazard
def dict_grown_of_which_an_entry_is_replaced(torch, compile):
    state = {"a": torch.zeros(2)}

    def function(x):
        total = sum(state[key] for key in state)
        state["a"] = state["a"] + x
        return total

    run = compile(function)
    seen = again(run, 1.0, times=4)
    state["b"] = torch.full((2,), 100.0)
    return seen + again(run, 1.0), state


# ---- gradients ---------------------------------------------------------------------------------


@hazard
def gradient_handed_out(torch, compile):
    weight = torch.nn.Parameter(torch.ones(2))

    def function(x):
        gradient = weight.grad
        weight.grad = None
        (weight * x).sum().backward()
        return gradient

    run = compile(function)
    run(numbers(torch, 2))
    seen = [run(numbers(torch, 2, start=float(i))).clone() for i in range(5)]
    return seen, weight.grad


@hazard
def gradients_swapped(torch, compile):
    a, b, seen = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2)), []

    def function(x):
        (a * x).sum().backward()
        (b * x * 2).sum().backward()
        a.grad, b.grad = b.grad, a.grad

    run = compile(function)
    for _ in range(5):
        run(numbers(torch, 2))
        seen += [a.grad.clone(), b.grad.clone()]
    return seen


@hazard
def gradient_of_a_parameter_that_is_a_view(torch, compile):
    """A parameter and what it is a view of share memory, not the gradient."""
    flat = numbers(torch, 9)
    first, second = torch.nn.Parameter(flat[:6].view(2, 3)), torch.nn.Parameter(flat[6:])
    optimizer = torch.optim.SGD([first, second], lr=0.1)

    @compile
    def step(x):
        optimizer.zero_grad()
        loss = (x @ first.t()).square().mean() + second.square().sum()
        loss.backward()
        optimizer.step()
        return loss

    seen = again(step, numbers(torch, 2, 3), times=5)
    return seen, first.grad, second.grad, first, second


# ---- histories of what is returned -------------------------------------------------------------


@hazard
def loss_scaled_after_backward(torch, compile):
    """What is returned hangs on a history that the call itself has freed."""
    model, seen = linear(torch), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x):
        optimizer.zero_grad()
        out = model(x)
        loss = out.square().mean()
        loss.backward()
        optimizer.step()
        return loss * 4, out, {"mean": out.mean().detach()}

    for i in range(4):
        scaled, out, more = step(numbers(torch, 4, 3, start=i / 10))
        seen += [scaled, out, more]
        try:
            scaled.backward()
        except RuntimeError as error:
            seen.append(str(error)[:40])
    return seen


@hazard
def adversaries_that_share_a_forward_pass(torch, compile):
    maker, judge = linear(torch), linear(torch, 2, 1)
    one = torch.optim.Adam(maker.parameters(), lr=0.01)
    two = torch.optim.Adam(judge.parameters(), lr=0.01)

    @compile
    def step(x):
        two.zero_grad()
        made = maker(torch.randn(4, 3))
        first = judge(x).mean() - judge(made.detach()).mean()
        first.backward()
        two.step()
        one.zero_grad()
        second = judge(made).square().mean()
        second.backward()
        one.step()
        return first, second

    torch.manual_seed(0)
    seen = again(step, numbers(torch, 4, 2), times=4)
    return seen, parameters(maker), parameters(judge), [p.grad for p in judge.parameters()]


@hazard
def gradient_through_several_calls(torch, compile):
    """Each call's history goes on in that of the one before, and both lead to the same weights."""
    model, seen = linear(torch, 2, 2), []
    run = compile(lambda x, h: torch.tanh(model(x) + h))
    for _ in range(3):
        model.zero_grad()
        h = torch.zeros(1, 2)
        for i in range(3):
            h = run(numbers(torch, 1, 2, start=-i / 10), h)
        h.sum().backward()
        seen += [h, model.weight.grad.clone()]
    block = compile(lambda x: torch.tanh(model(x)))
    for _ in range(4):
        model.zero_grad()
        block(block(block(numbers(torch, 1, 2)))).sum().backward()
        seen.append(model.weight.grad.clone())
    return seen


@hazard
def one_of_several_results_used(torch, compile):
    """What only the others lead to has no gradient, not one of zeros: optimizers skip it."""
    body, first, second, seen = linear(torch), linear(torch, 2, 1), linear(torch, 2, 1), []
    layers = torch.nn.ModuleList([body, first, second])
    optimizer = torch.optim.AdamW(layers.parameters(), lr=0.1)

    @compile
    def forward(x):
        hidden = body(x)
        return first(hidden).mean(), second(hidden).mean()

    for i in range(6):
        optimizer.zero_grad()
        results = forward(numbers(torch, 4, 3))
        results[i > 3].backward()
        optimizer.step()
        seen += [*parameters(layers), *[p.grad is None for p in layers.parameters()]]
    return seen


@hazard
def state_that_is_on_the_tape(torch, compile):
    model, holder, seen = linear(torch, 2, 2), Holder(), []

    def function(x):
        holder.kept = torch.tanh(model(x) + holder.kept)
        return holder.kept.sum()

    run = compile(function)
    for _ in range(4):
        holder.kept = torch.zeros(1, 2)
        model.zero_grad()
        for i in range(3):
            total = run(numbers(torch, 1, 2, start=-i / 10))
        total.backward()
        seen += [total, model.weight.grad.clone()]
    return seen


# ---- memory ------------------------------------------------------------------------------------


@hazard
def argument_copied_into_a_part(torch, compile):
    buffer, seen = torch.zeros(6, 2), []

    @compile
    def push(x, at):
        buffer[at : at + 2] = x
        return buffer.mean(0)

    for k in range(9):
        seen.append(push(numbers(torch, 2, 2, start=float(k)), (k % 3) * 2))
    return seen, buffer


@hazard
def argument_that_is_a_view_changed(torch, compile):
    def function(x):
        x.mul_(2)
        x[0] = 0
        return x.sum(), x.view(-1)

    run, seen = compile(function), []
    for k in range(6):
        base = torch.arange(6.0).reshape(2, 3) + k
        view = base[1:] if k % 2 else base
        total, flat = run(view)
        flat += 1
        seen += [total, base, view]
    return seen


@hazard
def casts_kept_by_autocast(torch, compile):
    model = torch.nn.Sequential(linear(torch), linear(torch, 2, 2))
    run, x, seen = compile(model), numbers(torch, 2, 3), []
    for block in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen += [y.float().round(decimals=1) for y in again(run, x)]
        with torch.no_grad():
            model[0].weight.mul_(block + 2)
    return seen


# ---- random numbers ----------------------------------------------------------------------------


@hazard
def draws_handed_out_and_kept(torch, compile):
    holder, buffer, seen = Holder(), torch.zeros(2), []

    def function(x):
        noise, steps = torch.randn(2), torch.randint(0, 5, (2,))
        holder.kept = torch.rand(2)
        buffer.copy_(noise)
        return x + noise, noise, steps

    torch.manual_seed(0)
    run = compile(function)
    for _ in range(5):
        seen += [run(1.0), holder.kept.clone(), buffer.clone()]
    return seen, torch.rand(2)


# ---- optimizers --------------------------------------------------------------------------------


@hazard
def groups_by_another_name(torch, compile):
    model, x, seen = linear(torch), numbers(torch, 4, 3), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (group,) = optimizer.param_groups

    def step():
        group["lr"] *= 0.5
        optimizer.zero_grad()
        loss = model(x).square().mean() * group["lr"]
        loss.backward()
        optimizer.step()
        return loss

    run = compile(step)
    seen += again(run, times=4)
    group["lr"] = 1.0
    return seen + again(run), group["lr"], parameters(model)


@hazard
def schedule_in_view_but_stepped_elsewhere(torch, compile):
    """It is no reason to record again: so may steps of each epoch be, inside and outside."""
    model, x = linear(torch), numbers(torch, 4, 3)
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)

    @compile
    def step(last):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        if last:
            schedule.step()
        return loss

    seen = []
    for i in range(12):
        seen.append(step(i % 3 == 2))
        if i > 6:
            schedule.step()
    if hasattr(step, "compiled"):
        assert step.compiled.recordings <= 6, step.compiled.reasons
    return seen, schedule.last_epoch, schedule.get_last_lr(), parameters(model)
