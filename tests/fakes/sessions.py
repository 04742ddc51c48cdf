"""What sessions stand on, without sockets: their way out, and their services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tests.support.messages import Message, decode
from zurl_py.config import Config
from zurl_py.journal import Journal
from zurl_py.log import Log
from zurl_py.loop import Loop
from zurl_py.metrics import Metrics
from zurl_py.sessions import Services

__all__ = ["FakeOutlet", "make_services"]


class FakeOutlet:
    """Keeps what is published, and knows the slow workers that the test names.

    Attributes:
        packets: what was published, in order.
        slow: workers whose packets wait.
        told: who wants to hear that a worker has caught up.
        broken: packets cannot be sent.
    """

    def __init__(self) -> None:
        self.packets: list[Message] = []
        self.slow: set[bytes] = set()
        self.told: dict[Callable[[], None], None] = {}
        self.broken = False

    def publish(self, address: bytes, message: bytes) -> None:
        if self.broken:
            raise RuntimeError("nothing can be sent")
        assert message.startswith(address + b" ")
        self.packets.append(decode(message[len(address) + 1 :]))

    def when_caught_up(self, worker: bytes, tell: Callable[[], None]) -> None:
        assert worker in self.slow
        self.told[tell] = None

    def catch_up(self) -> None:
        """The slow workers have read what waited for them."""
        self.slow.clear()
        told, self.told = self.told, {}
        for tell in told:
            tell()

    def take(self) -> list[Message]:
        """The packets since the last call."""
        taken, self.packets = self.packets, []
        return taken


def make_services(loop: Loop, outlet: FakeOutlet, egress: object = None, **more: Any) -> Services:
    """Services over fakes."""
    log = more.pop("log", None) or Log(0)
    given: dict[str, Any] = {
        "log": log,
        "journal": Journal(log, Metrics(), loop),
        "policy": Config().policy(),
        "instance_id": b"gw",
        "buffer_size": 1000,
        "activity_timeout": 600.0,
        **more,
    }
    return Services(loop=loop, egress=cast(Any, egress), outlet=outlet, **given)
