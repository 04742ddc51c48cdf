"""A Mongrel2 handler that relays each request to an origin, through zurl_py.

It keeps nothing: where an answer belongs (Mongrel2's server and connection) travels as
``user-data`` and comes back with the answer, so any number of workers may run side by side.
"""

from __future__ import annotations

import json
from typing import Any

import tnetstring
import zmq

# Written by Mongrel2 for the handler, in capitals; all else is what the client sent.
_FROM_CLIENT = str.islower


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
        packet = {
            b"id": connection,
            b"user-data": [server, connection],
            b"method": fields["METHOD"].encode(),
            b"uri": (self.origin + fields["URI"]).encode(),
            b"headers": [
                [name.encode(), value.encode()]
                for name, values in fields.items()
                if _FROM_CLIENT(name)
                for value in (values if isinstance(values, list) else [values])
            ],
            b"body": body,
        }
        self.gateway.send_multipart([b"", b"T" + tnetstring.dumps(packet)])

    def respond(self, answer: dict[bytes, Any]) -> None:
        """A ZHTTP answer to Mongrel2's response."""
        server, connection = answer[b"user-data"]
        if answer.get(b"type") == b"error":
            answer = {b"code": 502, b"reason": b"Bad Gateway", b"body": answer[b"condition"]}
        body = answer.get(b"body", b"")
        lines = [b"HTTP/1.1 %d %b" % (answer[b"code"], answer.get(b"reason", b""))]
        for name, value in answer.get(b"headers", []):
            # The body is whole and decoded here: its framing and coding are over.
            if name.lower() not in _OVER:
                lines.append(name + b": " + value)
        if answer[b"code"] not in (204, 304):
            lines.append(b"Content-Length: %d" % len(body))
        response = b"\r\n".join([*lines, b"", body])
        self.responses.send(b"%b %d:%b, %b" % (server, len(connection), connection, response))


_OVER = frozenset((b"content-length", b"transfer-encoding", b"content-encoding", b"connection"))


def take_netstring(data: bytes) -> tuple[bytes, bytes]:
    """The netstring at the start, and what follows it."""
    size, _, rest = data.partition(b":")
    end = int(size)
    return rest[:end], rest[end + 1 :]
