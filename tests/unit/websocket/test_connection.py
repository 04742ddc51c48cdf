"""Frames and their rules, without sockets."""

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from tests.support.websocket import events, frame
from zurl_py.websocket import (
    BadInput,
    Close,
    Connection,
    Data,
    Event,
    Ping,
    Pong,
    ProtocolViolation,
)
from zurl_py.websocket.deflate import Deflate
from zurl_py.websocket.utf8 import check_text

LIMIT = 1000


def parse(*pieces: bytes, limit: int = LIMIT) -> list[Event]:
    return events(Connection(limit), *pieces)


def failure(*pieces: bytes, limit: int = LIMIT) -> ProtocolViolation:
    found = parse(*pieces, limit=limit)
    assert isinstance(found[-1], ProtocolViolation), found
    return found[-1]


def assert_failure(code: int, text: str, *pieces: bytes) -> None:
    found = failure(*pieces)
    assert (found.code, text in found.reason) == (code, True), found


class TestData:
    def test_text(self) -> None:
        assert parse(frame(1, "κόσμε".encode())) == [Data("κόσμε".encode(), False, True)]

    def test_binary(self) -> None:
        assert parse(frame(2, b"\xff\x00")) == [Data(b"\xff\x00", True, True)]

    def test_empty(self) -> None:
        assert parse(frame(1)) == [Data(b"", False, True)]

    @pytest.mark.parametrize("length", [125, 126, 127, 65535, 65536, 70000])
    def test_lengths(self, length: int) -> None:
        payload = os.urandom(length)
        assert parse(frame(2, payload), limit=70000) == [Data(payload, True, True)]

    def test_fragments_with_a_ping_between(self) -> None:
        assert parse(
            frame(2, b"a", fin=False)
            + frame(9, b"?")
            + frame(0, b"b", fin=False)
            + frame(0)
            + frame(1, b"t")
        ) == [
            Data(b"a", True, False),
            Ping(b"?"),
            Data(b"b", True, False),
            Data(b"", True, True),
            Data(b"t", False, True),
        ]

    def test_pong(self) -> None:
        assert parse(frame(10, b"!" * 125)) == [Pong(b"!" * 125)]

    def test_one_event_at_a_time(self) -> None:
        connection = Connection(LIMIT)
        connection.receive(frame(1, b"a") + frame(1, b"b"))
        assert connection.next_event() == Data(b"a", False, True)
        connection.receive(frame(1, b"c"))
        assert events(connection, b"") == [Data(b"b", False, True), Data(b"c", False, True)]


class TestClose:
    def test_empty(self) -> None:
        assert parse(frame(8)) == [Close(None, b"")]

    def test_code_and_reason(self) -> None:
        assert parse(frame(8, b"\x03\xe8bye")) == [Close(1000, b"bye")]

    @pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
    def test_codes_that_may_be_sent(self, code: int) -> None:
        assert parse(frame(8, code.to_bytes(2))) == [Close(code, b"")]

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000])
    def test_codes_that_may_not(self, code: int) -> None:
        assert_failure(1002, f"close code {code}", frame(8, code.to_bytes(2)))

    def test_one_byte(self) -> None:
        assert_failure(1002, "one byte", frame(8, b"\x03"))

    def test_reason_is_no_utf8(self) -> None:
        assert_failure(1007, "reason", frame(8, b"\x03\xe8\xce\xba\xff"))

    def test_within_a_message(self) -> None:
        found = parse(frame(1, b"a", fin=False) + frame(8, b"\x03\xe8"))
        assert found == [Data(b"a", False, False), Close(1000, b"")]

    def test_nothing_is_read_after_a_close(self) -> None:
        connection = Connection(LIMIT)
        assert events(connection, frame(8) + frame(3), frame(1, b"x")) == [Close(None, b"")]
        assert connection.ended


class TestViolations:
    @pytest.mark.parametrize("rsv", [1, 2, 4, 5, 7])
    @pytest.mark.parametrize("opcode", [0, 1, 2, 8, 9, 10])
    def test_reserved_bits(self, rsv: int, opcode: int) -> None:
        assert_failure(1002, "reserved bit", frame(opcode, rsv=rsv))

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    def test_unknown_opcodes(self, opcode: int) -> None:
        assert_failure(1002, f"opcode {opcode}", frame(opcode))

    def test_masked(self) -> None:
        assert_failure(1002, "masked", b"\x81\x81abcdX")

    def test_continuation_of_nothing(self) -> None:
        assert_failure(1002, "continuation", frame(0, b"x"))
        assert_failure(1002, "continuation", frame(1, b"x"), frame(0, b"y", fin=False))

    @pytest.mark.parametrize("opcode", [1, 2])
    def test_message_within_a_message(self, opcode: int) -> None:
        assert_failure(1002, "within", frame(1, b"x", fin=False) + frame(opcode, b"y"))

    @pytest.mark.parametrize("opcode", [8, 9, 10])
    def test_control_frames(self, opcode: int) -> None:
        assert_failure(1002, "fragmented", frame(opcode, fin=False))
        assert_failure(1002, "125", frame(opcode, b"x" * 126)[:2])

    @pytest.mark.parametrize(
        "head", [b"\x82\x7e\x00\x7d", b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"]
    )
    def test_length_in_too_many_bytes(self, head: bytes) -> None:
        assert_failure(1002, "length", head)

    @pytest.mark.parametrize("opcode", [1, 2])
    @pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**63, 2**64 - 1])
    def test_too_large_is_told_from_the_header(self, opcode: int, length: int) -> None:
        whole = frame(opcode, b"x" * (LIMIT + 1))
        head = whole[:4] if length <= 65535 else whole[:1] + struct.pack("!BQ", 127, length)
        assert_failure(1009, str(LIMIT), head)
        assert_failure(1009, str(LIMIT), frame(opcode, fin=False) + b"\x80" + head[1:])

    def test_too_large_by_a_small_limit(self) -> None:
        assert failure(frame(1, b"abc"), limit=2).code == 1009
        assert parse(frame(9, b"abc"), limit=2) == [Ping(b"abc")]

    @pytest.mark.parametrize("head", [b"\xf1", b"\x83", b"\x80", b"\x09"])
    def test_first_byte_alone(self, head: bytes) -> None:
        assert failure(head).code == 1002

    def test_nothing_is_read_after_a_close(self) -> None:
        connection = Connection(LIMIT)
        assert len(events(connection, frame(3) + frame(1, b"x"), frame(1, b"y"))) == 1
        assert connection.ended


class TestText:
    BAD = b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"

    def test_whole(self) -> None:
        assert_failure(1007, "UTF-8", frame(1, self.BAD))

    def test_binary_data_is_not_checked_for_utf8(self) -> None:
        assert len(parse(frame(2, self.BAD, fin=False) + frame(0, self.BAD))) == 2

    def test_character_across_fragments(self) -> None:
        text = "𝄞κ".encode()
        pieces = [text[i : i + 1] for i in range(len(text))]
        wire = frame(1, pieces[0], fin=False)
        wire += b"".join(frame(0, piece, fin=False) for piece in pieces[1:]) + frame(0)
        assert all(isinstance(event, Data) for event in parse(wire))

    def test_unfinished_at_the_end(self) -> None:
        assert_failure(1007, "UTF-8", frame(1, b"\xce"))
        assert_failure(1007, "UTF-8", frame(1, b"\xce", fin=False) + frame(0))
        assert_failure(1007, "UTF-8", frame(1, b"\xce", fin=False) + frame(0, b"a"))

    def test_bad_text_is_found_before_the_frame_is_complete(self) -> None:
        wire = frame(1, b"x" * 200 + self.BAD + b"y" * 200)
        end = wire.index(b"\xf4\x90") + 2
        connection = Connection(LIMIT)
        assert events(connection, wire[: end - 1]) == []
        assert events(connection, wire[end - 1 : end]) == [
            ProtocolViolation(1007, "text is not UTF-8")
        ]

    def test_in_part_ends_within_a_character(self) -> None:
        wire = frame(1, b"x" * 200 + b"\xce")
        assert_failure(1007, "UTF-8", wire[:100], wire[100:])

    def test_a_surrogate_is_refused_at_its_second_byte(self) -> None:
        assert check_text(b"", b"\xed", False) == b"\xed"
        with pytest.raises(UnicodeDecodeError):
            check_text(b"\xed", b"\xa0", False)

    @given(st.binary(max_size=12) | st.text(max_size=6).map(str.encode), st.data())
    def test_check_in_pieces(self, text: bytes, data: st.DataObject) -> None:
        """Cut anywhere, a text passes exactly if Python decodes it."""
        cut = data.draw(st.integers(0, len(text)))
        try:
            text.decode()
            valid = True
        except UnicodeDecodeError:
            valid = False
        try:
            check_text(check_text(b"", text[:cut], False), text[cut:], True)
            passed = True
        except UnicodeDecodeError:
            passed = False
        assert passed == valid


def server() -> Protocol:
    """The server side of the websockets library, to judge what we send."""
    return Protocol(Side.SERVER, state=OPEN, max_size=None)


def sent(*pieces: bytes) -> list[tuple[Opcode, bytes, bool]]:
    judge = server()
    for piece in pieces:
        judge.receive_data(piece)
    assert judge.parser_exc is None, judge.parser_exc
    return [(e.opcode, bytes(e.data), e.fin) for e in judge.events_received()]  # type: ignore[union-attr]


class TestSending:
    @pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 200000])
    def test_lengths(self, length: int) -> None:
        payload = os.urandom(length)
        wire = Connection(LIMIT).send_data(payload, True, False)
        assert sent(wire) == [(Opcode.BINARY, payload, True)]

    def test_fragments_keep_the_type_of_the_first(self) -> None:
        connection = Connection(LIMIT)
        wire = connection.send_data(b"\xff", True, True)
        wire += connection.send_ping(b"p") + connection.send_data(b"\xfe", False, True)
        wire += connection.send_data(b"", False, False) + connection.send_data(b"t", False, False)
        assert sent(wire) == [
            (Opcode.BINARY, b"\xff", False),
            (Opcode.PING, b"p", True),
            (Opcode.CONT, b"\xfe", False),
            (Opcode.CONT, b"", True),
            (Opcode.TEXT, b"t", True),
        ]

    def test_control(self) -> None:
        connection = Connection(LIMIT)
        wire = connection.send_ping(b"x" * 125) + connection.send_pong(b"")
        wire += connection.send_close(1000, b"r" * 123)
        assert sent(wire) == [
            (Opcode.PING, b"x" * 125, True),
            (Opcode.PONG, b"", True),
            (Opcode.CLOSE, b"\x03\xe8" + b"r" * 123, True),
        ]

    def test_close_without_code(self) -> None:
        assert sent(Connection(LIMIT).send_close(None, b"lost")) == [(Opcode.CLOSE, b"", True)]

    def test_masks_differ(self) -> None:
        connection = Connection(LIMIT)
        wires = {connection.send_data(b"same", False, False) for _ in range(3000)}
        assert len(wires) > 2990

    def test_bad_text(self) -> None:
        with pytest.raises(BadInput, match="UTF-8"):
            Connection(LIMIT).send_data(b"\xff", False, False)
        with pytest.raises(BadInput, match="UTF-8"):
            Connection(LIMIT).send_data(b"\xce", False, False)

    def test_bad_text_in_fragments(self) -> None:
        connection = Connection(LIMIT)
        connection.send_data(b"\xce", False, True)
        connection.send_data(b"\xba\xce", False, True)
        with pytest.raises(BadInput, match="UTF-8"):
            connection.send_data(b"a", False, False)

    @pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70000])
    def test_bad_close_code(self, code: int) -> None:
        with pytest.raises(BadInput, match="may not be sent"):
            Connection(LIMIT).send_close(code)

    def test_bad_close_reason(self) -> None:
        with pytest.raises(BadInput, match="123"):
            Connection(LIMIT).send_close(1000, b"x" * 124)
        with pytest.raises(BadInput, match="UTF-8"):
            Connection(LIMIT).send_close(1000, b"\xce")

    def test_control_too_long(self) -> None:
        with pytest.raises(BadInput, match="ping of more"):
            Connection(LIMIT).send_ping(b"x" * 126)
        with pytest.raises(BadInput, match="pong of more"):
            Connection(LIMIT).send_pong(b"x" * 126)

    def test_nothing_after_close(self) -> None:
        connection = Connection(LIMIT)
        connection.send_close(1000)
        sends: list[Callable[[], bytes]] = [
            lambda: connection.send_data(b"", False, False),
            lambda: connection.send_ping(b""),
            lambda: connection.send_pong(b""),
            lambda: connection.send_close(1000),
        ]
        for send in sends:
            with pytest.raises(BadInput, match="after close"):
                send()

    def test_a_refused_close_leaves_the_connection_open(self) -> None:
        connection = Connection(LIMIT)
        with pytest.raises(BadInput):
            connection.send_close(1005)
        assert sent(connection.send_close(1001)) == [(Opcode.CLOSE, b"\x03\xe9", True)]


def compressed(*texts: bytes, fragments: int = 1, keep: bool = True) -> bytes:
    """Messages as another implementation compresses them."""
    encoder = PerMessageDeflate(False, not keep, 15, 15)
    wire = b""
    for text in texts:
        size = max(1, -(-len(text) // fragments))
        pieces = [text[i : i + size] for i in range(0, len(text), size)] or [b""]
        for index, piece in enumerate(pieces):
            opcode = Opcode.BINARY if index == 0 else Opcode.CONT
            made = Frame(opcode, piece, fin=index == len(pieces) - 1)
            wire += made.serialize(mask=False, extensions=[encoder])
    return wire


def deflated(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


class TestDeflate:
    def test_messages_and_fragments(self) -> None:
        texts = [b"Hello" * 20, b"Hello" * 19 + b"!", b""]
        for fragments in (1, 3):
            found = events(Connection(LIMIT, Deflate()), compressed(*texts, fragments=fragments))
            joined = b"".join(event.payload for event in found if isinstance(event, Data))
            assert joined == b"".join(texts)

    def test_without_context(self) -> None:
        connection = Connection(LIMIT, Deflate(peer_keeps_context=False))
        found = events(connection, compressed(b"a" * 99, b"a" * 99, keep=False))
        assert found == [Data(b"a" * 99, True, True)] * 2

    def test_uncompressed_among_compressed(self) -> None:
        connection = Connection(LIMIT, Deflate())
        wire = frame(1, b"plain") + compressed(b"z" * 50) + frame(1, b"plain")
        payloads = [e.payload for e in events(connection, wire) if isinstance(e, Data)]
        assert payloads == [b"plain", b"z" * 50, b"plain"]

    def test_bomb(self) -> None:
        connection = Connection(LIMIT, Deflate())
        found = events(connection, compressed(b"\0" * 800_000))
        assert found == [ProtocolViolation(1009, f"frame expands to more than {LIMIT} bytes")]

    def test_a_bomb_is_not_decompressed_completely(self) -> None:
        """What is beyond the limit costs no memory."""
        wire = deflated(b"\0" * 50_000_000)
        tracemalloc.start()
        try:
            decoder = Deflate()
            decoder.put(wire, True)
            assert decoder.inflate(LIMIT) == (b"\0" * LIMIT, True)
            assert tracemalloc.get_traced_memory()[1] < 500_000
        finally:
            tracemalloc.stop()

    def test_exactly_the_limit(self) -> None:
        wire = compressed(b"\0" * LIMIT)
        assert events(Connection(LIMIT, Deflate()), wire) == [Data(b"\0" * LIMIT, True, True)]
        assert events(Connection(LIMIT - 1, Deflate()), wire)[0].code == 1009  # type: ignore[union-attr]

    def test_garbage(self) -> None:
        found = events(Connection(LIMIT, Deflate()), frame(2, b"\xff" * 9, rsv=4))
        assert found == [ProtocolViolation(1007, "compressed frame cannot be decompressed")]

    def test_reserved_bit_is_still_checked(self) -> None:
        for wire in (
            frame(9, rsv=4),
            frame(1, rsv=2),
            frame(1, fin=False) + frame(0, rsv=4),
        ):
            assert events(Connection(LIMIT, Deflate()), wire)[-1].code == 1002  # type: ignore[union-attr]

    def test_text_is_checked_decompressed(self) -> None:
        wire = bytearray(compressed(b"\xff" * 50))
        wire[0] ^= 3  # binary to text
        assert events(Connection(LIMIT, Deflate()), bytes(wire))[0].code == 1007  # type: ignore[union-attr]

    def test_final_blocks(self) -> None:
        """A sender may end the deflate stream in each message (RFC 7692 section 7.2.3.4)."""
        wire = b""
        for text in (b"one " * 9, b"two " * 9):
            encoder = zlib.compressobj(wbits=-15)
            wire += frame(2, encoder.compress(text) + encoder.flush() + b"\0", rsv=4)
        found = events(Connection(LIMIT, Deflate()), wire)
        assert found == [Data(b"one " * 9, True, True), Data(b"two " * 9, True, True)]

    def test_many_final_blocks_cost_little(self) -> None:
        found = events(Connection(10**6, Deflate()), frame(2, b"\x03\x00" * 400_000, rsv=4))
        assert found == [ProtocolViolation(1007, "compressed frame cannot be decompressed")]

    def test_sent_messages(self) -> None:
        connection = Connection(LIMIT, Deflate())
        judge = Protocol(Side.SERVER, state=OPEN, max_size=None)
        judge.extensions = [PerMessageDeflate(False, False, 15, 15)]
        texts = [b"hello " * 50, b"short", b"hello " * 50]
        for text in texts:
            judge.receive_data(connection.send_data(text, False, False))
        judge.receive_data(connection.send_data(b"part " * 20, False, True))
        judge.receive_data(connection.send_data(b"", False, True))
        judge.receive_data(connection.send_data(b"", False, False))
        assert judge.parser_exc is None
        payloads = [bytes(event.data) for event in judge.events_received()]  # type: ignore[union-attr]
        assert payloads == [*texts, b"part " * 20, b"", b""]

    def test_sent_messages_are_smaller(self) -> None:
        connection = Connection(LIMIT, Deflate())
        assert len(connection.send_data(b"hello " * 50, False, False)) < 40
        assert len(connection.send_data(b"hello " * 50, False, False)) < 20

    def test_window_of_256_bytes_is_not_compressed_for(self) -> None:
        connection = Connection(LIMIT, Deflate(own_window_bits=8))
        assert sent(connection.send_data(b"a" * 500, False, False)) == [
            (Opcode.TEXT, b"a" * 500, True)
        ]


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Frames of a server, mostly right."""
    wire = b""
    for _ in range(draw(st.integers(0, 6))):
        opcode = draw(st.sampled_from([1, 1, 2, 2, 0, 0, 9, 10, 8, 3]))
        payload = draw(st.binary(max_size=140) | st.text(max_size=40).map(str.encode))
        wire += frame(opcode, payload, draw(st.booleans()), draw(st.sampled_from([0] * 9 + [4])))
    return wire


def cut(draw: st.DataObject, wire: bytes) -> list[bytes]:
    places = sorted(draw.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    return [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]


class TestProperties:
    @given(wires() | st.binary(max_size=60), st.data())
    @settings(max_examples=300)
    def test_cutting_makes_no_difference(self, wire: bytes, data: st.DataObject) -> None:
        assert parse(*cut(data, wire)) == parse(wire)

    @given(wires())
    @settings(max_examples=300)
    def test_agrees_with_the_websockets_library(self, wire: bytes) -> None:
        """Where that library is satisfied so are we, with the same frames, but for UTF-8."""
        judge = Protocol(Side.CLIENT, state=OPEN, max_size=LIMIT)
        judge.receive_data(wire)
        theirs = [(e.opcode, bytes(e.data)) for e in judge.events_received()]  # type: ignore[union-attr]
        kinds = {Data: (0, 1, 2), Ping: (9,), Pong: (10,), Close: (8,)}
        ours = parse(wire)
        if ours and isinstance(ours[-1], ProtocolViolation):
            fault = ours.pop()
            assert isinstance(fault, ProtocolViolation)
            # They stop later or not at all over text, and check one byte less of a lone header.
            if judge.parser_exc is None:
                assert fault.code == 1007 or len(ours) == len(theirs)
                return
        elif judge.parser_exc is not None:
            # Their rule that no close may come within a message is not in the RFC.
            assert isinstance(ours[-1], Close)
            assert "incomplete fragmented" in str(judge.parser_exc)
            return
        assert len(ours) <= len(theirs)
        for event, (opcode, payload) in zip(ours, theirs, strict=False):
            assert opcode in kinds[type(event)]
            if not isinstance(event, Close):
                assert event.payload == payload  # type: ignore[union-attr]

    @given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8))
    def test_sent_frames_arrive_unchanged(self, frames: list[tuple[bytes, bool]]) -> None:
        connection = Connection(LIMIT)
        wire = b"".join(connection.send_data(payload, True, more) for payload, more in frames)
        assert [(data, not fin) for _, data, fin in sent(wire)] == frames

    @given(st.lists(st.binary(max_size=400), max_size=5), st.booleans(), st.booleans(), st.data())
    def test_compressed_both_ways(
        self, texts: list[bytes], ours: bool, theirs: bool, data: st.DataObject
    ) -> None:
        connection = Connection(LIMIT, Deflate(15, theirs, 15, ours))
        peer = PerMessageDeflate(not ours, not theirs, 15, 15)
        judge = Protocol(Side.SERVER, state=OPEN, max_size=None)
        judge.extensions = [peer]
        for text in texts:
            judge.receive_data(connection.send_data(text, True, False))
        assert [bytes(e.data) for e in judge.events_received()] == texts  # type: ignore[union-attr]
        wire = b"".join(
            Frame(Opcode.BINARY, text).serialize(mask=False, extensions=[peer]) for text in texts
        )
        found = events(connection, *cut(data, wire))
        assert found == [Data(text, True, True) for text in texts]
