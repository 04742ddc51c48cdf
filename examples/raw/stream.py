"""Download over the streaming interface: PUSH to begin, SUB to listen, ROUTER to go on.

    python examples/raw/stream.py [URI]

The body comes in pieces, never faster than we take them: every byte needs a credit, and we grant
new ones as we write pieces out. Messages are TNetStrings, so bodies may hold any bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Iterator

import zmq
from finding import endpoints

from zurl_py.client import Endpoints
from zurl_py.zhttp import tnetstring

WINDOW = 200_000  # bytes that may be on their way to us
TIMEOUT = 60_000  # milliseconds of silence after which we give up


class Failed(Exception):
    """The gateway answered with an error; the text is its condition."""


def download(where: Endpoints, uri: str) -> Iterator[bytes]:
    """Yield the pieces of the body of `uri`; the first item is the status line.

    Raises:
        Failed: the request failed.
        TimeoutError: the gateway fell silent.
    """
    me = f"stream-{os.getpid()}-{uuid.uuid4().hex[:8]}".encode()
    with (
        zmq.Context() as context,
        context.socket(zmq.PUSH) as begin,
        context.socket(zmq.ROUTER) as go_on,
        context.socket(zmq.SUB) as answers,
    ):
        for socket in (begin, go_on, answers):
            socket.linger = 0
        go_on.router_mandatory = True
        answers.subscribe(me + b" ")
        answers.connect(where.out)
        go_on.connect(where.in_stream)
        begin.connect(where.in_)
        yield from _Session(begin, go_on, answers, me).fetch(uri)


class _Session:
    """One request: our side of the sequence numbers and credits."""

    def __init__(
        self,
        begin: zmq.Socket[bytes],
        go_on: zmq.Socket[bytes],
        answers: zmq.Socket[bytes],
        me: bytes,
    ) -> None:
        self._begin = begin
        self._go_on = go_on
        self._answers = answers
        self._me = me
        self._id = uuid.uuid4().hex.encode()
        self._seq = 0

    def _packet(self, fields: dict[bytes, object]) -> bytes:
        packet = {b"from": self._me, b"id": self._id, b"seq": self._seq, **fields}
        self._seq += 1
        return b"T" + tnetstring.dumps(packet)

    def _receive(self) -> dict[bytes, object]:
        if not self._answers.poll(TIMEOUT):
            raise TimeoutError("the gateway is silent")
        message = self._answers.recv()
        packet: dict[bytes, object] = tnetstring.loads(message[len(self._me) + 2 :])
        return packet

    def _subscribed(self) -> None:
        """Wait until our subscription has reached the gateway.

        An answer that is published earlier is lost. A request that cannot work is answered at
        once, so we ask for one until the answer arrives.
        """
        nothing = {b"from": self._me, b"id": b"are you there", b"method": b"GET", b"uri": b"x:"}
        for _ in range(200):
            self._begin.send(b"T" + tnetstring.dumps(nothing))
            if self._answers.poll(50):
                return
        raise TimeoutError("no answer in time; is the daemon running?")

    def fetch(self, uri: str) -> Iterator[bytes]:
        """The status line, then the body piece by piece."""
        self._subscribed()
        first = {b"method": b"GET", b"uri": uri.encode(), b"stream": True, b"credits": WINDOW}
        self._begin.send(self._packet(first))
        while True:
            packet = self._receive()
            if packet.get(b"id") != self._id:
                continue  # an answer to one of the first questions
            kind = packet.get(b"type")
            if kind in (b"error", b"cancel"):
                raise Failed(_bytes(packet.get(b"condition", kind)).decode())
            if kind is not None:
                continue  # a keep-alive
            if b"code" in packet:
                yield b"%d %b\n" % (packet[b"code"], packet[b"reason"])
            body = packet.get(b"body", b"")
            assert isinstance(body, bytes)
            if body:
                yield body
            if not packet.get(b"more"):
                return
            grant = {b"type": b"credit", b"credits": len(body)}
            self._go_on.send_multipart([_bytes(packet[b"from"]), b"", self._packet(grant)])


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def main() -> None:
    """Write the body to standard output and the status to standard error."""
    parser = argparse.ArgumentParser(description="Download through the gateway.")
    parser.add_argument("uri", nargs="?", default="http://example.com/")
    arguments = parser.parse_args()
    try:
        pieces = download(endpoints(), arguments.uri)
        sys.stderr.buffer.write(next(pieces))
        for piece in pieces:
            sys.stdout.buffer.write(piece)
    except (Failed, TimeoutError) as error:
        sys.exit(f"failed: {error}")


if __name__ == "__main__":
    main()
