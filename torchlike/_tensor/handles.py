"""Handles of hooks, with which they are taken off again."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict


class Hooks(dict):
    """{number: hook} of a tensor or a node; its handles do not keep it."""

    __slots__ = ("__weakref__",)


class RemovableHandle:
    """Takes a hook off again; also a context manager that does so at its end."""

    _numbers = itertools.count()

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = next(RemovableHandle._numbers)
        extra = [extra_dict] if isinstance(extra_dict, dict) else extra_dict or []
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extra)

    def remove(self) -> None:
        """Take the hook off; a second call does nothing."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self):
        return self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref)

    def __setstate__(self, state):
        hooks, self.id, extra = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extra)
        following = next(RemovableHandle._numbers)
        RemovableHandle._numbers = itertools.count(max(following, self.id + 1))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


RemovableHandle.__module__ = "torchlike.utils.hooks"  # its public place, which stands above


def hold(hooks, hook) -> RemovableHandle:
    """Put a hook into a dict, under the number of the handle that takes it off."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle
