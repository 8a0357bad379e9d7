"""``torch.version``: what this build is, and that it was built for no GPU library in particular."""

__version__ = "0.1.0"
cuda = hip = xpu = git_version = None
debug = False

__all__ = ["cuda", "debug", "git_version", "hip", "xpu"]
