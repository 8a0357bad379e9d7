"""Programs run in forks of a process that has imported a library: seconds less for each of them.

``python forks.py LIBRARY`` reads a program's file name per line, and answers each with a line of
JSON: [exit code, what it printed, what it said on stderr].
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback

LIMIT = 300  # seconds that one program may take


class Forks:
    """The process that forks, seen from the tests: ``run`` a program of ``folder`` by its name."""

    def __init__(self, library: str, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
        )  # fmt: skip

    def run(self, name: str) -> str:
        """What a program prints; it must end well."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        code, printed, said = json.loads(self.process.stdout.readline())
        assert code == 0, said
        return printed

    def close(self) -> None:
        """End the process."""
        with self.process:
            self.process.stdin.close()


def program(library: str, name: str) -> int:
    """Run a file as the program of this process; its exit code."""
    signal.alarm(LIMIT)
    try:
        if library == "torch":
            sys.argv, sys.path[0] = [name], os.getcwd()
            runpy.run_path(name, run_name="__main__")
            return 0
        return importlib.import_module(f"{library}.__main__").main([name]) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve(library: str) -> None:
    """Fork for each name on stdin; nothing has started a thread that a fork would lose."""
    importlib.import_module(library)
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
            child = os.fork()
            if child == 0:
                os.dup2(printed.fileno(), 1)
                os.dup2(said.fileno(), 2)
                os._exit(program(library, line.strip()))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = []
            for file in (printed, said):
                file.seek(0)
                texts.append(file.read())
        print(json.dumps([code, *texts]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
