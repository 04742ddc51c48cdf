"""What a store knows beside its rows, endpoints above all; and what both stores do with rows.

``SqlState`` is the common part: SQL that SQLite and PostgreSQL both take, with ``?`` for values.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Protocol

import msgspec

from ..attempts import State, horizon
from ..endpoints import from_text, to_text
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
    "attempt_row",
    "first_due",
    "leased_at_once",
    "order_of",
]

PENDING, DONE, DEAD = range(3)
WAITS, STOPS = 1, 2  # values of ``blocked``
_CODES: Final = {State.PENDING: PENDING, State.DONE: DONE, State.DEAD: DEAD}

_DAY: Final = 86_400.0  # seconds
_DEAD_DAYS: Final = 30  # that dead letters are kept beyond the others

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
    """What a delivery is in order by: its key, or all of its endpoint; None: nothing."""
    order = endpoint.settings.order
    if order == "key":
        return key
    return "" if order == "endpoint" else None


def first_due(new: NewDelivery, endpoint: Endpoint) -> float:
    """When the first attempt of a delivery is due."""
    return max(new.accepted + endpoint.settings.schedule[0], new.not_before)


def leased_at_once(
    new: NewDelivery, endpoint: Endpoint, seq: int, due: float, fence: int = 0
) -> Delivery:
    """The delivery of a message that was leased as it was accepted."""
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


def attempt_row(finish: Finish) -> tuple[Any, ...]:
    """The row of the attempt that a lease ends with."""
    outcome = finish.outcome
    assert outcome is not None
    return (
        finish.delivery.seq,
        finish.delivery.tries + 1,
        outcome.started,
        outcome.code,
        outcome.condition,
        outcome.error,
        msgspec.json.encode(outcome.phases).decode(),
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
        SHOWN: the start of a SELECT of what is shown of a delivery.
        LISTED: a SELECT of the numbers that one value lists, in JSON.
        FREE: a condition: nobody has the delivery leased; the index of what is due asks for it.
        endpoints: by number, the deleted ones included.
        by_name: those that are not deleted.
        schedule: the default, seconds.
        in_flight: numbers of the deliveries that an attempt of is under way here.
        counted: by the transaction under way: changes of each state by endpoint.
    """

    SHOWN: ClassVar[str]
    LISTED: ClassVar[str]
    FREE: ClassVar[str]

    def __init__(self, box: SecretBox, schedule: tuple[float, ...]) -> None:
        self.box = box
        self.schedule = schedule
        self.in_flight: Container[int] = ()
        self.endpoints: dict[int, Endpoint] = {}
        self.by_name: dict[str, Endpoint] = {}
        self.counted: dict[int, list[int]] = {}

    # -- what the two kinds of store do each in its way ----------------------------------------

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run a statement."""
        raise NotImplementedError

    def is_leased(self, endpoint: int, seq: int) -> bool:
        """Whether somebody has a delivery leased; where not, nobody gets it in this transaction."""
        raise NotImplementedError

    def count(self, endpoint: int, *changes: tuple[int, int]) -> None:
        """So many more or fewer of a state, within the transaction under way."""
        counted = self.counted.get(endpoint)
        if counted is None:
            counted = self.counted[endpoint] = [0, 0, 0]
        for state, change in changes:
            counted[state] += change

    def count_states(self) -> dict[int, int]:
        """How many deliveries there are in each state."""
        raise NotImplementedError

    def count_pending(self, endpoints: Sequence[int]) -> dict[int, int]:
        """How many are pending of each endpoint, where there are any."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Look for endpoints that another process has put or changed."""
        raise NotImplementedError

    def next_dues(self) -> dict[int, float]:
        """When each endpoint has something to do next."""
        raise NotImplementedError

    def hold_key(self, endpoint: int, okey: str) -> None:
        """Let nobody else add to or take from a key until the end of the transaction."""
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
        """What was kept in the clear is encrypted, now that there is a key."""
        for id, secrets in self.execute("SELECT id, secrets FROM endpoint").fetchall():
            if not self.box.is_current(secrets):
                again = self.box.close(self.box.open(secrets))
                self.execute("UPDATE endpoint SET secrets = ? WHERE id = ?", (again, id))

    def remember(self, endpoint: Endpoint) -> None:
        """An endpoint is new or changed."""
        self.endpoints[endpoint.id] = endpoint
        if not endpoint.deleted:
            self.by_name[endpoint.name] = endpoint
            return
        named = self.by_name.get(endpoint.name)
        if named is not None and named.id == endpoint.id:  # and no new one of that name
            del self.by_name[endpoint.name]

    def find(self, name: str) -> Endpoint | None:
        """The endpoint of a name, as it is now."""
        return self.by_name.get(name)

    def find_number(self, number: int) -> Endpoint | None:
        """An endpoint by its number, as it is now."""
        return self.endpoints.get(number)

    def known(self, number: int) -> Endpoint:
        """An endpoint that a delivery refers to."""
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
        """Write down what has changed about an endpoint."""
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
        """All endpoints, and when each has something to do."""
        due = self.next_dues()
        return [
            Recovered(replace(endpoint), due.get(endpoint.id))
            for endpoint in self.endpoints.values()
            if not endpoint.deleted
        ]

    # -- rows ----------------------------------------------------------------------------------

    def head(self, endpoint: int, okey: str) -> tuple[int, int, int, float] | None:
        """The first that is open of a key: seq, state, blocked and due."""
        found: tuple[int, int, int, float] | None = self.execute(
            "SELECT seq, state, blocked, due FROM delivery"
            " WHERE endpoint = ? AND okey = ? AND okey IS NOT NULL AND (state = 0 OR blocked = 2)"
            " ORDER BY seq LIMIT 1",
            (endpoint, okey),
        ).fetchone()
        return found

    def unblock(self, endpoint: int, okey: str) -> float | None:
        """Let the next of a key go. Returns when it is due; None: there is none that may."""
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

    def ending(self, finish: Finish) -> Ending:
        """What a row becomes with the end of its lease."""
        delivery = finish.delivery
        endpoint = self.known(delivery.endpoint)
        if finish.state is State.PENDING and endpoint.deleted:
            finish.state, finish.reason = State.DEAD, "endpoint-deleted"
        code = _CODES[finish.state]
        stops = (
            code == DEAD
            and delivery.okey is not None
            and endpoint.settings.dead_head == "stop"
            and finish.reason not in ("expired", "endpoint-deleted")
        )
        forget = None
        if code != PENDING:
            forget = self.forget_at(endpoint, delivery.accepted, finish.at, code)
        tries = delivery.tries + (finish.outcome is not None)
        return Ending(code, STOPS if stops else 0, tries, finish.reason or None, forget)

    def forget_at(self, endpoint: Endpoint, accepted: float, ended: float, state: int) -> float:
        """When a delivery that has ended is forgotten, and its id with it."""
        remembered = max(accepted + horizon(endpoint.settings.schedule), ended) + _DAY
        return remembered + _DEAD_DAYS * _DAY if state == DEAD else remembered
