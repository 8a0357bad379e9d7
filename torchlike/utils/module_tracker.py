"""torch.utils.module_tracker: the names of the modules that are running
(https://pytorch.org/docs/stable/module_tracker.html)."""

from __future__ import annotations

from torchlike._tensor.backward import queue_callback
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.autograd.graph import register_multi_grad_hook
from torchlike.func import trees
from torchlike.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torchlike.utils._observer import name_of

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """Context whose ``parents`` holds the names of the modules whose forward or backward is under
    way: "Global", the class of the outermost one, and from there "Class.child.grandchild"."""

    def __init__(self) -> None:
        self.parents: set[str] = {"Global"}
        self._names: dict = {}  # of the modules seen, which are kept so that ids stay theirs

    @property
    def is_bw(self) -> bool:
        """Whether a backward is running."""
        return modes.walk is not None

    def __enter__(self):
        self._hooks = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(self, *exc):
        for hook in self._hooks:
            hook.remove()
        self.parents = {"Global"}

    def _enter(self, module, args):
        name = name_of(module, self._names)
        self.parents.add(name)
        self._at_backward(args, lambda _: self.parents.discard(name))

    def _leave(self, module, args, output):
        name = self._names[id(module)][0]
        self.parents.discard(name)
        self._at_backward(output, lambda _: self._enter_again(name))

    def _enter_again(self, name):
        queue_callback(self._end_backward)
        self.parents.add(name)

    def _end_backward(self):
        self.parents = {"Global"}

    def _at_backward(self, values, call):
        """Call when the gradients of the tensors among these have come."""
        tensors = [t for t in trees.flatten(values)[0] if isinstance(t, Tensor) and t.requires_grad]
        if tensors and modes.grad:
            register_multi_grad_hook(tensors, call)
