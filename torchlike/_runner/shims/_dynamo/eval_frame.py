"""torch._dynamo.eval_frame: the class of PyTorch's compiled modules."""

from torchlike.nn import Module


def is_dynamo_supported() -> bool:
    """True: ``torch.compile`` works on every machine."""
    return True


class OptimizedModule(Module):
    """A module that ``torch.compile`` of PyTorch made; no module here is one."""
