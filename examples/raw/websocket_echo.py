"""Talk to a WebSocket server through the gateway: each line typed is a message.

    python examples/raw/websocket_echo.py ws://HOST/PATH

The gateway connects, does the handshake and the framing; we send and receive packets. What a
worker has to do is in `_handle`: grant credits for what it used up, answer pings and closes.
Messages are TNetStrings, so that they may hold any bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from typing import Any

import zmq
from finding import endpoints

from zurl_py.client import Endpoints
from zurl_py.zhttp import tnetstring

WINDOW = 200_000  # bytes that may be on their way to us
TIMEOUT = 60_000  # milliseconds of silence after which we give up


class Failed(Exception):
    """The gateway answered with an error; the text is its condition."""


class Closed(Exception):
    """The server closed the connection; the text is code and reason."""


class WebSocket:
    """One connection.

    Args:
        where: where the gateway listens.
        uri: ``ws://`` or ``wss://``.

    Raises:
        Failed: there is no connection.
        TimeoutError: the gateway is silent.
    """

    def __init__(self, where: Endpoints, uri: str) -> None:
        self._me = f"websocket-{os.getpid()}-{uuid.uuid4().hex[:8]}".encode()
        self._id = uuid.uuid4().hex.encode()
        self._seq = 0
        self._closing = False
        self._context = zmq.Context()
        self._begin = self._connect(zmq.PUSH, where.in_)
        self._go_on = self._connect(zmq.ROUTER, where.in_stream)
        self._answers = self._connect(zmq.SUB, where.out)
        self._answers.subscribe(self._me + b" ")
        self._wait_for_subscription()
        self._begin.send(self._packet({b"uri": uri.encode(), b"credits": WINDOW}))
        opened = self._receive()
        # The gateway's name: what goes on is addressed to it. Bytes we may send: its credits.
        self._gateway = opened[b"from"]
        self.credits = opened[b"credits"]

    def _connect(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.connect(endpoint)
        return socket

    def _packet(self, fields: dict[bytes, Any]) -> bytes:
        packet = {b"from": self._me, b"id": self._id, b"seq": self._seq, **fields}
        self._seq += 1
        return b"T" + tnetstring.dumps(packet)

    def _wait_for_subscription(self) -> None:
        """An answer that is published before our subscription has arrived would be lost."""
        nothing = {b"from": self._me, b"id": b"are you there", b"method": b"GET", b"uri": b"x:"}
        for _ in range(200):
            self._begin.send(b"T" + tnetstring.dumps(nothing))
            if self._answers.poll(50):
                return
        raise TimeoutError("no answer in time; is the daemon running?")

    def _receive(self) -> dict[bytes, Any]:
        """The next packet of our session.

        Raises:
            Failed: it is an error.
        """
        while self._answers.poll(TIMEOUT):
            message = self._answers.recv()
            packet: dict[bytes, Any] = tnetstring.loads(message[len(self._me) + 2 :])
            if packet.get(b"id") != self._id:
                continue  # another answer to the questions before the start
            if packet.get(b"type") == b"error":
                raise Failed(str(packet[b"condition"], "ascii"))
            return packet
        raise TimeoutError("the gateway is silent")

    def _send(self, fields: dict[bytes, Any]) -> None:
        self._go_on.send_multipart([self._gateway, b"", self._packet(fields)])

    # -- what a user wants ---------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Send a text message; waits until the gateway has room for it."""
        body = text.encode()
        while self.credits < len(body):
            self._handle(self._receive())
        self.credits -= len(body)
        self._send({b"body": body})

    def receive(self) -> bytes:
        """The next message, put together of its fragments.

        Raises:
            Closed: the server closed the connection.
        """
        message = b""
        while True:
            packet = self._receive()
            if not self._handle(packet):
                continue
            fragment: bytes = packet[b"body"]
            message += fragment
            if not packet.get(b"more"):
                return message

    def close(self) -> None:
        """Close the connection with a close frame, and then our sockets."""
        self._closing = True
        self._send({b"type": b"close", b"code": 1000})
        try:
            while True:
                self.receive()
        except Closed:
            pass
        finally:
            self._context.destroy(linger=0)

    def _handle(self, packet: dict[bytes, Any]) -> bool:
        """Do what a packet asks for; True if it is data."""
        kind = packet.get(b"type")
        body: bytes = packet.get(b"body", b"")
        if kind == b"credit":
            self.credits += packet[b"credits"]
        elif kind == b"keep-alive":
            self._send({b"type": b"keep-alive"})
        elif kind == b"ping":
            # What a ping or pong holds uses credits, too.
            self._send({b"type": b"pong", b"body": body, b"credits": len(body)})
        elif kind == b"close":
            if not self._closing:
                self._send({b"type": b"close", b"code": packet.get(b"code", -1)})
            raise Closed(f"{packet.get(b'code', 'no code')} {body.decode()}".strip())
        elif kind is None:
            self._send({b"type": b"credit", b"credits": len(body)})
            return True
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("uri")
    arguments = parser.parse_args()
    try:
        socket = WebSocket(endpoints(), arguments.uri)
        for line in sys.stdin:
            socket.send(line.rstrip("\n"))
            print(socket.receive().decode(), flush=True)
        socket.close()
    except (Failed, Closed, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
