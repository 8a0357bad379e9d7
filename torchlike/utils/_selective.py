"""Selective checkpointing: the user says op by op what is kept and what is computed again."""

from __future__ import annotations

import enum
from collections import defaultdict, deque

from torchlike._core.errors import NotSupported
from torchlike._tensor import watching
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import modes

SAC_IGNORED_OPS: set = set()  # no op here answers questions about shapes


class CheckpointPolicy(enum.Enum):
    """What is done with the results of an op."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


CheckpointPolicy.__module__ = "torchlike.utils.checkpoint"
_SAVE = (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)
_OFFLOAD = (CheckpointPolicy.MUST_CPU_OFFLOAD, CheckpointPolicy.PREFER_CPU_OFFLOAD)


class SelectiveCheckpointContext:
    """What a policy function is told: whether this is the second run, and the op's result."""

    def __init__(self, *, is_recompute, op_output=None) -> None:
        self.is_recompute, self.op_output = is_recompute, op_output


SelectiveCheckpointContext.__module__ = "torchlike.utils.checkpoint"


class _Context:
    """One of the two runs: asks the policy at each op, and keeps or reuses its results."""

    def __init__(self, policy, kept: dict, is_recompute: bool):
        self.policy, self.kept, self.is_recompute = policy, kept, is_recompute
        self.before: list = []

    def __enter__(self):
        self.before.append(modes.around)
        modes.around = self.call
        watching.begin()

    def __exit__(self, *exc):
        modes.around = self.before.pop()
        watching.end()

    def call(self, op, operands, statics):
        """Call an op, with the results that it had the first time if the policy kept them."""
        inner = self.before[-1] or watching.plain
        out = inner(op, operands, statics)
        if op.view:
            return out
        context = SelectiveCheckpointContext(is_recompute=self.is_recompute, op_output=out)
        around, modes.around = modes.around, None
        try:
            verdict = self.policy(context, FUNCTIONS.get(op.name, op), *operands, *statics)
        finally:
            modes.around = around
        if isinstance(verdict, bool):
            verdict = _SAVE[0] if verdict else CheckpointPolicy.PREFER_RECOMPUTE
        if verdict in _OFFLOAD:
            raise NotSupported(
                "CheckpointPolicy.MUST_CPU_OFFLOAD and PREFER_CPU_OFFLOAD",
                "use MUST_SAVE, or torch.autograd.graph.save_on_cpu",
            )
        if verdict in _SAVE:
            self._swap(op, out if isinstance(out, tuple) else (out,))
        return out

    def _swap(self, op, results) -> None:
        if not self.is_recompute:
            self.kept[op].append([value_of(t) for t in results])
            return
        if not self.kept[op]:
            raise RuntimeError(
                "Trying to backward an extra time. You are only allowed to backward once on any "
                "region computed under selective activation checkpoint."
            )
        # The call just recorded has no reader then, and XLA drops it.
        for i, (t, value) in enumerate(zip(results, self.kept[op].popleft(), strict=True)):
            t._value = value
            if t._node is not None and t._node.results is not None:
                t._node.results = [*t._node.results[:i], value, *t._node.results[i + 1 :]]


def _name(f) -> str:
    return getattr(f, "__name__", str(f)).rpartition("::")[2].partition(".")[0]


def create_selective_checkpoint_contexts(policy_fn_or_list, allow_cache_entry_mutation=False):
    """The two contexts for ``checkpoint(context_fn=...)`` by a policy function or a list of ops
    (https://pytorch.org/docs/stable/checkpoint.html).

    Ops are functions of torch here (``torch.matmul``), as they are called: ``linear`` is one op.
    Results are immutable, so ``allow_cache_entry_mutation`` holds either way.
    """
    if isinstance(policy_fn_or_list, list):
        for f in policy_fn_or_list:
            if not (callable(f) or isinstance(f, str)):
                raise ValueError(
                    "Expected op in `op_list` to be a function of torch or its name, but got: "
                    f"{f} of type {type(f)}."
                )
        names = {_name(f) for f in policy_fn_or_list}
        if "matmul" in names:  # calls these by the number of dimensions
            names |= {"dot", "mm", "mv"}

        def policy(ctx, op, *args, **kwargs):
            return _SAVE[0] if _name(op) in names else CheckpointPolicy.PREFER_RECOMPUTE

    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    kept: dict = defaultdict(deque)
    return _Context(policy, kept, False), _Context(policy, kept, True)
