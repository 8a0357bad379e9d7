"""Reading and writing `.pt` files: the format, the place, and what is said on failure."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import pickle
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from . import options
from .archive import ZipReader, ZipWriter, corrupt, map_file
from .legacy import LegacyFile, write_legacy_to
from .pickler import Describe, Pickler, StorageTable
from .rebuild import MapLocation, ReadStorage, Rebuilder, Storages
from .records import Makers
from .unpickler import FullUnpickler, SafeUnpickler, Skimmer

File = str | os.PathLike[str] | BinaryIO
_NEWEST_VERSION = 10
_NO_EXTRA: Mapping[str, Any] = {}

# ---- writing ----------------------------------------------------------------


def write_zip(file: File, obj: object, *, describe: Describe) -> None:
    """Write `obj` as `torch.save` does.

    Args:
        file: a path, which then holds either all of the new file or what it held before; or an
            object with `write` and `flush`.
        describe: called with each object that is not a plain int, float, str, bytes, tuple, list
            or dict; returns the record of a tensor, size, dtype, ..., or None.
    """
    storages = StorageTable()
    body = Pickler(describe, storages).dumps(obj)
    with _open_to_write(file) as stream:
        archive = ZipWriter(stream, options.current.alignment)
        digest = hashlib.sha256(body)
        archive.add("archive/data.pkl", body)
        archive.add("archive/byteorder", sys.byteorder.encode())
        for key in storages.sources:
            data = storages.read(key)[1]
            digest.update(f"{key}:{len(data)};".encode())
            archive.add(f"archive/data/{key}", data)
            del data  # one storage in memory at a time
        archive.add("archive/version", b"3\n")
        identity = int.from_bytes(digest.digest()[:16], "big")
        archive.add("archive/.data/serialization_id", f"{identity:040d}".encode())
        archive.close()


def write_legacy(file: File, obj: object, *, describe: Describe) -> None:
    """Write `obj` in the format before PyTorch 1.6; arguments as in `write_zip`."""
    with _open_to_write(file) as stream:
        write_legacy_to(stream, obj, describe)


@contextlib.contextmanager
def _open_to_write(file: Any) -> Iterator[BinaryIO]:
    if not isinstance(file, (str, os.PathLike)):
        if not hasattr(file, "write"):
            raise AttributeError(
                "expected 'f' to be string, path, or a file-like object with a 'write' attribute"
            )
        yield file
        file.flush()  # who opens it by its name finds all of it
        return
    path = os.path.realpath(file)  # a link keeps pointing to the file
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    old_mode = os.stat(path).st_mode if os.path.exists(path) else None
    if old_mode is not None and not stat.S_ISREG(old_mode):
        with open(path, "wb") as stream:  # a device or pipe; a directory raises
            yield stream
        return
    if old_mode is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    beside = os.path.join(folder, f".save-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as stream:
            yield stream
        if old_mode is not None:
            os.chmod(beside, stat.S_IMODE(old_mode))
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise


# ---- reading ----------------------------------------------------------------


def read(
    file: File,
    *,
    make_tensor: Callable[..., Any],
    make_parameter: Callable[..., Any],
    make_dtype: Callable[[str], Any],
    make_device: Callable[..., Any],
    make_size: Callable[[tuple[int, ...]], Any],
    make_sparse: Callable[..., Any] | None = None,
    make_meta: Callable[..., Any] | None = None,
    make_layout: Callable[[str], Any] | None = None,
    classes: Mapping[str, type] = _NO_EXTRA,
    weights_only: bool = True,
    extra_globals: Mapping[str, Any] = _NO_EXTRA,
    map_location_hook: MapLocation | None = None,
    mmap: bool = False,
    encoding: str = "utf-8",
) -> Any:
    """Read what `torch.save` wrote, in the zip format or in the one before it.

    Args:
        file: a path, or a seekable binary file, read from where it stands.
        make_tensor, make_parameter, make_dtype, make_device, make_size, make_sparse, make_meta,
            make_layout, classes: see `Makers`.
        weights_only: refuse every name that is neither a plain value, nor torch's, nor in
            `extra_globals`. False runs what the file says: only for files that you trust.
        extra_globals: `"module.name"` to the object that takes its place.
        map_location_hook: `(storage, location) -> location`, called once for each storage before
            its first tensor is made; None keeps the location of the file.
        mmap: leave the storages in the file (a path, zip format) until they are used.
        encoding: of the strings in files of Python 2.

    Raises:
        pickle.UnpicklingError: a name that is not allowed, or a pickle that is corrupt.
        RuntimeError: an archive that is corrupt, or has what is not supported.
        EOFError: a file that ends too early.
    """
    makers = Makers(
        make_tensor, make_parameter, make_dtype, make_device, make_size, make_sparse, make_meta,
        classes, make_layout,
    )  # fmt: skip

    def unpickle(stream: BinaryIO, end: int, read_storage: ReadStorage) -> Any:
        parts: dict[str, Any] = {
            "rebuilder": Rebuilder(makers),
            "storages": Storages(read_storage, map_location_hook),
            "extra_globals": extra_globals,
            "encoding": encoding,
        }
        if weights_only:
            return SafeUnpickler(stream, end, **parts).load()
        return FullUnpickler(stream, **parts).load()

    with _open_to_read(file) as stream:
        start = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(start)
        first = stream.read(4)
        stream.seek(start)
        if not first:
            raise EOFError("Ran out of input: the file is empty")
        try:
            if first == b"PK\3\4":
                return _read_zip(file, stream, mmap, unpickle)
            if mmap:
                raise RuntimeError(
                    "mmap can only be used with files saved with "
                    "`torch.save(_use_new_zipfile_serialization=True)`; save the file again"
                )
            _refuse_tar(stream, start)
            old = LegacyFile(stream, end, encoding=encoding)
            stream.seek(old.pickle_start)
            result = unpickle(stream, end, old.storage)
            stream.seek(old.file_end)
            return result
        except pickle.UnpicklingError as error:
            if not weights_only:
                raise
            raise pickle.UnpicklingError(_weights_only_message(str(error))) from None


def unsafe_names(file: File, extra_globals: Mapping[str, Any]) -> list[str]:
    """The names in a file that a safe load would refuse; raises ``ValueError`` for an old file."""
    with _open_to_read(file) as stream:
        start = stream.tell()
        first = stream.read(4)
        stream.seek(start)
        if first != b"PK\3\4":
            raise ValueError("Expected input to be a checkpoint returned by torch.save")
        body = ZipReader(stream).read("data.pkl").tobytes()
    judge = SafeUnpickler(
        io.BytesIO(body), len(body), rebuilder=Rebuilder(Makers(*[None] * 6)),
        storages=None, extra_globals=extra_globals, encoding="utf-8",
    )  # fmt: skip
    return Skimmer(io.BytesIO(body), len(body), encoding="utf-8").unsafe_names(judge)


def _read_zip(
    file: File,
    stream: BinaryIO,
    mmap: bool,
    unpickle: Callable[[BinaryIO, int, ReadStorage], Any],
) -> Any:
    archive = ZipReader(stream)
    if "constants.pkl" in archive:
        raise RuntimeError(
            "the file is a TorchScript archive, which holds a program; load it with PyTorch and "
            "save its state_dict()"
        )
    _check_version(archive)
    swapped = _byte_order(archive) != sys.byteorder
    whole = None
    if mmap:
        if not isinstance(file, (str, os.PathLike)):
            raise ValueError("f must be a file path in order to use the mmap argument")
        whole = map_file(file)

    def read_storage(key: str, dtype: np.dtype, numel: int) -> np.ndarray:
        name, nbytes = f"data/{key}", numel * dtype.itemsize
        data = archive.read(name, nbytes) if whole is None else archive.map(name, nbytes, whole)
        data = data.view(dtype)
        return _swap_bytes(data) if swapped else data

    body = archive.read("data.pkl").tobytes()
    return unpickle(io.BytesIO(body), len(body), read_storage)


def _check_version(archive: ZipReader) -> None:
    name = "version" if "version" in archive else ".data/version"
    text = archive.read(name).tobytes()[:20].strip()
    if not text.isdigit() or int(text) > _NEWEST_VERSION:
        raise corrupt(f"its version is {text!r}, and at most {_NEWEST_VERSION} is known")


def _byte_order(archive: ZipReader) -> str:
    if "byteorder" not in archive:
        default = options.current.endianness or options.LoadEndianness.LITTLE
        return sys.byteorder if default.name == "NATIVE" else default.name.lower()
    order = archive.read("byteorder").tobytes()
    if order not in (b"little", b"big"):
        raise ValueError(f"Unknown endianness type: {order[:20]!r}")
    return order.decode()


def _swap_bytes(data: np.ndarray) -> np.ndarray:
    # Each half of a complex number is swapped for itself; bfloat16 has no swap of its own.
    size = data.dtype.itemsize // (2 if data.dtype.kind == "c" else 1)
    return data.view(f"u{size}").byteswap().view(data.dtype)


def _refuse_tar(stream: BinaryIO, start: int) -> None:
    stream.seek(start + 257)
    is_tar = stream.read(5) == b"ustar"
    stream.seek(start)
    if is_tar:
        raise RuntimeError(
            "files in PyTorch's .tar format (before 0.2) are not supported; load and save the file "
            "with a newer PyTorch"
        )


@contextlib.contextmanager
def _open_to_read(file: Any) -> Iterator[BinaryIO]:
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream:
            yield stream
        return
    if not all(hasattr(file, name) for name in ("read", "readline", "seek", "tell")):
        raise AttributeError(
            "You can only torch.load from a file that is seekable, with read, readline, seek and "
            "tell. Please pre-load the data into a buffer like io.BytesIO and try to load from it "
            "instead."
        )
    yield file


def _weights_only_message(message: str) -> str:
    trust = (
        "Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it "
        "can result in arbitrary code execution. Do it only if you got the file from a trusted "
        "source."
    )
    if "was not an allowed global by default" in message:
        return (
            "Weights only load failed. This file can still be loaded, to do so you have two "
            f"options, do those steps only if you trust the source of the checkpoint.\n\t(1) "
            f"{trust}\n\t(2) Alternatively, to load with `weights_only=True` please check the "
            "recommended steps in the following error message.\n\tWeightsUnpickler error: "
            f"{message}"
        )
    return f"Weights only load failed. {trust}\nWeightsUnpickler error: {message}"
