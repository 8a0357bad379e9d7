"""torch.nn.modules.transformer: its private function that libraries use."""

from torchlike.nn.modules.transformer import _activation


def _get_activation_fn(activation: str):
    """``F.relu`` or ``F.gelu`` by name; raises ``RuntimeError`` for another name."""
    return _activation(activation)
