"""A receiver in a process of its own: fast, moody, and with a log of all that came.

Each line of the log: time, path, webhook-id, key and number of the message, status, and whether
the signature is good.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from zurl_py.client.webhooks import VerificationError, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAILS = 0.05  # share of webhooks that are refused for now
BUSY = 0.02  # of those to /busy that hold the endpoint
PAUSE = 1  # seconds of Retry-After
GONE_AFTER = 20  # webhooks to /gone until it answers 410


class Receiver(asyncio.Protocol):
    """One connection."""

    log = sys.stdout
    gone = 0

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self._data = rest[length:]
            self._take(lines[0].split(" ")[1], headers, rest[:length])

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        try:
            verify(body, headers, SECRET)
            good = True
        except VerificationError:
            good = False
        code, extra = self._answer(path)
        content = json.loads(body)
        line = [time.time(), path, headers["webhook-id"], content["key"], content["n"], code, good]
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()
        self._transport.write(f"HTTP/1.1 {code} x\r\nContent-Length: 0\r\n{extra}\r\n".encode())

    def _answer(self, path: str) -> tuple[int, str]:
        if path == "/gone":
            Receiver.gone += 1
            return (410 if Receiver.gone > GONE_AFTER else 200), ""
        if path == "/busy" and random.random() < BUSY:
            return 503, f"Retry-After: {PAUSE}\r\n"
        return (500 if random.random() < FAILS else 200), ""


async def serve(path: str, port: int) -> None:
    """Listen until the process is ended."""
    Receiver.log = open(path, "a")  # noqa: SIM115 - open until the end
    server = await asyncio.get_running_loop().create_server(
        Receiver, "127.0.0.1", port, backlog=512
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
