"""Messages between a loader and its workers: a Unix socket for small ones, shared memory for big.

A message is a pickle and the buffers that it leaves out (the data of arrays). Together they travel
as one parcel: within the socket up to ``INLINE`` bytes, above that in a file in memory whose
descriptor travels instead. Such a file has no name, so nothing is left behind whoever dies, and no
limit of /dev/shm applies to it. A process that is gone shows as the end of its socket: no polling.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import struct
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np

INLINE = 1 << 14  # several of these fit in a socket, so that a worker can go on meanwhile
_ALIGN = 64  # what JAX wants of memory that it uses without a copy
BIG = 1 << 16  # arrays of so many bytes have a segment of their own
_HEADER = struct.Struct("<QB")  # length of a message, and how many descriptors go with it
_COUNTS = struct.Struct("<3Q")
_DESCRIPTORS = 64  # at most, in one message
_RIGHTS = array.array("i")
if os.name == "posix":  # all pages at once: one by one, each first touch is a fault
    _AT_ONCE = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
_MAPPED_AT_MOST = 128  # segments that arrays of the receiver may hold on to: each is a descriptor


_open: weakref.WeakSet[Channel] = weakref.WeakSet()


def _close_in_fork() -> None:
    """A fork holds no end of its parent's channels, or their other ends would never see it end."""
    for channel in list(_open):
        channel.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_fork)


def supported() -> bool:
    """Whether this platform can pass descriptors through sockets."""
    return os.name == "posix" and hasattr(socket, "AF_UNIX") and hasattr(socket, "SCM_RIGHTS")


class Channel:
    """One end of a connection: whole messages, each with some descriptors or none."""

    def __init__(self, sock: socket.socket):
        self._socket = sock
        _open.add(self)
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()
        self.ended = False

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """This end, and a socket for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    def fileno(self) -> int:
        """The descriptor, for select."""
        return self._socket.fileno()

    def send(self, body: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a message, waiting until it is out."""
        self.queue(body, descriptors)
        self.flush(wait=True)

    def queue(self, body: bytes, descriptors: Sequence[int] = ()) -> None:
        """Put a message behind those that are not yet out; takes over the descriptors."""
        message = memoryview(_HEADER.pack(len(body), len(descriptors)) + body)
        self._outgoing.append((message, list(descriptors)))

    def flush(self, wait: bool = False) -> bool:
        """Send what is queued, as much as goes without waiting; returns whether all is out."""
        flags = 0 if wait else socket.MSG_DONTWAIT
        try:
            while self._outgoing:
                message, descriptors = self._outgoing[0]
                rights = []
                if descriptors:
                    packed = array.array("i", descriptors)
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)]
                # Not socket.send_fds and recv_fds: they ignore their flags.
                sent = self._socket.sendmsg([message], rights, flags)
                for descriptor in descriptors:
                    os.close(descriptor)
                if sent == len(message):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = (message[sent:], [])
        except BlockingIOError:
            return False
        except OSError:
            self.ended = True
        return True

    def receive(self, wait: bool = True) -> tuple[bytearray, list[int]] | None:
        """The next message; None if there is none yet, or the other end is gone (``ended``)."""
        while True:
            message = self._parse()
            if message is not None or self.ended:
                return message
            flags = 0 if wait else socket.MSG_DONTWAIT
            try:
                data, rights, _, _ = self._socket.recvmsg(
                    1 << 16, socket.CMSG_SPACE(_DESCRIPTORS * _RIGHTS.itemsize), flags
                )
            except BlockingIOError:
                return None
            except OSError:
                data, rights = b"", []
            for level, kind, packed in rights:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    whole = len(packed) - len(packed) % _RIGHTS.itemsize
                    for descriptor in array.array("i", packed[:whole]):
                        os.set_inheritable(descriptor, False)
                        self._descriptors.append(descriptor)
            if not data:
                self.ended = True
            self._received += data

    def _parse(self) -> tuple[bytearray, list[int]] | None:
        received = self._received
        if len(received) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(received)
        end = _HEADER.size + length
        if len(received) < end:
            return None
        body = received[_HEADER.size : end]
        del received[:end]
        return body, [self._descriptors.popleft() for _ in range(count)]

    def half_close(self) -> None:
        """Tell the other end that nothing more will come."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    def close(self) -> None:
        """Close this end, and descriptors that have arrived or not gone out."""
        self.ended = True
        self._socket.close()
        for descriptor in [*self._descriptors, *(d for _, ds in self._outgoing for d in ds)]:
            os.close(descriptor)
        self._descriptors.clear()
        self._outgoing.clear()


# ---- memory ------------------------------------------------------------------------------------


def new_memory(size: int) -> int:
    """The descriptor of a nameless file in memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("torchlike-data", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="torchlike-data")
        os.unlink(path)
    try:
        os.truncate(descriptor, size)
        if hasattr(os, "posix_fallocate"):
            # Running out of memory shall be an error here, not a signal when it is written.
            os.posix_fallocate(descriptor, 0, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _offsets(sizes: list[int]) -> tuple[list[int], int]:
    out, at = [], 0
    for size in sizes:
        out.append(at)
        at += _aligned(size)
    return out, at


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _pieces(whole: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    offsets, _ = _offsets(sizes)
    return [whole[at : at + size] for at, size in zip(offsets, sizes)]


def _fill(target, parts: list) -> None:
    offsets, _ = _offsets([len(part) for part in parts])
    for at, part in zip(offsets, parts):
        target[at : at + len(part)] = part


class Snapshot:
    """A parcel for several receivers, each of which gets its own copy, made when it writes."""

    def __init__(self, meta: bytes, buffers: list):
        parts = [memoryview(meta), *buffers]
        self.sizes = [len(part) for part in parts]
        offsets, total = _offsets(self.sizes)
        self.descriptor = new_memory(max(total, 1))
        try:
            for at, part in zip(offsets, parts):
                while len(part):
                    written = os.pwrite(self.descriptor, part[: 1 << 30], at)
                    part, at = part[written:], at + written
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the memory; receivers keep theirs."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_snapshot(sizes: list[int], descriptor: int) -> tuple[memoryview, list]:
    """The pickle and the buffers of a snapshot, as a private copy."""
    try:
        memory = mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE)
    finally:
        os.close(descriptor)
    parts = _pieces(np.frombuffer(memory, np.uint8), sizes)
    return memoryview(parts[0]), parts[1:]


class _Segment:
    __slots__ = ("descriptor", "memory", "number", "sent", "size", "view")

    def __init__(self, number: int, size: int):
        self.number, self.size, self.sent = number, size, False
        self.view: weakref.ref | None = None  # the array that stands in it in this process
        self.descriptor = new_memory(size)
        self.memory = mmap.mmap(self.descriptor, size, _AT_ONCE)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class Sender:
    """Makes parcels of results; memory that the receiver has read and let go of is used again.

    Each big array has a segment of its own, so that whoever keeps the labels of all batches does
    not keep the images too. What is small travels with the message, or in a segment that the
    receiver copies.
    """

    def __init__(self):
        self._free: list[_Segment] = []
        self._lent: dict[int, _Segment] = {}
        self._ready: dict[int, _Segment] = {}  # by address: filled by what collates a batch
        self._dropped: list[int] = []
        self._next = 1

    def allocate(self, size: int) -> np.ndarray:
        """Memory for an array of so many bytes, from where it can be sent without a copy."""
        segment = self._segment(size)
        whole = np.frombuffer(segment.memory, np.uint8, size)
        segment.view = weakref.ref(whole)
        self._ready[_address(whole)] = segment
        return whole

    def give_back(self, numbers) -> None:
        """The receiver has no more use for these segments."""
        for number in numbers:
            segment = self._lent.pop(number, None)
            if segment is not None:
                self._release(segment)

    def _release(self, segment: _Segment) -> None:
        if segment.view is None or segment.view() is None:
            segment.view = None
            self._free.append(segment)
        elif segment.sent:  # somebody in this process has kept the array
            self._dropped.append(segment.number)
        else:
            os.close(segment.descriptor)

    def pack(self, meta: bytes, buffers: list) -> tuple[bytes, list[int]]:
        """A message's body, and the descriptors that go with it."""
        descriptors: list[int] = []
        small, places = [memoryview(meta)], []
        for part in buffers:
            if len(part) >= BIG and len(descriptors) < _DESCRIPTORS - 1:
                segment = self._ready.pop(_address(np.frombuffer(part, np.uint8)), None)
                places.append(self._lend([part], len(part), descriptors, segment))
            else:
                places.append(0)
                small.append(part)
        total = _offsets([len(part) for part in small])[1]
        bulk = self._lend(small, total, descriptors) if total > INLINE else 0
        for segment in self._ready.values():  # something else was made of these
            self._release(segment)
        self._ready.clear()
        fields = [bulk, *(len(part) for part in small), *places, *self._dropped]
        counts = len(small), len(places), len(self._dropped)
        self._dropped = []
        head = _COUNTS.pack(*counts) + struct.pack(f"<{len(fields)}Q", *fields)
        sizes = struct.pack(
            f"<{sum(map(bool, places))}Q", *(len(b) for b, place in zip(buffers, places) if place)
        )
        head += sizes
        if bulk:
            return head, descriptors
        start = _aligned(len(head))
        body = bytearray(start + total)
        body[: len(head)] = head
        _fill(memoryview(body)[start:], small)
        return body, descriptors

    def _lend(self, parts: list, size: int, descriptors: list[int], ready=None) -> int:
        segment = ready
        if segment is None or size > segment.size:
            segment = self._segment(size)
            _fill(memoryview(segment.memory), parts)
        if not segment.sent:
            segment.sent = True
            descriptors.append(segment.descriptor)
        self._lent[segment.number] = segment
        return segment.number

    def _segment(self, size: int) -> _Segment:
        fitting = [s for s in self._free if size <= s.size <= 8 * size]
        if fitting:
            segment = min(fitting, key=lambda s: s.size)
            self._free.remove(segment)
            return segment
        if self._free:  # none fits: as many as the receiver needs at once are enough
            useless = self._free.pop(0)
            useless.memory.close()
            if useless.sent:
                self._dropped.append(useless.number)
            else:
                os.close(useless.descriptor)
        segment = _Segment(self._next, -(-(size + size // 8) // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._next += 1
        return segment


class Receiver:
    """Opens a worker's parcels: big arrays stand in the shared memory itself, with no copy."""

    def __init__(self):
        self._known: dict[int, mmap.mmap] = {}
        self._held: dict[int, weakref.ref] = {}
        self._freed: list[int] = []

    def open(self, body: bytearray, descriptors: list[int]) -> tuple[memoryview, list]:
        """The pickle and the buffers of a parcel."""
        smalls, placed, dropped = _COUNTS.unpack_from(body)
        count = 1 + smalls + placed + dropped
        fields = struct.unpack_from(f"<{count}Q", body, _COUNTS.size)
        bulk, sizes = fields[0], list(fields[1 : 1 + smalls])
        places = fields[1 + smalls : 1 + smalls + placed]
        for number in fields[1 + smalls + placed :]:
            self._known.pop(number, None)
        big = sum(map(bool, places))
        at = _COUNTS.size + 8 * count
        big_sizes = iter(struct.unpack_from(f"<{big}Q", body, at))
        fresh = iter(descriptors)
        parts = [self._borrow(n, next(big_sizes), fresh) if n else None for n in places]
        if bulk:
            small = _pieces(self._borrow(bulk, _offsets(sizes)[1], fresh, copied=True), sizes)
        else:
            small = _pieces(np.frombuffer(body, np.uint8)[_aligned(at + 8 * big) :], sizes)
        rest = iter(small)
        meta = next(rest)
        return memoryview(meta), [next(rest) if part is None else part for part in parts]

    def _borrow(self, number: int, size: int, fresh, copied: bool = False) -> np.ndarray:
        if number not in self._known:
            descriptor = next(fresh)
            try:
                self._known[number] = mmap.mmap(descriptor, 0, _AT_ONCE)
            finally:
                os.close(descriptor)
        whole = np.frombuffer(self._known[number], np.uint8, size)
        if copied or len(self._held) >= _MAPPED_AT_MOST:
            self._freed.append(number)
            return whole.copy()
        self._held[number] = weakref.ref(whole, lambda _: self._let_go(number))
        return whole

    def _let_go(self, number: int) -> None:
        self._held.pop(number, None)
        self._freed.append(number)

    def take_freed(self) -> list[int]:
        """Segments to give back."""
        freed, self._freed = self._freed, []
        return freed
