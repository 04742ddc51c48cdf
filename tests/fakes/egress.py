"""What stands around the egress in unit tests."""

from __future__ import annotations

from zurl_py.policy import Decision


class Rules:
    """A policy whose refusals the test writes down."""

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def _decide(self, subject: str) -> Decision:
        allowed = subject not in self.refused
        return Decision(allowed, "", subject, "allowed" if allowed else "refused by the test")

    def check_name(self, host: str, _port: int, _scheme: str) -> Decision:
        return self._decide(host)

    def check_address(self, address: str, _port: int, _scheme: str, _host: str = "") -> Decision:
        return self._decide(address)

    def check_privileges(self, **_asked: bool) -> Decision:
        return self._decide("privilege")


class StreamedSink:
    """A session with a streamed transfer."""

    def __init__(self) -> None:
        self.told = 0

    def transfer_moved(self) -> None:
        self.told += 1
