"""torch.nn.modules.module: its private names that libraries use."""

from torchlike.nn.modules import _hooks

_EXTRA_STATE_KEY_SUFFIX = "_extra_state"
_WrappedHook = _hooks.WrappedHook
_global_buffer_registration_hooks = _hooks.GLOBAL_BUFFER
_global_module_registration_hooks = _hooks.GLOBAL_MODULE
_global_parameter_registration_hooks = _hooks.GLOBAL_PARAMETER
