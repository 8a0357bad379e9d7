"""Where the storages of a file go: what ``map_location`` says, as the reader asks for it."""

from __future__ import annotations

from collections.abc import Callable

from torchlike._core import devices

MapLocation = Callable | devices.device | str | bytes | dict[str, str] | None


class _LoadedStorage:
    """What a ``map_location`` function gets: it says where the storage shall go."""

    def __init__(self, location: str):
        self.location = location

    def cpu(self) -> _LoadedStorage:
        """To the CPU."""
        return _LoadedStorage("cpu")

    def cuda(self, device=None, non_blocking: bool = False) -> _LoadedStorage:
        """To a GPU."""
        if device is None:
            return _LoadedStorage("cuda:0")
        return _LoadedStorage(f"cuda:{device}" if isinstance(device, int) else str(device))

    def to(self, *, device, non_blocking: bool = False) -> _LoadedStorage:
        """To any device."""
        return _LoadedStorage(str(device))

    @property
    def device(self) -> devices.device:
        """Where it is to go."""
        return devices.device(self.location)


def location_hook(map_location: MapLocation):
    """The reader's hook: (storage, location in the file) -> location."""

    def hook(storage, location: str) -> str:
        if map_location is None:
            target = location
        elif isinstance(map_location, dict):
            target = map_location.get(location, location)
        elif isinstance(map_location, (str, devices.device)):
            target = map_location
        elif isinstance(map_location, bytes):
            target = map_location.decode()
        else:
            # The file's bytes are on the CPU: a function that hands them back leaves them there.
            moved = map_location(_LoadedStorage("cpu"), location)
            target = location if moved is None else moved.location
        return str(device_of(target))

    return hook


def device_of(location) -> devices.device:
    """The device of a location; raises PyTorch's errors where this machine has none such."""
    try:
        device = devices.canonical(location)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "tpu", "meta"):
        raise RuntimeError(
            "don't know how to restore data location of torch.storage.UntypedStorage (tagged with "
            f"{location})"
        )
    if device.type in ("cuda", "tpu"):
        kind, shown = device.type, device.type.upper()
        count = devices.device_count(kind)
        if not count:
            raise RuntimeError(
                f"Attempting to deserialize object on a {shown} device but "
                f"torch.{kind}.is_available() is False. If you are running on a CPU-only machine, "
                "please use torch.load with map_location=torch.device('cpu') to map your storages "
                "to the CPU."
            )
        if device.index >= count:
            raise RuntimeError(
                f"Attempting to deserialize object on {shown} device {device.index} but "
                f"torch.{kind}.device_count() is {count}. Please use torch.load with map_location "
                "to map your storages to an existing device."
            )
    return device
