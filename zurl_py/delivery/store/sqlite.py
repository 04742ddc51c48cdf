"""The store in one SQLite file: two writes per delivery, leases in memory.

Only this process uses the file, so leases need not be written: after a crash all pending deliveries
may be leased again. A batch is one transaction. Each of its statements handles many rows, because
each step of SQLite releases Python's GIL and has to wait for it again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..attempts import State
from ..endpoints import by_uri, name_of_uri
from ..model import (
    Accepted,
    Claim,
    Claimed,
    Delivery,
    Endpoint,
    Finish,
    Finished,
    NewDelivery,
    Recovered,
)
from .base import Query, QueryResult, StoreFull, StoreUnavailable
from .queries import Queries
from .secrets import SecretBox
from .sqlite_file import open_file, path_of
from .sqlite_state import SqliteState, values
from .state import PENDING, as_json, attempt_row, first_due, leased_at_once, order_of

__all__ = ["SqliteStore"]

_ROW: Final = 700  # bytes of a delivery beside its body, indices included
_RESERVE: Final = 64 << 20  # bytes of the disk that are kept free for results
_RESERVE_SHARE: Final = 0.05  # the same as a part of the disk, if that is less

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_json = msgspec.json.Decoder().decode

_INSERT_DELIVERY = (
    "INSERT OR IGNORE INTO delivery"
    " (seq, id, endpoint, state, blocked, due, attempt, tries, size, accepted, expires, okey,"
    " digest) VALUES "
)
_INSERT_PAYLOAD = "INSERT INTO payload (seq, event, key, headers, secrets, body) VALUES "
_INSERT_ATTEMPT = (
    "INSERT OR REPLACE INTO attempt"
    " (seq, number, time, code, condition, error, phases, body) VALUES "
)
_UPDATE_BEFORE = (
    "UPDATE delivery SET state = v.column2,"
    " blocked = CASE v.column2 WHEN 0 THEN blocked ELSE v.column3 END, due = v.column4,"
    " attempt = v.column5, tries = v.column6, reason = v.column7, forget = v.column8"
    " FROM (VALUES "
)
_UPDATE_BEHIND = ") AS v WHERE delivery.seq = v.column1"

# One row for all deliveries: JSON, and their bodies one after the other, as JSON has no bytes. A
# cast between BLOB and TEXT changes no byte.
_DUE = """
SELECT json_group_array(json_array(seq, due, size)) FROM (
    SELECT seq, due, size FROM delivery
    WHERE endpoint = ? AND state = 0 AND blocked = 0
    AND seq NOT IN (SELECT value FROM json_each(?))
    ORDER BY due LIMIT ?)
"""
_FETCH = """
SELECT json_group_array(json_array(
    d.seq, d.id, d.due, d.accepted, d.attempt, d.tries, d.expires, d.okey,
    p.event, hex(p.headers), hex(p.secrets), length(p.body))),
    CAST(group_concat(CAST(p.body AS TEXT), '') AS BLOB)
FROM json_each(?) AS wanted
JOIN delivery AS d ON d.seq = wanted.value
JOIN payload AS p ON p.seq = d.seq
"""


class SqliteStore:
    """The six verbs on SQLite.

    Args:
        url: ``sqlite:///PATH``.
        box: encrypts secrets.
        schedule: the default, seconds.
        max_bytes: size of the store from which on nothing is accepted; 0: no limit.

    Raises:
        StoreError: the file cannot be used.
    """

    lease = 0.0
    lease_until = float("inf")
    lost = False
    processes = 1
    takeovers = 0
    claims_at_once = 1

    def __init__(
        self, url: str, box: SecretBox, schedule: tuple[float, ...], max_bytes: int = 0
    ) -> None:
        self.path = path_of(url)
        connection, self._lock = open_file(self.path)
        try:
            self._state = SqliteState(connection, box, schedule)
        except BaseException:
            connection.close()
            os.close(self._lock)
            raise
        self._queries = Queries(self._state)
        self.max_bytes = max_bytes
        (self._page_size,) = connection.execute("PRAGMA page_size").fetchone()
        (last,) = connection.execute("SELECT max(seq) FROM delivery").fetchone()
        self._last_seq: int = last or 0

    def close(self) -> None:
        """Close the file and release the lock."""
        try:
            self._state.connection.close()
        except sqlite3.Error:
            pass
        os.close(self._lock)

    # -- accept --------------------------------------------------------------------------------

    def accept(self, batch: Sequence[NewDelivery], now: float) -> list[Accepted]:
        """Write deliveries; they are on the disk when this returns."""
        self._refuse_if_full(sum(len(new.body) + _ROW for new in batch))
        state = self._state
        seq = self._last_seq
        results: list[Accepted] = []
        rows: list[tuple[Any, ...]] = []
        taken: list[tuple[NewDelivery, Accepted, Endpoint, int]] = []
        heads: set[tuple[int, str]] = set()
        with self._transaction("FULL", full=True):
            for new in batch:
                endpoint = self._endpoint_of(new)
                result = Accepted(new.token, new.id)
                results.append(result)
                if endpoint is None:
                    result.error = ("unknown-endpoint", f"there is no endpoint {new.endpoint!r}")
                    continue
                seq += 1
                okey = order_of(endpoint, new.key)
                blocked = int(okey is not None and self._must_wait(endpoint.id, okey, heads))
                due = first_due(new, endpoint)
                result.endpoint = endpoint.id
                result.due = None if blocked else due
                rows.append(_row(new, seq, endpoint.id, blocked, due, okey))
                taken.append((new, result, endpoint, seq))
            written = values(state.connection, _INSERT_DELIVERY, rows)
            if written != len(rows):
                taken = [item for item in taken if self._is_new(*item)]
                self._let_heads_go(taken)
            values(
                state.connection,
                _INSERT_PAYLOAD,
                [self._payload(new, number) for new, _, _, number in taken],
            )
            for number, count in Counter([result.endpoint for _, result, _, _ in taken]).items():
                state.count(number, (PENDING, count))
        self._last_seq = seq
        for new, result, endpoint, number in taken:
            self._lease_if_wished(new, result, endpoint, number, now)
        return results

    def endpoint(self, number: int) -> Endpoint:
        """A copy of an endpoint."""
        return replace(self._state.endpoints[number])

    @property
    def in_flight(self) -> Container[int]:
        """Numbers of the deliveries with an attempt in flight."""
        return self._state.in_flight

    @in_flight.setter
    def in_flight(self, numbers: Container[int]) -> None:
        self._state.in_flight = numbers

    def _endpoint_of(self, new: NewDelivery) -> Endpoint | None:
        state = self._state
        if new.endpoint:
            return state.find(new.endpoint)
        name = name_of_uri(new.uri)
        return state.find(name) or state.insert_endpoint(name, by_uri(new.uri, state.schedule))

    def _must_wait(self, endpoint: int, okey: str, heads: set[tuple[int, str]]) -> bool:
        """Whether another one with this key is open; ``heads``: the first ones of this batch."""
        if (endpoint, okey) in heads:
            return True
        heads.add((endpoint, okey))
        return self._state.head(endpoint, okey) is not None

    def _is_new(self, new: NewDelivery, result: Accepted, _endpoint: Endpoint, number: int) -> bool:
        seq, digest = self._state.connection.execute(
            "SELECT seq, digest FROM delivery WHERE id = ?", (new.id,)
        ).fetchone()
        if seq == number:
            return True
        result.endpoint, result.due = 0, None
        if digest == new.digest:
            result.duplicate = True
        else:
            result.error = ("conflict", f"the id {new.id} is another message's")
        return False

    def _let_heads_go(self, taken: Sequence[tuple[NewDelivery, Accepted, Endpoint, int]]) -> None:
        """Unblock deliveries that wait for one of this batch that was a duplicate."""
        for new, result, endpoint, number in taken:
            okey = order_of(endpoint, new.key)
            if result.due is None and okey is not None:
                head = self._state.head(endpoint.id, okey)
                if head is not None and head[0] == number:
                    result.due = self._state.unblock(endpoint.id, okey)

    def _payload(self, new: NewDelivery, number: int) -> tuple[Any, ...]:
        headers = _pack(new.headers) if new.headers else None
        return number, new.event, new.key, headers, self._state.box.close(new.secrets), new.body

    def _lease_if_wished(
        self, new: NewDelivery, result: Accepted, endpoint: Endpoint, number: int, now: float
    ) -> None:
        due = result.due
        if not new.claim or due is None or due > now or endpoint.disabled:
            return
        self._state.lease(endpoint.id, (number,))
        result.delivery = leased_at_once(new, endpoint, number, due)

    def _refuse_if_full(self, wanted: int) -> None:
        try:
            disk = os.statvfs(self.path)
            wal = os.stat(f"{self.path}-wal").st_size
        except OSError as error:  # what is written now would be found nowhere
            raise StoreUnavailable(f"{error.filename}: {error.strerror}") from None
        left = disk.f_bavail * disk.f_frsize
        reserve = min(_RESERVE, int(_RESERVE_SHARE * disk.f_blocks * disk.f_frsize))
        # A checkpoint needs room for the content of the WAL, before that starts again.
        reserve += wal
        if left < wanted + reserve:
            raise StoreFull(f"the disk of {self.path} has {left} bytes left")
        if self.max_bytes:
            (pages,) = self._state.connection.execute("PRAGMA page_count").fetchone()
            (free,) = self._state.connection.execute("PRAGMA freelist_count").fetchone()
            if (pages - free) * self._page_size + wanted > self.max_bytes:
                raise StoreFull(f"store_max_bytes={self.max_bytes} is reached")

    # -- claim ---------------------------------------------------------------------------------

    def claim(self, batch: Sequence[Claim], now: float) -> list[Claimed]:
        """Lease due deliveries, in the order of their due times."""
        with self._errors():
            return [self._claim(claim, now) for claim in batch]

    def _claim(self, claim: Claim, now: float) -> Claimed:
        state = self._state
        endpoint = state.endpoints.get(claim.endpoint)
        if endpoint is None or endpoint.disabled or endpoint.deleted:
            return Claimed(claim.endpoint, [], None)
        leased = state.leases.get(claim.endpoint, ())
        (text,) = state.connection.execute(
            _DUE, (claim.endpoint, as_json(list(leased)), claim.limit + 1)
        ).fetchone()
        wanted: list[int] = []
        next_due: float | None = None
        room = claim.max_bytes
        for seq, due, size in _json(text):
            if due > now or len(wanted) == claim.limit or (wanted and room < size):
                next_due = due
                break
            wanted.append(seq)
            room -= size
        return Claimed(claim.endpoint, self._fetch(claim.endpoint, wanted), next_due)

    def _fetch(self, endpoint: int, wanted: list[int]) -> list[Delivery]:
        if not wanted:
            return []
        state = self._state
        text, bodies = state.connection.execute(_FETCH, (as_json(wanted),)).fetchone()
        deliveries = []
        start = 0
        for row in _json(text):
            end = start + row[-1]
            deliveries.append(self._delivery(endpoint, row, bodies[start:end]))
            start = end
        state.lease(endpoint, wanted)
        return sorted(deliveries, key=lambda delivery: (delivery.due, delivery.seq))

    def _delivery(self, endpoint: int, row: list[Any], body: bytes) -> Delivery:
        seq, id, due, accepted, attempt, tries, expires, okey, event, headers, secrets, _ = row
        return Delivery(
            seq,
            id,
            endpoint,
            body,
            due,
            accepted,
            attempt,
            tries,
            event,
            _headers(bytes.fromhex(headers)) if headers else (),
            okey,
            expires,
            self._state.box.open(bytes.fromhex(secrets)) if secrets else (),
        )

    # -- finish --------------------------------------------------------------------------------

    def finish(self, batch: Sequence[Finish], now: float) -> list[Finished]:
        """Write results. If a power cut loses one, the delivery is sent again, and not lost."""
        state = self._state
        results: list[Finished] = []
        written: list[Finished] = []
        ended: dict[int, list[int]] = {}  # leases, by endpoint
        for finish in batch:
            result = Finished(finish)
            results.append(result)
            delivery = finish.delivery
            if delivery.seq not in state.leases.get(delivery.endpoint, ()):
                result.stale = True
                continue
            ended.setdefault(delivery.endpoint, []).append(delivery.seq)
            if finish.gives_back:
                continue  # nothing to write
            written.append(result)
        saves = [finish.save for finish in batch if finish.save is not None]
        if written or saves:
            with self._transaction("NORMAL"):
                for save in saves:
                    self._queries.save(save)
                self._write(written)
        for endpoint, seqs in ended.items():
            state.release(endpoint, seqs)
        return results

    def _write(self, results: Sequence[Finished]) -> None:
        connection = self._state.connection
        finishes = [result.finish for result in results]
        self._state.read_keys([f.delivery for f in finishes if self._is_ordered(f.delivery)])
        rows = [self._ended_row(finish) for finish in finishes]
        values(connection, _UPDATE_BEFORE, rows, _UPDATE_BEHIND)
        attempts = [attempt_row(finish) for finish in finishes if finish.outcome is not None]
        values(connection, _INSERT_ATTEMPT, attempts)
        for result in results:
            delivery = result.finish.delivery
            if delivery.okey is not None and result.finish.state is not State.PENDING:
                result.unblocked = self._state.unblock(delivery.endpoint, delivery.okey)

    def _is_ordered(self, delivery: Delivery) -> bool:
        """Whether a delivery was ordered when it was leased, or may be now."""
        order = self._state.known(delivery.endpoint).settings.order
        return delivery.okey is not None or order != "none"

    def _ended_row(self, finish: Finish) -> tuple[Any, ...]:
        ending = self._state.ending(finish)
        if ending.state != PENDING:
            self._state.count(finish.delivery.endpoint, (PENDING, -1), (ending.state, 1))
        return (
            finish.delivery.seq,
            ending.state,
            ending.blocked,
            finish.due,
            finish.attempt,
            ending.tries,
            ending.reason,
            ending.forget,
        )

    # -- renew, recover, query -----------------------------------------------------------------

    def renew(self, now: float) -> None:
        """Do nothing: no other process can use the file."""

    def listen(self, told: Callable[[str], None]) -> None:
        """Do nothing: no other process can use the file."""

    def recover(self, now: float) -> list[Recovered]:
        """All endpoints, with the times when they have a delivery due."""
        with self._errors():
            return self._state.recover()

    def query(self, query: Query, now: float) -> QueryResult:
        """Everything else; each query is a transaction."""
        with self._transaction("FULL"):
            return self._queries.run(query, now)

    def _transaction(self, synchronous: str, full: bool = False) -> _Transaction:
        return _Transaction(self._state, synchronous, full)

    def _errors(self) -> _Errors:
        return _Errors()


class _Errors:
    """Converts SQLite's errors to those of a store."""

    full = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sqlite3.Error):
            name = getattr(error, "sqlite_errorname", "") or ""
            if self.full and name.startswith("SQLITE_FULL"):
                raise StoreFull(f"there is no room on the disk: {error}") from None
            raise StoreUnavailable(f"{error} ({name or 'sqlite'})") from None


class _Transaction(_Errors):
    """One transaction; it is rolled back if its block raises."""

    def __init__(self, state: SqliteState, synchronous: str, full: bool) -> None:
        self._state = state
        self._synchronous = synchronous
        self.full = full

    def __enter__(self) -> None:
        with _Errors():
            execute = self._state.connection.execute
            if self._state.failed is not None:
                self._state.checkpoint()
            self._changes = self._state.connection.total_changes
            if self._state.synchronous != self._synchronous:
                execute(f"PRAGMA synchronous = {self._synchronous}")
                self._state.synchronous = self._synchronous
            execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        connection = self._state.connection
        if error is None:
            try:
                self._state.write_counts()
                if self._state.failed is not None and connection.total_changes > self._changes:
                    raise self._state.failed
                connection.execute("COMMIT")
                self._state.settle()
                return
            except sqlite3.Error as failed:
                error = failed
        # SQLite may have rolled back by itself.
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                pass
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_IOERR") and isinstance(error, sqlite3.Error):
            self._state.failed = error
        if name == "SQLITE_FULL":
            # The WAL cannot grow. After a checkpoint it starts again, in the room that it has.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
        try:
            self._state.unsettle()
        except sqlite3.Error:
            pass  # the next transaction fails as well, and says why
        super().__exit__(kind, error, traceback)


def _row(
    new: NewDelivery, seq: int, endpoint: int, blocked: int, due: float, okey: str | None
) -> tuple[Any, ...]:
    return (
        seq,
        new.id,
        endpoint,
        PENDING,
        blocked,
        due,
        0,  # attempt
        0,  # tries
        len(new.body),
        new.accepted,
        new.expires_at,
        okey,
        new.digest,
    )


def _headers(kept: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, value) for name, value in _unpack(kept))
