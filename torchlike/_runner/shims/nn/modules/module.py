"""torch.nn.modules.module: its private names that libraries use."""

from torchlike.nn.modules._hooks import WrappedHook as _WrappedHook  # noqa: F401

_EXTRA_STATE_KEY_SUFFIX = "_extra_state"
