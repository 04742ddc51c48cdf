"""A Mongrel2 handler that relays each request to an origin, through zurl_py.

It keeps nothing: where an answer belongs (Mongrel2's server and connection) travels as
``user-data`` and comes back with the answer, so any number of workers may run side by side.
"""

from __future__ import annotations

import json
from typing import Any

import zmq

from zurl_py.zhttp import tnetstring

# What concerns one connection only, and not those behind it (RFC 9110, 7.6.1).
_HOP = frozenset(
    (
        *("connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
# The body of an answer is whole and decoded here: its framing and coding are over.
_OVER = frozenset(name.encode() for name in _HOP) | {b"content-length", b"content-encoding"}


class Worker:
    """Relays between Mongrel2 and the daemon.

    Args:
        origin: scheme, host and port, such as ``http://127.0.0.1:8000``.
        requests: Mongrel2's send_spec, where requests come from.
        responses: Mongrel2's recv_spec, where responses go.
        gateway: the daemon's in_req_spec.
    """

    def __init__(self, origin: str, requests: str, responses: str, gateway: str) -> None:
        context = zmq.Context.instance()
        self.origin = origin
        self.requests = context.socket(zmq.PULL)
        self.requests.connect(requests)
        self.responses = context.socket(zmq.PUB)
        self.responses.connect(responses)
        self.gateway = context.socket(zmq.DEALER)
        self.gateway.connect(gateway)

    def run(self) -> None:
        """Relay until the process is stopped."""
        poller = zmq.Poller()
        poller.register(self.requests, zmq.POLLIN)
        poller.register(self.gateway, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self.requests in ready:
                self.relay(self.requests.recv())
            if self.gateway in ready:
                self.respond(tnetstring.loads(self.gateway.recv_multipart()[1][1:]))

    def relay(self, message: bytes) -> None:
        """Mongrel2's request to a ZHTTP request."""
        server, connection, _path, rest = message.split(b" ", 3)
        head, rest = take_netstring(rest)
        body, _ = take_netstring(rest)
        fields = json.loads(head)
        if fields["METHOD"] == "JSON":  # a client went away
            return
        method = fields["METHOD"].encode()
        packet = {
            b"id": connection,
            b"user-data": [server, connection, method, is_last(fields)],
            b"method": method,
            # Mongrel2's URIs begin with a slash: a client cannot write on the host's name.
            b"uri": (self.origin + fields["URI"]).encode(),
            b"headers": [
                [name.encode(), value.encode()]
                for name, values in fields.items()
                # In capitals is what Mongrel2 itself has to say.
                if not name.isupper() and name not in _HOP
                for value in (values if isinstance(values, list) else [values])
            ],
            b"body": body,
        }
        self.gateway.send_multipart([b"", b"T" + tnetstring.dumps(packet)])

    def respond(self, answer: dict[bytes, Any]) -> None:
        """A ZHTTP answer to Mongrel2's response."""
        server, connection, method, last = answer[b"user-data"]
        if answer.get(b"type") == b"error":
            answer = {b"code": 502, b"reason": b"Bad Gateway", b"body": answer[b"condition"]}
        body = answer.get(b"body", b"")
        lines = [b"HTTP/1.1 %d %b" % (answer[b"code"], answer.get(b"reason", b""))]
        for name, value in answer.get(b"headers", []):
            if name.lower() not in _OVER:
                lines.append(name + b": " + value)
        lines += content_length(method, answer)
        if last:
            lines.append(b"Connection: close")
        self.send(server, connection, b"\r\n".join([*lines, b"", body]))
        if last:
            self.send(server, connection, b"")  # which tells Mongrel2 to close

    def send(self, server: bytes, connection: bytes, data: bytes) -> None:
        """Bytes for a client."""
        self.responses.send(b"%b %d:%b, %b" % (server, len(connection), connection, data))


def is_last(fields: dict[str, Any]) -> bool:
    """Whether the client expects its connection to be closed after the answer."""
    lines = fields.get("connection", "")
    text = lines if isinstance(lines, str) else ",".join(lines)
    wishes = {wish.strip() for wish in text.lower().split(",")}
    if fields["VERSION"] == "HTTP/1.0":
        return "keep-alive" not in wishes
    return "close" in wishes


def content_length(method: bytes, answer: dict[bytes, Any]) -> list[bytes]:
    """The Content-Length line, if any: of the body, or for HEAD what the origin said of it."""
    if method == b"HEAD" or answer[b"code"] == 304:
        return [
            b"Content-Length: " + value
            for name, value in answer.get(b"headers", [])
            if name.lower() == b"content-length"
        ]
    return [] if answer[b"code"] == 204 else [b"Content-Length: %d" % len(answer.get(b"body", b""))]


def take_netstring(data: bytes) -> tuple[bytes, bytes]:
    """The netstring at the start, and what follows it."""
    size, _, rest = data.partition(b":")
    end = int(size)
    return rest[:end], rest[end + 1 :]
