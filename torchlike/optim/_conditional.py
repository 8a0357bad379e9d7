"""An optimizer's step that a tensor decides about, for recordings: they may ask for no value."""

from __future__ import annotations

from torchlike._core.errors import user_line
from torchlike._engine.prefix import local
from torchlike._tensor.dispatch import value_of, wrap
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor
from torchlike._tensor.views import replay
from torchlike.optim._rebinding import rebind_all

_where = FUNCTIONS["where"]


class Conditional:
    """What optimizers add to their step for ``amp.GradScaler``."""

    def _step_unless(self, skip: Tensor) -> bool:
        """Make the step, leaving parameters and states what they were if ``skip`` is true.

        False, and nothing done, where the value of ``skip`` has to be asked for: see
        ``_can_decide``. States that are not there yet are made, even if the step is skipped.
        """
        if not self._can_decide():
            return False
        changed: dict[int, Tensor] = {}
        # (state of a parameter, name, tensor, its value unless it is a view, its base, its chain)
        entries: list = []
        state = self.__dict__["state"]
        for group in self.param_groups:
            params = _stepped(group)
            self.prepare(group, params, self.flags(group))
            states = [
                (slot, name, x)
                for slot in map(state.get, params) for name, x in (slot or {}).items()
                if isinstance(x, Tensor)
            ]  # fmt: skip
            entries += [
                (*at, x, None if x._base is not None else wrap(value_of(x)), x._base, x._chain)
                for *at, x in states
            ]
            for t in (*params, *[x if x._base is None else x._base for *_, x in states]):
                changed[id(t)] = t
        tensors = list(changed.values())
        before = [wrap(value_of(t)) for t in tensors]  # immutable: they stay what they are
        self.step()
        # A parameter without gradient leaves those whose states or counts it shared.
        moved = {}
        for slot, name, x, value, base, chain in entries:
            now = slot[name]
            if now is not x or now._base is not base:
                old = (wrap(value_of(base)), chain) if value is None else (value, ())
                moved[id(now)] = now, *old
        with no_grad():
            tensors += [t for t, *_ in moved.values()]
            before += [replay(old, chain) for _, old, chain in moved.values()]
        line = user_line()
        after, kept = [wrap(value_of(t)) for t in tensors], []
        known: dict[tuple, Tensor] = {}  # step counts share what they were, and what they are
        with no_grad():
            for old, new in zip(before, after, strict=True):
                pair = id(old._value), id(new._value)
                if pair not in known:
                    known[pair] = _where(skip, old, new)
                kept.append(known[pair]._value)
        rebind_all(tensors, kept, line)
        return True

    def _can_decide(self) -> bool:
        """Whether a call is being recorded, and nobody else takes part in the step.

        Hooks and a step of the user's own run only if the step is made; and where a rule's first
        step is another one, a skipped one must not count as it.
        """
        if local.capture is None or not self.rule:
            return False
        wrapped = vars(self).get("step")
        if type(self).step.__qualname__ != "Optimizer.step" or (
            wrapped is not None and not hasattr(wrapped, "_wrapped_by_lr_sched")
        ):
            return False
        hooks = self._pre_hooks, self._post_hooks, self._global_pre_hooks, self._global_post_hooks
        groups = self.param_groups
        if any(hooks) or any(p._grad._sparse for group in groups for p in _stepped(group)):
            return False
        return not any(
            group.get("differentiable") or self.flags(group).get("first") is not None
            for group in groups
        )


def _stepped(group: dict) -> list[Tensor]:
    return [p for p in group["params"] if p._grad is not None]
