"""The common part of both stores: endpoints in memory, and operations on rows.

``SqlState`` has SQL that both SQLite and PostgreSQL accept, with ``?`` for values.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Protocol

import msgspec

from ..attempts import State, horizon
from ..endpoints import from_text, to_text
from ..messages import QuestionError
from ..model import Delivery, Endpoint, Finish, NewDelivery, Recovered, Settings
from .secrets import SecretBox

__all__ = [
    "DEAD",
    "DONE",
    "PENDING",
    "STOPS",
    "WAITS",
    "Ending",
    "Rows",
    "SqlState",
    "as_json",
    "attempt_row",
    "first_due",
    "leased_at_once",
    "order_of",
    "unknown_delivery",
]

PENDING, DONE, DEAD = range(3)
WAITS, STOPS = 1, 2  # values of ``blocked``

_DAY: Final = 86_400.0  # seconds
_DEAD_DAYS: Final = 30  # additional days for which dead letters are kept

_COLUMNS: Final = (
    "id, name, settings, secrets, disabled, hold_until, failing_since, noticed, deleted"
)


@dataclass(slots=True)
class Ending:
    """The columns of a delivery whose lease has ended."""

    state: int
    blocked: int
    tries: int
    reason: str | None
    forget: float | None


def order_of(endpoint: Endpoint, key: str | None) -> str | None:
    """The ordering key of a delivery: its own, or one for its whole endpoint; None: unordered."""
    order = endpoint.settings.order
    if order == "key":
        return key
    return "" if order == "endpoint" else None


def first_due(new: NewDelivery, endpoint: Endpoint) -> float:
    """Time when the first attempt of a delivery is due."""
    return max(new.accepted + endpoint.settings.schedule[0], new.not_before)


def as_json(values: Sequence[Any]) -> str:
    """A list as one parameter of a statement; see ``LISTED`` and its like in `SqlState`."""
    return msgspec.json.encode(values).decode()


def unknown_delivery(id: str) -> QuestionError:
    """The error for a question about a delivery that does not exist."""
    return QuestionError("unknown-delivery", "unknown-delivery", f"there is no delivery {id!r}")


def leased_at_once(
    new: NewDelivery, endpoint: Endpoint, seq: int, due: float, fence: int = 0
) -> Delivery:
    """The delivery for a message that was accepted and leased at once."""
    return Delivery(
        seq,
        new.id,
        endpoint.id,
        new.body,
        due,
        new.accepted,
        event=new.event,
        headers=new.headers,
        okey=order_of(endpoint, new.key),
        expires_at=new.expires_at,
        secrets=new.secrets,
        fence=fence,
    )


_phases = msgspec.json.Encoder().encode


def attempt_row(finish: Finish) -> tuple[Any, ...]:
    """The row for the attempt with which a lease ends."""
    outcome = finish.outcome
    assert outcome is not None
    return (
        finish.delivery.seq,
        finish.delivery.tries + 1,
        outcome.started,
        outcome.code,
        outcome.condition,
        outcome.error,
        _phases(outcome.phases).decode(),
        outcome.body,
    )


class Rows(Protocol):
    """The result of a statement."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class SqlState:
    """Endpoints of one store, and the SQL that both kinds share.

    Attributes:
        SHOWN: the beginning of a SELECT of the columns that are shown of a delivery.
        LISTED: a SELECT of the numbers in one value, a JSON list.
        LISTED_TEXT: the same for texts, as ``value``.
        PAIRS: the same for pairs of numbers, as ``seq`` and ``number``.
        FREE: the condition that a delivery is not leased, which the index of due times needs.
        LOCKED: the end of a SELECT by which no other process can change the rows meanwhile.
        endpoints: endpoints by number, deleted ones included.
        by_name: endpoints by name, without deleted ones.
        schedule: the default, seconds.
        in_flight: numbers of the deliveries with an attempt in flight here.
        counted: changes of the counts by the current transaction: of each state, by endpoint.
    """

    SHOWN: ClassVar[str]
    LISTED: ClassVar[str]
    LISTED_TEXT: ClassVar[str]
    PAIRS: ClassVar[str]
    FREE: ClassVar[str]
    LOCKED: ClassVar[str]

    def __init__(self, box: SecretBox, schedule: tuple[float, ...]) -> None:
        self.box = box
        self.schedule = schedule
        self.in_flight: Container[int] = ()
        self.endpoints: dict[int, Endpoint] = {}
        self.by_name: dict[str, Endpoint] = {}
        self.counted: dict[int, list[int]] = {}

    # -- implemented by each kind of store -----------------------------------------------------

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run a statement."""
        raise NotImplementedError

    def lock_free(self, deliveries: Sequence[tuple[int, int]]) -> list[int]:
        """Those that are not leased, and nobody can lease until the transaction ends.

        Args:
            deliveries: numbers of an endpoint and of its delivery.
        """
        raise NotImplementedError

    def count(self, endpoint: int, *changes: tuple[int, int]) -> None:
        """Change the counts of states, within the current transaction."""
        counted = self.counted.get(endpoint)
        if counted is None:
            counted = self.counted[endpoint] = [0, 0, 0]
        for state, change in changes:
            counted[state] += change

    def count_states(self, endpoint: int = 0) -> dict[int, int]:
        """Numbers of deliveries in each state."""
        raise NotImplementedError

    def leased(self) -> list[int]:
        """The numbers of deliveries that are leased."""
        raise NotImplementedError

    def count_pending(self, endpoints: Sequence[int]) -> dict[int, int]:
        """Numbers of pending deliveries of endpoints that have any."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read endpoints that other processes have changed."""
        raise NotImplementedError

    def next_dues(self) -> dict[int, float]:
        """Times when each endpoint has a delivery due next."""
        raise NotImplementedError

    def hold_key(self, endpoint: int, okey: str) -> None:
        """Lock a key until the end of the transaction."""
        raise NotImplementedError

    def hold_keys(self, endpoint: int, okeys: Sequence[str]) -> None:
        """Lock keys, which are in order, until the end of the transaction."""
        raise NotImplementedError

    # -- endpoints -----------------------------------------------------------------------------

    def load(self, condition: str = "", values: Sequence[Any] = ()) -> list[Endpoint]:
        """Read endpoints into memory. Returns them."""
        rows = self.execute(f"SELECT {_COLUMNS} FROM endpoint {condition}", values).fetchall()
        loaded = [self._from_row(row) for row in rows]
        for endpoint in loaded:
            self.remember(endpoint)
        return loaded

    def _from_row(self, row: Sequence[Any]) -> Endpoint:
        id, name, settings, secrets, disabled, hold_until, failing_since, noticed, deleted = row
        return Endpoint(
            id,
            name,
            from_text(settings, self.schedule),
            self.box.open(secrets),
            disabled,
            hold_until,
            failing_since,
            noticed,
            bool(deleted),
        )

    def encrypt_secrets(self) -> None:
        """Encrypt secrets that are in the clear, if there is a key now."""
        for id, secrets in self.execute("SELECT id, secrets FROM endpoint").fetchall():
            if not self.box.is_current(secrets):
                again = self.box.close(self.box.open(secrets))
                self.execute("UPDATE endpoint SET secrets = ? WHERE id = ?", (again, id))

    def remember(self, endpoint: Endpoint) -> None:
        """Keep a new or changed endpoint in memory."""
        self.endpoints[endpoint.id] = endpoint
        if not endpoint.deleted:
            self.by_name[endpoint.name] = endpoint
            return
        named = self.by_name.get(endpoint.name)
        if named is not None and named.id == endpoint.id:  # not a new one with that name
            del self.by_name[endpoint.name]

    def find(self, name: str) -> Endpoint | None:
        """The current endpoint of a name."""
        return self.by_name.get(name)

    def known_by_name(self, name: str) -> Endpoint:
        """The current endpoint of a name in a question.

        Raises:
            QuestionError: there is none.
        """
        endpoint = self.find(name)
        if endpoint is None:
            raise QuestionError(
                "unknown-endpoint", "unknown-endpoint", f"there is no endpoint {name!r}"
            )
        return endpoint

    def find_number(self, number: int) -> Endpoint | None:
        """The current endpoint of a number."""
        return self.endpoints.get(number)

    def known(self, number: int) -> Endpoint:
        """The endpoint that a delivery refers to."""
        return self.endpoints[number]

    def insert_endpoint(
        self, name: str, settings: Settings, secrets: tuple[str, ...] = ()
    ) -> Endpoint:
        """Make an endpoint."""
        (id,) = self.execute(
            "INSERT INTO endpoint (name, settings, secrets) VALUES (?, ?, ?) RETURNING id",
            (name, to_text(settings), self.box.close(secrets)),
        ).fetchone()
        endpoint = Endpoint(id, name, settings, secrets)
        self.remember(endpoint)
        return endpoint

    def write_endpoint(self, endpoint: Endpoint) -> None:
        """Write a changed endpoint."""
        self.execute(
            "UPDATE endpoint SET settings = ?, secrets = ?, disabled = ?, hold_until = ?,"
            " failing_since = ?, noticed = ?, deleted = ? WHERE id = ?",
            (
                to_text(endpoint.settings),
                self.box.close(endpoint.secrets),
                endpoint.disabled,
                endpoint.hold_until,
                endpoint.failing_since,
                endpoint.noticed,
                int(endpoint.deleted),
                endpoint.id,
            ),
        )
        self.remember(endpoint)

    def recover(self) -> list[Recovered]:
        """All endpoints, with the times when they have a delivery due."""
        due = self.next_dues()
        return [
            Recovered(replace(endpoint), due.get(endpoint.id))
            for endpoint in self.endpoints.values()
            if not endpoint.deleted
        ]

    # -- rows ----------------------------------------------------------------------------------

    def next_due(self, endpoint: int) -> float | None:
        """Time when an endpoint has a delivery due next."""
        (due,) = self.execute(
            "SELECT min(due) FROM delivery WHERE endpoint = ? AND state = 0 AND blocked = 0"
            f" AND {self.FREE}",
            (endpoint,),
        ).fetchone()
        found: float | None = due
        return found

    def pending(self, endpoint: int, columns: str, limit: int) -> list[tuple[Any, ...]]:
        """An endpoint's pending deliveries without a lease, by two indices: due, or blocked."""
        found: list[tuple[Any, ...]] = []
        for which in (f"blocked = 0 AND {self.FREE}", "okey IS NOT NULL AND blocked = 1"):
            found += self.execute(
                f"SELECT {columns} FROM delivery WHERE endpoint = ? AND state = 0 AND {which}"
                " LIMIT ?",
                (endpoint, limit - len(found)),
            ).fetchall()
        return found

    def head(self, endpoint: int, okey: str) -> tuple[int, int, int, float] | None:
        """The first open delivery of a key: seq, state, blocked and due."""
        found: tuple[int, int, int, float] | None = self.execute(
            "SELECT seq, state, blocked, due FROM delivery"
            " WHERE endpoint = ? AND okey = ? AND okey IS NOT NULL AND (state = 0 OR blocked = 2)"
            " ORDER BY seq LIMIT 1",
            (endpoint, okey),
        ).fetchone()
        return found

    def unblock(self, endpoint: int, okey: str) -> float | None:
        """Unblock the next delivery of a key. Returns when it is due; None: there is none."""
        self.hold_key(endpoint, okey)
        head = self.head(endpoint, okey)
        if head is None:
            return None
        seq, state, blocked, due = head
        if state != PENDING:
            return None
        if blocked:
            self.execute("UPDATE delivery SET blocked = 0 WHERE seq = ?", (seq,))
        return due

    def read_keys(self, deliveries: Sequence[Delivery]) -> None:
        """Read the ordering keys of leased deliveries, which a change of the order has changed."""
        if not deliveries:
            return
        seqs = as_json([delivery.seq for delivery in deliveries])
        found = dict(
            self.execute(
                f"SELECT seq, okey FROM delivery WHERE seq IN ({self.LISTED}) {self.LOCKED}",
                (seqs,),
            ).fetchall()
        )
        for delivery in deliveries:
            delivery.okey = found.get(delivery.seq, delivery.okey)

    def ending(self, finish: Finish) -> Ending:
        """The values of a row after the end of its lease."""
        delivery = finish.delivery
        endpoint = self.known(delivery.endpoint)
        tries = delivery.tries + (finish.outcome is not None)
        if finish.state is State.DONE:
            forget = self.forget_at(endpoint, delivery.accepted, finish.at, DONE)
            return Ending(DONE, 0, tries, finish.reason or None, forget)
        if finish.state is State.PENDING and endpoint.deleted:
            finish.state, finish.reason = State.DEAD, "endpoint-deleted"
        code = DEAD if finish.state is State.DEAD else PENDING
        stops = (
            code == DEAD
            and delivery.okey is not None
            and endpoint.settings.dead_head == "stop"
            and finish.reason not in ("expired", "endpoint-deleted")
        )
        dead_until = None
        if code == DEAD:
            dead_until = self.forget_at(endpoint, delivery.accepted, finish.at, DEAD)
        return Ending(code, STOPS if stops else 0, tries, finish.reason or None, dead_until)

    def forget_at(self, endpoint: Endpoint, accepted: float, ended: float, state: int) -> float:
        """Time when a delivery that has ended is deleted, and its id forgotten."""
        remembered = max(accepted + horizon(endpoint.settings.schedule), ended) + _DAY
        return remembered + _DEAD_DAYS * _DAY if state == DEAD else remembered
