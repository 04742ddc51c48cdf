"""The WebSocket side of a scripted origin: handshakes and frames, right ones and wrong ones."""

import base64
import hashlib

from tests.support.origin import Connection, Request, Script
from zurl_py.websocket import Connection as ClientSide
from zurl_py.websocket import Event

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80


def frame(opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0) -> bytes:
    """A frame as servers send it, without mask."""
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if len(payload) < 126:
        return head + bytes((len(payload),)) + payload
    if len(payload) < 65536:
        return head + b"\x7e" + len(payload).to_bytes(2) + payload
    return head + b"\x7f" + len(payload).to_bytes(8) + payload


def events(connection: ClientSide, *pieces: bytes) -> list[Event]:
    """What a connection of ours makes of what comes."""
    found: list[Event] = []
    for piece in pieces:
        connection.receive(piece)
        while (event := connection.next_event()) is not None:
            found.append(event)
    return found


def accept_value(request: Request) -> bytes:
    """The Sec-WebSocket-Accept that fits a request."""
    key = request.get(b"sec-websocket-key")
    assert key is not None
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def switch(request: Request, *headers: bytes) -> bytes:
    """A good answer to a handshake, with further header lines."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_value(request),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def accept(connection: Connection, *headers: bytes, tail: bytes = b"") -> Request:
    """Reads a handshake and accepts it; ``tail`` goes out in one piece with the answer."""
    request = connection.read_head()
    connection.send(switch(request, *headers) + tail)
    return request


def quiet(*headers: bytes, tail: bytes = b"") -> Script:
    """Script: accepts, with `accept`'s arguments, and says nothing more."""

    def script(connection: Connection) -> None:
        accept(connection, *headers, tail=tail)
        connection.expect_end()

    return script


def unanswered(connection: Connection) -> None:
    """Script: reads the handshake and never answers."""
    connection.read_head()
    connection.expect_end()


def read_frame(connection: Connection) -> tuple[int, bytes]:
    """The client's next frame: its first byte and its payload; asserts that it is masked."""
    head, length = connection.read_exactly(2)
    assert length & 0x80, "frame without mask"
    length &= 0x7F
    if length == 126:
        length = int.from_bytes(connection.read_exactly(2))
    elif length == 127:
        length = int.from_bytes(connection.read_exactly(8))
    mask = connection.read_exactly(4)
    payload = connection.read_exactly(length)
    repeated = mask * (length // 4 + 1)
    masked = int.from_bytes(payload) ^ int.from_bytes(repeated[:length])
    return head, masked.to_bytes(length)


def echo(connection: Connection) -> None:
    """Script: sends every frame back, and ends after a close."""
    accept(connection)
    echo_frames(connection)


def echo_frames(connection: Connection) -> None:
    """Sends every frame back, and ends after a close."""
    while True:
        head, payload = read_frame(connection)
        connection.send(frame(head & 0x0F, payload, bool(head & FIN)))
        if head & 0x0F == CLOSE:
            return
