"""Sends questions to ``zurl-py deliver``, and repeats them until they are answered.

Without an answer it is not known whether a question was carried out. So it is repeated unchanged
until there is an answer, or its deadline comes; if it was committed before, the answer says that it
is a duplicate. There is one socket and one thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import zmq

from ..zhttp import tnetstring
from .running import Runtime, Signal

__all__ = ["Courier", "Question"]

_FIRST_REPEAT: Final = 1.0  # seconds without an answer until a question is repeated
_LAST_REPEAT: Final = 10.0
_SOON: Final = 0.25  # seconds until a question is repeated that could not be carried out now
_LINGER: Final = 0  # milliseconds: unanswered questions are dropped
_PASSING: Final = frozenset((b"unavailable", b"store-full"))


@dataclass(slots=True, eq=False)
class Question:
    """A question that waits for its answer.

    Attributes:
        fields: of the packet; text is bytes.
        deadline: seconds on the monotonic clock.
        repeats: it is idempotent, and so may be repeated.
        answer: the answer; None while there is none, or if the deadline came first.
        last: the last answer that said to try again.
    """

    fields: dict[bytes, Any]
    deadline: float
    signal: Signal
    repeats: bool = True
    answer: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    due: float = 0.0
    wait: float = _FIRST_REPEAT
    sent: bool = False
    over: bool = False


@dataclass(slots=True)
class _State:
    """The state that the thread shares with its callers."""

    waiting: deque[Question] = field(default_factory=deque)
    given_up: deque[Question] = field(default_factory=deque)
    closing: bool = False


class Courier:
    """Sends questions to one endpoint, for any number of threads and tasks.

    Attributes:
        pid: of the process that has its thread.
    """

    def __init__(self, endpoint: str) -> None:
        self.pid = os.getpid()
        self._endpoint = endpoint
        self._state = _State()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="zurl_py.webhooks", daemon=True)
        self._thread.start()

    def ask(
        self, fields: dict[bytes, Any], timeout: float, runtime: Runtime, repeats: bool
    ) -> Question:
        """Send a question; wait for its ``signal``, then look at its ``answer``."""
        deadline = time.monotonic() + timeout
        question = Question(fields, deadline, runtime.signal(), repeats)
        self._state.waiting.append(question)
        os.eventfd_write(self._wake, 1)
        return question

    def give_up(self, question: Question) -> None:
        """Drop a question: its caller does not wait any more."""
        self._state.given_up.append(question)
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End the thread; open questions end without an answer."""
        if self.pid == os.getpid() and not self._state.closing:
            self._state.closing = True
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._wake)

    # -- on the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, _LINGER)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        # Questions must not queue while nobody is connected, as they are repeated anyway.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.connect(self._endpoint)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        asked: dict[int, Question] = {}
        number = 0
        while not self._state.closing:
            poller.poll(self._patience(asked))
            self._empty()
            while self._state.given_up:
                self._state.given_up.popleft().over = True
            while self._state.waiting:
                number += 1
                asked[number] = self._state.waiting.popleft()
            self._read(socket, asked)
            self._send(socket, asked)
        for question in (*asked.values(), *self._state.waiting):
            _end(question)
        socket.close()
        context.term()

    def _patience(self, asked: dict[int, Question]) -> int:
        """Milliseconds until something is due."""
        if self._state.waiting or self._state.given_up:
            return 0
        moments = [min(question.due, question.deadline) for question in asked.values()]
        now = time.monotonic()
        return max(0, int(1000 * (min(moments, default=now + 60.0) - now)) + 1)

    def _empty(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass

    def _read(self, socket: zmq.Socket[bytes], asked: dict[int, Question]) -> None:
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            packet = tnetstring.loads(frames[-1][1:])
            question = asked.get(packet.pop(b"user-data", 0))
            if question is None:
                continue  # its question was answered, or dropped
            answer = _readable(packet)
            if packet.get(b"condition") in _PASSING and question.repeats:
                question.last = answer
                question.due = time.monotonic() + _SOON
                continue
            question.answer = answer
            _end(question)

    def _send(self, socket: zmq.Socket[bytes], asked: dict[int, Question]) -> None:
        now = time.monotonic()
        for number, question in list(asked.items()):
            if not question.over and question.deadline <= now:
                _end(question)
            if question.over:
                del asked[number]
                continue
            if question.due > now or (question.sent and not question.repeats):
                continue
            message = b"T" + tnetstring.dumps({**question.fields, b"user-data": number})
            try:
                socket.send_multipart((b"", message), zmq.NOBLOCK)
            except zmq.Again:  # nobody is connected
                question.due = now + _SOON
                continue
            question.sent = True
            question.due = now + question.wait
            question.wait = min(2 * question.wait, _LAST_REPEAT)


def _end(question: Question) -> None:
    question.over = True
    question.signal.runtime.wake([question.signal])


def _readable(packet: dict[bytes, Any]) -> dict[str, Any]:
    """An answer with text for bytes, except for bodies, which may hold any bytes."""
    return {name.decode(): _as_text(name, value) for name, value in packet.items()}


def _as_text(name: bytes, value: Any) -> Any:
    if isinstance(value, bytes):
        return value if name == b"body" else value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return _readable(value)
    if isinstance(value, list):
        return [_as_text(name, item) for item in value]
    return value
