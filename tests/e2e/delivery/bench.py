"""Both stores by their verbs, without a process; the time is given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from zurl_py.delivery.attempts import DEFAULT_SCHEDULE, Outcome, State
from zurl_py.delivery.messages import EndpointPut, Question, Stats
from zurl_py.delivery.model import Accepted, Claim, Delivery, Finish, NewDelivery
from zurl_py.delivery.store.base import Query, QueryResult, Store
from zurl_py.delivery.store.postgres import PostgresStore
from zurl_py.delivery.store.secrets import SecretBox
from zurl_py.delivery.store.sqlite import SqliteStore
from zurl_py.zhttp import Format

__all__ = ["Bench"]

_STATES = ("pending", "done", "dead")


class Bench:
    """A store, and time that passes when it is told to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = self.open()
        self.now = float(int(time.time()))
        self.number = 0

    def open(self) -> Store:
        if self.url.startswith("sqlite"):
            return SqliteStore(self.url, SecretBox(), DEFAULT_SCHEDULE)
        return PostgresStore(self.url, SecretBox(), DEFAULT_SCHEDULE, max_body=1_000_000)

    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    def query(self, query: Query) -> QueryResult:
        """Until it is done."""
        while True:
            result = self.store.query(query, self.now)
            if result.again is None:
                return result
            query = result.again

    def ask(self, kind: type[Question], type_: str, **fields: Any) -> QueryResult:
        return self.query(kind(Format.JSON, type_, **fields))

    def put(self, endpoint: str, **fields: Any) -> None:
        uri = "http://127.0.0.1/"
        self.ask(EndpointPut, "endpoint-put", endpoint=endpoint, uri=uri, **fields)

    def new(self, endpoint: str, **fields: Any) -> NewDelivery:
        self.number += 1
        id = fields.pop("id", f"m{self.number}")
        body = fields.pop("body", b"body")
        digest = bytes(body) + endpoint.encode()
        return NewDelivery(None, id, endpoint, "", body, digest, self.now, **fields)

    def accept(self, endpoint: str, count: int = 1, **fields: Any) -> list[Accepted]:
        batch = [self.new(endpoint, **fields) for _ in range(count)]
        return self.store.accept(batch, self.now)

    def claim(self, *endpoints: str, limit: int = 100) -> list[Delivery]:
        numbers = [self.number_of(name) for name in endpoints]
        claims = [Claim(number, limit, 1 << 20) for number in numbers]
        return [d for result in self.store.claim(claims, self.now) for d in result.deliveries]

    def number_of(self, endpoint: str) -> int:
        found = {item.endpoint.name: item.endpoint.id for item in self.store.recover(self.now)}
        return found[endpoint]

    def finish(self, deliveries: Sequence[Delivery], state: State, reason: str = "") -> None:
        self.store.finish(
            [
                Finish(
                    delivery,
                    state,
                    self.now + 60,
                    delivery.attempt + 1,
                    Outcome(self.now, code=200, body=b"answer %d" % delivery.seq),
                    reason,
                    self.now,
                )
                for delivery in deliveries
            ],
            self.now,
        )

    def counted(self) -> dict[str, int]:
        """What ``stats`` says."""
        states: dict[str, int] = self.ask(Stats, "stats").answer["states"]
        return states

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return list(self.store._state.execute(sql).fetchall())  # type: ignore[attr-defined]

    def check_counts(self, held: int = 0) -> dict[str, int]:
        """``stats`` says what there is."""
        found = dict(self.rows("SELECT state, count(*) FROM delivery GROUP BY state"))
        expected = {name: found.get(number, 0) for number, name in enumerate(_STATES)}
        expected["held"] = held
        expected["pending"] -= held
        assert self.counted() == expected
        return expected
