"""MessagePack, which is ours alone, on both interfaces, and the formats side by side."""

import pytest

from tests.support import Connection, ScriptedOrigin, Worker, encode, reply

_OK = b"HTTP/1.1 200 OK\r\nX-A: \xff\r\nContent-Length: 3\r\n\r\n\xff\x00!"


def test_request_interface_answers_in_messagepack(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    data = {"a": [1, 2.5, None, True, b"\xff", "text"], "b": 2**40}
    answer = worker.request(
        format="M", method="POST", uri=origin.url(), body=b"\xfe\x00", id="i", user_data=data
    )
    assert answer.format == "M"
    assert answer.body == b"\xff\x00!"
    assert answer.headers == [(b"X-A", b"\xff"), (b"Content-Length", b"3")]
    assert answer["user-data"] == data
    assert (answer.id, answer["seq"], answer["code"]) == (b"i", 0, 200)
    assert origin.requests[0].body == b"\xfe\x00"


def test_body_is_binary_in_messagepack(worker: Worker, origin: ScriptedOrigin) -> None:
    import msgpack

    origin.script = reply(_OK)
    answer = worker.request(format="M", method="GET", uri=origin.url())
    fields = msgpack.unpackb(answer.raw[1:], raw=False)
    assert isinstance(fields["body"], bytes)


def test_text_and_binary_are_both_taken_as_text(worker: Worker, origin: ScriptedOrigin) -> None:
    answer = worker.request(
        format="M", method=b"PUT", uri=origin.url().encode(), headers=[[b"X-A", "1"]], body="text"
    )
    assert answer["code"] == 200
    request = origin.requests[0]
    assert (request.line, request.get(b"x-a"), request.body) == (b"PUT / HTTP/1.1", b"1", b"text")


def test_streamed_session_in_messagepack(worker: Worker, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    session = worker.session("m1", "M").start(
        method="POST", uri=origin.url(), stream=True, more=True, body=b"\x00", user_data={"k": 1}
    )
    first = session.next()
    assert (first.format, first.type, first["user-data"]) == ("M", b"credit", {"k": 1})
    session.send(body=b"\xff")
    session.credit(100)
    messages = session.finish()
    assert {m.format for m in messages} == {"M"}
    assert session.body == b"\xff\x00!"
    assert origin.requests[0].body == b"\x00\xff"


@pytest.mark.parametrize("format", ["J", "T", "M"])
def test_malformed_is_answered_in_the_format_of_the_question(worker: Worker, format: str) -> None:
    worker.push({"from": worker.address, "id": f"bad-{format}", "method": 1}, format)
    message = worker.next()
    assert message.format == format
    assert message.fields == {
        "id": f"bad-{format}".encode(),
        "type": b"error",
        "condition": b"bad-request",
        "ext": {"error": b"bad-message", "detail": b"method must be text, not a number"},
    }
    worker.send_req({"id": "r", "method": []}, format)
    answer = worker.recv_req()
    assert (answer.format, answer["condition"], answer.id) == (format, b"bad-request", b"r")
    assert answer["ext"]["detail"] == b"method must be text, not a list"


@pytest.mark.parametrize(
    "message",
    [
        b"M",
        b"M\xc1",
        b"M\x90",
        b"M\xa1x",
        b"M\x81\xa6method",
        b"M\x80\x00",
        b"M\xdf\xff\xff\xff\xff",
        b"M\x81\x01\x02",
        b"M" + b"\x91" * 5000 + b"\x90",
    ],
)
def test_invalid_messagepack_is_answered(worker: Worker, message: bytes) -> None:
    worker.push(message)
    worker.follow(message)
    worker.fence()
    worker.send_req(message)
    assert worker.recv_req()["condition"] == b"bad-request"


def test_session_keeps_the_format_of_its_first_message(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(_OK)

    origin.script = script
    session = worker.session("mixed", "J").start(method="GET", uri=origin.url(), stream=True)
    session.next()
    packet = {"from": worker.address, "id": session.id, "seq": 1, "type": "credit", "credits": 9}
    worker.follow(encode(packet, "M"))
    assert {m.format for m in session.finish()} == {"J"}
