"""The four sockets: envelopes, ids in use, unknown sessions, fire and forget."""

import contextlib
from typing import Any

from tests.labs.differential.exchanges.common import OK
from tests.labs.differential.exchanges.downloads import settled
from tests.labs.differential.lab import SHORT, Run, exchange
from tests.support import Connection, Worker, encode, reply
from tests.support.worker import NoAnswer


def _hang(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


_NOTHING: dict[str, Any] = {"id": "q", "method": "GET", "uri": "x:"}

# Request interface


@exchange()
def envelope_plain(x: Run) -> None:
    x.req_dropped(encode(_NOTHING))


@exchange()
def envelope_of_many_frames(x: Run) -> None:
    x.req_dropped(encode(_NOTHING), envelope=(b"one", b"two", b"three" * 100, b""))


@exchange()
def envelope_without_empty_frame(x: Run) -> None:
    x.req_dropped(encode(_NOTHING), envelope=())
    x.req_dropped(encode(_NOTHING), envelope=(b"one",))


@exchange()
def envelope_two_empty_frames(x: Run) -> None:
    x.req_dropped(encode(_NOTHING), envelope=(b"", b""))


@exchange()
def envelope_two_packets(x: Run) -> None:
    x.req_dropped(encode(_NOTHING), envelope=(b"", encode(_NOTHING)))


@exchange()
def req_id_echoed(x: Run) -> None:
    x.origin.script = reply(OK)
    for fields in (
        {"id": "one"},
        {"id": ""},
        {},
        {"id": b"\xff\x00"},
        {"seq": 5},
        {"id": "x", "seq": 7},
    ):
        x.req({"method": "GET", "uri": x.origin.url(), **fields})


@exchange()
def req_id_not_utf8(x: Run) -> None:
    x.req_dropped(encode({"id": b"\xff\xfe", "method": "GET", "uri": "x:"}))


@exchange()
def req_id_list_of_one(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req({"method": "GET", "uri": x.origin.url(), "id": [{"id": "one", "seq": 3}]}, timeout=SHORT)


@exchange()
def req_ignores_stream_and_credits(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req(method="GET", uri=x.origin.url(), stream=True, credits=0, type="credit", id="z")


@exchange()
def req_more(x: Run) -> None:
    x.req(method="POST", uri=x.origin.url(), body="x", more=True)


@exchange()
def req_websocket(x: Run) -> None:
    x.req(uri="ws://127.0.0.1:1/")
    x.req(method="GET", uri="wss://127.0.0.1:1/")


@exchange()
def req_empty_dictionary(x: Run) -> None:
    x.req_dropped(b"J{}")
    x.req_dropped(b"T0:}")


@exchange()
def req_with_from(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req(
        {"from": "worker", "id": x.id("1"), "method": "GET", "uri": x.origin.url()}, timeout=SHORT
    )
    x.worker.drain()


@exchange()
def req_with_other_from(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req(
        {"from": "nobody", "id": x.id("1"), "method": "GET", "uri": x.origin.url()}, timeout=SHORT
    )


@exchange(variant="req-only")
def req_with_from_alone(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req({"from": "worker", "id": "1", "method": "GET", "uri": x.origin.url()}, timeout=SHORT)


@exchange(variant="req-only")
def req_malformed_with_from_alone(x: Run) -> None:
    x.req_dropped(encode({"from": "worker", "id": "1", "method": 1}))


@exchange()
def req_empty_from(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req({"from": "", "id": "1", "method": "GET", "uri": x.origin.url()}, timeout=SHORT)


@exchange()
def req_id_of_live_session(x: Run) -> None:
    """A request whose id a streaming session is using."""
    x.origin.script = _hang
    session = x.start("1", method="GET", uri=x.origin.url(), stream=True, credits=10)
    session.next()
    x.origin.wait_request()
    other = x.another_origin(script=reply(OK))
    x.req({"id": session.id, "method": "GET", "uri": other.url()}, timeout=SHORT)


@exchange()
def req_end_leaves_session_alone(x: Run) -> None:
    """A request that ends while a later streaming session has the same id."""

    def script(connection: Connection) -> None:
        request = connection.read_request()
        if b"/req" in request.line:
            connection.wait_for("answer")
            connection.send(OK)
        connection.expect_end()

    x.origin.script = script
    id = x.id("1")
    x.worker.send_req(
        {"id": id, "method": "GET", "uri": x.origin.url("/req")}, envelope=(b"tag-early", b"")
    )
    x.origin.wait_request()
    session = x.start("1", method="GET", uri=x.origin.url("/stream"), stream=True, credits=10)
    x.worker.fence()
    x.note(f"session started: {bool(x.worker._queues.get(session.id))}")
    x.origin.let("answer")
    x._answer(b"tag-early", 20.0)
    session.send(type="keep-alive")
    x.worker.fence()


@exchange()
def req_many_at_once(x: Run) -> None:
    """Answers come in the order in which they are ready, each to its own question."""

    def script(connection: Connection) -> None:
        request = connection.read_request()
        if request.line.startswith(b"GET /0 "):
            connection.wait_for("first")
        connection.send(OK)
        if request.line.startswith(b"GET /1 "):
            connection.origin.let("second was sent")

    x.origin.script = script
    for number in range(2):
        x.worker.send_req(
            {"method": "GET", "uri": x.origin.url(f"/{number}"), "user-data": number},
            envelope=(b"many", b""),
        )
        x.origin.wait_request(number + 1)
    answers = [x._answer(b"many", 20.0)]
    x.origin.let("first")
    answers.append(x._answer(b"many", 20.0))
    x.note([answer["user-data"] for answer in answers])


@exchange()
def req_json_and_tnetstring_mixed(x: Run) -> None:
    x.origin.script = reply(OK)
    for format in "JTJ":
        x.req(format=format, method="GET", uri=x.origin.url(), user_data="x", id="1")


# Streaming interface: ids


@exchange()
def id_in_use(x: Run) -> None:
    x.origin.script = _hang
    session = x.start("1", method="GET", uri=x.origin.url("/first"), stream=True)
    session.next()
    x.origin.wait_request()
    x.push_dropped(
        {"from": "worker", "id": session.id, "seq": 0, "method": "GET", "uri": x.origin.url()}
    )
    settled(x)
    session.send(type="keep-alive")
    x.worker.fence()
    x.note(f"{len(x.origin.live)} connections live")


@exchange()
def id_in_use_by_other_worker(x: Run) -> None:
    """Two workers that chose the same id."""
    x.origin.script = reply(OK)
    with Worker(x.worker.daemon, address=b"other") as other:
        other.ready()
        session = x.start("1", method="GET", uri=x.origin.url("/first"), stream=True)
        session.next()
        x.origin.wait_request()
        theirs = other.session(x.id("1")).start(
            method="GET", uri=x.origin.url("/second"), stream=True
        )
        other.fence()
        x.note(f"the other worker is heard: {bool(other.received)}")
        theirs.credit(100)
        with contextlib.suppress(NoAnswer):
            theirs.finish(20.0 if other.received else SHORT)
        x.note(f"and gets its answer: {[m.is_final for m in theirs.messages[-1:]]}")
    session.credit(10)
    x.finish(session)


@exchange()
def id_of_other_worker_followed(x: Run) -> None:
    """A worker that names the session of another."""
    x.origin.script = _hang
    with Worker(x.worker.daemon, address=b"other") as other:
        other.ready()
        session = x.start("1", method="GET", uri=x.origin.url(), stream=True)
        session.next()
        x.origin.wait_request()
        other.follow({"from": "other", "id": session.id, "seq": 1, "type": "cancel"})
        other.fence()
        settled(x)
        x.note(f"{len(x.origin.live)} connections live")
    session.send(type="keep-alive")
    x.worker.fence()


@exchange()
def unknown_session(x: Run) -> None:
    packets: tuple[dict[str, object], ...] = (
        {"type": "keep-alive"},
        {"type": "credit", "credits": 5, "seq": 3},
        {"body": "data"},
        {"type": "cancel"},
        {"type": "error", "condition": "x"},
        {"type": "close"},
        {"type": "ping", "user-data": "x"},
        {"type": "handoff-start"},
        {"method": "GET", "uri": x.origin.url(), "seq": 0},
    )
    for number, fields in enumerate(packets):
        x.follow_dropped({"from": "worker", "id": f"unknown-{number}", **fields})


@exchange()
def unknown_session_json(x: Run) -> None:
    x.follow_dropped({"from": "worker", "id": "unknown", "type": "keep-alive"}, "J")


@exchange()
def unknown_session_without(x: Run) -> None:
    x.follow_dropped({"id": "unknown", "type": "keep-alive"})
    x.follow_dropped({"from": "worker", "type": "keep-alive"})
    x.follow_dropped({"from": "worker", "id": "", "type": "keep-alive"})
    x.follow_dropped({"from": "", "id": "unknown", "type": "keep-alive"})


@exchange()
def router_other_shapes(x: Run) -> None:
    packet = encode({"from": "worker", "id": "shape", "type": "keep-alive"})
    for frames in ([packet], [b"x", packet], [b"", b"", packet], [b"", packet, b""]):
        x.worker.router.send_multipart([x.worker.instance, *frames])
        x.worker.fence()


@exchange()
def push_other_shapes(x: Run) -> None:
    packet = encode({"from": "worker", "id": "shape", "method": "GET", "uri": "x:"})
    for frames in ([b"", packet], [packet, packet], [packet, b""]):
        x.worker.push_socket.send_multipart(frames)
        x.worker.fence()


@exchange()
def push_two_ids(x: Run) -> None:
    ids = [{"id": x.id("1"), "seq": 0}, {"id": x.id("2"), "seq": 0}]
    x.push_dropped({"from": "worker", "id": ids, "method": "GET", "uri": x.origin.url()})


@exchange()
def push_one_id_in_a_list(x: Run) -> None:
    x.origin.script = reply(OK)
    ids = [{"id": x.id("1"), "seq": 0}]
    session = x.worker.session(x.id("1"))
    x.worker.push({"from": "worker", "id": ids, "method": "GET", "uri": x.origin.url()})
    x.worker.fence()
    if x.worker._queues.get(session.id):
        x.finish(session)


# Refusals as seq 0


@exchange()
def refused_before_keep_alive(x: Run) -> None:
    for number, fields in enumerate(
        ({"uri": "x:"}, {"method": "GET"}, {"uri": x.origin.url()}, {"method": "GET", "uri": ""})
    ):
        x.finish(x.start(str(number), **fields))


# Fire and forget


def _forget(name: str, variant: str = "default", **fields: Any) -> None:
    @exchange(f"forget-{name}", variant=variant)
    def run(x: Run) -> None:
        x.origin.script = reply(OK)
        packet = {"method": "POST", "uri": x.origin.url(), "body": "hook", **fields}
        x.worker.push(
            {key.rstrip("_"): value for key, value in packet.items() if value is not None}
        )
        x.worker.fence()
        if packet["method"] == "POST" and str(packet["uri"]).startswith(x.origin.url()):
            x.origin.wait_request()
        settled(x)


_forget("without-from-and-id")
_forget("without-from", id="ff-1")
_forget("without-id", from_="worker")
_forget("empty-id", from_="worker", id="")
_forget("empty-from", from_="", id="ff-2")
_forget("streamed", stream=True)
_forget("streamed-with-credits", stream=True, credits=5)
_forget("refused", uri="http://127.0.0.1:1/")
_forget("bad-uri-with-from", uri="x:", from_="worker")
_forget("bad-uri", uri="x:")
_forget("bad-uri-with-id", uri="x:", id="ff-3")
_forget("bad-escape", uri="http://127.0.0.1:1/%zz")
_forget("no-uri", uri="")
_forget("no-method", method="")
_forget("websocket", uri="ws://127.0.0.1:1/")
_forget("websocket-with-id", uri="ws://127.0.0.1:1/", id="ff-4")
_forget("denied", variant="deny-some", uri="http://127.0.0.66/")
_forget("malformed", method=1, uri="http://127.0.0.1:1/")
_forget("malformed-with-id", method=1, uri="http://127.0.0.1:1/", id="ff-5")


@exchange()
def forget_upload(x: Run) -> None:
    """More body is announced, but cannot be sent."""
    x.origin.script = reply(OK)
    x.push_dropped(
        {"method": "POST", "uri": x.origin.url(), "body": "x", "more": True, "id": "ff-6", "seq": 0}
    )
    x.push_dropped({"method": "POST", "uri": x.origin.url(), "body": "x", "more": True, "seq": 0})


@exchange(requests=False)
def forget_large_answer(x: Run) -> None:
    """The body of a discarded answer is read from the network nevertheless."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(20):
            connection.send(b"x" * 1_000_000)
        connection.origin.let("sent")

    x.origin.script = script
    x.worker.push({"method": "POST", "uri": x.origin.url(), "stream": True})
    x.note(x.origin.gate("sent").wait(20))


@exchange(variant="stream-only")
def stream_without_request_interface(x: Run) -> None:
    x.origin.script = reply(OK)
    x.fetch(method="GET", uri=x.origin.url())
