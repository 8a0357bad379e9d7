"""The hooks around an optimizer's step."""

from __future__ import annotations

import functools

_NONE: dict = {}


def with_hooks(step):
    """A step with the hooks around it; the steps that it calls in turn are parts of it."""

    @functools.wraps(step)
    def hooked(self, *args, **kwargs):
        own = self.__dict__.get  # who stands in for an optimizer may not have called __init__
        before = self._global_pre_hooks, own("_pre_hooks", _NONE)
        after = own("_post_hooks", _NONE), self._global_post_hooks
        if self._stepping or not (before[0] or before[1] or after[0] or after[1]):
            return step(self, *args, **kwargs)
        args = (self, *args)
        for hook in [hook for hooks in before for hook in hooks.values()]:
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"{step} must return None or a tuple of (new_args, new_kwargs), but got "
                        f"{changed}."
                    )
                args, kwargs = changed
        self._stepping = True
        try:
            out = step(*args, **kwargs)
        finally:
            self._stepping = False
        for hooks in after:
            for hook in tuple(hooks.values()):
                hook(self, args, kwargs)
        return out

    return hooked
