"""Copies a SQLite store to PostgreSQL: endpoints, deliveries with their ids, and attempts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from .attempts import DEFAULT_SCHEDULE
from .endpoints import from_text
from .store.base import StoreError
from .store.postgres import PostgresStore, pack_headers
from .store.secrets import SecretBox
from .store.sqlite_file import look_at, open_file, path_of

__all__ = ["move"]


def move(source: str, target: str, key: bytes | None = None) -> dict[str, int]:
    """Copy a store in one transaction, so completely or not at all.

    Args:
        source: ``sqlite:///PATH``, which no process may have open.
        target: ``postgresql://…``, a database without webhooks.
        key: of the encryption of secrets, in both.

    Returns:
        Numbers of endpoints, deliveries and attempts that were copied.

    Raises:
        StoreError: one of the two cannot be used.
    """
    path = path_of(source)
    if not os.path.exists(path):
        raise StoreError(f"store: {path} is missing")
    look_at(path)
    store = PostgresStore(target, SecretBox(key), DEFAULT_SCHEDULE, max_body=1_000_000)
    try:
        connection, lock = open_file(path)
        try:
            return store.take_in(_Source(connection))
        finally:
            connection.close()
            os.close(lock)
    finally:
        store.close()


class _Source:
    """The rows of a SQLite file, in the form of PostgreSQL's tables."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def tables(self) -> dict[str, tuple[str, Iterable[Sequence[Any]]]]:
        """The columns and an iterator of rows of each table, by its name."""
        return {
            "endpoint": (
                "id, name, settings, secrets, disabled, hold_until, failing_since, noticed,"
                " deleted, ordered, first_wait",
                self._endpoints(),
            ),
            "delivery": (
                "seq, id, endpoint, state, blocked, due, attempt, tries, size, accepted, expires,"
                " forget, okey, reason",
                self._connection.execute(
                    "SELECT seq, id, endpoint, state, blocked, due, attempt, tries, size, accepted,"
                    " expires, forget, okey, reason FROM delivery ORDER BY seq"
                ),
            ),
            "payload": ("seq, event, key, headers, secrets, body", self._payloads()),
            "attempt": (
                "seq, number, time, code, condition, error, phases, body",
                self._connection.execute(
                    "SELECT seq, number, time, code, condition, error, phases, body FROM attempt"
                ),
            ),
        }

    def _endpoints(self) -> Iterator[tuple[Any, ...]]:
        rows = self._connection.execute(
            "SELECT id, name, settings, secrets, disabled, hold_until, failing_since, noticed,"
            " deleted FROM endpoint"
        )
        for row in rows:
            settings = from_text(row[2], DEFAULT_SCHEDULE)
            yield (*row, settings.order, settings.schedule[0])

    def _payloads(self) -> Iterator[tuple[Any, ...]]:
        rows = self._connection.execute(
            "SELECT seq, event, key, headers, secrets, body FROM payload ORDER BY seq"
        )
        for seq, event, key, headers, secrets, body in rows:
            pairs = tuple((n, v) for n, v in msgspec.msgpack.decode(headers)) if headers else ()
            yield seq, event, key, pack_headers(pairs), secrets, body
