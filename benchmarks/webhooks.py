"""``python -m benchmarks.webhooks``: what durable delivery costs, next to the bare work in it.

Gateway, receiver (nginx) and load are on the same machine. The floor is a loop of SQLite commits of
64 rows, and as many requests to the gateway by a bare DEALER; its latencies are those of a commit
of one row, and of a request until it is at the receiver, at the same steady rate. They say what the
disk and the load of the machine allow at that moment.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from tests.e2e.delivery.postgres import Postgres
from tests.e2e.delivery.process import Deliver, Worker
from tests.support import Daemon
from tests.support.daemon import free_port
from zurl_py.zhttp import tnetstring

_BODY = "x" * 1000
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_OUTSTANDING = 256  # questions without an answer, and requests in flight of the floor
_ROWS = 64


@dataclass
class Figures:
    """One run, or the floor.

    Attributes:
        rate: deliveries per second, sustained.
        cpu: µs of processor time of ``deliver`` for each.
        accept_p99: ms from question to answer, at a steady rate.
        sent_p95: ms from the answer to the request's arrival at the receiver, at that rate.
    """

    rate: float
    cpu: float = 0.0
    accept_p99: float = 0.0
    sent_p95: float = 0.0


@contextlib.contextmanager
def receiver(log: Path) -> Iterator[str]:
    """An nginx that takes everything; its log has the time of each request and its id."""
    port = free_port()
    config = log.parent / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {log.parent}/pid; error_log {log.parent}/error;"
        "events { worker_connections 4096; } http {"
        f"client_body_temp_path {log.parent}/bodies; keepalive_requests 10000000;"
        "log_format arrivals '$msec $request_time $http_webhook_id';"
        f"access_log {log} arrivals;"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200; }} }} }}"
    )
    process = subprocess.Popen(["nginx", "-p", str(log.parent), "-c", str(config)])
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def sustained(deliver: Deliver, worker: Worker, messages: int) -> tuple[float, float]:
    """Deliveries per second, and µs of processor time for each."""
    question = b"J" + msgspec.json.encode({"type": "deliver", "endpoint": "e", "body": _BODY})
    cpu, began = deliver.cpu_seconds(), time.monotonic()
    sent = answered = 0
    while answered < messages:
        while sent < messages and sent - answered < _OUTSTANDING:
            worker.socket.send_multipart((b"", question))
            sent += 1
        worker.socket.recv_multipart()
        answered += 1
    while worker.ask("stats", within=60)["states"]["done"] < messages:
        time.sleep(0.02)
    passed = time.monotonic() - began
    return messages / passed, 1e6 * (deliver.cpu_seconds() - cpu) / messages


def paced(worker: Worker, log: Path, rate: int, seconds: float) -> tuple[float, float]:
    """At a steady rate: ms to the answer (p99), and from there to the receiver (p95)."""
    asked: dict[str, float] = {}
    accepted: dict[str, float] = {}
    count = int(rate * seconds)
    began = time.time()
    number = 0
    while len(accepted) < count:
        now = time.time()
        while number < count and began + number / rate <= now:
            id = f"paced-{number}"
            asked[id] = time.time()
            worker.send({"type": "deliver", "endpoint": "e", "body": _BODY, "id": id})
            number += 1
        if worker.socket.poll(1):
            answer = worker.receive()
            accepted[answer["id"]] = time.time()
    time.sleep(1.0)
    arrived = arrivals(log)
    waits = sorted(accepted[id] - asked[id] for id in accepted)
    sent = sorted(max(0.0, arrived[id] - accepted[id]) for id in accepted if id in arrived)
    return 1000 * waits[len(waits) * 99 // 100], 1000 * sent[len(sent) * 95 // 100]


def arrivals(log: Path) -> dict[str, float]:
    """When each webhook came, by its id."""
    arrived = {}
    for line in log.read_text().splitlines():
        moment, took, id = line.split(" ")
        arrived[id] = float(moment) - float(took)
    return arrived


def floor(
    gateway: Daemon, uri: str, log: Path, messages: int, rate: int, seconds: float
) -> Figures:
    """Commits of 64 rows, then a bare loop of requests: what cannot be done without."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        connection = _database(folder)
        for _ in range(messages // _ROWS):
            connection.execute("BEGIN")
            rows = [(0, _BODY)] * _ROWS
            connection.executemany("INSERT INTO t (state, body) VALUES (?, ?)", rows)
            connection.execute("COMMIT")
        connection.close()
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(gateway.endpoints["in_req_spec"])
        fields = {b"id": b"1", b"method": b"POST", b"uri": uri.encode(), b"body": _BODY.encode()}
        packet = b"T" + tnetstring.dumps(fields)
        sent = answered = 0
        while answered < messages:
            while sent < messages and sent - answered < _OUTSTANDING:
                socket.send_multipart((b"", packet))
                sent += 1
            socket.recv_multipart()
            answered += 1
        sustained_rate = messages / (time.monotonic() - began)
        waits, sent_at = _bare(socket, fields, rate, seconds)
    arrived = arrivals(log)
    late = sorted(max(0.0, arrived[id] - sent_at[id]) for id in sent_at if id in arrived)
    return Figures(
        sustained_rate,
        accept_p99=1000 * waits[len(waits) * 99 // 100],
        sent_p95=1000 * late[len(late) * 95 // 100],
    )


def _bare(
    socket: zmq.Socket[bytes], fields: Mapping[bytes, object], rate: int, seconds: float
) -> tuple[list[float], dict[str, float]]:
    """Commits of one row, each followed by a request: how long, sorted; and when it was sent."""
    waits: list[float] = []
    sent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        connection = _database(folder)
        began = time.time()
        while len(waits) < int(rate * seconds):
            if time.time() < began + len(waits) / rate:
                if socket.poll(1):
                    socket.recv_multipart()
                continue
            before = time.time()
            connection.execute("INSERT INTO t (state, body) VALUES (0, ?)", (_BODY,))
            after = time.time()
            waits.append(after - before)
            id = f"bare-{len(waits)}"
            sent[id] = after
            headers = [[b"webhook-id", id.encode()]]
            socket.send_multipart((b"", b"T" + tnetstring.dumps({**fields, b"headers": headers})))
        connection.close()
    time.sleep(1.0)
    return sorted(waits), sent


def _database(folder: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{folder}/floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, state INTEGER, body BLOB)")
    return connection


def measure(store: str, messages: int, rate: int, seconds: float) -> Figures:
    """One run on a store of a kind; ``floor`` for the floor."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zb-")))
        uri = stack.enter_context(receiver(folder / "arrivals"))
        gateway = stack.enter_context(Daemon(interfaces=("req",), arguments=("--loglevel=1",)))
        if store == "floor":
            return floor(gateway, uri, folder / "arrivals", messages, rate, seconds)
        settings = {}
        if store == "postgresql":
            server = Postgres(autovacuum="on", shared_buffers="128MB")
            stack.callback(server.close)
            settings["store"] = server.start().url
        deliver = Deliver(str(gateway.config_path), loglevel=1, **settings)  # type: ignore[arg-type]
        stack.callback(deliver.close)
        worker = deliver.start().wait_started(30).worker()
        worker.put("e", uri, secrets=[_SECRET])
        figures = Figures(*sustained(deliver, worker, messages))
        figures.accept_p99, figures.sent_p95 = paced(worker, folder / "arrivals", rate, seconds)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("--stores", default="floor,sqlite,postgresql")
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--rate", type=int, default=1000, help="a second, for the latencies")
    parser.add_argument("--seconds", type=float, default=10.0, help="at that rate")
    parser.add_argument("--rounds", type=int, default=3, help="medians count")
    options = parser.parse_args()
    print("| store | deliveries/s | µs CPU each | accept p99, ms | accepted → sent p95, ms |")
    print("|---|---|---|---|---|")
    for store in options.stores.split(","):
        runs = [
            measure(store, options.messages, options.rate, options.seconds)
            for _ in range(options.rounds)
        ]
        rate, cpu, accept, sent = (
            statistics.median(getattr(run, name) for run in runs)
            for name in ("rate", "cpu", "accept_p99", "sent_p95")
        )
        print(f"| {store} | {rate:.0f} | {cpu:.0f} | {accept:.1f} | {sent:.1f} |", flush=True)


if __name__ == "__main__":
    main()
