"""torchvision.datasets.utils: files that are checked, fetched and unpacked.

Every wait on the network ends after ``hub.TIMEOUT`` seconds.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile

from torchlike import hub

_OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def calculate_md5(fpath, chunk_size: int = 1 << 20) -> str:
    """A file's MD5, in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(fpath, "rb") as file:
        while chunk := file.read(chunk_size):
            digest.update(chunk)
    return digest.hexdigest()


def check_md5(fpath, md5: str, **kwargs) -> bool:
    """Whether that is a file's MD5."""
    return md5 == calculate_md5(fpath, **kwargs)


def check_integrity(fpath, md5: str | None = None) -> bool:
    """Whether there is such a file, with this MD5 if one is given."""
    return os.path.isfile(fpath) and (md5 is None or check_md5(fpath, md5))


def download_url(url: str, root, filename=None, md5=None, max_redirect_hops: int = 3) -> None:
    """Fetch a file into a directory unless it is there.

    Raises ``URLError`` where it cannot be had and ``RuntimeError`` if its MD5 is another.
    """
    root = os.path.expanduser(root)
    path = os.path.join(root, filename or os.path.basename(url))
    os.makedirs(root, exist_ok=True)
    if check_integrity(path, md5):
        return
    hub.download_url_to_file(url, path)
    if not check_integrity(path, md5):
        raise RuntimeError("File not found or corrupted.")


def open_packed(path):
    """A file as bytes, unpacked if its name ends in .gz, .xz or .bz2."""
    return _OPENERS.get(os.path.splitext(path)[1], open)(path, "rb")


def extract_archive(from_path, to_path=None, remove_finished: bool = False):
    """Unpack a tar or zip archive, or a packed file; gives the directory or the file."""
    from_path = os.fspath(from_path)
    to_path = os.path.dirname(from_path) if to_path is None else os.fspath(to_path)
    stem, ending = os.path.splitext(from_path)
    made = to_path
    if ending == ".zip":
        with zipfile.ZipFile(from_path) as archive:
            archive.extractall(to_path)
    elif ending in (".tar", ".tgz", ".tbz", ".tbz2") or stem.endswith(".tar"):
        with tarfile.open(from_path) as archive:
            archive.extractall(to_path, filter="data")
    elif ending in _OPENERS:
        made = os.path.join(to_path, os.path.basename(stem))
        with open_packed(from_path) as source, open(made, "wb") as file:
            shutil.copyfileobj(source, file)
    else:
        raise RuntimeError(f"File '{from_path}' has no suffixes that could be used to detect the "
                           "archive type and compression.")  # fmt: skip
    if remove_finished:
        os.remove(from_path)
    return made


def download_and_extract_archive(
    url: str, download_root, extract_root=None, filename=None, md5=None, remove_finished=False
) -> None:
    """``download_url`` and ``extract_archive``."""
    download_root = os.path.expanduser(download_root)
    filename = filename or os.path.basename(url)
    download_url(url, download_root, filename, md5)
    archive = os.path.join(download_root, filename)
    extract_archive(archive, extract_root or download_root, remove_finished)


def verify_str_arg(value, arg=None, valid_values=None, custom_msg=None) -> str:
    """A string among those allowed; raises ``ValueError`` for another."""
    named = f" for argument {arg}" if arg is not None else ""
    if not isinstance(value, str):
        raise ValueError(f"Expected type str{named}, but got type {type(value)}.")
    if valid_values is not None and value not in valid_values:
        known = "', '".join(valid_values)
        raise ValueError(
            custom_msg or f"Unknown value '{value}'{named}. Valid values are {{'{known}'}}."
        )
    return value
