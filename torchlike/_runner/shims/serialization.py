"""torch.serialization: the numbers of the file format, and the type of ``map_location``."""

from collections.abc import Callable
from typing import TypeAlias

from torchlike import device

MAP_LOCATION: TypeAlias = Callable | device | str | dict[str, str] | None

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
DEFAULT_PROTOCOL = 2
STORAGE_KEY_SEPARATOR = ","
