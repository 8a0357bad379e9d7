"""Where PyTorch keeps `collate` and `default_collate_fn_map`, which its users extend."""

from torchlike.utils.data import collate as collate
