"""torch.onnx: what modules ask while they run; there is no exporter that would run them."""


def is_in_onnx_export() -> bool:
    """False: nothing is being exported."""
    return False
