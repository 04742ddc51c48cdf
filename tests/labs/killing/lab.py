"""Senders, deliver, gateway, receiver; and what kills them, one after the other."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.e2e.delivery.postgres import Postgres
from tests.e2e.delivery.process import Deliver
from tests.labs.killing.check import Figures, check
from tests.labs.killing.receiver import SECRET
from tests.support import Daemon
from tests.support.daemon import free_port
from zurl_py.client import Webhooks
from zurl_py.client.webhooks import WebhookError

__all__ = ["Lab", "Patience", "has_open_breaker"]

_SENDERS = 6
_PATIENCE = 60.0  # seconds without any progress
_START = 120.0  # seconds
_BREAKER = re.compile(r'^zurl_deliver_breakers\{state="(?:open|half-open)"\} [^0]', re.M)
_LEASE = 2  # seconds
_CONCURRENCY = 16  # of the endpoint /plain
_PATHS = ("plain", "ordered", "busy", "gone")
_SHARES = (60, 25, 12, 3)  # of the messages, in percent


def has_open_breaker(metrics: str) -> bool:
    """Whether a process says in its metrics that an endpoint's breaker is open."""
    return _BREAKER.search(metrics) is not None


def _read_metrics(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            return answer.read().decode()


class Patience:
    """How long to wait for the end: as long as there is progress.

    Args:
        seconds: without progress, after which it is over.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._progress: object = None
        self._since: float | None = None

    def is_over(self, progress: object, waits: bool, now: float) -> bool:
        """Whether nothing has changed for too long.

        Args:
            progress: whatever changes with progress.
            waits: there is a reason to wait.
        """
        if waits or self._since is None or progress != self._progress:
            self._progress, self._since = progress, now
        return now - self._since > self._seconds


class Lab:
    """One run.

    Args:
        store: ``sqlite``: one process; ``postgresql``: two, on one database.
        messages: to be acknowledged.
        kills: spread over the run.
    """

    def __init__(self, store: str, messages: int, kills: int, seed: int = 0) -> None:
        self._messages = messages
        self._kills = kills
        self._random = random.Random(seed)
        self._stack = contextlib.ExitStack()
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="zk-")))
        self._sent_path = self._directory / "sent"
        self._received_path = self._directory / "received"
        self._gateway = Daemon(interfaces=("req",), arguments=("--loglevel=0",))
        self._postgres = Postgres() if store == "postgresql" else None
        self._numbers = itertools.count()
        self._acknowledged = 0
        self._lock = threading.Lock()
        settings: dict[str, Any] = {"schedule": ",".join(["0", *["0.2"] * 50]), "lease": _LEASE}
        if self._postgres:
            settings["store"] = self._postgres.url
        # No ports of TCP: while a process is down, a connection of anybody may get its port.
        self._metrics = [
            self._directory / f"metrics{number}" for number in range(2 if self._postgres else 1)
        ]
        self._delivers = [
            Deliver(
                str(self._gateway.config_path),
                loglevel=1,
                metrics_listen=f"unix:{path}",
                **settings,
            )
            for path in self._metrics
        ]

    def run(self) -> Figures:
        """Send, kill, wait for the end, check."""
        with self._stack, open(self._sent_path, "w") as self._sent:
            self._start()
            senders = [threading.Thread(target=self._send, args=(n,)) for n in range(_SENDERS)]
            for sender in senders:
                sender.start()
            self._kill_on(senders)
            for sender in senders:
                sender.join()
            dead = self._settle()
            self._sent.flush()
            # Each crash may repeat what was in flight: at the most what the endpoints allow. A
            # process that was stopped, too.
            most = (self._kills + 1) * len(self._delivers) * (_CONCURRENCY + 20)
            return check(self._sent_path, self._received_path, dead, most)

    # -- what takes part -----------------------------------------------------------------------

    def _start(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.labs.killing.receiver"]
        receiver = subprocess.Popen([*command, str(self._received_path), str(port)])
        self._stack.callback(receiver.kill)
        if self._postgres:
            self._stack.callback(self._postgres.close)
            self._postgres.start()
        self._stack.callback(self._gateway.close)
        self._gateway.start()
        for deliver in self._delivers:
            self._stack.callback(deliver.close)
            deliver.start().wait_started(_START)
        with Webhooks(self._delivers[0].endpoint) as webhooks:
            for path in _PATHS:
                webhooks.put_endpoint(
                    path,
                    f"http://127.0.0.1:{port}/{path}",
                    secrets=[SECRET],
                    order={"ordered": "key", "busy": "endpoint", "gone": "endpoint"}.get(path),
                    concurrency=_CONCURRENCY,
                    timeout=2000,
                )

    def _send(self, sender: int) -> None:
        """Message after message; of a key the next only when the last is acknowledged."""
        choose = random.Random(sender)
        counters = {path: itertools.count() for path in _PATHS}
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(Webhooks(deliver.endpoint, timeout=5))
                for deliver in self._delivers
            ]
            while next(self._numbers) < self._messages:
                (path,) = choose.choices(_PATHS, _SHARES)
                number = next(counters[path])
                id = f"{path}-{sender}-{number}"
                body = {"key": f"{path}-{sender}", "n": number}
                self._until_acknowledged(choose, clients, path, id, body)
                with self._lock:
                    self._acknowledged += 1
                    self._sent.write(json.dumps([id, path]) + "\n")

    def _until_acknowledged(
        self,
        choose: random.Random,
        clients: list[Webhooks],
        path: str,
        id: str,
        body: dict[str, object],
    ) -> None:
        while True:
            try:
                choose.choice(clients).send(path, body, id=id, key=str(body["key"]))
                return
            except WebhookError as error:
                if error.condition not in (None, "unavailable", "store-full"):
                    raise

    # -- what kills ----------------------------------------------------------------------------

    def _kill_on(self, senders: list[threading.Thread]) -> None:
        """So many kills, at even shares of the messages."""
        ways: list[Callable[[], None]] = [self._kill_deliver] * 3 + [self._kill_gateway]
        if self._postgres:
            ways += [self._kill_postgres, self._cut_connections, self._stop_deliver]
        for number in range(self._kills):
            share = self._messages * (number + 1) // (self._kills + 1)
            while self._acknowledged < share and any(sender.is_alive() for sender in senders):
                time.sleep(0.01)
            time.sleep(self._random.uniform(0, 0.05))
            self._random.choice(ways)()

    def _kill_deliver(self) -> None:
        deliver = self._random.choice(self._delivers)
        deliver.kill()
        deliver.start().wait_started(_START)

    def _kill_gateway(self) -> None:
        self._gateway.signal(signal.SIGKILL)
        self._gateway.wait()
        self._gateway.start()

    def _kill_postgres(self) -> None:
        assert self._postgres is not None
        self._postgres.kill()
        self._postgres.start()

    def _cut_connections(self) -> None:
        assert self._postgres is not None
        self._postgres.cut_connections()

    def _stop_deliver(self) -> None:
        process = self._random.choice(self._delivers).process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(_LEASE + 1.5)
        process.send_signal(signal.SIGCONT)

    # -- the end -------------------------------------------------------------------------------

    def _settle(self) -> list[str]:
        """Wait until nothing is pending. Returns what died or is held for good."""
        with Webhooks(self._delivers[0].endpoint, timeout=60) as webhooks:
            patience = Patience(_PATIENCE)
            states: dict[str, int] = {}
            while True:
                with contextlib.suppress(WebhookError):  # the database may be away still
                    states = webhooks.stats()["states"]
                    if not states["pending"] and not states["leased"]:
                        return list(self._ended(webhooks))
                progress = (states, self._received_path.stat().st_size)
                if patience.is_over(progress, self._has_open_breaker(), time.monotonic()):
                    waiting = list(webhooks.deliveries(state="pending"))[:5]
                    raise AssertionError(f"nothing ends any more: {states}, {waiting}")
                time.sleep(0.5)

    def _has_open_breaker(self) -> bool:
        """Whether a process waits by design, for minutes maybe."""
        return any(has_open_breaker(_read_metrics(path)) for path in self._metrics)

    def _ended(self, webhooks: Webhooks) -> Iterator[str]:
        """What is dead, and what is held since the receiver said 410."""
        for state in ("dead", "held"):
            for delivery in webhooks.deliveries(state=state):
                if delivery["endpoint"] != "gone":
                    raise AssertionError(f"nothing but /gone may fail for good: {delivery}")
                yield delivery["id"]
