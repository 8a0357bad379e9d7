"""LBFGS."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.flush import jax_array
from torchlike._engine.values import aval
from torchlike._ops import lbfgs as _rules  # noqa: F401
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.joining import cat
from torchlike._tensor.modes import enable_grad, no_grad
from torchlike._tensor.parts import view_as_real
from torchlike._tensor.tensor import Tensor
from torchlike.optim._checks import check_rate
from torchlike.optim._packs import full
from torchlike.optim.optimizer import Optimizer

_DIRECTION = TABLE["lbfgs_direction"]


class LBFGS(Optimizer):
    """Limited-memory BFGS (https://pytorch.org/docs/stable/generated/torch.optim.LBFGS.html).

    A step evaluates the closure several times, and each time the host looks at the loss and the
    slope to decide on the next point: as numbers of the parameters' precision, as PyTorch does.
    """

    def __init__(
        self, params, lr=1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ):  # fmt: skip
        check_rate(lr)
        self._padding: list[tuple] = []
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                "history_size": history_size, "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def __setstate__(self, state) -> None:
        super().__setstate__(state)
        self._padding = []

    # ---- parameters as one vector --------------------------------------------------------------

    def _gradient(self) -> Tensor:
        """All gradients in one vector; zeros where there is none."""
        parts = []
        for p in self.param_groups[0]["params"]:
            grad = p.new_zeros(p.shape) if p.grad is None else p.grad
            parts.append(_real(grad.to_dense() if grad._sparse else grad).reshape(-1))
        return cat(parts, 0)

    def _move(self, t, direction: Tensor) -> None:
        """Add ``t`` times the direction to the parameters."""
        t = float(t)
        offset = 0
        for p in self.param_groups[0]["params"]:
            real = _real(p)
            count = real.numel()
            real.add_(direction[offset : offset + count].view(real.shape), alpha=t)
            offset += count

    # ---- a step --------------------------------------------------------------------------------

    def step(self, closure):
        """Iterate until one of the tolerances or limits is reached; returns the first loss."""
        with no_grad(), np.errstate(all="ignore"):
            return self._iterate(closure)

    def _iterate(self, closure):
        if len(self.param_groups) != 1:
            raise AssertionError(
                f"Expected exactly one param_group, but got {len(self.param_groups)}"
            )
        group = self.param_groups[0]
        max_iter, max_eval = group["max_iter"], group["max_eval"]
        enough, least = group["tolerance_grad"], group["tolerance_change"]
        lr = _host(group["lr"])
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = _evaluate(closure)
        loss, gradient = float(first_loss), self._gradient()
        evals = 1
        state["func_evals"] += 1
        if _host(gradient.abs().max()) <= enough:
            return first_loss

        d, t = state.get("d"), _host(state.get("t"))
        previous, loss_before = state.get("prev_flat_grad"), state.get("prev_loss")
        memory = _Memory(state, group["history_size"], self._padding)
        n_iter = 0
        while n_iter < max_iter:
            n_iter += 1
            state["n_iter"] += 1
            begins = state["n_iter"] == 1
            if begins:
                memory.clear()
                d = gradient.neg()
            else:
                memory.learn(gradient.sub(previous), d.mul(float(t)))
                d = memory.direction(gradient)
            previous = gradient.clone()
            loss_before = loss

            if begins:
                t = min(1.0, 1.0 / _host(gradient.abs().sum())) * lr
            else:
                t = lr
            slope = _host(gradient.dot(d))
            if slope > -least:
                break

            done = 0  # evaluations of this iteration
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                search = _Search(self, closure, d, (loss, gradient, slope), least)
                loss, gradient, t, done = search.run(t, max_eval - evals)
                self._move(t, d)
            else:
                self._move(t, d)
                if n_iter != max_iter:  # the last point is not evaluated
                    loss, gradient = _evaluate(closure), self._gradient()
                    done = 1
            evals += done
            state["func_evals"] += done

            largest, longest = gradient.abs().max(), d.mul(float(t)).abs().max()
            loss = float(loss)  # all that was asked for above is computed in one go
            if n_iter == max_iter or evals >= max_eval:
                break
            if _host(largest) <= enough or _host(longest) <= least:
                break
            if abs(loss - loss_before) < least:
                break

        state["d"], state["t"] = d, _kept(t, gradient)
        memory.save()
        state["prev_flat_grad"], state["prev_loss"] = previous, loss_before
        return first_loss


class _Memory:
    """The latest changes of the gradient and the steps that made them, as state entries."""

    def __init__(self, state, size: int, padding: list):
        self.state, self.size, self.padding = state, size, padding
        names = "old_dirs", "old_stps", "ro"
        self.changes, self.steps, self.inverses = (state.get(name) for name in names)
        self.scale = state.get("H_diag")
        self.als = None

    def clear(self) -> None:
        self.changes, self.steps, self.inverses, self.scale = [], [], [], 1

    def save(self) -> None:
        state = self.state
        state["old_dirs"], state["old_stps"], state["ro"] = self.changes, self.steps, self.inverses
        state["H_diag"] = self.scale
        if self.als is None:
            return
        # PyTorch keeps these numbers, too, though nobody reads them. They leave as host data: as
        # parts of a tensor each count of them would be another program.
        a = aval((), self.als.dtype, self.als._value.aval.device)
        als = self.als.float() if a.dtype in dt.HALF else self.als
        numbers = als.numpy(force=True)
        for i, x in enumerate(numbers[: len(self.changes)]):
            state["al"][i] = dispatch.wrap(full(a, x))

    def learn(self, change: Tensor, step: Tensor) -> None:
        """Remember a pair, unless the curvature along the step is too small."""
        product = change.dot(step)
        # Computed with what is read next: pending, it would be part of the direction's program, in
        # another place each time.
        inverse, scale = 1.0 / product, product / change.dot(change)
        if not _host(product) > 1e-10:
            return
        if len(self.changes) == self.size:
            for kept in (self.changes, self.steps, self.inverses):
                kept.pop(0)
        self.changes.append(change)
        self.steps.append(step)
        self.inverses.append(inverse)
        self.scale = scale

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the gradient times the approximate inverse Hessian."""
        self.state.setdefault("al", [None] * self.size)
        count = len(self.changes)
        if not count:
            return gradient.neg().mul(self.scale)
        # Slots grow by powers of two, so that a growing memory compiles few programs; each empty
        # slot has zeros of its own, for a program is another one where operands are the same.
        slots = min(1 << (count - 1).bit_length(), max(self.size, count))
        like = gradient._value.aval
        while len(self.padding) < slots - count:
            slot = (like, like, aval((), like.dtype, like.device))
            zeros = [full(a, 0.0) for a in slot]
            for value in zeros:
                jax_array(value)  # programs tell what the host holds from what the device holds
            self.padding.append(tuple(map(dispatch.wrap, zeros)))
        pads = self.padding[: slots - count]
        operands = [gradient, self.scale]
        for k, kept in enumerate((self.changes, self.steps, self.inverses)):
            operands += [*kept, *(pad[k] for pad in pads)]
        direction, self.als = dispatch.apply(_DIRECTION, operands, (slots,))
        return direction


class _Search:
    """A line search for a point that satisfies the strong Wolfe conditions.

    A point on the line is (t, loss, gradient, slope). First the line is bracketed by ever longer
    steps, then the bracket is narrowed by cubic interpolation (Nocedal & Wright, algorithms 3.5 and
    3.6), in the sequence of points of PyTorch.
    """

    flat, steep = 0.9, 1e-4  # c2 and c1

    def __init__(self, optimizer, closure, d, start, least: float):
        self.optimizer, self.closure, self.d = optimizer, closure, d
        self.origin = [p.clone() for p in optimizer.param_groups[0]["params"]]
        self.start = (0, *start)
        self.least = least
        self.evals = 0

    def at(self, t):
        """The point at ``t``; the parameters come back to where they were."""
        self.optimizer._move(t, self.d)
        loss = _evaluate(self.closure)
        gradient = self.optimizer._gradient()
        slope = gradient.dot(self.d)
        for p, x in zip(self.optimizer.param_groups[0]["params"], self.origin, strict=True):
            p.copy_(x)
        self.evals += 1
        return t, float(loss), gradient, _host(slope)

    def too_high(self, point) -> bool:
        _, loss, _, slope = self.start
        return point[1] > loss + self.steep * point[0] * slope

    def is_flat(self, point) -> bool:
        return abs(point[3]) <= -self.flat * self.start[3]

    def run(self, t, limit: int):
        """Search from a first step: (loss, gradient, step, evaluations)."""
        reach = _host(self.d.abs().max())
        rounds, found, bracket = 0, False, None
        before, point = self.start, self.at(t)
        while rounds < limit:
            if self.too_high(point) or (rounds > 1 and point[1] >= before[1]):
                bracket = [before, point]
                break
            if self.is_flat(point):
                bracket, found = [point], True
                break
            if point[3] >= 0:
                bracket = [before, point]
                break
            t = point[0]
            t = _cubic(before, point, t + 0.01 * (t - before[0]), t * 10)
            before, point = point, self.at(t)
            rounds += 1
        if rounds == limit:
            bracket = [self.start, point]
        low = 0 if bracket[0][1] <= bracket[-1][1] else 1
        if not found:
            low = self.narrow(bracket, low, limit - rounds, reach)
        t, loss, gradient, _ = bracket[low]
        return loss, gradient, t, self.evals

    def narrow(self, bracket, low: int, rounds: int, reach) -> int:
        """Shrink the bracket until its low end will do; returns which end that is."""
        stuck = False  # the last point was close to an end
        for _ in range(rounds):
            first, last = sorted((bracket[0][0], bracket[1][0]))
            if abs(bracket[1][0] - bracket[0][0]) * reach < self.least:
                break
            t = _cubic(*bracket, first, last)
            margin = 0.1 * (last - first)
            if min(last - t, t - first) < margin:
                if stuck or t >= last or t <= first:
                    t = last - margin if abs(t - last) < abs(t - first) else first + margin
                    stuck = False
                else:
                    stuck = True
            else:
                stuck = False
            point = self.at(t)
            if self.too_high(point) or point[1] >= bracket[low][1]:
                bracket[1 - low] = point
                low = 0 if bracket[0][1] <= bracket[1][1] else 1
                continue
            found = self.is_flat(point)
            if not found and point[3] * (bracket[1 - low][0] - bracket[low][0]) >= 0:
                bracket[1 - low] = bracket[low]
            bracket[low] = point
            if found:
                break
        return low


def _cubic(a, b, low, high):
    """Where the cubic through two points with their slopes is least, within bounds."""
    x1, f1, _, g1 = a
    x2, f2, _, g2 = b
    if x1 > x2:
        x1, f1, g1, x2, f2, g2 = x2, f2, g2, x1, f1, g1
    middle = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = middle * middle - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    root = np.sqrt(square)
    t = x2 - (x2 - x1) * ((g2 + root - middle) / (g2 - g1 + 2 * root))
    return min(max(t, low), high)


def _evaluate(closure):
    with enable_grad():
        return closure()


def _real(p):
    return view_as_real(p) if p.is_complex() else p


def _host(x):
    """A number for the host to compute with, in the precision of the tensor it comes from."""
    return x.reshape(()).numpy(force=True)[()] if isinstance(x, Tensor) else x


def _kept(t, like: Tensor):
    """A step length as state: a tensor if it was computed from tensors."""
    return like.new_tensor(t) if isinstance(t, np.generic) else t
