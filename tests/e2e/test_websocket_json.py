"""WebSockets by JSON, which can say less than a frame can hold."""

import json
from typing import Any

import pytest

from tests.support import ScriptedOrigin, Worker
from tests.support.websocket import BINARY, CLOSE, FIN, PING, PONG, TEXT, frame
from tests.support.websocket_session import Wire, begin, expect


@pytest.fixture
def speaker(worker: Worker) -> Worker:
    worker.format = "J"
    return worker


def bodies(session: Any) -> list[bytes]:
    """The fragments of one message."""
    found = []
    while True:
        message = session.next()
        found.append(message.body)
        if not message.get("more"):
            return found


class TestTextThatIsCut:
    TEXT = "κόσμε €uro 𝄞 end".encode()

    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_in_fragments(self, speaker: Worker, origin: ScriptedOrigin, size: int) -> None:
        pieces = [self.TEXT[i : i + size] for i in range(0, len(self.TEXT), size)]
        frames = [
            frame(0 if i else TEXT, piece, fin=i == len(pieces) - 1)
            for i, piece in enumerate(pieces)
        ]
        session = begin(speaker, origin, Wire(*frames).script)
        found = bodies(session)
        assert b"".join(found) == self.TEXT
        assert len(found) == len(pieces)
        assert "�".encode() not in b"".join(found)

    def test_each_byte_costs_one_credit(self, speaker: Worker, origin: ScriptedOrigin) -> None:
        frames = (frame(TEXT, b"a\xe2\x82", fin=False), frame(0, b"\xacb"))
        session = begin(speaker, origin, Wire(*frames).script, credits=5)
        assert bodies(session) == [b"a", "€b".encode()]

    def test_around_a_ping(self, speaker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(
            frame(TEXT, b"a\xce", fin=False), frame(PING, b"p"), frame(0, b"\xba"), frame(TEXT)
        )
        session = begin(speaker, origin, wire.script)
        expect(session.next(), b"data", body=b"a", more=True)
        expect(session.next(), b"ping", body=b"p")
        expect(session.next(), b"data", body="κ".encode())
        expect(session.next(), b"data", body=b"")

    def test_other_formats_get_frames_as_they_are(
        self, worker: Worker, origin: ScriptedOrigin
    ) -> None:
        worker.format = "T"
        wire = Wire(frame(TEXT, b"a\xce", fin=False), frame(0, b"\xba"))
        assert bodies(begin(worker, origin, wire.script)) == [b"a\xce", b"\xba"]

    def test_binary_frames_are_unchanged(self, speaker: Worker, origin: ScriptedOrigin) -> None:
        """JSON cannot say it: U+FFFD stands for what is no UTF-8."""
        wire = Wire(frame(BINARY, b"a\xce", fin=False), frame(0, b"\xba"))
        assert bodies(begin(speaker, origin, wire.script)) == ["a�".encode(), "�".encode()]


class TestPings:
    def test_a_ping_that_json_cannot_hold_is_answered_with_its_payload(
        self, speaker: Worker, origin: ScriptedOrigin
    ) -> None:
        """Python's websockets sends four random bytes, and closes where others come back."""
        payload = bytes.fromhex("93f000d5")
        wire = Wire(frame(PING, payload))
        session = begin(speaker, origin, wire.script)
        ping = session.next()
        assert ping.type == b"ping"
        session.send(type="pong", body=ping.body)
        assert wire.next() == (FIN | PONG, payload)

    def test_several_pings_that_look_the_same_in_json(
        self, speaker: Worker, origin: ScriptedOrigin
    ) -> None:
        payloads = [b"\xff\xfe\xfd\xfc", b"\x80\x81\x82\x83", b"plain", b"\xff\x80\xff\x80"]
        wire = Wire(*(frame(PING, payload) for payload in payloads))
        session = begin(speaker, origin, wire.script)
        for _ in payloads:
            session.send(type="pong", body=session.skip(b"credit").body)
        assert [wire.next() for _ in payloads] == [(FIN | PONG, p) for p in payloads]

    def test_longer_in_json_than_a_pong_may_be(
        self, speaker: Worker, origin: ScriptedOrigin
    ) -> None:
        wire = Wire(frame(PING, b"\xff" * 125))
        session = begin(speaker, origin, wire.script)
        session.send(type="pong", body=session.next().body)
        assert wire.next() == (FIN | PONG, b"\xff" * 125)

    def test_a_pong_of_the_workers_own(self, speaker: Worker, origin: ScriptedOrigin) -> None:
        wire = Wire(frame(PING, b"\xff"))
        session = begin(speaker, origin, wire.script)
        session.next()
        session.send(type="pong", body="mine")
        session.send(type="pong", body="�")
        session.send(type="pong", body="�")
        assert [wire.next() for _ in range(3)] == [
            (FIN | PONG, b"mine"),
            (FIN | PONG, b"\xff"),
            (FIN | PONG, "�".encode()),
        ]


def test_half_a_surrogate_pair(speaker: Worker, origin: ScriptedOrigin) -> None:
    """Written by JavaScript where a text was cut in the wrong place: it is not lost in silence."""
    wire = Wire()
    session = begin(speaker, origin, wire.script)
    fields = {"from": speaker.address.decode(), "id": session.id.decode(), "seq": 1}
    packet = json.dumps({**fields, "body": "a\ud83dz"})
    assert "\\ud83d" in packet
    speaker.router.send_multipart([b"gw", b"", b"J" + packet.encode()])
    assert wire.next() == (FIN | TEXT, "a�z".encode())
    expect(session.next(), b"credit", credits=5)
    session.seq = 2
    session.send(type="close", code=1000)
    assert wire.next() == (FIN | CLOSE, b"\x03\xe8")
