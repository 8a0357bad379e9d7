"""Runs a script under either library and writes down what its modules and gradients were.

This file is started by its path in two processes, as ``tracer.py SIDE FOLDER SCRIPT ARGUMENT ...``,
and uses nothing of torchlike: what is traced is the library that ``import torch`` finds, through
names that both have (global hooks of modules and optimizers, ``Tensor.backward``).
"""

from __future__ import annotations

import importlib
import json
import os
import random
import runpy
import sys
import threading
import traceback
import weakref

import numpy as np

LIBRARY = "torch"
# What is kept of a tensor: all of a small one, evenly spaced elements of a large one.
_SAMPLES, _INPUT_SAMPLES, _EVENT_SAMPLES, _FEWEST = 4096, 512, 65536, 16
_NOISE = 1e-6  # of the largest gradient there is


class Trace:
    """The events of a run, written as they happen: a line of JSON each, and their numbers."""

    def __init__(self, folder: str, most: int):
        self.folder = folder
        path = os.path.join(folder, "events.jsonl")
        self.lines = open(path, "w", encoding="utf-8")  # noqa: SIM115  (until close())
        self.data = open(os.path.join(folder, "data.bin"), "wb")  # noqa: SIM115
        self.count, self.most = 0, most
        self.process, self.thread = os.getpid(), threading.get_ident()

    def here(self) -> bool:
        """Whether this is the run's own thread: workers are not traced."""
        return os.getpid() == self.process and threading.get_ident() == self.thread

    def write(self, kind: str, name: str, where: tuple, tensors: list, **more) -> None:
        """Write an event down; ends the process after the last one that is asked for."""
        line, direct = where
        event = {"kind": kind, "name": name, "line": line, "direct": direct, **more}
        event["tensors"] = [(label, self.numbers(t, *how)) for label, t, *how in tensors]
        self.lines.write(json.dumps(event) + "\n")
        self.count += 1
        if self.count >= self.most:
            self.close(stopped=True)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        if self.count % 16 == 0:
            self.flush()

    def numbers(self, tensor, most: int, quiet=None) -> dict:
        """What is kept of a tensor or of its copy as an array; ``quiet`` marks the elements
        whose differences are to be forgiven."""
        array = tensor if isinstance(tensor, np.ndarray) else to_array(tensor)
        if array is None:
            return {"shape": list(tensor.shape), "dtype": _dtype(tensor)}
        flat = array.reshape(-1)
        step = max(1, -(-flat.size // most))
        kept = np.ascontiguousarray(flat[::step])
        start = self.data.tell()
        self.data.write(kept.tobytes())
        out = {"shape": list(array.shape), "dtype": _dtype(tensor), "numpy": kept.dtype.str}
        out |= {"start": start, "count": kept.size, "step": step}
        if quiet is not None:
            out["quiet"] = self.data.tell()
            self.data.write(np.ascontiguousarray(quiet.reshape(-1)[::step]).tobytes())
        if flat.size and flat.dtype.kind in "fc":
            with np.errstate(all="ignore"):
                wide = np.abs(flat).astype(np.float64)
                finite = wide[np.isfinite(wide)]
            out["finite"] = finite.size
            if finite.size:
                out["mean_abs"], out["max_abs"] = float(finite.mean()), float(finite.max())
        return out

    def flush(self) -> None:
        """Let the other side read what is written, should this one be killed."""
        self.data.flush()
        self.lines.flush()

    def close(self, error: str | None = None, status=0, stopped: bool = False) -> None:
        """The end of the files: how the program ended, or that it was not waited for."""
        self.flush()
        self.data.close()
        self.lines.close()
        end = {"error": error, "status": status, "stopped": stopped}
        with open(os.path.join(self.folder, "end.json"), "w", encoding="utf-8") as file:
            json.dump(end, file)


def _dtype(tensor) -> str:
    return str(tensor.dtype).removeprefix(f"{LIBRARY}like.").removeprefix(f"{LIBRARY}.")


def to_array(tensor):
    """A tensor's numbers as an array of NumPy's dtypes; None if it has none."""
    try:
        t = tensor.detach()
        if t.is_sparse:
            t = t.to_dense()
        t = t.cpu()
        if _dtype(t) in ("bfloat16",) or _dtype(t).startswith("float8"):
            t = t.float()
        return np.array(t.resolve_conj().resolve_neg().numpy())
    except (RuntimeError, TypeError, NotImplementedError, AttributeError):
        return None


def noise(gradients: list) -> list:
    """Where gradients are zero but for rounding: Adam and its like make a whole step of that.

    A bias that a normalisation or a softmax takes out again has such a gradient.
    """
    sizes = [np.abs(g).max() if g is not None and g.size else 0.0 for g in gradients]
    least = _NOISE * max(sizes, default=0.0)
    return [
        None if g is None else np.abs(g) <= max(least, 100 * _NOISE * size)
        for g, size in zip(gradients, sizes, strict=True)
    ]


def flatten(value, label: str = "", found=None, depth: int = 0) -> list:
    """(label, tensor) of all tensors in nested tuples, lists and dicts, in their order."""
    found = [] if found is None else found
    torch = sys.modules[LIBRARY]
    if isinstance(value, torch.Tensor):
        found.append((label, value))
    elif depth < 6 and isinstance(value, dict):
        for key, item in value.items():
            flatten(item, f"{label}[{key!r}]", found, depth + 1)
    elif depth < 6 and isinstance(value, tuple | list):
        names = getattr(value, "_fields", None)
        for i, item in enumerate(value):
            flatten(item, f"{label}.{names[i]}" if names else f"{label}[{i}]", found, depth + 1)
    return found


class Tracer:
    """The hooks, and what they must know: which call is inside which, which names things have."""

    def __init__(self, trace: Trace, script: str):
        self.trace = trace
        library = sys.modules[LIBRARY].nn.Module.__init__.__code__.co_filename
        for _ in range(3):  # of LIBRARY/nn/modules/module.py
            library = os.path.dirname(library)
        here, standard = os.path.abspath(__file__), os.path.dirname(os.__file__)
        self.outside = (library + os.sep, standard + os.sep, here)
        self.script = os.path.abspath(script)
        self.stack: list = []  # of the calls under way: (module, path, copies of its inputs)
        self.roots: list = []  # (weak reference to a module called by no other, its name)
        self.kinds: dict = {}  # class name -> how many roots had it
        self.paths: dict = {}  # id of a module -> (weak reference to it, its name)
        self.inside_backward = False

    def install(self) -> None:
        """Register all hooks; modules are then seen whatever their class."""
        torch = sys.modules[LIBRARY]
        modules = importlib.import_module(f"{LIBRARY}.nn.modules.module")
        modules.register_module_forward_pre_hook(self.enter)
        modules.register_module_forward_hook(self.leave, always_call=True)
        optimizers = importlib.import_module(f"{LIBRARY}.optim.optimizer")
        optimizers.register_optimizer_step_post_hook(self.stepped)
        plain, tracer = torch.Tensor.backward, self

        def backward(self, *args, **kwargs):
            return tracer.backward(plain, self, args, kwargs)

        torch.Tensor.backward = backward
        plain_of_many = torch.autograd.backward

        def backward_of_many(tensors, *args, **kwargs):
            return tracer.backward(plain_of_many, tensors, args, kwargs)

        torch.autograd.backward = backward_of_many
        fast = getattr(torch.backends, "mha", None)
        if fast is not None:  # PyTorch's short cut through a whole layer calls no modules
            fast.set_fastpath_enabled(False)

    # ---- modules ---------------------------------------------------------------------------

    def enter(self, module, args):
        if self.trace.here():
            torch = sys.modules[LIBRARY]
            with torch.no_grad():
                inputs = [(label, to_array(t)) for label, t in flatten(args)]
            self.stack.append((module, self.path(module), inputs))

    def leave(self, module, args, output):
        if not self.trace.here():
            return
        while self.stack and self.stack[-1][0] is not module:
            self.stack.pop()  # calls that an exception has ended
        if not self.stack:
            return
        _, path, inputs = self.stack.pop()
        if sys.exc_info()[1] is not None and output is None:
            return
        torch = sys.modules[LIBRARY]
        with torch.no_grad():
            tensors = [(f"input{n}", a, _INPUT_SAMPLES) for n, a in inputs if a is not None]
            tensors += [(f"output{n}", t, _SAMPLES) for n, t in flatten(output)]
            kind = type(module).__name__
            self.trace.write("module", path, self.user_line(), tensors, type=kind)

    def path(self, module) -> str:
        """The name of a module: from the outermost module of the calls under way, or of an
        earlier call; one that was never seen is called by its class."""
        known = self.paths.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        owners = [self.stack[0][0]] if self.stack else []
        self.roots = [(ref, name) for ref, name in self.roots if ref() is not None]
        owners += [ref() for ref, _ in self.roots]
        for owner in filter(None, owners):
            for name, m in owner.named_modules():
                if m is module:
                    path = ".".join(filter(None, [self.root_name(owner), name]))
                    self.paths[id(module)] = weakref.ref(module), path
                    return path
        return self.root_name(module)

    def root_name(self, module) -> str:
        for ref, name in self.roots:
            if ref() is module:
                return name
        kind = type(module).__name__
        number = self.kinds[kind] = self.kinds.get(kind, 0) + 1
        name = kind if number == 1 else f"{kind}#{number}"
        self.roots.append((weakref.ref(module), name))
        return name

    # ---- gradients and steps -----------------------------------------------------------------

    def backward(self, plain, loss, args, kwargs):
        if self.inside_backward or not self.trace.here():
            return plain(loss, *args, **kwargs)
        where = self.user_line()
        self.inside_backward = True
        try:
            result = plain(loss, *args, **kwargs)
        finally:
            self.inside_backward = False
        named = [(n, p) for n, p in self.parameters() if p.grad is not None]
        most = max(_FEWEST, min(_SAMPLES, _EVENT_SAMPLES // (len(named) or 1)))
        with sys.modules[LIBRARY].no_grad():
            tensors = [(f"loss{n}", t, _SAMPLES) for n, t in flatten(loss)]
            tensors += [(f"gradient of {n}", p.grad, most) for n, p in named]
            self.trace.write("backward", "backward()", where, tensors)
        return result

    def parameters(self) -> list:
        """(name, parameter) of all modules that were called."""
        seen, out = set(), []
        for ref, name in self.roots:
            root = ref()
            if root is not None:
                for n, p in root.named_parameters():
                    if id(p) not in seen:
                        seen.add(id(p))
                        out.append((f"{name}.{n}", p))
        return out

    def stepped(self, optimizer, args, kwargs):
        if not self.trace.here():
            return
        names = {id(p): n for n, p in self.parameters()}
        tensors = [
            (names.get(id(p), f"param_groups[{g}][{i}]"), p)
            for g, group in enumerate(optimizer.param_groups)
            for i, p in enumerate(group["params"])
            if p.grad is not None
        ]
        most = max(_FEWEST, min(_SAMPLES, _EVENT_SAMPLES // (len(tensors) or 1)))
        kind = type(optimizer).__name__
        with sys.modules[LIBRARY].no_grad():
            gradients = [to_array(p.grad) for _, p in tensors]
            kept = [
                (f"{n} after the step", p, most, quiet)
                for (n, p), quiet in zip(tensors, noise(gradients), strict=True)
            ]
            self.trace.write("step", f"{kind}.step()", self.user_line(), kept)

    # ---- lines -----------------------------------------------------------------------------

    def user_line(self) -> tuple[str, bool]:
        """(file:line of the innermost frame of the user's, whether nothing is in between but
        the call itself)."""
        frame, between = sys._getframe(1), 0
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith("<") and self.is_users(file):
                shown = os.path.relpath(file)
                return f"{shown if len(shown) < len(file) else file}:{frame.f_lineno}", not between
            between += frame.f_code.co_name == "forward"
            frame = frame.f_back
        return "?", False

    def is_users(self, file: str) -> bool:
        file = os.path.abspath(file)
        if file == self.script:
            return True
        return not file.startswith(self.outside) and f"{os.sep}site-packages{os.sep}" not in file


def shortened(error: BaseException, script: str) -> str:
    """The traceback from the script's first frame on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != script:
        frames = frames.tb_next
    text = traceback.format_exception(type(error), error, frames or error.__traceback__)
    return "".join(text)


def main(arguments: list[str]) -> None:
    """Run a script under one of the libraries; leaves a trace and ``end.json`` in the folder."""
    side, folder, *argv = arguments
    with open(os.path.join(folder, "options.json"), encoding="utf-8") as file:
        options = json.load(file)
    script = argv[0]
    if side == "torchlike":
        importlib.import_module(side).install()
    torch = importlib.import_module(LIBRARY)
    trace = Trace(folder, options["max_calls"])
    Tracer(trace, script).install()
    if options["seed"] is not None:
        random.seed(options["seed"])
        np.random.seed(options["seed"] % 2**32)
        torch.manual_seed(options["seed"])
    sys.argv = argv
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    message, status = None, 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        if side == "torchlike":
            importlib.import_module("torchlike._runner.tracebacks").clean(error)
        message, status = shortened(error, script), 1
    trace.close(message, status)


if __name__ == "__main__":
    main(sys.argv[1:])
