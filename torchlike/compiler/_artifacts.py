"""save_cache_artifacts and load_cache_artifacts: the folder of compiled programs as bytes."""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile
import zipfile

import jax

from torchlike._core import errors
from torchlike._engine import stored
from torchlike.compiler import _controls

_KINDS = ("-cache", stored.SUFFIX)  # JAX's files, and ours


@dataclasses.dataclass
class CacheInfo:
    """What some artifacts hold: {kind: names}, of the one kind "xla"."""

    artifacts: dict[str, list[str]]


def _folder() -> str | None:
    return jax.config.jax_compilation_cache_dir or None


def save_cache_artifacts() -> tuple[bytes, CacheInfo] | None:
    """(bytes, CacheInfo) of all programs in the persistent cache; None if there are none yet
    (https://pytorch.org/docs/stable/generated/torch.compiler.save_cache_artifacts.html).

    Raises ``NotSupported`` while that cache is off: programs compiled without it are not kept.
    """
    folder = _folder()
    if folder is None:
        raise errors.NotSupported(
            "torch.compiler.save_cache_artifacts without a persistent cache",
            "call torch.compiler.persistent_cache(folder) before compiling",
        )
    names = sorted(n for n in os.listdir(folder) if n.endswith(_KINDS))
    if not names:
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name in names:
            out.write(os.path.join(folder, name), name)
    return buffer.getvalue(), CacheInfo({"xla": names})


def load_cache_artifacts(serialized_artifacts: bytes) -> CacheInfo | None:
    """Put programs into the persistent cache, which is switched on if it is off
    (https://pytorch.org/docs/stable/generated/torch.compiler.load_cache_artifacts.html).

    They are machine code: load only what you trust. Raises ``RuntimeError`` for other bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(serialized_artifacts)) as file:
            found = {n: file.read(n) for n in file.namelist()}
    except zipfile.BadZipFile as error:
        raise RuntimeError(f"these are no cache artifacts: {error}") from error
    if any(os.path.basename(n) != n or not n.endswith(_KINDS) for n in found):
        raise RuntimeError("these are no cache artifacts: they have other names")
    folder = _folder() or _controls.persistent_cache()
    for name, data in found.items():
        path = os.path.join(folder, name)
        if os.path.exists(path):
            continue
        handle, beside = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        os.replace(beside, path)
    return CacheInfo({"xla": sorted(found)}) if found else None
