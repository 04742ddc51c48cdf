"""A receiver of webhooks that does what the test says, and keeps what came."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.deadline import DEADLINE, wait_until

__all__ = ["Busy", "Receiver", "Reply", "Webhook"]

PATIENCE = DEADLINE  # seconds


@dataclass
class Webhook:
    """One request.

    Attributes:
        time: seconds since 1970 when it came.
        headers: by name in lower case.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    time: float = field(default_factory=time.time)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Reply:
    """What to answer.

    Attributes:
        wait: seconds before the answer.
    """

    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    wait: float = 0.0


class Receiver:
    """A server on 127.0.0.1.

    Attributes:
        reply: called for each webhook; says what to answer.
        webhooks: all that came, in order.
    """

    def __init__(self, reply: Callable[[Webhook], Reply] | None = None, port: int = 0) -> None:
        self.reply: Callable[[Webhook], Reply] = reply or (lambda _webhook: Reply())
        self.webhooks: list[Webhook] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                names = {name.lower(): value for name, value in self.headers.items()}
                webhook = Webhook(self.path, names, body)
                with receiver._lock:
                    receiver.webhooks.append(webhook)
                reply = receiver.reply(webhook)
                if reply.wait:
                    time.sleep(reply.wait)
                head = [f"HTTP/1.1 {reply.code} x", f"Content-Length: {len(reply.body)}"]
                head += [f"{name}: {value}" for name, value in reply.headers.items()]
                try:
                    self.wfile.write("\r\n".join([*head, "", ""]).encode() + reply.body)
                except OSError:  # the gateway has hung up
                    self.close_connection = True

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ids(self, path: str | None = None) -> list[str]:
        """Ids in the order of arrival."""
        return [hook.id for hook in list(self.webhooks) if path is None or hook.path == path]

    def of(self, id: str) -> list[Webhook]:
        """All attempts of one webhook."""
        return [hook for hook in list(self.webhooks) if hook.id == id]

    def wait(self, count: int, timeout: float = PATIENCE) -> list[Webhook]:
        """Waits until that many came."""
        wait_until(lambda: len(self.webhooks) >= count, f"{count} webhooks", timeout)
        return list(self.webhooks)

    def wait_for(self, id: str, count: int = 1, timeout: float = PATIENCE) -> list[Webhook]:
        """Waits until that many attempts of one came."""
        wait_until(lambda: len(self.of(id)) >= count, f"{count} attempts of {id}", timeout)
        return self.of(id)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Busy:
    """Counts how many webhooks a receiver has at once."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _hook: Webhook) -> Reply:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.wait)
        with self._lock:
            self.now -= 1
        return Reply()
