"""torch.fx.passes.infra.pass_manager: several passes, one after the other."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps

from torchlike import nn
from torchlike.fx.passes.infra.pass_base import PassResult

__all__ = ["PassManager", "pass_result_wrapper", "this_before_that_pass_constraint"]

_logger = logging.getLogger(__name__)


def pass_result_wrapper(fn: Callable) -> Callable:
    """A pass that returns a PassResult, of a function that changes a module."""
    if fn is None:
        return None

    @wraps(fn)
    def wrapped(gm):
        result = fn(gm)
        if result is None:
            return PassResult(gm, True)
        if isinstance(result, PassResult):
            return result
        return PassResult(result, True)

    if not inspect.isfunction(fn):
        wrapped.__name__ = type(fn).__name__
    return wrapped


def this_before_that_pass_constraint(this: Callable, that: Callable) -> Callable:
    """A constraint: one pass comes before another."""
    return lambda a, b: not (a == that and b == this)


def _holds(constraint: Callable, passes: list[Callable]) -> None:
    for i, a in enumerate(passes):
        for j, b in enumerate(passes[i + 1 :], i + 1):
            if not constraint(a, b):
                raise RuntimeError(
                    f"pass schedule constraint violated. Expected {a} before {b} but found {a} at "
                    f"index {i} and {b} at index{j} in pass list."
                )


def _sorted(passes: list[Callable], constraints: list[Callable]) -> list[Callable]:
    """The passes in an order in which all constraints hold."""
    if not constraints:
        return passes
    after = {p: [q for q in passes if any(not c(q, p) for c in constraints)] for p in passes}
    left = {p: sum(p in qs for qs in after.values()) for p in passes}
    ready, order = [p for p in passes if not left[p]], []
    while ready:
        p = ready.pop(0)
        order.append(p)
        for q in after[p]:
            left[q] -= 1
            if not left[q]:
                ready.append(q)
    if len(order) != len(passes):
        raise RuntimeError(
            f"Circular dependency detected within the following passes: "
            f"{[p for p in passes if p not in order]}"
        )
    return order


class PassManager:
    """Runs passes, ``steps`` times at most or until none changes anything."""

    def __init__(
        self, passes: list[Callable] | None = None, constraints: list[Callable] | None = None,
        steps: int | None = None, run_checks_after_each_pass: bool = False,
        suppress_check_failures: bool = False,
    ):  # fmt: skip
        self.passes = list(passes or [])
        self.constraints = list(constraints or [])
        self.steps = steps if steps is not None else 1
        self.run_checks_after_each_pass = run_checks_after_each_pass
        self.suppress_check_failures = suppress_check_failures
        self._validated = False

    def add_pass(self, _pass: Callable) -> None:
        """Add a pass at the end."""
        self.passes.append(_pass)
        self._validated = False

    def add_constraint(self, constraint: Callable) -> None:
        """Add a constraint on the order."""
        self.constraints.append(constraint)
        self._validated = False

    def validate_constraints(self) -> None:
        """Raise ``RuntimeError`` if the order violates a constraint."""
        if not self._validated:
            for constraint in self.constraints:
                _holds(constraint, self.passes)
            self._validated = True

    def solve_constraints(self) -> None:
        """Put the passes in an order that the constraints allow."""
        self.passes = _sorted(self.passes, self.constraints)
        self._validated = True

    def add_checks(self, check: Callable) -> None:
        """Let a function check the module before and after the passes; raises ``TypeError`` for
        one that does not take exactly one argument."""
        parameters = list(inspect.signature(check).parameters)
        if len(parameters) != 1:
            raise TypeError("PassManager check function should only take in one variable, a module")
        self.check = check

    def check(self, module: nn.Module) -> None:
        """Nothing, until there are checks."""

    def __call__(self, module: nn.Module) -> PassResult:
        """Run the passes; raises ``Exception`` with the passes that ran before a failure."""
        if not self._validated:
            self.solve_constraints()
        self.check(module)
        changed = False
        for _ in range(self.steps):
            again = False
            for i, fn in enumerate(self.passes):
                name = getattr(fn, "__name__", type(fn).__name__)
                _logger.debug("Running pass '%s'", name)
                try:
                    result = fn(module)
                    if not isinstance(result, PassResult) and not hasattr(result, "graph_module"):
                        raise TypeError(
                            f"The result of the pass {name} should be type PassResult."
                            " Please wrap it with pass_result_wrapper()"
                        )
                    module = result.graph_module
                    again = again or result.modified
                    if self.run_checks_after_each_pass:
                        self.check(module)
                except Exception as error:
                    done = [getattr(p, "__name__", type(p).__name__) for p in self.passes[:i]]
                    text = f"An error occurred when running the '{name}' pass after the following "
                    raise Exception(f"{text}passes: {done}") from error
            changed = changed or again
            if not again:
                break
        return PassResult(module, changed)
