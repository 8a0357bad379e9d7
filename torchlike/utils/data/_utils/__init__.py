"""Private to PyTorch, but used: `collate` with a map of one's own is imported from here."""

from torchlike.utils.data._utils import collate as collate
