"""DistributedDataParallel: one process a device."""

from __future__ import annotations

from torchlike.nn.modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """Raises ``ValueError``, as PyTorch's does where no process group was initialised
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html)."""

    def __init__(
        self, module, device_ids=None, output_device=None, dim=0, broadcast_buffers=None,
        init_sync=True, process_group=None, bucket_cap_mb=None, find_unused_parameters=False,
        check_reduction=False, gradient_as_bucket_view=False, static_graph=False,
        delay_all_reduce_named_params=None, param_to_hook_all_reduce=None, mixed_precision=None,
        device_mesh=None, skip_all_reduce_unused_params=False, bucket_cap_mb_list=None,
        batched_grad_copy=False, forward_sync_buffers=None,
    ):  # fmt: skip
        super().__init__()
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )
