"""What is fuzzed: each target takes bytes, and raises only if there is a bug.

Errors that a room documents are no bugs; any other exception is one, and so is a broken promise.
"""

from __future__ import annotations

from collections.abc import Callable

from zurl_py import url
from zurl_py.hostname import BadHostname, to_ascii
from zurl_py.http.codings import BadCoding, BodyDecoder, choose_coding
from zurl_py.http.fields import BadHeader, RequestHeaders
from zurl_py.http.heads import read_head, read_interim, read_trailers
from zurl_py.ini import IniError, parse_ini
from zurl_py.policy import Policy, PolicyError, parse_rule
from zurl_py.websocket import BadResponse, Connection, ResponseReader
from zurl_py.websocket.deflate import Deflate
from zurl_py.zhttp import PacketError, RequestPacket, ResponsePacket

__all__ = ["SEEDS", "TARGETS"]

_CODINGS = (b"gzip", b"deflate", b"br", b"zstd")
_FRAME_LIMIT = 4096  # bytes
_MOST_OUTPUT = 1 << 16  # bytes that one read of a decoder may give


def packet(data: bytes) -> None:
    """A message from either side: read, written and read again, it is the same."""
    for kind in (RequestPacket, ResponsePacket):
        try:
            first = kind.parse(data)
        except PacketError:
            continue
        again = kind.parse(first.encode())
        assert again.seq == first.seq
        assert again.type == first.type
        assert again.more == first.more


def uri(data: bytes) -> None:
    """A URL, and a reference to it: what is taken stays what it is when it is read again."""
    first, _, reference = data.partition(b"\n")
    try:
        target = url.parse(first)
    except url.BadUrl:
        return
    again = url.parse(target.text.encode())
    assert (again.origin, again.text) == (target.origin, target.text)
    assert "@" not in target.curl_url.url.partition("://")[2].partition("/")[0]
    try:
        url.resolve(target, reference)
    except url.BadUrl:
        pass


def hostname(data: bytes) -> None:
    """An international name: its ASCII form stays what it is."""
    try:
        name = to_ascii(data.decode("utf-8", "replace"))
    except BadHostname:
        return
    assert to_ascii(name) == name


def rule(data: bytes) -> None:
    """A rule of the policy, then asked."""
    text = data.decode("utf-8", "replace")
    try:
        parse_rule(text)
        policy = Policy.from_rules("allow", [], [text])
    except PolicyError:
        return
    for host in ("a.example", "10.0.0.1", "::ffff:10.0.0.1"):
        assert policy.check_name(host, 80, "http") == policy.check_name(host, 80, "http")
        policy.check_address("93.184.215.14", 443, "https", host)


def configuration(data: bytes) -> None:
    """An INI file: what is taken has its line."""
    try:
        for entry in parse_ini(data.decode("latin-1"), lambda number, text: None):
            assert entry.line >= 1
    except IniError:
        pass


def head(data: bytes) -> None:
    """A response head, as libcurl's callback hands it over: line by line."""
    lines = data.splitlines(keepends=True)
    for read in (read_head, read_interim, read_trailers):
        try:
            read(lines)
        except ValueError:
            pass


def fields(data: bytes) -> None:
    """A worker's header fields: what goes out cannot end a line early."""
    pairs = [line.partition(b":")[::2] for line in data.split(b"\x01")]
    try:
        headers = RequestHeaders(pairs)
    except BadHeader:
        return
    for line in headers.lines:
        assert not set(line) & set(b"\r\n\0")


def body(data: bytes) -> None:
    """A coded body, in pieces: bounded output for each step."""
    coding = choose_coding([_CODINGS[data[0] % len(_CODINGS)]] if data else [b"gzip"])
    if coding is None:
        return
    decoder = BodyDecoder(coding)
    size = 1 + (data[1] if len(data) > 1 else 7)
    total = 0
    try:
        for start in range(2, len(data), size):
            decoder.feed(data[start : start + size])
            while not decoder.needs_input and total < 64 * _MOST_OUTPUT:
                piece = decoder.read(_MOST_OUTPUT)
                assert len(piece) <= _MOST_OUTPUT
                total += len(piece)
    except BadCoding:
        pass


def handshake(data: bytes) -> None:
    """The answer to a WebSocket handshake, in two pieces and whole: the same outcome."""

    def outcome(pieces: tuple[bytes, ...]) -> object:
        reader = ResponseReader(False)
        try:
            for piece in pieces:
                response = reader.feed(piece)
                if response is not None:
                    return response.code, response.reason, response.headers, response.body
        except BadResponse as error:
            return str(error)
        return None

    middle = len(data) // 2
    assert outcome((data,)) == outcome((data[:middle], data[middle:]))


def frames(data: bytes) -> None:
    """Frames of an origin: bounded, and nothing after the end; the first byte chooses deflate."""
    connection = Connection(_FRAME_LIMIT, Deflate() if data[:1] == b"d" else None)
    middle = len(data) // 2
    for piece in (data[1:middle], data[middle:]):
        connection.receive(piece)
        while (event := connection.next_event()) is not None:
            payload = getattr(event, "payload", b"")
            assert len(payload) <= _FRAME_LIMIT
    if connection.ended:
        connection.receive(b"\x81\x01a")
        assert connection.next_event() is None


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(packet, uri, hostname, rule, configuration),
        *(head, fields, body, handshake, frames),
    )
}

_REQUEST = (
    b'J{"from": "w", "id": "1", "seq": 0, "method": "GET", "uri": "http://h/", "headers": '
    b'[["A", "b"]], "credits": 9, "stream": true, "ext": {"multi": true}, "user-data": {"a": [1]}}'
)
SEEDS: dict[str, tuple[bytes, ...]] = {
    "packet": (
        _REQUEST,
        b"T53:4:from,1:w,2:id,1:1,3:seq,1:0#6:method,3:GET,3:uri,9:http://h/,}",
        b"M\x83\xa4from\xa1w\xa2id\xa11\xa6method\xa3GET",
        b'J{"id": [{"id": "a", "seq": 1}, {"id": "b", "seq": 2}], "from": "w", "type": "credit"}',
    ),
    "uri": (
        b"http://u:p@h.example:81/a/../b?c#d\n../e?f",
        "http://bücher.example/ü\n//k/".encode(),
    ),
    "hostname": ("bücher.example".encode(), "\u05d0.example".encode(), b"xn--bcher-kva.example"),
    "rule": (
        *(b"https://*.example.com:443 -> @public", b"10.0.0.0/8:80-90", b"[fd00::/8]:80"),
        *(b"@private", b"fe80:*", b"evil.example:*"),
    ),
    "configuration": (b'[General]\nallow="a,b", c ; d\nx=\\x41\\101 \\\ny\n#z\n',),
    "head": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 204\r\na: b\r\n c\r\n\r\n",
    ),
    "fields": (b"Accept: a\x01Content-Length: 3\x01X-Empty:",),
    "body": (b"\0\x07\x1f\x8b\x08\0\0\0\0\0\0\x03K\x04\0C\xbe\xb7\xe8\x01\0\0\0",),
    "handshake": (
        b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01a",
    ),
    "frames": (b"-\x81\x03abc\x89\x00\x88\x02\x03\xe8", b"d\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"),
}
