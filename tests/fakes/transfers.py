"""An egress that records what streamed transfers ask of it."""

from __future__ import annotations

from typing import Any, cast

import pycurl

from zurl_py.egress import StreamTransfer
from zurl_py.egress.one_by_one import OneByOne


class Curl:
    """An easy handle that counts."""

    def __init__(self) -> None:
        self.unpaused = 0
        self.paused = 0
        self.limit = 0  # bytes a second
        self.again: Any = None  # called when it goes on, as libcurl calls back

    def pause(self, what: int) -> None:
        if what & pycurl.PAUSE_RECV:
            self.paused += 1
            return
        self.unpaused += 1
        if self.again is not None:
            self.again()


class Handle:
    """What a streamed transfer uses of an easy handle."""

    def __init__(self) -> None:
        self.curl = Curl()
        self.header_lines: list[bytes] = []
        self.refused = None
        self.window = None

    def limit_speed(self, size: int) -> None:
        self.curl.limit = size


class FakeEgress:
    """Keeps what it is asked for."""

    max_response_size = 0
    max_expansion = 0
    rules = 0
    is_late = False

    def __init__(self) -> None:
        self.moved: list[Any] = []
        self.large_bodies: OneByOne[Any] = OneByOne(lambda next: self.moved.append(next))
        self.added: list[Any] = []
        self.removed: list[Any] = []
        self.resting: list[Any] = []

    def decode(self, job: Any) -> None:
        job.run()
        job.done(job)

    def pause_until_turn(self, transfer: Any) -> None:
        self.resting.append(transfer)

    def add(self, transfer: Any) -> None:
        self.added.append(transfer)
        transfer.handle = cast(Any, Handle())
        if not isinstance(transfer, StreamTransfer):
            return
        transfer._redirecting = transfer._read_paused = transfer._write_paused = False
        transfer._received = 0

    def timed_out(self, _transfer: Any) -> None:
        pass

    def remove(self, transfer: Any) -> None:
        self.removed.append(transfer)
        transfer.handle = None
