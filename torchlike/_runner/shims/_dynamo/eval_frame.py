"""torch._dynamo.eval_frame: the class of compiled modules."""

from torchlike.nn.modules._compiled import OptimizedModule as OptimizedModule


def is_dynamo_supported() -> bool:
    """True: ``torch.compile`` works on every machine."""
    return True
