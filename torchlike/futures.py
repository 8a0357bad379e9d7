"""torch.futures: results that come later (https://pytorch.org/docs/stable/futures.html)."""

from __future__ import annotations

import logging
import threading
from typing import Generic, TypeVar

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Future(Generic[T]):
    """A value, or an exception, that is set once; other threads may wait for it."""

    def __init__(self, *, devices=None):
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list = []
        self._value = self._error = None

    def done(self) -> bool:
        """Whether there is a value or an exception."""
        return self._ready.is_set()

    def wait(self) -> T:
        """The value, once it is there; raises the exception if that was set."""
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def value(self) -> T:
        """The value; raises ``RuntimeError`` if it is not there yet."""
        if not self.done():
            raise RuntimeError("Future is not completed yet: value() needs wait() first")
        return self.wait()

    def set_result(self, result: T) -> None:
        """Set the value and run the callbacks; a second call raises ``RuntimeError``."""
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Set an exception, which ``wait`` raises."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._finish(None, result)

    def _finish(self, value, error) -> None:
        with self._lock:
            if self.done():
                raise RuntimeError("Future can only be marked completed once")
            self._value, self._error = value, error
            self._ready.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback) -> None:
        """Run a callback; what it raises is logged, as nobody is there to catch it."""
        try:
            callback(self)
        except Exception:
            _log.exception("a callback of a Future failed")

    def __reduce__(self):
        raise RuntimeError("Can not pickle torch.futures.Future")

    def add_done_callback(self, callback) -> None:
        """Call ``callback(future)`` when it is done, at once if it is; what it raises is logged."""
        with self._lock:
            if not self.done():
                self._callbacks.append(callback)
                return
        self._call(callback)

    def then(self, callback) -> Future:
        """A Future of ``callback(future)``; if that raises, the Future's ``wait`` raises
        ``RuntimeError`` with the text."""
        out = Future()

        def run(done):
            try:
                result = callback(done)
            except Exception as error:
                kind = type(error).__name__
                failed = RuntimeError(
                    f"Got the following error when running the callback: {kind}: {error}"
                )
                failed.__cause__ = error
                out.set_exception(failed)
            else:
                out.set_result(result)

        self.add_done_callback(run)
        return out


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """A Future of the list, done when all of them are."""
    out: Future = Future()
    left = [len(futures)]
    lock = threading.Lock()

    def one(_):
        with lock:
            left[0] -= 1
            last = not left[0]
        if last:
            out.set_result(futures)

    if not futures:
        out.set_result(futures)
    for f in futures:
        f.add_done_callback(one)
    return out


def wait_all(futures: list[Future]) -> list:
    """The values of all; raises the first exception in their order."""
    return [f.wait() for f in futures]
