"""torchaudio: its names, as stand-ins that raise when they are used; nothing of it is here yet."""

__version__ = "2.11.0"
