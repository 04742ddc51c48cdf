"""What transfers and the engine that carries them know of each other.

Both sides depend on these, and not on one another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .errors import TransferError
from .handles import EasyHandle
from .meter import Meter
from .multi import Multi
from .one_by_one import OneByOne
from .request import HttpRequest

__all__ = ["Carried", "Carrier", "Mover", "Turns"]


class Carried(Protocol):
    """A transfer, as the engine sees it.

    Attributes:
        request: the request of the current hop.
        streamed: its answer is taken as it comes, and may have to wait.
        handle: the easy handle, while the transfer is in libcurl.
        multi: the multi handle it is in.
        leave: takes it out of the queue that it waits in; None where it waits nowhere.
        rules: the `Carrier.rules` under which it was last asked about.
        attempts: how often this hop was given to libcurl.
        avoids_kept: it goes by a new connection, for a kept one has died under it.
        patience: until when it may wait for another's connection; 0: it has not waited yet.
        names_since: names that were looked up since then are good for it, on the loop's clock.
    """

    request: HttpRequest
    streamed: bool
    handle: EasyHandle | None
    multi: Multi | None
    leave: Callable[[], None] | None
    rules: int
    attempts: int
    avoids_kept: bool
    patience: float
    names_since: float

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""

    def rewind(self) -> bool:
        """Make ready to send all of the request again; whether that can be done."""

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason that is not libcurl's."""


class Mover(Carried, Protocol):
    """A transfer that has news for its session from time to time."""

    def moved(self) -> None:
        """Tell them; called from the loop's turn."""


class Turns(Protocol):
    """Those who wait for a turn."""

    def append(self, mover: Mover, /) -> None:
        """Put a transfer at the end."""


class Carrier(Protocol):
    """The engine, as transfers see it.

    Attributes:
        max_response_size: bytes of an answer that is collected; 0 is unlimited.
        max_expansion: bytes of a body for one of its coding; 0 is unlimited.
        large_bodies: bodies that are unpacked one at a time, as each is held whole.
        moved: transfers that have something to tell; told in the next turn, or soon after.
        lingering: WebSockets that nobody waits for any more, and whose last frame is on its way.
        rules: how often the rules of the policy have changed.
        meter: measures transfers, if somebody wants that.
    """

    meter: Meter | None
    max_response_size: int
    max_expansion: int
    large_bodies: OneByOne[Mover]
    lingering: set[Carried]
    rules: int

    @property
    def moved(self) -> Turns: ...

    def add(self, transfer: Carried) -> None:
        """Start a transfer, or its next hop."""

    def remove(self, transfer: Carried) -> None:
        """Take a transfer out, finished or not; harmless if it is out."""

    def timed_out(self, transfer: Carried) -> None:
        """A session's time was up before the transfer's end."""

    def report(self, transfer: Carried, tell: Callable[..., None], *about: object) -> None:
        """Tell a session; a bug of ours in it ends that session, and no other."""
