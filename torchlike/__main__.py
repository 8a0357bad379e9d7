"""python -m torchlike: run a PyTorch program, or tell what would become of it."""

from __future__ import annotations

import sys

USAGE = """usage: python -m torchlike [--device cpu|cuda|tpu] SCRIPT [ARGUMENT ...]
       python -m torchlike [--device cpu|cuda|tpu] -m MODULE [ARGUMENT ...]
       python -m torchlike [--device cpu|cuda|tpu] -c CODE [ARGUMENT ...]
       python -m torchlike [--device cpu|cuda|tpu] - [ARGUMENT ...]
       python -m torchlike doctor PATH ... [--json | --html FILE] [--fail-under PERCENT]
       python -m torchlike compare [OPTIONS] SCRIPT [ARGUMENT ...]

Runs a PyTorch program, unchanged: its `import torch` finds torchlike.

  --device KIND  let `cuda` in the program mean this kind of device
  -              read the program from the standard input
  doctor         read source files, run nothing, and list the torch names that they use
  compare        run a script on PyTorch and on torchlike, and find where they part"""


def main(arguments: list[str]) -> int | str | None:
    """Run a program or one of our own commands; what it returns is the exit status."""
    if arguments and arguments[0] == "doctor":
        from torchlike._runner.doctor import main as doctor

        return doctor(arguments[1:])
    if arguments and arguments[0] == "compare":
        from torchlike._runner.compare import main as compare

        return compare(arguments[1:])

    from torchlike._runner.program import CannotStart, prepare, run

    device = None
    while arguments and arguments[0].partition("=")[0] == "--device":
        option, equals, device = arguments.pop(0).partition("=")
        if not equals:
            device = arguments.pop(0) if arguments else ""
        if device not in ("cpu", "cuda", "tpu"):
            return f"{option} wants cpu, cuda or tpu\n{USAGE}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return None if arguments else 2
    first, *rest = arguments
    if first in ("-m", "-c") and not rest:
        return f"{first} wants an argument\n{USAGE}"
    if first.startswith("-") and first not in ("-m", "-c", "-"):
        return f"unknown option {first}\n{USAGE}"
    try:
        prepare(device)
    except RuntimeError as error:
        return f"python -m torchlike: --device {device}: {error}"
    try:
        run(first, rest)
    except CannotStart as error:
        return f"python -m torchlike: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
