"""An egress that records what streamed transfers ask of it."""

from __future__ import annotations

from typing import Any, cast

from zurl_py.egress import StreamTransfer


class Curl:
    """An easy handle that counts."""

    def __init__(self) -> None:
        self.unpaused = 0
        self.again: Any = None  # called by unpause, as libcurl calls back

    def unpause(self) -> None:
        self.unpaused += 1
        if self.again is not None:
            self.again()


class Handle:
    """What a streamed transfer uses of an easy handle."""

    def __init__(self) -> None:
        self.curl = Curl()
        self.header_lines: list[bytes] = []
        self.refused = None


class FakeEgress:
    """Keeps what it is asked for."""

    max_response_size = 0
    max_expansion = 0
    rules = 0
    is_late = False

    def __init__(self) -> None:
        self.moved: list[Any] = []
        self.added: list[Any] = []
        self.removed: list[Any] = []

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
