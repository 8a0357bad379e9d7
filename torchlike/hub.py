"""torch.hub: models that a directory's or a repository's ``hubconf.py`` offers, and files by URL.

What is on GitHub is fetched with urllib; every wait on the network ends after ``TIMEOUT`` seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from torchlike import serialization as _serialization

__all__ = [
    "download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url",
    "set_dir",
]  # fmt: skip

TIMEOUT = 30.0
_TRUSTED_OWNERS = ("facebookresearch", "facebookincubator", "pytorch", "fairinternal")
_HASH = re.compile(r"-([a-f0-9]*)\.")
_chosen: str | None = None


def _home() -> str:
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """Where downloads are kept: what was set, or ``$TORCH_HOME/hub``, or ``~/.cache/torch/hub``."""
    if os.getenv("TORCH_HUB"):
        warnings.warn("TORCH_HUB is deprecated, please use env TORCH_HOME instead", stacklevel=2)
    return os.path.join(_home(), "hub") if _chosen is None else _chosen


def set_dir(d: str | os.PathLike) -> None:
    """Set where downloads are kept."""
    global _chosen
    _chosen = os.path.expanduser(d)


# ---- repositories ------------------------------------------------------------------------------


def _split(github: str) -> tuple:
    """(owner, name, ref or None) of ``owner/name[:ref]``."""
    repo, _, ref = github.partition(":")
    parts = repo.split("/")
    if len(parts) != 2 or not all(re.fullmatch(r"[\w.-]+", p) for p in parts):
        raise ValueError(f"{github!r} is not of the form 'repo_owner/repo_name[:ref]'")
    if ref and not re.fullmatch(r"[\w./-]+", ref):
        raise ValueError(f"{ref!r} is no name of a tag or a branch")
    return *parts, ref or None


def _fetched(github: str, force: bool, trust_repo, calling: str, verbose=True) -> str:
    """The directory of a repository, downloaded unless it is there already."""
    owner, name, ref = _split(github)
    base = Path(get_dir())
    refs = (ref,) if ref else ("main", "master")
    if not force:
        for r in refs:
            found = base / "_".join((owner, name, r.replace("/", "_")))
            if found.is_dir():
                if verbose:
                    sys.stderr.write(f"Using cache found in {found}\n")
                _check_trust(base, owner, name, trust_repo, calling)
                return str(found)
    _check_trust(base, owner, name, trust_repo, calling)
    base.mkdir(parents=True, exist_ok=True)
    for i, r in enumerate(refs):
        target = base / "_".join((owner, name, r.replace("/", "_")))
        url = f"https://github.com/{owner}/{name}/zipball/{r}"
        sys.stderr.write(f'Downloading: "{url}" to {target}\n')
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            archive = os.path.join(scratch, "repository.zip")
            try:
                download_url_to_file(url, archive, progress=False)
            except HTTPError as error:
                if error.code == 404 and i + 1 < len(refs):
                    continue
                raise
            except (URLError, TimeoutError) as error:
                raise RuntimeError(
                    "It looks like there is no internet connection and the repo could not be found "
                    f"in the cache ({base})"
                ) from error
            with zipfile.ZipFile(archive) as z:
                top = z.infolist()[0].filename.split("/")[0]
                z.extractall(scratch)
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(os.path.join(scratch, top), target)
            return str(target)
    raise RuntimeError(f"no branch of {github!r} could be downloaded")


def _check_trust(base: Path, owner: str, name: str, trust_repo, calling: str) -> None:
    """Run nobody's code without being told to: raises unless the repository is trusted."""
    if trust_repo not in (True, False, None, "check"):
        raise ValueError(f"trust_repo must be True, False or 'check', but got {trust_repo!r}")
    listed = base / "trusted_list"
    known = listed.read_text().split() if listed.is_file() else []
    entry = f"{owner}_{name}"
    if trust_repo is not True:
        if trust_repo != False and (entry in known or owner in _TRUSTED_OWNERS):  # noqa: E712
            return
        if not (sys.stdin and sys.stdin.isatty()):
            raise RuntimeError(
                f"The repository {owner}/{name} does not belong to the list of trusted "
                f"repositories and as such cannot be downloaded: {calling}(..., trust_repo=True) "
                "trusts it"
            )
        answer = input(
            f"The repository {owner}/{name} is not trusted. Do you want to run its code? (y/N) "
        )
        if answer.lower() not in ("y", "yes"):
            raise Exception("Untrusted repository.")
    if entry not in known:
        base.mkdir(parents=True, exist_ok=True)
        with listed.open("a") as file:
            file.write(entry + "\n")


@contextlib.contextmanager
def _on_path(directory: str):
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


def _hubconf(directory: str):
    """The module ``hubconf.py`` of a directory, which may import what lies beside it."""
    path = os.path.join(directory, "hubconf.py")
    with open(path):  # raises FileNotFoundError in plain words
        pass
    spec = importlib.util.spec_from_file_location("hubconf", path)
    module = importlib.util.module_from_spec(spec)
    with _on_path(directory):
        spec.loader.exec_module(module)
    missing = [
        name for name in getattr(module, "dependencies", ())
        if name != "torch" and name not in sys.modules and importlib.util.find_spec(name) is None
    ]  # fmt: skip
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return module


def _entry(module, name):
    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    found = getattr(module, name, None)
    if not callable(found):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found


def load(
    repo_or_dir, model, *args, source="github", trust_repo="check", force_reload=False,
    verbose=True, skip_validation=False, **kwargs,
):  # fmt: skip
    """Call an entry of the ``hubconf.py`` of a directory (``source="local"``) or of a repository on
    GitHub (https://pytorch.org/docs/stable/hub.html#torch.hub.load).

    The file's ``import torch`` finds torchlike after ``torchlike.install()``.
    """
    source = source.lower()
    if source not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source == "github":
        repo_or_dir = _fetched(repo_or_dir, force_reload, trust_repo, "load", verbose)
    with _on_path(os.fspath(repo_or_dir)):
        return _entry(_hubconf(os.fspath(repo_or_dir)), model)(*args, **kwargs)


def list(github, force_reload=False, skip_validation=False, trust_repo="check", verbose=True):
    """The names of the entries of a repository's ``hubconf.py``; a directory works too."""
    module = _hubconf(_place(github, force_reload, trust_repo, "list", verbose))
    return [n for n in dir(module) if callable(getattr(module, n)) and not n.startswith("_")]


def help(github, model, force_reload=False, skip_validation=False, trust_repo="check"):
    """The docstring of an entry of a repository's ``hubconf.py``; a directory works too."""
    module = _hubconf(_place(github, force_reload, trust_repo, "help", True))
    return _entry(module, model).__doc__


def _place(github, force_reload, trust_repo, calling, verbose) -> str:
    if os.path.isfile(os.path.join(github, "hubconf.py")):
        return os.fspath(github)
    return _fetched(github, force_reload, trust_repo, calling, verbose)


# ---- files -------------------------------------------------------------------------------------


def download_url_to_file(
    url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Write what a URL names to a file; raises ``RuntimeError`` if its SHA-256 does not begin with
    ``hash_prefix`` (https://pytorch.org/docs/stable/hub.html#torch.hub.download_url_to_file)."""
    dst = os.path.expanduser(dst)
    partial = f"{dst}.{os.urandom(8).hex()}.partial"
    digest, done = hashlib.sha256(), 0
    try:
        request = Request(url, headers={"User-Agent": "torch.hub"})
        with urlopen(request, timeout=TIMEOUT) as source, open(partial, "wb") as file:
            total = int(source.headers.get("Content-Length") or 0)
            while chunk := source.read(1 << 17):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress and sys.stderr.isatty():
                    sys.stderr.write(f"\r{done}/{total or '?'} bytes")
        if progress and sys.stderr.isatty():
            sys.stderr.write("\n")
        found = digest.hexdigest()
        if hash_prefix is not None and found[: len(hash_prefix)] != hash_prefix:
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{found}")')
        shutil.move(partial, dst)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def load_state_dict_from_url(
    url: str, model_dir: str | None = None, map_location=None, progress: bool = True,
    check_hash: bool = False, file_name: str | None = None, weights_only: bool = False,
) -> dict:  # fmt: skip
    """``torch.load`` of what a URL names, downloaded unless it is in ``model_dir`` already
    (https://pytorch.org/docs/stable/hub.html#torch.hub.load_state_dict_from_url)."""
    model_dir = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(model_dir, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(model_dir, name)
    if not os.path.exists(path):
        sys.stderr.write(f'Downloading: "{url}" to {path}\n')
        found = _HASH.search(name) if check_hash else None
        download_url_to_file(url, path, found[1] if found else None, progress=progress)
    return _serialization.load(path, map_location=map_location, weights_only=weights_only)
