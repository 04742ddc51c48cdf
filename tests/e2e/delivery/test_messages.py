"""The messages of ``deliver_spec``: every verb, and what is refused, in all three formats."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from tests.e2e.delivery.process import Deliver, Worker, decode, encode
from tests.e2e.delivery.receiver import Receiver, Reply
from tests.support.deadline import wait_until

Start = Callable[..., Deliver]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("format", ["J", "T", "M"])
def test_answer_in_the_format_of_the_question(
    worker: Worker, receiver: Receiver, format: str
) -> None:
    user_data = {"n": 1, "list": [True, None, 1.5]} if format != "T" else [1, True, b"\xff"]
    question = {
        "type": "deliver",
        "uri": receiver.url(f"/{format}"),
        "body": "b" if format == "J" else b"\x00\xff",
        "user-data": user_data,
    }
    worker.send(question, format)
    answer = worker.receive()
    assert answer.keys() == {"type", "id", "duplicate", "user-data"}
    assert answer["user-data"] == user_data
    kind, id = answer["type"], answer["id"]
    if format == "T":
        kind, id = kind.decode(), id.decode()
    assert kind == "accepted"
    (hook,) = receiver.wait_for(id)
    assert hook.body == (b"b" if format == "J" else b"\x00\xff")


def test_text_that_no_format_should_have(worker: Worker, receiver: Receiver) -> None:
    """Half a surrogate pair, bytes for text, a timestamp: an answer comes whatever it is."""
    for raw in (
        b'J{"type": "deliver", "uri": "http://x/", "body": "\\ud800"}',
        b'J{"type": "deliver", "uri": "http://x/\\ud800", "body": ""}',
        b'J{"type": "deliver", "uri": "x", "body": "", "user-data": "\\ud800"}',
        b'J{"type": "stats", "\\ud800": 1}',
        b"M\x82\xa4type\xa5stats\xa9user-data\xd6\xff\x00\x00\x00\x01",
        b"M\x82\xa4type\xa5stats\xa9user-data\xa1\xff",
        b"M\x82\xa4type\xa5stats\xc4\x01x\x01",
        b"M\x82\xa4type\xa5stats\x05\x01",
        b"T27:4:type,5:stats,1:x,3:nan^}",
        b"T29:4:type,5:stats,2:\xff\xff,3:nan^}",
    ):
        worker.send(raw)
        assert worker.receive()["type"] in ("accepted", "error", "ok", b"error", b"ok"), raw
    raw = b"M\x83\xa4type\xa7deliver\xa4body\xa2\xff\x00\xa3uri"
    uri = receiver.url("/raw").encode()
    worker.send(raw + bytes([0xD9, len(uri)]) + uri)
    (hook,) = receiver.wait_for(worker.receive()["id"])
    assert hook.body == b"\xff\x00"


def test_req_socket(shared_deliver: Deliver, receiver: Receiver) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(shared_deliver.endpoint)
        for _ in range(3):
            socket.send(encode({"type": "deliver", "uri": receiver.url(), "body": ""}))
            assert socket.poll(30_000)
            assert decode(socket.recv())["type"] == "accepted"


@pytest.mark.parametrize(
    ("message", "letter"),
    [
        (b"", b"J"),
        (b"X{}", b"J"),
        (b"J", b"J"),
        (b"J{", b"J"),
        (b"J[]", b"J"),
        (b"T", b"T"),
        (b"T5:abc", b"T"),
        (b"T3:abc,", b"T"),
        (b"M\xc1", b"M"),
        (b"M\x93\x01\x02\x03", b"M"),
        (b'J{"type": 1}', b"J"),
        (b'J{"type": null}', b"J"),
        (b'J{"type": "Deliver"}', b"J"),
        (b"J{}", b"J"),
        (b"M\x80", b"M"),
        (b"T0:}", b"T"),
    ],
)
def test_no_message_at_all(worker: Worker, message: bytes, letter: bytes) -> None:
    worker.socket.send_multipart([b"", message])
    assert worker.socket.poll(30_000)
    frames = worker.socket.recv_multipart()
    assert frames[0] == b""
    assert frames[1][:1] == letter
    answer = decode(frames[1])
    assert answer["condition"] in ("bad-request", b"bad-request")
    assert answer["type"] in ("error", b"error")


@pytest.mark.parametrize(
    "frames", [[b"", b"J{}", b"J{}"], [b"J{}"], [b"a", b"b", b"", b"J{}"], [b""]]
)
def test_other_envelopes_are_answered(worker: Worker, frames: list[bytes]) -> None:
    worker.socket.send_multipart(frames)
    assert worker.socket.poll(30_000)
    answer = worker.socket.recv_multipart()
    assert decode(answer[-1])["condition"] == "bad-request"


GOOD = {"type": "deliver", "uri": "http://127.0.0.1:1/", "body": "x", "id": "given"}


@pytest.mark.parametrize(
    "changes",
    [
        {"body": None},
        {"body": ...},
        {"body": 5},
        {"body": {"a": 1}},
        {"uri": ...},
        {"uri": None},
        {"uri": ""},
        {"uri": "/relative"},
        {"uri": "ftp://x/"},
        {"uri": "http://"},
        {"uri": "http://x/ y"},
        {"uri": "http://x/\r\nEvil: 1"},
        {"uri": ["http://x/"]},
        {"endpoint": "both"},
        {"endpoint": "both", "uri": ...},
        {"id": ""},
        {"id": "a b"},
        {"id": "é"},
        {"id": "x" * 129},
        {"id": 5},
        {"id": None},
        {"not_before": 5},
        {"notbefore": 5},
        {"from": "x"},
        {"expires": 0},
        {"expires": -1},
        {"expires": "5"},
        {"expires": True},
        {"expires": None},
        {"not-before": "5"},
        {"not-before": True},
        {"not-before": -1},
        {"event": ""},
        {"event": 5},
        {"event": "a\nb"},
        {"event": "a\x00b"},
        {"key": 5},
        {"key": None},
        {"headers": {"A": "b"}},
        {"headers": "A: b"},
        {"headers": [["A"]]},
        {"headers": [["A", "b", "c"]]},
        {"headers": [["A b", "c"]]},
        {"headers": [["", "c"]]},
        {"headers": [["A:", "c"]]},
        {"headers": [["A", "b\r\nc"]]},
        {"headers": [["A", "b\x00"]]},
        {"headers": [["A", 5]]},
        {"headers": [["webhook-id", "x"]]},
        {"headers": [["Webhook-Signature", "x"]]},
        {"headers": [["WEBHOOK-ANYTHING", "x"]]},
        {"headers": [["A", "b"]] * 101},
        {"secrets": "whsec_x"},
        {"secrets": [5]},
        {"secrets": ["plain"]},
        {"secrets": ["whsec_" + "A" * 8]},
        {"secrets": [""]},
        {"uri": ..., "endpoint": "x", "secrets": [SECRET]},
        {"signature": "none"},
    ],
)
def test_deliver_refused(worker: Worker, changes: dict[str, Any]) -> None:
    fields = {**GOOD, "user-data": "u", **changes}
    worker.send({name: value for name, value in fields.items() if value is not ...})
    answer = worker.receive()
    assert (answer["type"], answer.get("condition")) == ("error", "bad-request") or (
        "endpoint" in changes and answer.get("condition") == "unknown-endpoint"
    )
    assert answer["user-data"] == "u"
    assert answer["ext"]["error"]
    assert answer["ext"]["detail"]
    if isinstance(changes.get("id", "x"), str):
        assert answer["id"] == changes.get("id", "given")
    else:
        assert "id" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"uri": ...},
        {"endpoint": ...},
        {"endpoint": ""},
        {"endpoint": "uri:abc"},
        {"endpoint": "a\nb"},
        {"endpoint": "x" * 256},
        {"signature": "md5"},
        {"signature": "standard"},
        {"signature": "stripe"},
        {"signature": "github"},
        {"signature": "stripe", "secrets": []},
        {"secrets": ["short"]},
        {"secrets": ["whsec_" + "A" * 100]},
        {"secrets": ["whpk_" + "A" * 43]},
        {"secrets": ["credential:nope"]},
        {"secrets": ["env:NO_SUCH_VARIABLE"]},
        {"secrets": "x"},
        {"order": "fifo"},
        {"order": True},
        {"dead-head": "wait"},
        {"rate": 0},
        {"rate": -1},
        {"rate": "5"},
        {"rate": True},
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"concurrency": True},
        {"concurrency": "1"},
        {"timeout": 0},
        {"timeout": -5},
        {"timeout": 1.5},
        {"timeout": "100"},
        {"schedule": []},
        {"schedule": [-1]},
        {"schedule": ["1"]},
        {"schedule": [True]},
        {"schedule": 5},
        {"schedule": [0] * 101},
        {"headers": [["Webhook-Id", "x"]]},
        {"headers": [["X Y", "x"]]},
        {"dead_head": "skip"},
        {"disabled": False},
    ],
)
def test_endpoint_put_refused(worker: Worker, changes: dict[str, Any]) -> None:
    put = {"type": "endpoint-put", "endpoint": "refused", "uri": "http://127.0.0.1:1/"}
    fields: dict[str, Any] = {**put, **changes}
    worker.send({name: value for name, value in fields.items() if value is not ...})
    answer = worker.receive()
    assert (answer["type"], answer.get("condition")) == ("error", "bad-request"), answer
    assert worker.ask("endpoint-get", endpoint="refused")["condition"] == "unknown-endpoint"


@pytest.mark.parametrize(
    "question",
    [
        {"type": "endpoint-get"},
        {"type": "endpoint-get", "endpoint": "x", "limit": 1},
        {"type": "endpoint-list", "limit": 0},
        {"type": "endpoint-list", "limit": -1},
        {"type": "endpoint-list", "limit": True},
        {"type": "endpoint-list", "limit": "5"},
        {"type": "endpoint-list", "endpoint": "x"},
        {"type": "delivery-get"},
        {"type": "delivery-get", "id": ""},
        {"type": "delivery-list", "state": "lost"},
        {"type": "delivery-list", "limit": 0},
        {"type": "replay"},
        {"type": "replay", "endpoint": "x"},
        {"type": "replay", "state": "dead"},
        {"type": "replay", "id": "a", "endpoint": "x", "state": "dead"},
        {"type": "replay", "id": "a", "state": "dead"},
        {"type": "stats", "id": "x"},
    ],
)
def test_other_questions_refused(worker: Worker, question: dict[str, Any]) -> None:
    worker.send(question)
    answer = worker.receive()
    assert (answer["type"], answer["condition"]) == ("error", "bad-request"), answer


def test_unknown_names(worker: Worker) -> None:
    verbs = ["endpoint-get", "endpoint-delete", "endpoint-enable", "endpoint-disable"]
    for verb in verbs:
        assert worker.ask(verb, endpoint="nobody")["condition"] == "unknown-endpoint"
    assert worker.ask("deliver", endpoint="nobody", body="")["condition"] == "unknown-endpoint"
    assert worker.ask("delivery-list", endpoint="nobody")["condition"] == "unknown-endpoint"
    answer = worker.ask("replay", endpoint="nobody", state="dead")
    assert answer["condition"] == "unknown-endpoint"
    assert worker.ask("delivery-get", id="nothing")["condition"] == "unknown-delivery"
    assert worker.ask("replay", id="nothing")["condition"] == "unknown-delivery"
    assert worker.ask("delivery-list", after="nothing")["condition"] == "unknown-delivery"


def test_made_ids(worker: Worker, receiver: Receiver) -> None:
    ids = [worker.deliver(uri=receiver.url()) for _ in range(20)]
    pattern = r"msg_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(pattern, id) for id in ids)
    assert len(set(ids)) == 20
    millis = int(ids[0][4:].replace("-", "")[:12], 16)
    assert abs(millis / 1000 - time.time()) < 60


def test_duplicates_and_conflicts(worker: Worker, receiver: Receiver) -> None:
    worker.put("dup", receiver.url("/dup"))
    fields: dict[str, Any] = {
        "endpoint": "dup",
        "body": "x",
        "id": "dup-1",
        "event": "e",
        "headers": [["A", "b"]],
        "key": "k",
    }
    assert worker.ask("deliver", **fields)["duplicate"] is False
    assert worker.ask("deliver", **fields)["duplicate"] is True
    # Not part of the content.
    assert worker.ask("deliver", **fields, user_data=5, expires=100)["duplicate"] is True
    worker.wait_state("dup-1", "done")
    assert worker.ask("deliver", **fields)["duplicate"] is True
    others: list[dict[str, Any]] = [
        {"body": "y"},
        {"event": "f"},
        {"headers": [["A", "c"]]},
        {"headers": []},
        {"key": "l"},
    ]
    for change in others:
        answer = worker.ask("deliver", **{**fields, **change})
        assert (answer["condition"], answer["id"]) == ("conflict", "dup-1"), change
    by_uri = {name: value for name, value in fields.items() if name != "endpoint"}
    answer = worker.ask("deliver", **by_uri, uri=receiver.url("/dup"))
    assert answer["condition"] == "conflict"
    assert receiver.ids("/dup") == ["dup-1"]
    # A repeat after death is a duplicate, too.
    receiver.reply = lambda _hook: Reply(410)
    assert worker.ask("deliver", uri=receiver.url("/d"), body="", id="dup-2")["duplicate"] is False
    worker.wait_state("dup-2", "dead")
    assert worker.ask("deliver", uri=receiver.url("/d"), body="", id="dup-2")["duplicate"] is True


def test_duplicates_within_one_batch(worker: Worker, receiver: Receiver) -> None:
    for _ in range(50):
        worker.send({"type": "deliver", "uri": receiver.url("/b"), "body": "x", "id": "batch"})
    answers = [worker.receive() for _ in range(50)]
    assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * 49
    worker.wait_state("batch", "done")
    assert receiver.ids("/b") == ["batch"]


def test_order_of_questions_is_kept(worker: Worker, receiver: Receiver) -> None:
    """An endpoint that is put before the first delivery to it is there, without waiting."""
    worker.send({"type": "endpoint-put", "endpoint": "fresh", "uri": receiver.url("/fresh")})
    worker.send({"type": "deliver", "endpoint": "fresh", "body": "", "id": "fresh-1"})
    worker.send({"type": "delivery-get", "id": "fresh-1"})
    answers = [worker.receive() for _ in range(3)]
    assert [answer["type"] for answer in answers] == ["ok", "accepted", "ok"]


def test_endpoint_get_shows_what_was_put(worker: Worker, receiver: Receiver) -> None:
    fields: dict[str, Any] = {
        "signature": "standard",
        "order": "key",
        "dead_head": "stop",
        "rate": 2.5,
        "concurrency": 3,
        "schedule": [0, 1, 2.5],
        "timeout": 1234,
        "headers": [["X-A", "b"]],
    }
    worker.put("shown", receiver.url("/s"), secrets=[SECRET], **fields)
    answer = worker.ask("endpoint-get", endpoint="shown")
    expected = {name.replace("_", "-"): value for name, value in fields.items()}
    for name, value in expected.items():
        assert answer[name] == value, name
    assert answer["uri"] == receiver.url("/s")
    assert answer["disabled"] is False
    assert "secrets" not in answer
    assert SECRET not in str(answer)
    # A put replaces the whole, but for the secrets.
    worker.put("shown", receiver.url("/t"))
    answer = worker.ask("endpoint-get", endpoint="shown")
    assert answer == {
        "type": "ok",
        "endpoint": "shown",
        "uri": receiver.url("/t"),
        "signature": "standard",
        "disabled": False,
    }
    worker.deliver(endpoint="shown")
    assert "webhook-signature" in receiver.wait(1)[0].headers
    # No secrets at all: unsigned.
    worker.put("shown", receiver.url("/t"), secrets=[])
    assert worker.ask("endpoint-get", endpoint="shown")["signature"] == "none"
    worker.deliver(endpoint="shown")
    assert "webhook-signature" not in receiver.wait(2)[1].headers


def test_endpoint_list(start_deliver: Start, receiver: Receiver) -> None:
    worker = start_deliver().worker()
    for number in range(5):
        worker.put(f"e{number}", receiver.url(), secrets=[SECRET])
    worker.deliver(uri=receiver.url())
    names: list[str] = []
    after: dict[str, Any] = {}
    for _ in range(10):
        answer = worker.ask("endpoint-list", limit=2, **after)
        names += [item["endpoint"] for item in answer["endpoints"]]
        assert SECRET not in str(answer)
        if answer.get("next") is None:
            break
        after = {"after": answer["next"]}
    assert names[:5] == [f"e{number}" for number in range(5)]
    assert len(names) == 6
    assert names[5].startswith("uri:")


def test_delivery_list(start_deliver: Start, receiver: Receiver) -> None:
    worker = start_deliver(schedule="0").worker()
    worker.put("good", receiver.url("/good"))
    worker.put("bad", receiver.url("/bad"))
    receiver.reply = lambda hook: Reply(200 if hook.path == "/good" else 404)
    ids = [worker.deliver(endpoint=("good", "bad")[n % 2], id=f"d{n}") for n in range(10)]
    wait_until(
        lambda: worker.ask("stats")["states"]["done"] + worker.ask("stats")["states"]["dead"] == 10,
        "all of them to end",
    )

    def listed(**fields: Any) -> list[str]:
        found: list[str] = []
        after: dict[str, Any] = {}
        while True:
            answer = worker.ask("delivery-list", limit=3, **fields, **after)
            assert len(answer["deliveries"]) <= 3
            found += [item["id"] for item in answer["deliveries"]]
            if answer.get("next") is None:
                return found
            after = {"after": answer["next"]}

    assert listed() == ids
    assert listed(state="done") == ids[0::2]
    assert listed(state="dead") == ids[1::2]
    assert listed(endpoint="bad") == ids[1::2]
    assert listed(endpoint="good", state="dead") == []
    assert listed(state="pending") == listed(state="held") == []
    answer = worker.ask("replay", endpoint="bad", state="dead")
    assert answer["count"] == 5
    assert worker.ask("replay", id="d0")["count"] == 1  # one that is done may be, too
    receiver.wait(16)
    assert len(receiver.of("d0")) == 2


def test_replay_has_a_new_timestamp(worker: Worker, receiver: Receiver) -> None:
    worker.put("signed", receiver.url("/signed"), secrets=[SECRET])
    id = worker.deliver(endpoint="signed")
    worker.wait_state(id, "done")
    first = receiver.of(id)[0]
    wait_until(lambda: int(time.time()) > int(first.headers["webhook-timestamp"]), "a new second")
    assert worker.ask("replay", id=id)["count"] == 1
    second = receiver.wait_for(id, 2)[1]
    assert second.headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert [a["code"] for a in worker.wait_state(id, "done")["attempts"]] == [200, 200]


def test_stats(start_deliver: Start, receiver: Receiver) -> None:
    worker = start_deliver(schedule="0,600").worker()
    receiver.reply = lambda hook: Reply(200 if hook.path == "/good" else 500)
    good = worker.deliver(uri=receiver.url("/good"))
    bad = worker.deliver(uri=receiver.url("/bad"))
    worker.put("held", receiver.url())
    worker.ask("endpoint-disable", endpoint="held")
    worker.deliver(endpoint="held")
    worker.wait_state(good, "done")
    wait_until(lambda: worker.delivery(bad)["attempts"], "the first attempt")
    answer = worker.ask("stats")
    assert answer["states"] == {"pending": 1, "leased": 0, "held": 1, "done": 1, "dead": 0}
    assert 400 < answer["oldest-due"] - time.time() < 800
    assert set(answer["rates"]) == {"accepted", "delivered", "attempts"}


def test_headers(worker: Worker, receiver: Receiver) -> None:
    worker.put(
        "headed",
        receiver.url(),
        headers=[["X-One", "endpoint"], ["X-Two", "endpoint"]],
        timeout=9000,
    )
    id = worker.deliver(
        endpoint="headed",
        event="order.paid",
        headers=[["x-two", "message"], ["Content-Type", "text/plain"], ["X-Three", "three"]],
    )
    (hook,) = receiver.wait_for(id)
    assert hook.headers["x-one"] == "endpoint"
    assert hook.headers["x-two"] == "message"
    assert hook.headers["x-three"] == "three"
    assert hook.headers["content-type"] == "text/plain"
    assert hook.headers["webhook-event"] == "order.paid"
    assert abs(int(hook.headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in hook.headers
    (hook,) = receiver.wait_for(worker.deliver(endpoint="headed"))
    assert hook.headers["content-type"] == "application/json"
    assert "webhook-event" not in hook.headers


def test_by_uri(worker: Worker, receiver: Receiver) -> None:
    id = worker.deliver(uri=receiver.url("/u"), secrets=[SECRET])
    other = worker.deliver(uri=receiver.url("/u"))
    assert "webhook-signature" in receiver.wait_for(id)[0].headers
    assert "webhook-signature" not in receiver.wait_for(other)[0].headers
    shown = worker.wait_state(id, "done")
    assert re.fullmatch(r"uri:[0-9a-f]+", shown["endpoint"])
    assert worker.delivery(other)["endpoint"] == shown["endpoint"]


def test_large_answer(worker: Worker, receiver: Receiver) -> None:
    receiver.reply = lambda _hook: Reply(200, body=b"a" * 200_000)
    shown = worker.wait_state(worker.deliver(uri=receiver.url("/large")), "done")
    (attempt,) = shown["attempts"]
    assert attempt["body"] == "a" * 4096


def test_pushed(shared_deliver: Deliver, worker: Worker, receiver: Receiver) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(shared_deliver.push_endpoint)
        socket.send(b"nonsense")
        socket.send(encode({"type": "deliver", "uri": receiver.url(), "body": "p", "id": "pushed"}))
        (hook,) = receiver.wait_for("pushed")
    assert hook.body == b"p"
    shared_deliver.wait_log("pushed message")
    worker.wait_state("pushed", "done")


def test_many_at_once(worker: Worker, receiver: Receiver) -> None:
    """Pipelined over one DEALER: each has its answer, in order."""
    for number in range(500):
        worker.send({"type": "deliver", "uri": receiver.url(), "body": "x", "user-data": number})
    answers = [worker.receive() for _ in range(500)]
    assert [answer["user-data"] for answer in answers] == list(range(500))
    receiver.wait(500, 60.0)
    assert len(set(receiver.ids())) == 500
