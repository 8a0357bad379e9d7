"""The process that workers are forked from: small, with one thread, and no device.

A fork of the loader's own process would inherit the locks of JAX's threads, and hang as soon as it
computes; a fresh process for each worker would import everything again. So one process is started,
once, as early as a loader with workers is made. It imports this package, which starts neither a
device nor a thread, and forks a worker in milliseconds when asked. The main program is not run in
it. It ends when the process that started it ends, however that ends, and its workers with it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings

from torchlike.utils.data.channel import Channel

# One thread: of numpy's libraries too, so that nothing but this process's code runs at a fork.
_SINGLE = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
}  # fmt: skip
_START = (
    "import sys, pickle; sys.path[:] = pickle.loads(bytes.fromhex(sys.argv[2])); "
    "from torchlike.utils.data.nursery import {}; {}(int(sys.argv[1]))"
)
_ANSWER_WITHIN = 3.0


def _launch(entry: str, sock: socket.socket) -> subprocess.Popen:
    """A fresh Python that calls a function of this module with a socket's descriptor."""
    path = pickle.dumps(list(sys.path)).hex()
    flags = subprocess._args_from_interpreter_flags()
    with warnings_off():
        return subprocess.Popen(
            [sys.executable, *flags, "-c", _START.format(entry, entry), str(sock.fileno()), path],
            pass_fds=[sock.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_SINGLE},
        )


@contextlib.contextmanager
def warnings_off():
    """JAX warns of each fork; none of these touches it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


# ---- in the loader's process -------------------------------------------------------------------


class Nursery:
    """The loader's side of the process that forks workers."""

    def __init__(self):
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._process: subprocess.Popen | None = None
        self._asked = 0

    def start(self) -> None:
        """Start the process, if there is none; does not wait for it."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None and not self._channel.ended:
            return
        self._drop(0.0)
        self._channel, theirs = Channel.pair()
        with theirs:
            self._process = _launch("serve", theirs)

    def fork(self) -> Channel:
        """Ask for a worker; returns the channel to it."""
        ours, theirs = Channel.pair()
        with self._lock:
            self._start()
            descriptor = os.dup(theirs.fileno())
            theirs.close()
            self._channel.send(pickle.dumps(("fork",)), [descriptor])
        return ours

    def learn(self, names: list[str]) -> None:
        """Let it import these libraries too, as its workers need them."""
        with self._lock:
            if self._channel is not None and not self._channel.ended:
                self._channel.send(pickle.dumps(("learn", names, list(sys.path))))

    def status(self, pid: int) -> int | None:
        """How a worker ended: its exit code, minus the signal's number, or None if unknown."""
        return self._ask(("status", pid))

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a worker, if it is one and still there."""
        if self._ask(("kill", pid, number)) is None:  # it is busy, or gone: so it reaps nobody now
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ask(self, question: tuple):
        """The answer to a question; None if there is none soon."""
        with self._lock:
            channel = self._channel
            if channel is None or channel.ended:
                return None
            self._asked += 1
            channel.send(pickle.dumps((*question, self._asked)))
            end = time.monotonic() + _ANSWER_WITHIN
            while not channel.ended and (left := end - time.monotonic()) > 0:
                select.select([channel], [], [], left)
                while (answer := channel.receive(wait=False)) is not None:
                    number, value = pickle.loads(answer[0])
                    if number == self._asked:  # else it is a late one
                        return value
            return None

    def stop(self, patience: float = 2.0) -> None:
        """End the process, and all workers that are left."""
        with self._lock:
            self._drop(patience)

    def _drop(self, patience: float) -> None:
        process, channel = self._process, self._channel
        self._process = self._channel = None
        if channel is not None:
            channel.close()
        if process is not None:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def forget(self) -> None:
        """In a fork of this process: the nursery is the parent's, not this one's."""
        self._lock = threading.Lock()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.returncode = 0  # nothing to wait for
        self._process = self._channel = None


nursery = Nursery()
atexit.register(nursery.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=nursery.forget)


class Forked:
    """A worker from the nursery."""

    def __init__(self):
        self.channel = nursery.fork()
        self.pid: int | None = None

    def status(self) -> int | None:
        """Its exit code, or minus the signal that ended it."""
        return None if self.pid is None else nursery.status(self.pid)

    def kill(self, number: int) -> None:
        """Send it a signal."""
        if self.pid is not None:
            nursery.kill(self.pid, number)

    def learn(self, names: list[str]) -> None:
        """Spare later workers the import of these libraries."""
        if names:
            nursery.learn(names)


class Spawned:
    """A worker that is a fresh Python of its own."""

    def __init__(self):
        self.channel, theirs = Channel.pair()
        with theirs:
            self._process = _launch("serve_one", theirs)
        self.pid: int | None = self._process.pid

    def status(self) -> int | None:
        """Its exit code, or minus the signal that ended it."""
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return None

    def kill(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def learn(self, names: list[str]) -> None:
        """Nothing: the next one is a fresh Python again."""


class Fork:
    """A worker that is a fork of this process, with all it holds; it must not start JAX."""

    def __init__(self, parts):
        self.channel, theirs = Channel.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings_off():
            self.pid = os.fork()
        if self.pid == 0:
            if threading.current_thread() is threading.main_thread():
                _die_with_parent()  # the kernel's parent is a thread
            _be_worker(theirs, parts)
        theirs.close()
        self._status: int | None = None

    def status(self) -> int | None:
        """Its exit code, or minus the signal that ended it."""
        end = time.monotonic() + 1.0
        while self._status is None and time.monotonic() < end:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else waited for it
                self._status = 0
                break
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.005)
        return self._status

    def kill(self, number: int) -> None:
        """Send it a signal."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


# ---- in the process that forks -----------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Fork workers until the process that started this one closes its end."""
    from torchlike.utils.data import process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    channel = Channel(sock)
    # A worker that ends interrupts the wait for the next request.
    wake_up, woken = socket.socketpair()
    for end in (wake_up, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int | None] = {}
    process.warm_up()
    gc.collect()
    gc.freeze()
    try:
        _serve(channel, children, wake_up, woken)
    finally:
        signal.set_wakeup_fd(-1)
        for pid, status in children.items():
            if status is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _serve(channel, children, wake_up, woken) -> None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake_up, select.POLLIN)
    scouts: dict[int, list[str]] = {}
    learnt: set[str] = set()
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in scouts:
                poll.unregister(descriptor)
                with os.fdopen(descriptor, "rb") as pipe:
                    safe = pipe.read() == b"safe"
                names = scouts.pop(descriptor)
                if safe:
                    _import(names)
                    gc.freeze()
        with contextlib.suppress(BlockingIOError):
            while wake_up.recv(4096):
                pass
        _reap(children)
        while (message := channel.receive(wait=False)) is not None:
            (what, *rest), descriptors = pickle.loads(message[0]), message[1]
            if what == "fork":
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    wake_up.close()
                    woken.close()
                    _die_with_parent()
                    _be_worker(socket.socket(fileno=descriptors[0]), None)
                os.close(descriptors[0])
                children[pid] = None
            elif what == "learn":
                names, path = rest
                names = [name for name in names if name not in learnt]
                learnt.update(names)
                if names:
                    sys.path[:] = path
                    pid, descriptor = _scout(names)
                    children[pid] = None
                    scouts[descriptor] = names
                    poll.register(descriptor, select.POLLIN)
            elif what == "kill":
                pid, number, asked = rest
                if pid in children and children[pid] is None:
                    os.kill(pid, number)
                channel.send(pickle.dumps((asked, True)))
            else:
                pid, asked = rest
                channel.send(pickle.dumps((asked, _status_soon(children, pid))))
        if channel.ended:
            return


def _import(names: list[str]) -> None:
    silent = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(silent):
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _scout(names: list[str]) -> tuple[int, int]:
    """A fork that tries these imports, and says whether they have started a thread or a device."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    try:
        _die_with_parent()
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _import(names)
        tasks = "/proc/self/task"
        threads = len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()
        if threads == 1:
            os.write(write, b"safe")
    finally:
        os._exit(0)


def _reap(children: dict[int, int | None]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children[pid] = os.waitstatus_to_exitcode(status)
        done = [p for p, s in children.items() if s is not None]
        for old in done[:-64]:  # nobody has asked for these
            del children[old]


def _status_soon(children: dict, pid: int) -> int | None:
    end = time.monotonic() + 1.0
    while children.get(pid, 0) is None and time.monotonic() < end:
        time.sleep(0.002)
        _reap(children)
    return children.get(pid)


def serve_one(descriptor: int) -> None:
    """Be a worker."""
    os.set_inheritable(descriptor, False)
    _be_worker(socket.socket(fileno=descriptor), None)


def _be_worker(sock: socket.socket, parts) -> None:
    """Run a worker in this process, and end the process."""
    code = 1
    try:
        threading.Thread(target=_end_with_loader, args=(sock,), daemon=True).start()
        from torchlike.utils.data import process

        process.run(Channel(sock), parts)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _end_with_loader(sock: socket.socket) -> None:
    """Wait until the loader's end is closed altogether, and end this process, whatever it does."""
    poll = select.poll()
    poll.register(sock, 0)  # a hang-up is always told
    poll.poll()
    os._exit(1)


def _die_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends (Linux)."""
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
