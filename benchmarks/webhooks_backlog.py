"""``python -m benchmarks.webhooks_backlog``: a store with millions of pending webhooks.

Fills a SQLite store in the schema of ``zurl-py deliver``, starts ``deliver`` on it, and measures
the start, the memory, the rate of deliveries, and what questions and the page cost meanwhile. The
store lies in ``--directory`` and takes about half a kB for each webhook.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sqlite3
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.webhooks import receiver
from tests.e2e.delivery.process import Deliver, Worker
from tests.support import Daemon
from tests.support.daemon import free_port
from zurl_py.delivery.endpoints import to_text
from zurl_py.delivery.model import Settings
from zurl_py.delivery.store.secrets import SecretBox
from zurl_py.delivery.store.sqlite import SqliteStore

__all__ = ["fill"]

_BODY = 200  # bytes
_CHUNK = 1_000_000  # rows of one transaction

_DELIVERIES = """
WITH RECURSIVE number(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n < :last)
INSERT INTO delivery
    (seq, id, endpoint, state, blocked, due, attempt, tries, size, accepted, digest)
SELECT n, printf('msg_%032x', n), 1 + n % :endpoints, 0, 0,
    coalesce(:due, :now + CASE WHEN n % 2 THEN n * 1e-6 ELSE 86400 END), :tries, :tries, :size,
    :now, zeroblob(16)
FROM number
"""
_PAYLOADS = """
WITH RECURSIVE number(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n < :last)
INSERT INTO payload (seq, body) SELECT n, zeroblob(:size) FROM number
"""


def fill(
    path: Path, pending: int, endpoints: int, uri: str, tries: int = 0, due: float | None = None
) -> None:
    """Make a store.

    Args:
        uri: the URI of all endpoints; endpoint ``e1`` and so on.
        tries: attempts that each delivery has had.
        due: when all are due, seconds since 1970; None: half of them now, the others in a day.
    """
    SqliteStore(f"sqlite://{path}", SecretBox(), (0.0,)).close()
    settings = to_text(Settings(uri))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO endpoint (id, name, settings) VALUES (?, ?, ?)",
            ((number, f"e{number}", settings) for number in range(1, endpoints + 1)),
        )
        connection.execute("COMMIT")
        (due_index,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'delivery_due'"
        ).fetchone()
        connection.execute("DROP INDEX delivery_due")
        now = time.time()
        for first in range(1, pending + 1, _CHUNK):
            values = {
                "first": first,
                "last": min(pending, first + _CHUNK - 1),
                "endpoints": endpoints,
                "now": now,
                "size": _BODY,
                "tries": tries,
                "due": due,
            }
            connection.execute("BEGIN")
            connection.execute(_DELIVERIES, values)
            connection.execute(_PAYLOADS, values)
            connection.execute("COMMIT")
        connection.execute(due_index)
        connection.execute(
            "INSERT INTO counter SELECT endpoint, count(*), 0, 0 FROM delivery GROUP BY endpoint"
        )
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


class Accepts:
    """Webhooks that are accepted meanwhile, one after the other; the longest wait counts."""

    def __init__(self, deliver: Deliver) -> None:
        self._worker = Worker(deliver.endpoint)
        self._ended = threading.Event()
        self.longest = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            began = time.monotonic()
            answer = self._worker.ask("deliver", endpoint="e1", body="", within=60)
            assert answer["type"] == "accepted", answer
            self.longest = max(self.longest, time.monotonic() - began)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._worker.close()


def memory(deliver: Deliver) -> int:
    """The most memory that it has had so far, kB."""
    status = Path(f"/proc/{deliver.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@contextlib.contextmanager
def timed(what: str, accepts: Accepts) -> Iterator[None]:
    accepts.longest = 0.0
    began = time.monotonic()
    yield
    passed = time.monotonic() - began
    print(
        f"| {what} | {1000 * passed:,.0f} ms | {1000 * accepts.longest:,.0f} ms |",
        flush=True,
    )


def measure(deliver: Deliver, page: str, seconds: float, sweep: float) -> None:
    """Start it, and print what that and questions cost."""
    began = time.monotonic()
    deliver.start().wait_started(600)
    print(f"start: {time.monotonic() - began:.1f} s, {memory(deliver) // 1024} MB", flush=True)
    worker = deliver.worker()
    accepts = Accepts(deliver)
    try:
        done = worker.ask("stats", within=60)["states"]["done"]
        time.sleep(seconds)
        rate = (worker.ask("stats", within=60)["states"]["done"] - done) / seconds
        print(f"{rate:,.0f} deliveries/s, {memory(deliver) // 1024} MB; longest wait for an accept")
        print(f"meanwhile {1000 * accepts.longest:.0f} ms", flush=True)
        questions: dict[str, Callable[[], object]] = {
            "stats": lambda: worker.ask("stats", within=600),
            "disable": lambda: worker.ask("endpoint-disable", endpoint="e2", within=600),
            "stats with held": lambda: worker.ask("stats", within=600),
            "page": lambda: urllib.request.urlopen(page, timeout=600).read(),
            "page of an endpoint": lambda: urllib.request.urlopen(
                f"{page}endpoint?name=e3", timeout=600
            ).read(),
            "enable": lambda: worker.ask("endpoint-enable", endpoint="e2", within=600),
            "delete": lambda: worker.ask("endpoint-delete", endpoint="e4", within=600),
        }
        for state in ("pending", "held", "done", "dead"):
            questions[f"list {state}"] = lambda state=state: worker.ask(  # type: ignore[misc]
                "delivery-list", state=state, limit=10, within=600
            )
        print("| question | time | longest wait for an accept |\n|---|--:|--:|")
        for what, ask in questions.items():
            with timed(what, accepts):
                ask()
        accepts.longest = 0.0
        time.sleep(sweep)
        print(f"| a sweep | | {1000 * accepts.longest:.0f} ms |")
        print(f"in the end {memory(deliver) // 1024} MB")
    finally:
        accepts.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.webhooks_backlog", description=__doc__
    )
    parser.add_argument("--pending", type=int, default=10_000_000)
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="that deliveries are counted")
    parser.add_argument("--sweep", type=float, default=35.0, help="seconds in which one comes")
    parser.add_argument("--directory", default="/tmp")
    options = parser.parse_args()
    room = shutil.disk_usage(options.directory).free
    if room < 1024 * options.pending:
        parser.error(f"{options.directory} has {room >> 30} GB left: too few")
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="zb-", dir=options.directory))
        )
        uri = stack.enter_context(receiver(folder / "arrivals"))
        gateway = stack.enter_context(Daemon(interfaces=("req",), arguments=("--loglevel=1",)))
        path = folder / "store.db"
        began = time.monotonic()
        fill(path, options.pending, options.endpoints, uri)
        print(f"filled in {time.monotonic() - began:.0f} s: {path.stat().st_size >> 20} MB")
        address = f"127.0.0.1:{free_port()}"
        deliver = Deliver(
            str(gateway.config_path), loglevel=1, store=f"sqlite://{path}", http_listen=address
        )
        stack.callback(deliver.close)
        measure(deliver, f"http://{address}/", options.seconds, options.sweep)


if __name__ == "__main__":
    main()
