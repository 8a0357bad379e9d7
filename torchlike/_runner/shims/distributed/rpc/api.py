"""torch.distributed.rpc.api: how functions are marked that need other processes."""

from __future__ import annotations

import functools


def _require_initialized(func):
    """``func`` that raises ``RuntimeError``: no other process was ever joined."""

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        raise RuntimeError(
            "RPC has not been initialized. Call torch.distributed.rpc.init_rpc first."
        )

    return wrapped
