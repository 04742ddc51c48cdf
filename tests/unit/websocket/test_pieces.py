"""Frames that are larger than what is handed on at once: in pieces, plain and compressed."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.websocket import BINARY, CLOSE, PING, TEXT, events, frame
from zurl_py.websocket import Close, Connection, Data, Event, Ping, ProtocolViolation
from zurl_py.websocket.deflate import Deflate

LIMIT = 100


def split(*pieces: bytes) -> list[Event]:
    return events(Connection(LIMIT, None, split=True), *pieces)


def inflated(*pieces: bytes, keeps_context: bool = True) -> list[Event]:
    deflate = Deflate(peer_keeps_context=keeps_context)
    return events(Connection(LIMIT, deflate, split=True), *pieces)


def deflated(data: bytes, encoder: "zlib._Compress | None" = None) -> bytes:
    encoder = encoder or zlib.compressobj(wbits=-15)
    return (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def joined(found: list[Event]) -> bytes:
    assert all(isinstance(event, Data) for event in found), found
    return b"".join(event.payload for event in found if isinstance(event, Data))


class TestPlain:
    def test_up_to_the_limit_a_frame_is_whole(self) -> None:
        assert split(frame(BINARY, b"x" * LIMIT)) == [Data(b"x" * LIMIT, True, True)]

    def test_one_byte_more(self) -> None:
        assert split(frame(BINARY, b"x" * LIMIT + b"y")) == [
            Data(b"x" * LIMIT, True, False, whole=False),
            Data(b"y", True, True, whole=False),
        ]

    def test_a_fragment_stays_a_fragment(self) -> None:
        wire = frame(TEXT, b"a" * 150, fin=False) + frame(PING, b"p") + frame(0, b"b" * 150)
        assert split(wire) == [
            Data(b"a" * 100, False, False, whole=False),
            Data(b"a" * 50, False, False, whole=False),
            Ping(b"p"),
            Data(b"b" * 100, False, False, whole=False),
            Data(b"b" * 50, False, True, whole=False),
        ]

    def test_pieces_come_before_the_frame_is_there(self) -> None:
        connection = Connection(LIMIT, None, split=True)
        head = b"\x82\x7f" + (2**40).to_bytes(8)
        assert events(connection, head + b"x" * 99) == []
        assert events(connection, b"x") == [Data(b"x" * 100, True, False, whole=False)]
        assert events(connection, b"y" * 250) == [Data(b"y" * 100, True, False, whole=False)] * 2

    def test_memory_is_used_only_for_bytes_that_came(self) -> None:
        connection = Connection(200_000, None, split=True)
        head = b"\x82\x7f" + (2**62).to_bytes(8)
        connection.receive(head)
        tracemalloc.start()
        try:
            # Byte by byte: neither an object for each nor room for what is promised.
            for _ in range(50_000):
                assert events(connection, b"x") == []
            assert tracemalloc.get_traced_memory()[1] < 150_000
        finally:
            tracemalloc.stop()

    def test_bad_text_is_found_as_it_comes(self) -> None:
        found = split(b"\x81\x7f" + (100_000).to_bytes(8) + b"a" * 120 + b"\xff")
        assert found[0] == Data(b"a" * 100, False, False, whole=False)
        assert isinstance(found[1], ProtocolViolation)
        assert found[1].code == 1007

    def test_a_character_may_be_cut(self) -> None:
        text = ("a" * 99 + "κόσμε").encode()
        found = split(frame(TEXT, text))
        assert joined(found) == text
        assert len(found) == 2

    def test_frames_after_a_large_one_are_read(self) -> None:
        found = split(frame(BINARY, b"x" * 250) + frame(CLOSE))
        assert found[-1] == Close(None, b"")
        assert joined(found[:-1]) == b"x" * 250

    def test_the_highest_bit_of_a_length(self) -> None:
        found = split(b"\x82\x7f" + (2**63).to_bytes(8))
        assert isinstance(found[0], ProtocolViolation)
        assert found[0].code == 1002

    def test_without_splitting_a_large_frame_is_a_violation(self) -> None:
        found = events(Connection(LIMIT), frame(BINARY, b"x" * 101))
        assert found == [ProtocolViolation(1009, "frame of more than 100 bytes")]

    @pytest.mark.parametrize("opcode", [CLOSE, PING])
    def test_control_frames_have_their_own_limit(self, opcode: int) -> None:
        connection = Connection(5, None, split=True)
        payload = b"\x03\xe8" + b"r" * 100
        assert len(events(connection, *[bytes([b]) for b in frame(opcode, payload)])) == 1


class TestCompressed:
    def test_expands_beyond_the_limit(self) -> None:
        found = inflated(frame(TEXT, deflated(b"x" * 250), rsv=4))
        assert [len(e.payload) for e in found] == [100, 100, 50]  # type: ignore[union-attr]
        assert [e.fin for e in found] == [False, False, True]  # type: ignore[union-attr]
        assert not any(e.whole for e in found)  # type: ignore[union-attr]

    def test_exactly_the_limit(self) -> None:
        found = inflated(frame(TEXT, deflated(b"x" * LIMIT), rsv=4))
        assert found == [Data(b"x" * LIMIT, False, True)]

    def test_compressed_bytes_beyond_the_limit(self) -> None:
        data = bytes((i * i * 31 + i // 7) % 251 for i in range(5000))
        found = inflated(frame(BINARY, deflated(data), rsv=4))
        assert joined(found) == data

    def test_a_bomb_is_made_piece_by_piece(self) -> None:
        wire = frame(BINARY, deflated(b"\0" * 50_000_000), rsv=4)
        connection = Connection(LIMIT, Deflate(), split=True)
        connection.receive(wire)
        tracemalloc.start()
        try:
            for _ in range(1000):
                event = connection.next_event()
                assert isinstance(event, Data)
                assert 0 < len(event.payload) <= LIMIT
            assert tracemalloc.get_traced_memory()[1] < 200_000
        finally:
            tracemalloc.stop()

    def test_bad_text(self) -> None:
        found = inflated(frame(TEXT, deflated(b"a" * 150 + b"\xff"), rsv=4))
        assert isinstance(found[-1], ProtocolViolation)
        assert found[-1].code == 1007

    def test_context_is_kept_over_pieces(self) -> None:
        encoder = zlib.compressobj(wbits=-15)
        texts = [bytes(range(256)) * 3, b"short", bytes(range(256)) * 2]
        wire = b"".join(frame(BINARY, deflated(text, encoder), rsv=4) for text in texts)
        assert joined(inflated(wire)) == b"".join(texts)

    def test_final_blocks(self) -> None:
        """A sender may end its stream with each message, or within one (RFC 7692 7.2.3.5)."""
        wire = b""
        for _ in range(3):
            encoder = zlib.compressobj(wbits=-15)
            wire += frame(BINARY, encoder.compress(b"y" * 300) + encoder.flush() + b"\0", rsv=4)
        assert joined(inflated(wire)) == b"y" * 900

    @given(
        st.lists(st.binary(max_size=700), max_size=4),
        st.booleans(),
        st.lists(st.integers(0, 2000), max_size=6),
    )
    def test_frames_may_be_cut_anywhere(
        self, texts: list[bytes], keeps_context: bool, places: list[int]
    ) -> None:
        encoder = zlib.compressobj(wbits=-15)
        wire = b""
        for text in texts:
            if not keeps_context:
                encoder = zlib.compressobj(wbits=-15)
            half = len(text) // 2
            first = encoder.compress(text[:half]) + encoder.flush(zlib.Z_SYNC_FLUSH)
            wire += frame(BINARY, first, fin=False, rsv=4)
            wire += frame(0, deflated(text[half:], encoder) or b"\0")
        places = sorted(min(place, len(wire)) for place in places)
        pieces = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]
        found = inflated(*pieces, keeps_context=keeps_context)
        assert joined(found) == b"".join(texts)
        assert sum(event.fin for event in found) == len(texts)  # type: ignore[union-attr]
        assert all(len(event.payload) <= LIMIT for event in found)  # type: ignore[union-attr]
