"""The opening handshake and the answers to it, without sockets."""

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from zurl_py.websocket import (
    BadInput,
    BadResponse,
    Handshake,
    HandshakeError,
    Response,
    ResponseReader,
)
from zurl_py.websocket.extensions import items, without_deflate

OFFER = b"permessage-deflate; client_max_window_bits"


def fields(request: bytes) -> list[tuple[bytes, bytes]]:
    lines = request.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    pairs = [line.split(b": ", 1) for line in lines]
    return [(name, value) for name, value in pairs]


def values(request: bytes, name: bytes) -> list[bytes]:
    return [value for key, value in fields(request) if key.lower() == name]


def make(*headers: tuple[bytes, bytes], compression: bool = False) -> bytes:
    return Handshake(headers, compression).request(b"/p?q", b"example.com:81")


class TestRequest:
    def test_a_minimal_request(self) -> None:
        request = make()
        key = values(request, b"sec-websocket-key")[0]
        assert re.fullmatch(rb"[A-Za-z0-9+/]{22}==", key)
        assert request == (
            b"GET /p?q HTTP/1.1\r\nHost: example.com:81\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
            % key
        )

    def test_another_key_each_time(self) -> None:
        handshake = Handshake((), False)
        keys = {values(handshake.request(b"/", b"h"), b"sec-websocket-key")[0] for _ in range(99)}
        assert len(keys) == 99

    def test_the_workers_headers_pass_in_order(self) -> None:
        given = [
            (b"Origin", b"http://a"),
            (b"X-Dup", b"1"),
            (b"cookie", b"a=b"),
            (b"X-Dup", b"2"),
            (b"X-Empty", b""),
            (b"Sec-WebSocket-Protocol", b"chat, talk"),
            (b"Sec-WebSocket-Extensions", b"grip"),
        ]
        assert fields(make(*given))[1:8] == given

    @pytest.mark.parametrize(
        "name",
        [
            b"Host",
            b"connection",
            b"UPGRADE",
            b"Sec-WebSocket-Key",
            b"Sec-WebSocket-Version",
            b"Accept-Encoding",
            b"Transfer-Encoding",
            b"Content-Length",
            b"Expect",
            # Hop-by-hop fields (RFC 9110 section 7.6.1).
            b"Keep-Alive",
            b"Proxy-Connection",
            b"TE",
            b"Trailer",
            b"HTTP2-Settings",
        ],
    )
    def test_headers_of_the_gateway_replace_the_worker_s(self, name: bytes) -> None:
        assert b"their own" not in make((name, b"their own"))

    def test_no_body_is_promised(self) -> None:
        for length in (b"0", b"5"):
            assert values(make((b"Content-Length", length)), b"content-length") == []

    def test_headers_named_by_connection_are_not_sent(self) -> None:
        given = [
            (b"X-Hop", b"1"),
            (b"Connection", b"Upgrade, x-hop, Cookie"),
            (b"connection", b"Sec-WebSocket-Protocol"),
            (b"Cookie", b"c"),
            (b"Sec-WebSocket-Protocol", b"chat"),
        ]
        request = make(*given)
        assert values(request, b"x-hop") == []
        assert values(request, b"connection") == [b"Upgrade"]
        # These are about the request, whatever is said.
        assert values(request, b"cookie") == [b"c"]
        assert values(request, b"sec-websocket-protocol") == [b"chat"]

    @pytest.mark.parametrize("value", [b"", b" ", b",", b" , "])
    def test_empty_lists_are_left_out(self, value: bytes) -> None:
        for name in (b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"):
            assert values(make((name, value)), name.lower()) == []

    def test_user_and_password_of_the_uri(self) -> None:
        request = Handshake((), False).request(b"/", b"h", b"Basic abc")
        assert values(request, b"authorization") == [b"Basic abc"]
        own = Handshake([(b"Authorization", b"Bearer x")], False)
        assert values(own.request(b"/", b"h", b"Basic abc"), b"authorization") == [b"Bearer x"]
        own.drop_secrets()
        assert values(own.request(b"/", b"h", b"Basic abc"), b"authorization") == [b"Basic abc"]

    def test_the_websockets_library_accepts_the_request(self) -> None:
        server = ServerProtocol(subprotocols=["talk"])  # type: ignore[list-item]
        handshake = Handshake([(b"Sec-WebSocket-Protocol", b"chat, talk")], True)
        server.receive_data(handshake.request(b"/p", b"example.com"))
        (request,) = server.events_received()
        server.send_response(server.accept(request))  # type: ignore[arg-type]
        response = ResponseReader(False).feed(b"".join(server.data_to_send()))
        assert response is not None
        accepted = handshake.accept(response)
        assert (b"Sec-WebSocket-Protocol", b"talk") in accepted.headers

    @pytest.mark.parametrize(
        "pair",
        [
            (b"X", b"a\r\nY: b"),
            (b"X", b"a\nb"),
            (b"X", b"\0"),
            (b"X\r\nY", b"a"),
            (b"X Y", b"a"),
            (b"", b"a"),
            (b"X:", b"a"),
        ],
    )
    def test_headers_that_would_break_the_request(self, pair: tuple[bytes, bytes]) -> None:
        with pytest.raises(BadInput):
            make(pair)

    def test_credentials_are_not_sent_to_another_origin(self) -> None:
        handshake = Handshake(
            [(b"Cookie", b"c"), (b"Authorization", b"a"), (b"Origin", b"o")], False
        )
        handshake.drop_secrets()
        request = handshake.request(b"/", b"h")
        assert values(request, b"origin") == [b"o"]
        assert values(request, b"cookie") + values(request, b"authorization") == []


class TestExtensions:
    def test_the_gateway_s_offer_is_added(self) -> None:
        request = make((b"Sec-WebSocket-Extensions", b"grip"), compression=True)
        assert values(request, b"sec-websocket-extensions") == [b"grip", OFFER]

    @pytest.mark.parametrize("compression", [False, True])
    def test_the_worker_s_deflate_offer_is_not_sent(self, compression: bool) -> None:
        """The worker cannot see the bit that marks a compressed message."""
        request = make(
            (b"Sec-WebSocket-Extensions", b'grip; a="x, y" , permessage-deflate; b=1'),
            (b"Sec-WebSocket-Extensions", b"Permessage-Deflate"),
            compression=compression,
        )
        expected = [b'grip; a="x, y"'] + ([OFFER] if compression else [])
        assert values(request, b"sec-websocket-extensions") == expected

    def test_unknown_extensions_are_not_offered(self) -> None:
        """Such as a compression from before RFC 7692, which browsers offered."""
        name = b"Sec-WebSocket-Extensions"
        assert values(make((name, b"x-webkit-deflate-frame")), name.lower()) == []
        request = make((name, b"x-webkit-deflate-frame; no_context_takeover, grip, mux"))
        assert values(request, name.lower()) == [b"grip"]
        pair = (name, b"x-webkit-deflate-frame")
        assert failure_name(pair, offered=(pair,)) == "wrong-extension"

    def test_items(self) -> None:
        assert items(b'a; b="c,\\"d", e ,, f') == [
            (b"a", b'a; b="c,\\"d"'),
            (b"e", b"e"),
            (b"f", b"f"),
        ]

    @given(st.binary(max_size=30))
    def test_any_value_can_be_split(self, value: bytes) -> None:
        assert b"permessage-deflate" not in [n.lower() for n, _ in items(without_deflate(value))]


def answer(
    *headers: tuple[bytes, bytes],
    offered: tuple[tuple[bytes, bytes], ...] = (),
    compression: bool = False,
    without: bytes = b"",
) -> tuple[Handshake, Response]:
    handshake = Handshake(offered, compression)
    key = values(handshake.request(b"/", b"h"), b"sec-websocket-key")[0].decode()
    good = [
        (b"Upgrade", b"WebSocket"),
        (b"Connection", b"keep-alive, upgrade"),
        (b"Sec-WebSocket-Accept", accept_key(key).encode()),
    ]
    kept = [pair for pair in good if pair[0] != without]
    return handshake, Response(101, b"", [*kept, *headers])


def failure_name(*headers: tuple[bytes, bytes], **how: object) -> str:
    handshake, response = answer(*headers, **how)  # type: ignore[arg-type]
    with pytest.raises(HandshakeError) as caught:
        handshake.accept(response)
    return caught.value.name


class TestAccept:
    def test_a_valid_answer(self) -> None:
        handshake, response = answer((b"X", b"y"))
        accepted = handshake.accept(response)
        assert accepted.headers == response.headers
        assert accepted.deflate is None

    def test_upgrade_is_missing(self) -> None:
        assert failure_name(without=b"Upgrade") == "wrong-upgrade"
        assert failure_name((b"Upgrade", b"h2c"), without=b"Upgrade") == "wrong-upgrade"
        assert failure_name(without=b"Connection") == "wrong-upgrade"
        assert failure_name((b"Connection", b"close"), without=b"Connection") == "wrong-upgrade"

    def test_accept_is_wrong(self) -> None:
        accept = b"Sec-WebSocket-Accept"
        assert failure_name(without=accept) == "wrong-accept"
        assert failure_name((accept, b"AAAA"), without=accept) == "wrong-accept"
        assert failure_name((accept, b"AAAA")) == "wrong-accept"

    def test_accept_is_for_the_last_request(self) -> None:
        handshake, response = answer()
        handshake.request(b"/", b"h")
        with pytest.raises(HandshakeError):
            handshake.accept(response)

    def test_subprotocol(self) -> None:
        protocol = b"Sec-WebSocket-Protocol"
        offered = ((protocol, b"chat, talk"),)
        handshake, response = answer((protocol, b"talk"), offered=offered)
        assert (protocol, b"talk") in handshake.accept(response).headers
        for wrong in (b"Talk", b"chat, talk", b"other", b""):
            assert failure_name((protocol, wrong), offered=offered) == "wrong-subprotocol"
        twice = ((protocol, b"chat"), (protocol, b"talk"))
        assert failure_name(*twice, offered=offered) == "wrong-subprotocol"
        assert failure_name((protocol, b"chat")) == "wrong-subprotocol"

    def test_extension_of_the_worker(self) -> None:
        extensions = b"Sec-WebSocket-Extensions"
        offered = ((extensions, b"grip, other; a=1"),)
        handshake, response = answer((extensions, b"grip; x=1"), offered=offered)
        assert (extensions, b"grip; x=1") in handshake.accept(response).headers
        assert failure_name((extensions, b"grip")) == "wrong-extension"

    def test_deflate_that_nobody_offered(self) -> None:
        pair = (b"Sec-WebSocket-Extensions", b"permessage-deflate")
        assert failure_name(pair) == "wrong-extension"
        assert failure_name(pair, offered=(pair,)) == "wrong-extension"

    def test_deflate(self) -> None:
        pairs = (
            (b"Sec-WebSocket-Extensions", b"permessage-deflate, grip"),
            (b"X", b"y"),
        )
        offered = ((b"Sec-WebSocket-Extensions", b"grip"),)
        handshake, response = answer(*pairs, offered=offered, compression=True)
        accepted = handshake.accept(response)
        assert accepted.deflate is not None
        assert accepted.headers[3:] == [(b"Sec-WebSocket-Extensions", b"grip"), (b"X", b"y")]

    def test_deflate_alone_leaves_no_header(self) -> None:
        pair = (b"Sec-WebSocket-Extensions", b"permessage-deflate")
        handshake, response = answer(pair, compression=True)
        assert len(handshake.accept(response).headers) == 3

    @pytest.mark.parametrize(
        "parameters",
        [
            b"",
            b"; client_no_context_takeover",
            b"; server_no_context_takeover; client_max_window_bits=9",
            b"; server_max_window_bits=8",
            b"; client_max_window_bits=8",
            b'; client_max_window_bits="15"',
        ],
    )
    def test_deflate_parameters(self, parameters: bytes) -> None:
        pair = (b"Sec-WebSocket-Extensions", b"permessage-deflate" + parameters)
        handshake, response = answer(pair, compression=True)
        assert handshake.accept(response).deflate is not None

    @pytest.mark.parametrize(
        "value",
        [
            b"permessage-deflate; client_max_window_bits",
            b"permessage-deflate; client_max_window_bits=16",
            b"permessage-deflate; client_max_window_bits=7",
            b"permessage-deflate; server_max_window_bits",
            b"permessage-deflate; client_no_context_takeover=1",
            b"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            b"permessage-deflate; unknown",
            b"permessage-deflate; =",
            b"permessage-deflate, permessage-deflate",
            b"\xff",
            b"permessage-deflate; \xff",
        ],
    )
    def test_bad_deflate_parameters(self, value: bytes) -> None:
        pair = (b"Sec-WebSocket-Extensions", value)
        assert failure_name(pair, compression=True) == "wrong-extension"


def read(*pieces: bytes, end: bool = False, follow: bool = False) -> Response | None:
    reader = ResponseReader(follow)
    for piece in pieces:
        response = reader.feed(piece)
        if response is not None:
            return response
    return reader.end() if end else None


def body(*pieces: bytes, end: bool = False) -> bytes | None:
    response = read(*pieces, end=end)
    return None if response is None else response.body


class TestResponse:
    SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\na:  c d \r\nE:\r\n\r\n"

    def test_switch(self) -> None:
        response = read(self.SWITCH + b"\x81\x00")
        assert response == Response(
            101, b"Switching Protocols", [(b"A", b"b"), (b"a", b"c d"), (b"E", b"")], b"", b"\x81\0"
        )

    def test_byte_by_byte(self) -> None:
        response = read(*(self.SWITCH[i : i + 1] for i in range(len(self.SWITCH))))
        assert response is not None
        assert response.code == 101

    def test_interim_answers_are_skipped(self) -> None:
        response = read(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: x\r\n\r\n" + self.SWITCH
        )
        assert response is not None
        assert response.code == 101

    def test_forms_of_the_status_line(self) -> None:
        for line, reason in ((b"403", b""), (b"403 ", b""), (b"403 N\xf6 !", b"N\xf6 !")):
            response = read(b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n")
            assert response is not None
            assert response.reason == reason

    def test_lone_line_feeds_and_folded_lines(self) -> None:
        response = read(b"HTTP/1.0 101\nA: b\n  c\nD: e\n\n")
        assert response is not None
        assert response.headers == [(b"A", b"b c"), (b"D", b"e")]

    @pytest.mark.parametrize(
        "head",
        [
            b"SSH-2.0-x\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 101 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 101 OK\r\n: b\r\n\r\n",
            b"HTTP/1.1 101 OK\r\nA: b\0\r\n\r\n",
            b"HTTP/1.1 101 OK\r\n folded: b\r\n\r\n",
        ],
    )
    def test_an_answer_that_is_not_http(self, head: bytes) -> None:
        with pytest.raises(BadResponse):
            read(head)

    @pytest.mark.parametrize("piece", [b"y", b"\r", b"\r\nX: y"])
    def test_reading_takes_linear_time(self, piece: bytes) -> None:
        """Nothing is looked at twice: 90 kB byte by byte are no dearer than in a few pieces."""
        reader = ResponseReader(False)
        reader.feed(b"HTTP/1.1 200 OK\r\nX: ")
        began = time.process_time()
        for _ in range(90_000 // len(piece)):
            reader.feed(piece)
        assert time.process_time() - began < 2.0

    def test_head_without_end(self) -> None:
        with pytest.raises(BadResponse, match="head of more"):
            read(b"HTTP/1.1 200 OK\r\n", *([b"X: " + b"y" * 1000 + b"\r\n"] * 100))
        with pytest.raises(BadResponse, match="head of more"):
            read(*([b"HTTP/1.1 100 C\r\nX: " + b"y" * 1000 + b"\r\n\r\n"] * 100))

    @pytest.mark.parametrize("text", [b"", b"HTTP/1.1 20", b"HTTP/1.1 101 S\r\nA: b\r\n"])
    def test_broken_off(self, text: bytes) -> None:
        with pytest.raises(BadResponse, match="before the response"):
            read(text, end=True)


class TestRefusal:
    HEAD = b"HTTP/1.1 403 Forbidden\r\n"

    def test_length(self) -> None:
        assert body(self.HEAD + b"Content-Length: 4\r\n\r\nbo", b"dy!!") == b"body"
        assert body(self.HEAD + b"Content-Length: 0\r\n\r\n") == b""
        assert body(self.HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody") == b"body"

    def test_length_is_not_reached(self) -> None:
        assert body(self.HEAD + b"Content-Length: 4\r\n\r\nbod", end=True) == b"bod"

    @pytest.mark.parametrize("lengths", [b"4, 4", b"4,4,  4", b"4, 4\r\ncontent-length: 4"])
    def test_equal_lengths_are_one(self, lengths: bytes) -> None:
        assert body(self.HEAD + b"Content-Length: " + lengths + b"\r\n\r\nbody") == b"body"

    @pytest.mark.parametrize(
        "lengths", [b"1, 2", b"1\r\nContent-Length: 2", b"-1", b"x", b"", b"4,", b"9" * 30]
    )
    def test_lengths_that_make_no_sense(self, lengths: bytes) -> None:
        """The refusal is one all the same; its body ends with the connection."""
        wire = self.HEAD + b"Content-Length: " + lengths + b"\r\n\r\nbody"
        assert body(wire) is None
        assert body(wire, end=True) == b"body"

    def test_until_close(self) -> None:
        assert body(self.HEAD + b"\r\nbo", b"dy") is None
        assert body(self.HEAD + b"\r\nbo", b"dy", end=True) == b"body"

    @pytest.mark.parametrize("code", [b"204", b"304"])
    def test_codes_without_body(self, code: bytes) -> None:
        assert body(b"HTTP/1.1 " + code + b" N\r\nContent-Length: 9\r\n\r\n") == b""

    CHUNKS = b"3;x=y\r\nbod\r\n1 \r\ny\r\n0\r\nTrailer: t\r\n\r\n"

    def test_chunks(self) -> None:
        head = self.HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n"
        assert body(head + self.CHUNKS) == b"body"

    @pytest.mark.parametrize("bad", [b"x\r\n", b"-1\r\n", b"3\r\nbody\r\n", b"\r\n", b"9" * 5000])
    def test_bad_chunks(self, bad: bytes) -> None:
        """The refusal is one all the same; its body ends here."""
        head = self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        assert body(head + bad) in (b"", b"bod")
        assert body(head + b"4\r\nbody\r\n" + bad) in (b"body", b"bodybod")

    def test_trailers_without_end(self) -> None:
        head = self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        assert body(head, *([b"T: " + b"x" * 1000 + b"\r\n"] * 101)) == b""

    def test_last_chunk_is_missing(self) -> None:
        wire = self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n"
        assert body(wire) is None
        assert body(wire, end=True) == b"bod"

    def test_in_part(self) -> None:
        reader = ResponseReader(False)
        assert reader.empty
        assert not reader.refused
        assert reader.feed(self.HEAD) is None
        assert not reader.empty
        assert not reader.refused
        assert reader.feed(b"\r\ndata: 1\n\n") is None
        assert reader.refused
        response = reader.end()
        assert (response.code, response.body) == (403, b"data: 1\n\n")

    def test_bound(self) -> None:
        assert body(self.HEAD + b"\r\n" + b"x" * 150_000) == b"x" * 100_000
        assert (
            body(self.HEAD + b"Content-Length: 150000\r\n\r\n" + b"x" * 100_001) == b"x" * 100_000
        )
        chunk = b"C350\r\n" + b"x" * 50_000 + b"\r\n"
        head = self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        assert body(head, chunk, chunk, chunk) == b"x" * 100_000

    @given(st.data())
    def test_cutting_makes_no_difference(self, data: st.DataObject) -> None:
        head = self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        wire = b"HTTP/1.1 102 P\r\n\r\n" + head + self.CHUNKS
        places = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
        pieces = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]
        assert body(*pieces) == b"body"

    @given(st.binary(max_size=80), st.booleans())
    def test_any_bytes_are_refused_or_read(self, wire: bytes, chunked: bool) -> None:
        head = self.HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"")
        with contextlib.suppress(BadResponse):
            read(head + wire, end=True)


class TestRedirect:
    def test_the_body_of_a_redirect_is_not_awaited(self) -> None:
        head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9\r\n\r\n"
        response = read(head, follow=True)
        assert response is not None
        assert response.location == b"/x"
        assert read(head) is None

    @pytest.mark.parametrize("code", [300, 304, 305, 200])
    def test_answers_that_are_no_redirect(self, code: int) -> None:
        assert Response(code, b"", [(b"Location", b"/x")]).location is None

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_answers_that_are_a_redirect(self, code: int) -> None:
        assert Response(code, b"", [(b"location", b"/x")]).location == b"/x"
        assert Response(code, b"", []).location is None
