"""``zurl-py deliver`` in a process of its own, and a worker that asks it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack
import tnetstring
import zmq

from tests.support.daemon import _coverage_environment, _die_with_us
from tests.support.deadline import DEADLINE, wait_until

__all__ = ["PATIENCE", "Deliver", "Worker", "decode", "encode"]

PATIENCE = DEADLINE
"""Seconds for what may take a start, a commit and an attempt, on a machine that is busy."""

_ROOT = Path(__file__).resolve().parents[3]


def encode(fields: Any, format: str = "J") -> bytes:
    """A question as a message; bytes are sent as they are."""
    if isinstance(fields, bytes):
        return fields
    if format == "J":
        return b"J" + json.dumps(fields).encode()
    if format == "M":
        packed: bytes = msgpack.packb(fields)
        return b"M" + packed
    return b"T" + bytes(tnetstring.dumps(_as_bytes(fields)))


def decode(message: bytes) -> dict[str, Any]:
    """An answer; in T all text is bytes, here as in the message, but for names of fields."""
    letter, rest = message[:1], message[1:]
    if letter == b"J":
        found: dict[str, Any] = json.loads(rest)
        return found
    if letter == b"M":
        found = msgpack.unpackb(rest, unicode_errors="surrogateescape")
        return found
    return {key.decode(): value for key, value in tnetstring.loads(rest).items()}


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_as_bytes(key): _as_bytes(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_bytes(item) for item in value]
    return value


class Worker:
    """A DEALER to one ``deliver``."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.set_hwm(0)
        self.socket.reconnect_ivl = 20
        self.socket.connect(endpoint)

    def send(self, fields: Any, format: str = "J") -> None:
        self.socket.send_multipart([b"", encode(fields, format)])

    def receive(self, timeout: float = PATIENCE) -> dict[str, Any]:
        assert self.socket.poll(int(timeout * 1000)), "no answer"
        frames = self.socket.recv_multipart()
        assert frames[0] == b""
        assert len(frames) == 2
        return decode(frames[1])

    def ask(self, type: str, format: str = "J", within: float = PATIENCE, **fields: Any) -> Any:
        """The answer to a question; underscores stand for dashes."""
        dashed = {name.replace("_", "-"): value for name, value in fields.items()}
        self.send({"type": type, **dashed}, format)
        return self.receive(within)

    def put(self, endpoint: str, uri: str, **fields: Any) -> None:
        answer = self.ask("endpoint-put", endpoint=endpoint, uri=uri, **fields)
        assert answer["type"] == "ok", answer

    def deliver(self, body: str = "{}", **fields: Any) -> str:
        """Has a webhook accepted; returns its id."""
        answer = self.ask("deliver", body=body, **fields)
        assert answer["type"] == "accepted", answer
        id: str = answer["id"]
        return id

    def delivery(self, id: str) -> dict[str, Any]:
        answer = self.ask("delivery-get", id=id)
        assert answer["type"] == "ok", answer
        (delivery,) = answer["deliveries"]
        found: dict[str, Any] = delivery
        return found

    def state(self, id: str) -> str:
        found: str = self.delivery(id)["state"]
        return found

    def wait_state(self, id: str, state: str, timeout: float = PATIENCE) -> dict[str, Any]:
        wait_until(lambda: self.state(id) == state, f"{id} to be {state}", timeout, 0.02)
        return self.delivery(id)

    def close(self) -> None:
        self._context.destroy(linger=0)


class Deliver:
    """A running ``zurl-py deliver``.

    Args:
        gateway: a gateway address.
        settings: keys of its configuration; None leaves one out.
    """

    def __init__(
        self,
        gateway: str,
        environment: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        loglevel: int = 3,
        **settings: Any,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="zd-"))
        self.endpoint = f"ipc://{self.directory}/deliver"
        self.push_endpoint = f"ipc://{self.directory}/push"
        self.store_path = self.directory / "store.db"
        self.config_path = self.directory / "deliver.conf"
        self.log_path = self.directory / "log"
        self.settings: dict[str, Any] = {
            "deliver_spec": self.endpoint,
            "deliver_push_spec": self.push_endpoint,
            "gateway": gateway,
            "store": f"sqlite:///{self.store_path}",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment or {}
        self._prefix = prefix
        self._loglevel = loglevel
        self._workers: list[Worker] = []

    def write_config(self, **changes: Any) -> None:
        self.settings.update(changes)
        lines = [f"{key}={value}" for key, value in self.settings.items() if value is not None]
        self.config_path.write_text("\n".join(["[General]", *lines, ""]))

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "zurl_py", "deliver", "--config", str(self.config_path)]
        return [*self._prefix, *_die_with_us(), *program, f"--loglevel={self._loglevel}"]

    def start(self) -> Deliver:
        self.write_config()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
                env={**os.environ, **_coverage_environment(), **self._environment},
                start_new_session=True,
            )
        return self

    def worker(self) -> Worker:
        """A worker of this process, closed with it."""
        worker = Worker(self.endpoint)
        self._workers.append(worker)
        return worker

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, text: str, timeout: float = PATIENCE) -> str:
        wait_until(lambda: text in self.log(), f"{text!r} in the log", timeout, 0.02)
        return self.log()

    def wait(self, timeout: float = PATIENCE) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop on SIGTERM:\n{self.log()[-4000:]}") from None

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        try:
            if self.process is not None:
                self.stop()
                assert "Traceback" not in self.log(), self.log()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def wait_started(self, timeout: float = PATIENCE) -> Deliver:
        """Waits until it answers."""
        worker = Worker(self.endpoint)
        try:
            end = time.monotonic() + timeout
            while not worker.socket.poll(50):
                assert self.process is not None
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < end, self.log()
                if worker.socket.poll(0, zmq.POLLOUT):
                    worker.send({"type": "stats"})
        finally:
            worker.close()
        return self
