"""Opens the SQLite file: it is locked and checked, or refused with one line that says why.

There is one connection only: SQLite 3.7.0 to 3.51.2 can lose committed data if two connections
write and checkpoint a WAL at once. Exclusive locking keeps other processes out; the lock file lets
them find out at once.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from .base import StoreError

__all__ = ["look_at", "open_file", "path_of"]

_URL: Final = "sqlite:///"
_APPLICATION: Final = 0x5A55524C  # "ZURL", in the file's header
_VERSION: Final = 3
_MAGIC: Final = b"SQLite format 3\0"
_CHECKED_WHOLE: Final = 64 << 20  # bytes; a complete check of a larger file takes too long
_PAGE_CACHE: Final = 16_384  # kB
# Pages of WAL. With millions of pending deliveries each is elsewhere in the file, and an accept may
# have to wait until all are written: 2000 take four times as long, and save no processor time.
_CHECKPOINT: Final = 500
_WAL_KEPT: Final = 16 << 20  # bytes to which the WAL's file is truncated
_STATEMENTS: Final = 256  # cached prepared statements

_SCHEMA = """
CREATE TABLE endpoint (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    secrets BLOB,
    disabled TEXT NOT NULL DEFAULT '',
    hold_until REAL NOT NULL DEFAULT 0,
    failing_since REAL NOT NULL DEFAULT 0,
    noticed INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX endpoint_name ON endpoint (name) WHERE deleted = 0;

-- state: 0 pending, 1 done, 2 dead. blocked: 0 it may be leased, 1 it waits behind another of its
-- key, 2 it is dead and its key waits for it. okey: what it is ordered by; NULL: by nothing.
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint INTEGER NOT NULL,
    state INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    due REAL NOT NULL,
    attempt INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    size INTEGER NOT NULL,
    accepted REAL NOT NULL,
    expires REAL,
    forget REAL,
    okey TEXT,
    reason TEXT,
    digest BLOB NOT NULL
);
CREATE INDEX delivery_due ON delivery (endpoint, due) WHERE state = 0 AND blocked = 0;
CREATE INDEX delivery_expires ON delivery (expires)
    WHERE expires IS NOT NULL AND (state = 0 OR blocked = 2);
CREATE INDEX delivery_forget ON delivery (forget) WHERE forget IS NOT NULL;
CREATE INDEX delivery_key ON delivery (endpoint, okey, seq)
    WHERE okey IS NOT NULL AND (state = 0 OR blocked = 2);

CREATE TABLE payload (
    seq INTEGER PRIMARY KEY,
    event TEXT,
    key TEXT,
    headers BLOB,
    secrets BLOB,
    body BLOB NOT NULL
);

CREATE TABLE attempt (
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL,
    time REAL NOT NULL,
    code INTEGER NOT NULL,
    condition TEXT NOT NULL,
    error TEXT NOT NULL,
    phases TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

"""

# Numbers of deliveries in each state, without reading all rows.
_COUNTER = """
CREATE INDEX delivery_dead ON delivery (seq) WHERE state = 2;
CREATE TABLE counter (
    endpoint INTEGER PRIMARY KEY,
    pending INTEGER NOT NULL,
    done INTEGER NOT NULL,
    dead INTEGER NOT NULL
);
"""

# Of each key the delivery that is sent or may be sent, which is asked when others are replayed.
_OPEN = """
CREATE INDEX delivery_open ON delivery (endpoint, okey)
    WHERE okey IS NOT NULL AND state = 0 AND blocked = 0;
"""

# From version 1, which counted the states of all endpoints together.
_COUNT_ANEW = f"""
DROP TABLE counter;
{_COUNTER}
INSERT INTO counter SELECT endpoint, sum(state = 0), sum(state = 1), sum(state = 2)
FROM delivery GROUP BY endpoint;
"""
_UPGRADES = (_COUNT_ANEW, _OPEN)  # from version 1, from version 2


def path_of(url: str) -> str:
    """The path in ``sqlite:///PATH``; it is absolute.

    Raises:
        StoreError: the URL has another form.
    """
    path = "/" + url.removeprefix(_URL).lstrip("/")
    # With two slashes the first part would be a host.
    if not url.startswith(_URL) or path == "/" or "\0" in path:
        raise StoreError(f"store: must be sqlite:///PATH, not {url}")
    return path


def open_file(path: str) -> tuple[sqlite3.Connection, int]:
    """Open a store, or make one where there was none.

    Returns:
        The connection and the descriptor that holds the lock.

    Raises:
        StoreError: it is locked, broken, foreign, missing, or cannot be read.
    """
    lock = _lock(path)
    try:
        if not os.path.lexists(path):
            _make(path)
        look_at(path)
        os.chmod(path, 0o600)
        return _connect(path), lock
    except sqlite3.Error as error:
        os.close(lock)
        if "locked" in str(error):
            raise StoreError(f"store: {path} is locked by another process") from None
        raise StoreError(f"store: {path} is broken: {error}") from None
    except OSError as error:
        os.close(lock)
        raise StoreError(f"store: cannot open {path}: {error.strerror}") from None
    except BaseException:
        os.close(lock)
        raise


def _lock(path: str) -> int:
    """Lock ``PATH.lock``. The file stays: if it exists without the store, the store was lost."""
    lock_path = path + ".lock"
    known = os.path.exists(lock_path)
    if not os.path.isdir(os.path.dirname(path)):
        raise StoreError(f"store: there is no folder {os.path.dirname(path)} for {path}")
    if known and not os.path.lexists(path):
        raise StoreError(
            f"store: {path} is missing, and {lock_path} says that it was there; "
            f"bring it back, or remove {lock_path} to begin anew"
        )
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"store: cannot open {lock_path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise StoreError(f"store: {path} is locked by another process, {owner or '?'}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _make(path: str) -> None:
    """Make an empty store next to ``path``, and rename it when it is complete."""
    fresh = path + ".new"
    lock_path = path + ".lock"
    try:
        Path(fresh).unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(
                f"BEGIN; {_SCHEMA} {_COUNTER} {_OPEN} PRAGMA application_id = {_APPLICATION};"
                f"PRAGMA user_version = {_VERSION}; COMMIT;"
            )
        finally:
            connection.close()
        os.rename(fresh, path)
        _sync_folder(path)
    except (OSError, sqlite3.Error):
        for leftover in (fresh, lock_path):
            Path(leftover).unlink(missing_ok=True)
        raise


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def look_at(path: str) -> None:
    """Refuse a file that is no SQLite file, before SQLite writes to it.

    Raises:
        StoreError: it is no SQLite file, or cannot be read.
    """
    if not os.path.isfile(path):
        raise StoreError(f"store: {path} is no file")
    with open(path, "rb") as file:
        start = file.read(len(_MAGIC))
    if not start:
        raise StoreError(f"store: {path} is empty: it was made by something else, or lost all")
    if start != _MAGIC:
        raise StoreError(f"store: {path} is no SQLite file, or is broken")


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,  # transactions are begun explicitly
        check_same_thread=False,  # opened on the main thread, used on the store's
        timeout=1.0,
        cached_statements=_STATEMENTS,
    )
    try:
        _check_identity(connection, path)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_PAGE_CACHE}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA trusted_schema = OFF")
        # This keeps the lock, and shows that the file can be written.
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        _check_content(connection, path)
        _upgrade(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(connection: sqlite3.Connection, path: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != _APPLICATION:
        raise StoreError(f"store: {path} is a SQLite file of something else")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 1 <= version <= _VERSION:
        raise StoreError(
            f"store: {path} is of version {version}, and this program knows {_VERSION}"
        )


def _upgrade(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, upgrade in enumerate(_UPGRADES[version - 1 :], version + 1):
        connection.executescript(f"BEGIN; {upgrade} PRAGMA user_version = {number}; COMMIT;")


def _check_content(connection: sqlite3.Connection, path: str) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    if pages * page_size <= _CHECKED_WHOLE:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreError(f"store: {path} is broken: {str(found).splitlines()[-1]}")
