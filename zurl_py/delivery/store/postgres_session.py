"""A connection to PostgreSQL that reconnects, with a time limit for each batch.

libpq waits without limit for a server that does not answer a query. So a thread watches the time,
and shuts down the socket of a batch that takes too long, which then fails like any lost connection.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString, NoReturn

import psycopg

from .base import StoreError, StoreUnavailable

__all__ = ["DiskFull", "Run", "Session"]

# Runs a statement with values; returns its rows.
Run = Callable[[LiteralString, Sequence[Any]], list[tuple[Any, ...]]]

_CONNECT: Final = 3  # seconds
_STATEMENT: Final = 6.0  # seconds that a batch may take
_LOOK: Final = 0.5  # seconds between checks of the time
_POOLED: Final = (
    "store: a pooler (PgBouncer) in between pools transactions; LISTEN and advisory locks need"
    " pool_mode=session, or the server itself"
)
_PASSING: Final = psycopg.errors.DeadlockDetected  # which leaves the session as it was
_AGAIN: Final = 1.0  # seconds between attempts to connect
_TOO_LONG: Final = (
    f"no answer within {_STATEMENT:.0f} seconds: the database hangs, or a lock is held for long"
)


class DiskFull(StoreUnavailable):
    """The disk of the server is full. The connection is kept: other statements may still work."""


class Session:
    """A connection, made again when it is lost.

    Args:
        url: ``postgresql://…``.
        prepare: called with each new connection.

    Raises:
        StoreError: the first connection cannot be made.
    """

    def __init__(self, url: str, prepare: Callable[[psycopg.Connection[Any]], None]) -> None:
        self._url = url
        self._prepare = prepare
        self._connection: psycopg.Connection[Any] | None = None
        self._failed_at = 0.0  # on the monotonic clock
        self._why = ""
        self._busy_since = 0.0  # of the current batch; 0: there is none
        self._was_cut = False  # the connection was ended here, after the time limit
        self._closing = threading.Event()
        try:
            self._connect()
        except psycopg.Error as error:
            raise StoreError(f"store: PostgreSQL{_place(url)}: {_one_line(error)}") from None
        threading.Thread(target=self._watch, name="store-watch", daemon=True).start()

    def connection(self) -> psycopg.Connection[Any]:
        """The connection; a new one if the last was lost.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        connection = self._connection
        if connection is not None and not connection.closed:
            return connection
        if time.monotonic() - self._failed_at < _AGAIN:
            raise StoreUnavailable(self._why)
        try:
            return self._connect()
        except (psycopg.Error, StoreError) as error:
            self._failed(error)
            raise StoreUnavailable(self._why) from None

    def __enter__(self) -> psycopg.Connection[Any]:
        """Begin a batch, which is one transaction."""
        connection = self._begin()
        try:
            connection.execute("BEGIN")
        except psycopg.Error as error:
            self._busy_since = 0.0
            self._lose(error)
            raise StoreUnavailable(self._why) from None
        return connection

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("COMMIT" if error is None else "ROLLBACK")
        except psycopg.Error as failed:
            self._lose(failed)
            if error is None:
                raise StoreUnavailable(self._why) from None
        finally:
            self._busy_since = 0.0
        if isinstance(error, psycopg.Error):
            self._raise(error)

    def run(self, statement: LiteralString, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a batch of one statement, which is a transaction by itself: one round trip."""
        connection = self._begin()
        try:
            return connection.execute(statement, values).fetchall()
        except psycopg.Error as error:
            self._raise(error)
        finally:
            self._busy_since = 0.0

    def _begin(self) -> psycopg.Connection[Any]:
        connection = self.connection()
        self._busy_since = time.monotonic()
        return connection

    def _raise(self, error: psycopg.Error) -> NoReturn:
        if isinstance(error, psycopg.errors.DiskFull):
            raise DiskFull(_one_line(error)) from None
        if isinstance(error, psycopg.OperationalError) and not isinstance(error, _PASSING):
            self._lose(error)
            raise StoreUnavailable(self._why) from None
        raise StoreUnavailable(_one_line(error)) from None

    @contextmanager
    def without_limit(self) -> Iterator[psycopg.Connection[Any]]:
        """A transaction without a time limit."""
        with self as connection:
            self._busy_since = 0.0
            yield connection

    def close(self) -> None:
        """Close the connection."""
        self._closing.set()
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> psycopg.Connection[Any]:
        self._was_cut = False
        self._busy_since = time.monotonic()
        try:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_CONNECT,
                application_name="zurl-deliver",
            )
            self._connection = connection
            self._check_pooler(connection)
            connection.execute("SET search_path = zurl")
            # Plans are made once and kept, perhaps while a table is small or has no statistics; so
            # they have to use the indices from the start.
            for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
                connection.execute(f"SET {setting} = off")
            self._prepare(connection)
        except BaseException:
            # Without our advisory lock others would take us for dead, and send what we send.
            self._close()
            raise
        finally:
            self._busy_since = 0.0
        return connection

    def _check_pooler(self, connection: psycopg.Connection[Any]) -> None:
        """Check that a connection pooler, if there is one, pools sessions.

        Raises:
            StoreError: it pools transactions, or has no second connection for us.
        """
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        if pid == connection.info.backend_pid:
            return  # a pooler reports numbers of its own
        with psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT) as second:
            other = _begin_within(second, _CONNECT)
            # While the second is in a transaction, the first must still have its server process.
            if other == pid or connection.execute("SELECT pg_backend_pid()").fetchone() != (pid,):
                raise StoreError(_POOLED)

    def _lose(self, error: psycopg.Error) -> None:
        self._failed(error)
        self._close()

    def _failed(self, error: Exception) -> None:
        self._failed_at = time.monotonic()
        self._why = _TOO_LONG if self._was_cut else _one_line(error)

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK):
            began = self._busy_since
            if began and time.monotonic() - began > _STATEMENT:
                self._cut()

    def _cut(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            # A duplicate of the descriptor: a shutdown applies to the connection itself.
            with socket.socket(fileno=os.dup(connection.fileno())) as cut:
                self._was_cut = True
                cut.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error):
            pass


def _begin_within(connection: psycopg.Connection[Any], seconds: float) -> int:
    """Begin a transaction. Returns the number of the server process."""
    pgconn = connection.pgconn
    pgconn.send_query(b"BEGIN; SELECT pg_backend_pid()")
    value = b""
    while True:
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                return int(value)
            if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                raise StoreError(_POOLED)  # no transactions: it pools statements
            if result.ntuples:
                value = result.get_value(0, 0) or b""
        if not select.select([connection], [], [], seconds)[0]:
            raise StoreError(
                "store: the pooler has one connection left; two connections are needed"
            )
        pgconn.consume_input()


def _place(url: str) -> str:
    """The server's address for messages: not all versions of psycopg have it."""
    try:
        host = psycopg.conninfo.conninfo_to_dict(url).get("host")
    except psycopg.Error:  # the URL is wrong, and the error says so
        host = None
    return f" at {host}" if host else ""


def _one_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return "; ".join(line.strip() for line in lines)
