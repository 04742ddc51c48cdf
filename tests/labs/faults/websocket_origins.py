"""WebSocket origins that do everything an origin should not: a process of their own.

    python -m tests.labs.faults.websocket_origins    # prints its port, serves until stdin ends

What a connection gets is said by the path of its request: ``/NAME`` or ``/NAME?NUMBER``; the names
are those of the functions in ``FAULTS``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable

from tests.support.origin import Request
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, frame, switch

__all__ = ["FAULTS", "LIES", "exchange"]

_PATIENCE = 20.0  # seconds until a script that waits for nothing ends
_DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"


class Peer:
    """One connection, with what an attacker needs."""

    def __init__(self, sock: socket.socket, request: Request, number: int) -> None:
        self.sock = sock
        self.request = request
        self.number = number  # of the path

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def accept(self, *headers: bytes) -> None:
        self.send(switch(self.request, *headers))

    def swallow(self) -> None:
        """Reads and forgets what comes, beside the script."""

        def run() -> None:
            with contextlib.suppress(OSError):
                while self.sock.recv(1 << 16):
                    pass

        threading.Thread(target=run, daemon=True).start()

    def wait(self) -> None:
        """Reads until the other end hangs up."""
        self.sock.settimeout(_PATIENCE)
        with contextlib.suppress(OSError):
            while self.sock.recv(1 << 16):
                pass

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def exchange(request: Request) -> bytes:
    """All that a good origin says in a short exchange."""
    return switch(request) + b"".join(
        (
            frame(TEXT, b"one"),
            frame(BINARY, b"two" * 50, fin=False),
            frame(PING, b"p"),
            frame(0, b"three"),
            frame(CLOSE, b"\x03\xe8bye"),
        )
    )


# -- breaking off ----------------------------------------------------------------------------------


def reset_at(peer: Peer) -> None:
    """RST after so many bytes of a good exchange."""
    peer.send(exchange(peer.request)[: peer.number])
    time.sleep(0.05)  # else what was sent may go with it
    peer.reset()


def end_at(peer: Peer) -> None:
    """FIN after so many bytes of a good exchange."""
    peer.send(exchange(peer.request)[: peer.number])
    peer.sock.shutdown(socket.SHUT_WR)
    peer.wait()


def silent_at(peer: Peer) -> None:
    """Not a byte more after so many."""
    peer.send(exchange(peer.request)[: peer.number])
    peer.wait()


def trickle(peer: Peer) -> None:
    """A good exchange, byte by byte."""
    for byte in exchange(peer.request):
        peer.send(bytes((byte,)))
        time.sleep(0.002)
    peer.wait()


# -- floods ----------------------------------------------------------------------------------------


def _flood(peer: Peer, wire: bytes) -> None:
    peer.accept()
    peer.swallow()
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        peer.send(wire)


def flood_pings(peer: Peer) -> None:
    """Pings without end; the pongs are read."""
    _flood(peer, frame(PING, b"12345678") * 5000)


def flood_pongs(peer: Peer) -> None:
    """Unsolicited pongs."""
    _flood(peer, frame(PONG) * 20_000)


def flood_messages(peer: Peer) -> None:
    """Empty messages."""
    _flood(peer, frame(TEXT) * 20_000)


def flood_fragments(peer: Peer) -> None:
    """One message of empty fragments."""
    peer.accept()
    peer.swallow()
    peer.send(frame(BINARY, b"x", fin=False))
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        peer.send(frame(0, b"", fin=False) * 20_000)


def flood_bytes(peer: Peer) -> None:
    """Messages of a megabyte."""
    _flood(peer, frame(BINARY, bytes(1_000_000)))


def flood_head(peer: Peer) -> None:
    """A head without end."""
    peer.send(b"HTTP/1.1 101 S\r\n")
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        peer.send(b"X-More: " + b"x" * 1000 + b"\r\n")


def flood_interim(peer: Peer) -> None:
    """Interim answers without end."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)


def flood_refusal(peer: Peer) -> None:
    """A refusal whose body does not end."""
    peer.send(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        peer.send(b"1\r\nx\r\n" * 1000)


# -- compression -----------------------------------------------------------------------------------


def bomb(peer: Peer) -> None:
    """Frames of a few kilobytes that stand for twenty megabytes each."""
    encoder = zlib.compressobj(9, wbits=-15)
    data = encoder.compress(bytes(20_000_000)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    peer.accept(_DEFLATE)
    peer.swallow()
    for _ in range(50):
        peer.send(frame(BINARY, data[:-4], rsv=4))


def bomb_of_nothing(peer: Peer) -> None:
    """Compressed frames that are long and stand for nothing."""
    peer.accept(_DEFLATE)
    peer.swallow()
    nothing = b"\x00\x00\x00\xff\xff" * 30_000  # empty stored blocks
    for _ in range(100):
        peer.send(frame(BINARY, nothing, rsv=4))


def bad_deflate(peer: Peer) -> None:
    """A frame marked as compressed that is not."""
    peer.accept(_DEFLATE)
    peer.send(frame(BINARY, b"\xff" * 1000, rsv=4))
    peer.wait()


# -- closing ---------------------------------------------------------------------------------------


def deaf(peer: Peer) -> None:
    """Accepts, and reads nothing more."""
    peer.accept()
    time.sleep(_PATIENCE)


def never_closes(peer: Peer) -> None:
    """Answers no close, and talks on."""
    peer.accept()
    peer.swallow()
    for number in itertools.count():
        peer.send(frame(TEXT, b"%d" % number))
        time.sleep(0.05)


def closes_and_stays(peer: Peer) -> None:
    """Sends its close, and never hangs up."""
    peer.accept()
    peer.send(frame(CLOSE, b"\x03\xe8"))
    peer.wait()


def closes_and_floods(peer: Peer) -> None:
    """Sends its close, and then everything else."""
    peer.accept()
    peer.swallow()
    peer.send(frame(CLOSE, b"\x03\xe8"))
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        peer.send(frame(TEXT, b"x" * 1000) * 50)


def echo(peer: Peer) -> None:
    """A good origin: frames come back, a close is answered."""
    peer.accept()
    buffer = b""
    while data := peer.sock.recv(1 << 16):
        buffer += data
        while (size := _frame_size(buffer)) and len(buffer) >= size:
            wire, buffer = buffer[:size], buffer[size:]
            opcode = wire[0] & 0x0F
            mask, payload = wire[size - _payload(wire) - 4 :][:4], wire[size - _payload(wire) :]
            plain = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
            peer.send(frame(PONG if opcode == PING else opcode, plain, bool(wire[0] & 0x80)))
            if opcode == CLOSE:
                return


def _payload(wire: bytes) -> int:
    short = wire[1] & 0x7F
    if short == 126:
        return int.from_bytes(wire[2:4])
    return int.from_bytes(wire[2:10]) if short == 127 else short


def _frame_size(buffer: bytes) -> int:
    """Bytes of the frame at the start of a buffer; 0 if too little of it is there to say."""
    if len(buffer) < 10:
        return 6 + (buffer[1] & 0x7F) if len(buffer) > 1 and buffer[1] & 0x7F < 126 else 0
    return {126: 8, 127: 14}.get(buffer[1] & 0x7F, 6) + _payload(buffer)


# -- lies in the handshake -------------------------------------------------------------------------

_GOOD = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: FIT\r\n"

LIES = (
    b"",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"HTTP/1.1 101\r\n\r\n",
    b"HTTP/2 101 S\r\n" + _GOOD + b"\r\n",
    b"HTTP/1.1 999 S\r\n" + _GOOD + b"\r\n",
    b"HTTP/1.1 1010 S\r\n" + _GOOD + b"\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD.replace(b"FIT", b"AAAA") + b"\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD.replace(b"FIT", b"FIT\r\nSec-WebSocket-Accept: FIT") + b"\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD.replace(b"websocket", b"h2c") + b"\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD + b"Sec-WebSocket-Protocol: unasked\r\n\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD + b"Sec-WebSocket-Extensions: x-unasked\r\n\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD + b"no colon\r\n\r\n",
    b"HTTP/1.1 101 S\r\n" + _GOOD + b"X\0Y: z\r\n\r\n",
    b"HTTP/1.1 101 S\r\nContent-Length: 5\r\n" + _GOOD.replace(b"FIT", b"no") + b"\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    b"HTTP/1.1 403 No\r\nContent-Length: 3, 4\r\n\r\nabcd",
    b"HTTP/1.1 302 F\r\nLocation: ws://[::\r\n\r\n",
    b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n",
    b"HTTP/1.1 302 F\r\nLocation: /lie?LOOP\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x16\x03\x01\x00\x05hello",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00" * 1000,
)


def lie(peer: Peer) -> None:
    """An answer that is not what it should be, and then the end."""
    fit = switch(peer.request).partition(b"Sec-WebSocket-Accept: ")[2].split(b"\r\n")[0]
    answer = LIES[peer.number % len(LIES)]
    peer.send(answer.replace(b"FIT", fit).replace(b"LOOP", b"%d" % peer.number))
    peer.sock.shutdown(socket.SHUT_WR)
    peer.wait()


def garbage(peer: Peer) -> None:
    """Frames that were made by chance, the same for the same number."""
    peer.accept()
    peer.swallow()
    peer.send(random.Random(peer.number).randbytes(5000))
    time.sleep(0.2)


FAULTS: dict[str, Callable[[Peer], None]] = {
    script.__name__.replace("_", "-"): script
    for script in (
        *(reset_at, end_at, silent_at, trickle),
        *(flood_pings, flood_pongs, flood_messages, flood_fragments, flood_bytes),
        *(flood_head, flood_interim, flood_refusal),
        *(bomb, bomb_of_nothing, bad_deflate),
        *(deaf, never_closes, closes_and_stays, closes_and_floods),
        *(echo, lie, garbage),
    )
}


def _serve(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError, IndexError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(1 << 16)
            if not data:
                return
            head += data
        request = Request(0, head)
        name, _, number = request.line.split(b" ")[1].decode().strip("/").partition("?")
        FAULTS[name](Peer(sock, request, int(number or 0)))


def _end_with_parent() -> None:
    sys.stdin.read()  # until it is closed, if only by the parent's end
    os._exit(0)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
