"""torch.hub: what else libraries take from it."""

import re
from urllib.parse import urlparse as urlparse

from torchlike.hub import _home

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
READ_DATA_CHUNK = 128 * 1024


def _get_torch_home() -> str:
    """The folder of what is downloaded, ``$TORCH_HOME`` or ``~/.cache/torch``."""
    return _home()
