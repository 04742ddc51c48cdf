"""The interfaces between transfers and the engine that runs them.

Both depend on these interfaces, and not on each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .decoding import DecodeJob
from .errors import TransferError
from .handles import EasyHandle
from .meter import Meter
from .multi import Multi
from .one_by_one import OneByOne
from .request import HttpRequest
from .throttle import Throttled

__all__ = ["Carried", "Carrier", "Mover", "Turns"]


class Carried(Protocol):
    """A transfer, as the engine sees it.

    Attributes:
        request: the request of the current hop.
        streamed: its answer is read piece by piece, and may be paused.
        handle: the easy handle, while the transfer is in libcurl.
        multi: the multi handle that holds it.
        leave: removes it from the queue in which it waits; None where it waits in none.
        rules: the `Carrier.rules` under which the policy last allowed it.
        attempts: how often this hop was given to libcurl.
        avoids_kept: it needs a new connection, because a kept one was lost under it.
        share_until: until when it may wait for another's connection; 0: it has not waited yet.
        names_since: it may use names that were looked up since then, on the loop's clock.
        verifies_connect_host: the certificate must be the connect host's, not the URI's.
    """

    request: HttpRequest
    streamed: bool
    handle: EasyHandle | None
    multi: Multi | None
    leave: Callable[[], None] | None
    rules: int
    attempts: int
    avoids_kept: bool
    share_until: float
    names_since: float
    verifies_connect_host: bool

    def prepare(self, handle: EasyHandle) -> None:
        """Set the options of the current hop."""

    def rewind(self) -> bool:
        """Prepare to send the request again from its beginning; False if that is impossible."""

    def ended(self, code: int, message: str) -> None:
        """libcurl is done with the handle, with this result."""

    def fail(self, failure: TransferError) -> None:
        """End without an answer, for a reason other than a libcurl result."""


class Mover(Carried, Protocol):
    """A transfer that reports progress to its session."""

    def moved(self) -> None:
        """Report to the session; called from the loop's turn."""


class Turns(Protocol):
    """The queue of transfers that have something to report."""

    def append(self, mover: Mover, /) -> None:
        """Add a transfer at the end."""


class Carrier(Protocol):
    """The engine, as transfers see it.

    Attributes:
        max_response_size: bytes of a buffered answer; 0: no limit.
        max_expansion: decoded bytes for one byte of a coded body; 0: no limit.
        large_bodies: large bodies are decoded one at a time, as each is held whole.
        moved: transfers that have something to report, in the next turn or soon after.
        lingering: WebSockets whose session has ended, while their last frame is being sent.
        rules: policy generation: how often the rules have changed.
        meter: measures transfers; None where there are no metrics.
    """

    meter: Meter | None
    max_response_size: int
    max_expansion: int
    large_bodies: OneByOne[Mover]
    lingering: set[Carried]
    rules: int

    @property
    def moved(self) -> Turns: ...

    @property
    def is_late(self) -> bool:
        """Whether this turn of the loop has lasted so long that other work waits for the next."""

    def decode(self, job: DecodeJob, /) -> None:
        """Decode a piece of a body on another thread."""

    def pause_until_turn(self, transfer: Throttled) -> None:
        """Resume a transfer, which pauses now, in its turn."""

    def add(self, transfer: Carried) -> None:
        """Start a transfer, or its next hop."""

    def remove(self, transfer: Carried) -> None:
        """Remove a transfer, finished or not; no error if it is not there."""

    def leave_quic(self, transfer: Carried) -> None:
        """Send a request again over TCP, as the origin does not serve it over QUIC."""

    def look_for_an_alert(self, transfer: Carried, failure: TransferError) -> None:
        """Find the TLS alert that a reset may have hidden; `fail` is called, with it if it came.

        Args:
            failure: what is reported otherwise.
        """

    def timed_out(self, transfer: Carried) -> None:
        """Note that a session's timeout came before the end of its transfer."""

    def report(self, transfer: Carried, tell: Callable[..., None], *about: object) -> None:
        """Call a session; an exception (a bug) ends that session and no other."""
