"""A thread that decodes bodies of which one piece may take tens of milliseconds.

That is Brotli with a large window: see `zurl_py.http.brotli`. Its decoder runs without Python's
global lock, so the loop goes on meanwhile.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable

from ..http.codings import BadCoding, BodyDecoder
from ..loop import READ, Loop

__all__ = ["DecodeJob", "DecodeThread"]


class DecodeJob:
    """One piece of a body that is decoded on another thread.

    Args:
        decoder: must not be used elsewhere until the job is done.
        size: bytes of output, at most.
        done: called with the job by the loop.

    Attributes:
        piece: the output.
        error: why there is none.
    """

    __slots__ = ("_decoder", "_size", "done", "error", "piece")

    def __init__(self, decoder: BodyDecoder, size: int, done: Callable[[DecodeJob], None]) -> None:
        self._decoder = decoder
        self._size = size
        self.done = done
        self.piece = b""
        self.error: Exception | None = None

    def run(self) -> None:
        """Decode; called on the other thread."""
        try:
            self.piece = self._decoder.read(self._size)
        except Exception as error:
            self.error = error

    def result(self) -> bytes:
        """The output.

        Raises:
            BadCoding: the input does not fit the coding.
        """
        if isinstance(self.error, BadCoding):
            raise BadCoding(str(self.error))
        if self.error is not None:
            raise self.error
        return self.piece


class DecodeThread:
    """Decodes pieces in the order in which they come; the thread starts with the first of them.

    Args:
        loop: the event loop; all methods are for its thread.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[DecodeJob | None] = queue.SimpleQueue()
        self._done: deque[DecodeJob] = deque()
        self._wake = -1
        self._thread: threading.Thread | None = None

    def submit(self, job: DecodeJob) -> None:
        """Decode a piece; the loop calls ``job.done`` afterwards."""
        try:
            self._start()
        except (OSError, RuntimeError):  # no descriptor, or no thread: decode here
            job.run()
            job.done(job)
            return
        self._jobs.put(job)

    def _start(self) -> None:
        if self._wake < 0:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._loop.watch(self._wake, READ, self._woken, urgent=True)
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="decoder", daemon=True)
            thread.start()
            self._thread = thread

    def close(self) -> None:
        """End the thread, when its piece is done."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        if self._wake >= 0:
            self._loop.unwatch(self._wake)
            os.close(self._wake)
            self._wake = -1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            self._done.append(job)
            os.eventfd_write(self._wake, 1)

    def _woken(self, fd: int, _events: int) -> None:
        os.eventfd_read(fd)
        while self._done:
            job = self._done.popleft()
            job.done(job)
