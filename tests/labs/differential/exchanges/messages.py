"""Messages that are no good: what is dropped, what is answered, and how."""

import json
from typing import Any, cast

from tests.labs.differential.exchanges.common import EMPTY, OK
from tests.labs.differential.exchanges.downloads import settled
from tests.labs.differential.lab import SHORT, Run, exchange
from tests.support import encode, reply

# What cannot be read at all


def _garbage(name: str, message: bytes) -> None:
    @exchange(f"garbage-{name}", requests=False)
    def run(x: Run) -> None:
        x.req_dropped(message)
        x.push_dropped(message)
        x.follow_dropped(message)


_GOOD_J = json.dumps({"from": "worker", "id": "g", "method": "GET", "uri": "http://127.0.0.1:1/"})
_GOOD_T = encode({"from": "worker", "id": "g", "method": "GET", "uri": "http://127.0.0.1:1/"})
for _name, _message in {
    "empty": b"",
    "letter-only-j": b"J",
    "letter-only-t": b"T",
    "other-letter": b"X{}",
    "lower-case-letter": b"j{}",
    "no-letter": b'{"method":"GET"}',
    "json-cut": b'J{"method":',
    "json-list": b"J[]",
    "json-text": b'J"x"',
    "json-number": b"J1",
    "json-null": b"Jnull",
    "json-nan": b'J{"from":"worker","id":"g","method":"GET","uri":"x:","timeout":NaN}',
    "json-after-document": f"J{_GOOD_J} x".encode(),
    "json-bad-utf8": b'J{"from":"worker","id":"g\xff"}',
    "json-single-quotes": b"J{'from':'worker'}",
    "json-deep": b'J{"from":"worker","id":"g","user-data":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "json-bare-minus": b'J{"from":"worker","id":"g","user-data":-}',
    "json-plus": b'J{"from":"worker","id":"g","user-data":+5}',
    "json-leading-zero": b'J{"from":"worker","id":"g","user-data":05}',
    "json-comma-at-end": b'J{"from":"worker","id":"g","user-data":[1,]}',
    "json-too-large": b'J{"from":"worker","id":"g","user-data":1e999}',
    "json-comment": b'J{"from":"worker","id":"g","user-data":1 // one\n}',
    "json-half-escape": rb'J{"from":"worker","id":"g","user-data":"\u00"}',
    "tnetstring-list": b"T0:]",
    "tnetstring-text": b"T1:x,",
    "tnetstring-number": b"T1:1#",
    "tnetstring-null": b"T0:~",
    "tnetstring-cut": _GOOD_T[:-5],
    "tnetstring-cut-early": b"T10",
    "tnetstring-no-length": b"T:,",
    "tnetstring-negative": b"T-1:x,",
    "tnetstring-huge-length": b"T99999999999999999999:x,",
    "tnetstring-inner-too-long": b"T8:9:abcde,}",
    "tnetstring-inner-negative": b"T8:-1:abcd,}",
    "tnetstring-unknown-type": b"T4:1:x?}",
    "tnetstring-key-not-text": b"T8:1:1#1:x,}",
    "tnetstring-key-without-value": b"T4:1:x,}",
    "tnetstring-bad-boolean": b"T15:4:more,5:maybe!}",
    "tnetstring-bad-number": b"T15:4:code,4:12x4#}",
}.items():
    _garbage(_name, _message)


def _tolerated(name: str, message: bytes) -> None:
    @exchange(f"tolerated-{name}")
    def run(x: Run) -> None:
        x.req_dropped(message)


_REQ_T = encode({"id": "t", "method": "GET", "uri": "x:"})
_tolerated("tnetstring-surplus", _REQ_T + b"surplus")
_tolerated("tnetstring-leading-zero", b"T0" + _REQ_T[1:])
_tolerated("tnetstring-plus", b"T+" + _REQ_T[1:])
_tolerated("json-blanks", b'J \n{"id":"t","method":"GET","uri":"x:"} \n')
_tolerated("json-duplicate-key", b'J{"id":"t","id":"u","method":"GET","uri":"x:"}')
for _name, _value in {
    "lone-surrogate": rb'"a\ud800b"',
    "control-characters": b'"\x01\t\n"',
    "needless-escapes": rb'"\'\q\U00e4\0"',
    "point-behind": b"5000.",
    "point-in-front": b"[.5,-.5]",
}.items():
    _tolerated(f"json-{_name}", b'J{"id":"t","method":"GET","uri":"x:","user-data":%b}' % _value)
_tolerated("json-byte-order-mark", b'J\xef\xbb\xbf{"id":"t","method":"GET","uri":"x:"}')


@exchange()
def garbage_tnetstring_deep(x: Run) -> None:
    inner = b"0:]"
    for _ in range(60_000):
        inner = b"%d:%b]" % (len(inner), inner)
    packet = b"4:from,6:worker,2:id,1:g,9:user-data," + inner
    x.push_dropped(b"T%d:%b}" % (len(packet), packet))


# One wrong field makes a message malformed. The first packet of a session; then a request.

_BASE: dict[str, Any] = {"method": "GET", "uri": "http://ORIGIN/"}


def _field(name: str, format: str = "J", **fields: Any) -> None:
    fields = {key.rstrip("_").replace("_", "-"): value for key, value in fields.items()}

    @exchange(f"field-{name}-{format}", parts=False, requests="timeout" not in fields)
    def run(x: Run) -> None:
        x.origin.script = reply(OK)
        base = {**_BASE, "uri": x.origin.url(), **fields}
        x.req_dropped(
            encode({"id": "r", **base, "uri": base["uri"] if "uri" in fields else "x:"}, format)
        )
        # after this the daemon is known to have seen it: what was answered at once has come
        packet = {"from": "worker", "id": x.id("1"), "stream": True, "credits": 1000, **base}
        session = x.worker.session(x.id("1"), format)
        x.sessions.append(session)
        x.worker.push(packet, format)
        x.worker.fence()
        queue = x.worker._queues.get(session.id)
        if queue and queue[0].type == b"keep-alive":
            x.finish(session, SHORT if "credits" in fields else 20.0)


def _wrong(name: str, format: str = "J", **fields: Any) -> None:
    """A message that one field makes malformed."""
    _field(f"wrong-{name}", format, **fields)


for _name in ("type", "method", "uri", "body", "content-type", "connect-host", "peer-address"):
    _wrong(f"{_name}-number", **cast(Any, {_name: 1}))
    _wrong(f"{_name}-null", **cast(Any, {_name: None}))
_field("condition-number", condition=1)
_wrong("condition-number-error", condition=1, type="error")
for _name in (
    "more",
    "stream",
    "ignore-policies",
    "trust-connect-host",
    "ignore-tls-errors",
    "follow-redirects",
):
    _wrong(f"{_name}-number", **cast(Any, {_name: 1}))
    _wrong(f"{_name}-text", **cast(Any, {_name: "true"}))
for _name in ("credits", "max-size", "timeout", "connect-port", "peer-port", "code", "seq"):
    _field(f"{_name}-text", **{_name: "60000"})
    _field(f"{_name}-no-number", **{_name: "x"})
    _wrong(f"{_name}-null", **cast(Any, {_name: None}))
    _wrong(f"{_name}-list", **cast(Any, {_name: []}))
_field("max-size-float", max_size=10.9)
_field("max-size-float-text", max_size="10.9")
_field("max-size-true", max_size=True)
_field("max-size-false", max_size=False)
_field("max-size-blanks", max_size=" 10 ")
_field("max-size-hex", max_size="0x10")
_field("max-size-empty-text", max_size="")
_field("max-size-float-small", max_size=0.5)
_field("max-size-float-exponent", max_size=1e300)
_field("timeout-float", timeout=60000.7)
_field("timeout-text", "T", timeout="60000")
_field("max-size-text", "T", max_size="10")
_wrong("more-number", "T", more=0)
_wrong("body-number", "T", body=1)
_wrong("headers-null", headers=None)
_wrong("headers-text", headers="x")
_wrong("headers-dictionary", headers={"a": "b"})
_field("headers-empty", headers=[])
_wrong("headers-pair-of-one", headers=[["a"]])
_wrong("headers-pair-of-three", headers=[["a", "b", "c"]])
_wrong("headers-value-number", headers=[["a", 1]])
_wrong("headers-value-null", headers=[["a", None]])
_wrong("headers-text-inside", headers=["ab"])
_wrong("ext-list", ext=[])
_wrong("ext-null", ext=None)
_field("ext-multi-text", ext={"multi": "true"})
_field("ext-multi-number", ext={"multi": 1})
_field("ext-multi", ext={"multi": True})
_field("ext-quiet", ext={"quiet": True})
_field("ext-other", ext={"other": [1, 2], "multi": False})
_field("unknown", anything={"x": [None]}, passthrough={"a": 1})
_wrong("type-unknown", type="foo")
_wrong("type-data", type="data")
_wrong("type-empty", type="")
for _name in ("error", "credit", "keep-alive", "cancel", "handoff-start", "ping", "close"):
    _field(f"type-{_name}", type=_name)
_field("user-data-null", user_data=None)
_field("user-data-null", "T", user_data=None)
_field("seq-negative", seq=-1)
_field("credits-minus-one", credits=-1)


# Malformed, but from and id can be read


def _answered(name: str, message: bytes, format: str = "T") -> None:
    @exchange(f"malformed-{name}", requests=False)
    def run(x: Run) -> None:
        x.push_dropped(message)
        x.follow_dropped(message)
        x.req_dropped(message)


def _bad(**fields: Any) -> dict[str, Any]:
    return {"from": "worker", "id": "m", "method": 1, "uri": "x:", **fields}


for _format in "TJ":
    _answered(f"with-from-and-id-{_format}", encode(_bad(), _format))
    _answered(
        f"id-list-{_format}",
        encode(_bad(id=[{"id": "m", "seq": 0}, {"id": "n", "seq": 1}]), _format),
    )
    _answered(f"without-from-{_format}", encode({"id": "m", "method": 1}, _format))
    _answered(f"without-id-{_format}", encode({"from": "worker", "method": 1}, _format))
    _answered(
        f"without-id-with-seq-{_format}", encode({"from": "worker", "seq": 0, "method": 1}, _format)
    )
    _answered(f"empty-id-{_format}", encode(_bad(id=""), _format))
    _answered(f"empty-from-{_format}", encode(_bad(**{"from": ""}), _format))
    _answered(f"id-number-{_format}", encode(_bad(id=1), _format))
    _answered(f"from-number-{_format}", encode(_bad(**{"from": 1}), _format))
    _answered(f"cancel-{_format}", encode(_bad(type="cancel"), _format))
    _answered(f"error-{_format}", encode(_bad(type="error"), _format))
    _answered(f"user-data-{_format}", encode(_bad(**{"user-data": "x"}), _format))
    _answered(f"type-{_format}", encode(_bad(type="foo"), _format))


@exchange()
def malformed_while_live(x: Run) -> None:
    """A malformed message does not touch the session, and its sequence does not advance."""
    x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=10)
    session.next()
    x.origin.wait_request()
    x.follow_dropped(
        {"from": "worker", "id": session.id, "seq": 1, "type": "credit", "credits": None}
    )
    session.send(type="keep-alive")
    x.worker.fence()
    x.note(f"{len(x.origin.live)} connections live")


# user-data


def _user_data(name: str, value: Any, *formats: str) -> None:
    for format in formats or ("J", "T"):

        @exchange(f"user-data-{name}-{format}")
        def run(x: Run, format: str = format) -> None:
            x.req_dropped(encode({"method": "GET", "uri": "x:", "user-data": value}, format))


_user_data("text", "text")
_user_data("empty-text", "")
_user_data("unicode", "grün☃𝄞")
_user_data("nul", "a\0b")
_user_data("control", '\x01\x1f\x7f\n\t"\\/')
_user_data("true", True)
_user_data("false", False)
_user_data("null", None)
_user_data("zero", 0)
_user_data("int", 123456)
_user_data("int-negative", -7)
_user_data("int-32", 2**31 - 1)
_user_data("int-33", 2**32 + 5)
_user_data("int-negative-33", -(2**32) - 5)
_user_data("int-64", 2**63 - 1)
_user_data("float", 0.5)
_user_data("float-digits", 1.23456789012345)
_user_data("float-whole", 3.0)
_user_data("float-large", 1.5e300)
_user_data("list", [1, "a", [True, None], {"k": "v"}])
_user_data("dictionary", {"b": 1, "a": {"c": [2]}, "": ""})
_user_data("empty-list", [])
_user_data("empty-dictionary", {})
_user_data("null-inside", {"a": None, "b": [None]})
_user_data("binary", b"\xff\x00\xfe", "T")


# id lists and ext


@exchange()
def id_list_credits(x: Run) -> None:
    """One message grants credits to several sessions, each in full."""
    x.origin.script = reply(OK)
    sessions = [x.start(name, method="GET", uri=x.origin.url(), stream=True) for name in "ab"]
    for session in sessions:
        session.next()
    ids = [{"id": session.id, "seq": 1} for session in sessions]
    x.worker.follow({"from": "worker", "id": ids, "type": "credit", "credits": 10})
    for session in sessions:
        x.finish(session)


@exchange()
def id_list_some_unknown(x: Run) -> None:
    x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
    session = x.start(method="GET", uri=x.origin.url(), stream=True)
    session.next()
    x.origin.wait_request()
    ids = [{"id": x.id("u1"), "seq": 4}, {"id": session.id, "seq": 1}, {"id": x.id("u2")}]
    x.follow_dropped({"from": "worker", "id": ids, "type": "keep-alive"})
    x.note(f"{len(x.origin.live)} connections live")


@exchange()
def id_list_wrong_seq(x: Run) -> None:
    x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
    for name in "ab":
        x.start(name, method="GET", uri=x.origin.url(), stream=True).next()
    x.origin.wait_request(2)
    ids = [{"id": x.id("a"), "seq": 1}, {"id": x.id("b"), "seq": 7}]
    x.follow_dropped({"from": "worker", "id": ids, "type": "keep-alive"})
    x.follow_dropped({"from": "worker", "id": [{"id": x.id("a")}], "seq": 2, "type": "keep-alive"})


@exchange()
def id_list_twice_the_same(x: Run) -> None:
    x.origin.script = reply(OK)
    session = x.start(method="GET", uri=x.origin.url(), stream=True)
    session.next()
    ids = [{"id": session.id, "seq": 1}, {"id": session.id, "seq": 2}]
    x.worker.follow({"from": "worker", "id": ids, "type": "credit", "credits": 1})
    x.finish(session)


def _id_list(name: str, ids: Any) -> None:
    @exchange(f"id-list-{name}", requests=False)
    def run(x: Run) -> None:
        x.follow_dropped({"from": "worker", "id": ids, "type": "keep-alive"})
        x.push_dropped({"from": "worker", "id": ids, "method": "GET", "uri": "x:"})
        x.req_dropped(encode({"id": ids, "method": "GET", "uri": "x:"}))


_id_list("empty", [])
_id_list("one", [{"id": "l1", "seq": 0}])
_id_list("two", [{"id": "l1", "seq": 0}, {"id": "l2", "seq": 0}])
_id_list("of-texts", ["l1", "l2"])
_id_list("without-ids", [{"seq": 0}, {}])
_id_list("id-number", [{"id": 1, "seq": 0}])
_id_list("seq-text", [{"id": "l1", "seq": "0"}])
_id_list("dictionary", {"id": "l1"})


@exchange()
def ext_multi(x: Run) -> None:
    """Said in the first answer only."""
    x.origin.script = reply(OK)
    x.fetch(method="GET", uri=x.origin.url(), ext={"multi": True, "quiet": True})


@exchange(credits=True)
def ext_multi_upload(x: Run) -> None:
    x.origin.script = reply(EMPTY)
    session = x.start(
        method="POST", uri=x.origin.url(), stream=True, credits=5, more=True, ext={"multi": True}
    )
    session.next()
    session.send(body="x")
    x.finish(session)


@exchange()
def ext_multi_error(x: Run) -> None:
    x.finish(x.start(method="GET", uri="x:", ext={"multi": True}))
    x.req(method="GET", uri=x.origin.url(), ext={"multi": True})
    settled(x)
