"""Files of exported programs: one zip with the programs, the weights, and what is known of both."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib

import jax

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike.export import _specs, _weights
from torchlike.export._call import Leaf, Runner
from torchlike.export._state import State
from torchlike.export._symbols import Condition, Open
from torchlike.export._trace import Loaded, Lowered, Program, log, lowered_for_all
from torchlike.export.graph_signature import InputKind
from torchlike.nn.parameter import Parameter

FORMAT, VERSION = "torchlike program", 1
_META, _WEIGHTS, _EXTRA = "meta.json", "weights.safetensors", "extra/"


# ---- one program -------------------------------------------------------------------------------


def _constant(x):
    return {"complex": [x.real, x.imag]} if isinstance(x, complex) else x


def _from_constant(x):
    return complex(*x["complex"]) if isinstance(x, dict) else x


def _described(runner: Runner) -> tuple[dict, dict]:
    """(what JSON holds of a program, {name of its files: bytes})."""
    program = runner.program
    _require_flatbuffers()
    forward, why = lowered_for_all(program.forward)
    if why is not None:
        log.warning(
            "the saved program runs on %s only: %s", ", ".join(forward.platforms), why
        )  # fmt: skip
    files = {"forward": bytes(forward.serialize())}
    backward = program.backward
    if isinstance(backward, (Lowered, Loaded)):
        files["backward"] = bytes(lowered_for_all(backward)[0].serialize())
        backward = True
    alone = {n: wanted for n, (_, wanted) in program.alone.items()}
    for n in alone:
        one = lowered_for_all(program.alone[n][0])[0]
        files[f"backward_{n}"] = bytes(one.serialize())
    return {
        "name": runner.op.name,
        "state": runner.state,
        "leaves": [
            [x.path, x.shape, x.dtype and x.dtype.name, _constant(x.constant)]
            for x in runner.leaves
        ],
        "in_spec": _specs.as_json(runner.in_spec),
        "out_spec": _specs.as_json(runner.out_spec),
        "outputs": [[kind, _constant(what)] for kind, what in program.outputs],
        "changed": program.changed,
        "requires": list(program.requires),
        "wanted": list(program.wanted),
        "alone": list(alone.items()),
        "floats": list(program.floats),
        "first": program.first,
        "shapes": program.shapes,
        "results": [[shape, d.name] for shape, d in program.results],
        "open": [[o.name, o.kind, o.example, o.low, o.high, o.place] for o in program.opened],
        "conditions": [c.as_list() for c in program.conditions],
        "backward_conditions": [c.as_list() for c in program.backward_conditions],
        "draws": program.draws,
        "checks": program.checks,
        "backward": backward,
        "platforms": list(forward.platforms),
        "calling_convention": forward.calling_convention_version,
    }, files


def _conditions(rows) -> list:
    return [Condition(*row) for row in rows]


def _runner(data: dict, files: dict) -> Runner:
    """The program that JSON and files describe."""
    program = Program()
    program.forward = Loaded(_deserialized(files["forward"], data))
    program.backward = data["backward"]
    if program.backward is True:
        program.backward = Loaded(_deserialized(files["backward"], data))
    for n, wanted in data.get("alone", ()):  # older files have none
        program.alone[n] = Loaded(_deserialized(files[f"backward_{n}"], data)), wanted
    program.outputs = [(kind, _from_constant(what)) for kind, what in data["outputs"]]
    program.changed = [tuple(c) for c in data["changed"]]
    program.requires, program.wanted = data["requires"], data["wanted"]
    program.floats, program.first = data["floats"], data["first"]
    program.shapes = [tuple(s) for s in data["shapes"]]
    program.results = [(tuple(s), dt.BY_NAME[d]) for s, d in data["results"]]
    program.opened = [Open(*row) for row in data["open"]]
    program.conditions = _conditions(data["conditions"])
    program.backward_conditions = _conditions(data["backward_conditions"])
    program.draws, program.checks = data["draws"], data["checks"]
    leaves = [
        Leaf(path, None if shape is None else tuple(shape), dtype and dt.BY_NAME[dtype],
             _from_constant(constant))
        for path, shape, dtype, constant in data["leaves"]
    ]  # fmt: skip
    in_spec, out_spec = (_specs.from_json(data[k]) for k in ("in_spec", "out_spec"))
    return Runner(program, data["state"], leaves, in_spec, out_spec, data["name"])


def _require_flatbuffers() -> None:
    """Raise ``ImportError`` unless the package is here in which JAX writes programs."""
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "files of exported programs need: pip install torchlike[export]"
        ) from error


def _deserialized(blob: bytes, data: dict):
    _require_flatbuffers()
    try:
        return jax.export.deserialize(bytearray(blob))
    except Exception as error:  # JAX has no class of its own for this
        raise RuntimeError(
            f"JAX {jax.__version__} cannot read the program, which calling convention "
            f"{data['calling_convention']} of JAX {data.get('jax', '?')} wrote: {error}. JAX reads "
            "programs that are up to 6 months older than it, or 3 weeks younger; export the model "
            "again from its source."
        ) from error


# ---- the file ----------------------------------------------------------------------------------


def write(f, kind: str, runners: list, state: State, more: dict, examples=None, extra_files=None):
    """Write programs and their state; ``runners`` are (method, mode, Runner).

    The file is written beside its place and renamed: there is a whole one or none.
    """
    tensors = dict(state.tensors)
    tensors |= {f"example:{n}": t for n, t in enumerate(examples or ())}
    meta = {
        "format": FORMAT, "version": VERSION, "kind": kind, "jax": jax.__version__,
        "targets": {n: [k.name, kept] for n, (k, kept) in state.targets.items()},
        "requires_grad": {n: bool(t.requires_grad) for n, t in state.tensors.items()},
        "aliases": state.aliases, "order": state.order, "programs": [], **more,
    }  # fmt: skip
    entries = {}
    for n, (method, mode, runner) in enumerate(runners):
        data, files = _described(runner)
        entries |= {f"programs/{n}.{name}": blob for name, blob in files.items()}
        meta["programs"].append({"method": method, "mode": mode, "jax": jax.__version__, **data})
    for name, content in (extra_files or {}).items():
        entries[_EXTRA + name] = content.encode() if isinstance(content, str) else bytes(content)
    entries[_META] = json.dumps(meta).encode()
    weights = _weights.as_bytes(tensors)
    if hasattr(f, "write"):
        f.write(_zipped(entries, weights))
        return
    path = os.fspath(f)
    handle, beside = tempfile.mkstemp(prefix=".torchlike-", dir=os.path.dirname(path) or ".")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(_zipped(entries, weights))
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _zipped(entries: dict, weights: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, blob in entries.items():
            out.writestr(name, blob)
        out.writestr(_WEIGHTS, weights, zipfile.ZIP_STORED)
    return buffer.getvalue()


class Content:
    """What a file holds: kind, meta, state, runners [(method, mode, Runner)], example tensors."""


def read(f, extra_files: dict | None = None, device=None) -> Content:
    """Read a whole file; raises ``RuntimeError`` for one that is broken or none of ours.

    The values of ``extra_files`` are replaced by the texts under these names.
    """
    shown = f if isinstance(f, (str, os.PathLike)) else "the file"
    try:
        with zipfile.ZipFile(f) as archive:
            names = set(archive.namelist())
            if _META not in names:
                raise _foreign(shown, names)
            blobs = {name: archive.read(name) for name in names}
    except zipfile.BadZipFile as error:
        raise RuntimeError(f"{shown} is no program, or a broken one: {error}") from error
    except (zlib.error, EOFError) as error:
        raise RuntimeError(f"{shown} is broken: {error}") from error
    try:
        meta = json.loads(blobs[_META])
        if meta.get("format") != FORMAT:
            raise _foreign(shown, names)
        if meta["version"] > VERSION:
            raise RuntimeError(
                f"{shown} has version {meta['version']} of the format; this torchlike reads up to "
                f"{VERSION}: update it"
            )
        out = Content()
        out.kind, out.meta = meta["kind"], meta
        tensors = _weights.from_bytes(blobs[_WEIGHTS], device or devices.CPU)
        out.runners = []
        for n, data in enumerate(meta["programs"]):
            start = f"programs/{n}."
            files = {k.removeprefix(start): x for k, x in blobs.items() if k.startswith(start)}
            out.runners.append((data["method"], data["mode"], _runner(data, files)))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise RuntimeError(f"{shown} is broken: {error!r}") from error
    state = {}
    for name, (kind, _) in meta["targets"].items():
        t = tensors[name]
        wanted = meta["requires_grad"][name]
        if kind == "PARAMETER":
            t = Parameter(t, wanted)
        elif wanted:
            t.requires_grad_()
        state[name] = t
    targets = {n: (InputKind[k], kept) for n, (k, kept) in meta["targets"].items()}
    out.state = State.of(state, targets, meta["aliases"], meta["order"])
    out.examples = [t for name, t in tensors.items() if name.startswith("example:")]
    for name in extra_files or ():
        if _EXTRA + name in blobs:
            extra_files[name] = blobs[_EXTRA + name].decode("utf-8")
    return out


def _foreign(shown, names) -> Exception:
    tops = {n.partition("/")[2] for n in names} | names
    if "archive_format" in tops or any(n.startswith("models/") for n in tops):
        return NotSupported(
            f"the program in {shown}, which PyTorch wrote for its own operators",
            "export the module with torchlike, from its source",
        )
    if "constants.pkl" in tops or any(n.startswith("code/") for n in tops):
        return NotSupported(
            f"the TorchScript in {shown}, which is a program for PyTorch's interpreter",
            "load its weights with torch.load(f) where it was made, and export the module here",
        )
    if "data.pkl" in tops:
        return RuntimeError(f"{shown} holds tensors, no program: read it with torch.load")
    return RuntimeError(f"{shown} is a zip file, but no program of torchlike")
