"""python -m torchlike SCRIPT | -m MODULE | -c CODE: run a PyTorch program on torchlike."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from torchlike._runner.finder import install

USAGE = """usage: python -m torchlike SCRIPT [ARGUMENT ...]
       python -m torchlike -m MODULE [ARGUMENT ...]
       python -m torchlike -c CODE [ARGUMENT ...]

Runs a PyTorch program, unchanged: its `import torch` finds torchlike."""


def main(arguments: list[str]) -> int | str | None:
    """Run a program with ``sys.argv`` and ``sys.path`` as Python itself would set them."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return None if arguments else 2
    first, *rest = arguments
    if first in ("-m", "-c") and not rest:
        return f"{first} wants an argument\n{USAGE}"
    if first.startswith("-") and first not in ("-m", "-c"):
        return f"unknown option {first}\n{USAGE}"
    install()
    if first == "-m":
        sys.argv = rest
        sys.path[0] = str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        path = Path(first)
        if not path.exists():
            return f"python -m torchlike: can't open file '{first}'"
        sys.argv = arguments
        sys.path[0] = str(path.resolve().parent)
        runpy.run_path(first, run_name="__main__")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
