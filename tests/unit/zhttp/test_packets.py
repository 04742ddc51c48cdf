"""ZHTTP without I/O: what a message is, what is wrong with one, what goes back."""

import contextlib
import json
import time
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py.zhttp import (
    NO_USER_DATA,
    Envelope,
    Format,
    PacketError,
    RequestPacket,
    ResponsePacket,
)

# -- an independent writer and reader of TNetStrings, after tnetstrings.info -----------------------


def tnetstring(value: Any) -> bytes:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%b," % (len(value), value)
    if value is None:
        return b"0:~"
    if isinstance(value, bool):
        content, letter = str(value).lower().encode(), b"!"
    elif isinstance(value, int):
        content, letter = str(value).encode(), b"#"
    elif isinstance(value, float):
        content, letter = repr(value).encode(), b"^"
    elif isinstance(value, list):
        content, letter = b"".join(map(tnetstring, value)), b"]"
    else:
        content = b"".join(tnetstring(k) + tnetstring(v) for k, v in value.items())
        letter = b"}"
    return b"%d:%b" % (len(content), content) + letter


def read_tnetstring(data: bytes) -> tuple[Any, bytes]:
    size, _, rest = data.partition(b":")
    content, letter, rest = (
        rest[: int(size)],
        rest[int(size) : int(size) + 1],
        rest[int(size) + 1 :],
    )
    if letter == b",":
        return content, rest
    if letter == b"#":
        return int(content), rest
    if letter == b"^":
        return float(content), rest
    if letter == b"!":
        return content == b"true", rest
    if letter == b"~":
        return None, rest
    items = []
    while content:
        item, content = read_tnetstring(content)
        items.append(item)
    if letter == b"]":
        return items, rest
    return dict(zip(items[::2], items[1::2], strict=True)), rest


def as_json(packet: Any) -> bytes:
    return b"J" + json.dumps(packet).encode()


def as_tnetstring(packet: Any) -> bytes:
    return b"T" + tnetstring(packet)


def as_msgpack(packet: Any) -> bytes:
    return b"M" + bytes(msgpack.packb(packet))


FORMATS = [as_json, as_tnetstring, as_msgpack]
each_format = pytest.mark.parametrize("write", FORMATS, ids=["J", "T", "M"])


def wrong(message: bytes) -> PacketError:
    with pytest.raises(PacketError) as caught:
        RequestPacket.parse(message)
    return caught.value


# -- packets --------------------------------------------------------------------------------------


@each_format
def test_a_request_with_every_field(write: Any) -> None:
    packet = RequestPacket.parse(
        write(
            {
                "from": "worker",
                "id": "1",
                "seq": 0,
                "credits": 5,
                "more": True,
                "stream": True,
                "max-size": 9,
                "timeout": 1500,
                "method": "POST",
                "uri": "http://ü.example/",
                "headers": [["A", "1"], ["A", "2"]],
                "body": "body",
                "content-type": "binary",
                "code": 1000,
                "connect-host": "h",
                "connect-port": 80,
                "trust-connect-host": True,
                "ignore-policies": True,
                "ignore-tls-errors": True,
                "follow-redirects": True,
                "peer-address": "127.0.0.1",
                "peer-port": 5,
                "ext": {"multi": True, "quiet": True, "other": [1]},
                "unknown": None,
            }
        )
    )
    assert (packet.sender, packet.id, packet.seq, packet.credits) == (b"worker", b"1", 0, 5)
    assert (packet.more, packet.stream, packet.max_size, packet.timeout) == (True, True, 9, 1500)
    assert (packet.method, packet.uri) == (b"POST", "http://ü.example/".encode())
    assert packet.headers == [(b"A", b"1"), (b"A", b"2")]
    assert (packet.body, packet.content_type) == (b"body", b"binary")
    assert (packet.code, packet.connect_host, packet.connect_port) == (1000, b"h", 80)
    assert packet.trust_connect_host
    assert packet.ignore_policies
    assert packet.ignore_tls_errors
    assert packet.follow_redirects
    assert packet.multi
    assert packet.quiet
    assert packet.type is None
    assert packet.user_data is NO_USER_DATA


@each_format
def test_an_empty_dictionary_is_a_packet_of_defaults(write: Any) -> None:
    packet = RequestPacket.parse(write({}))
    defaults = RequestPacket()
    assert (packet.sender, packet.id, packet.seq, packet.ids) == (None,) * 4
    assert (list(packet.headers), packet.body) == ([], b"")
    assert packet.more is defaults.more is False


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"X{}",
        b"J",
        b"J[]",
        b'J"text"',
        b'J{"a":NaN}',
        b"J{} {}",
        b'J{"id":"\xff"}',
        b'J{"id":"\xff\x01"}',
        b'J{"a":+5}',
        b'J{"a":05}',
        b'J{"a":[1,]}',
        b'J{"a":1e999}',
        b'J{"a":-}',
        b'J{"a":.}',
        b'J{"a":1.2.3}',
        b'J{"a":"\\u00"}',
        b"J{'a':1}",
        b"J" + b"[" * 100_000,
        b"T",
        b"T0:]",
        b"T5:abc",
        b"T9:1:a,5:ab}",
        b"T99999999999999999999:}",
        b"M",
        b"M\x90",
        b"M\xc1",
        b"M" + b"\x91" * 100_000,
        b"M\xdb\xff\xff\xff\xffx",
        b"M\x81\x91\x01\x01",
        b"M\x81",
        b"M\xdf\xff\xff\xff\xff",
    ],
)
def test_invalid_messages_are_packet_errors(message: bytes) -> None:
    assert wrong(message).reason


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b'"\x01\t\n"', "\x01\t\n"),
        (rb'"a\'b\q\U00e4\0"', "a'bqU00e40"),
        (rb'"\\q\"\/\u0041"', '\\q"/A'),
        (rb'"\ud800"', "\ufffd"),
        (rb'"x\udc80\ud83d\ude00\ud83d"', "x\ufffd\U0001f600\ufffd"),
        (rb'"\\ud800"', "\\ud800"),
        (b"5000.", 5000.0),
        (b"[.5,-.5,1.e2,0.25]", [0.5, -0.5, 100.0, 0.25]),
        (b'"\x01.5"', "\x01.5"),
    ],
)
def test_json_is_read_as_zurl_reads_it(written: bytes, value: Any) -> None:
    packet = RequestPacket.parse(b'J{"id":"t","user-data":%b}\0\n\0' % written)
    assert packet.user_data == value
    assert packet.id == b"t"


def test_lenient_json_is_for_small_messages() -> None:
    body = b"\\q" * 1000
    assert RequestPacket.parse(b'J{"body":"%b"}' % body).body == b"q" * 1000
    assert "escape" in wrong(b'J{"body":"%b"}' % (body * 50)).reason
    # What the standard library's decoder takes by itself has no bound.
    assert len(RequestPacket.parse(b'J{"body":"%b"}' % (b"\x01" * 200_000)).body) == 200_000


def test_lenient_json_takes_linear_time() -> None:
    start = time.process_time()
    for written in (b'"' + b'\\"' * 30_000, b'"\\q' + b'"' * 60_000, b"." * 60_000, b"1" * 60_000):
        assert wrong(b'J{"user-data":%b' % written).reason
    assert time.process_time() - start < 1


def test_messagepack_text_that_is_not_utf_8_is_taken_as_bytes() -> None:
    fields = {"from": b"w\xe9", "id": b"\xff", "headers": [[b"A", b"\xe9"]]}
    packet = RequestPacket.parse(b"M" + bytes(msgpack.packb(fields, use_bin_type=False)))
    assert (packet.sender, packet.id) == (b"w\xe9", b"\xff")
    assert packet.headers == [(b"A", b"\xe9")]
    keys = RequestPacket.parse(b"M" + bytes(msgpack.packb({b"from": b"w", b"\xff": 1})))
    assert keys.sender == b"w"


_MSGPACK_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9 - 1))
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.integers(-5, 2**64 - 1) | st.text(max_size=4) | st.binary(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(_MSGPACK_VALUES)
def test_messagepack_user_data_comes_back_as_it_was_sent(value: Any) -> None:
    for bin_type in (True, False):  # with it, text and bytes are two kinds of value
        sent = msgpack.packb({"user-data": value}, use_bin_type=bin_type)
        packet = RequestPacket.parse(b"M" + bytes(sent))
        answer = Envelope(Format.MSGPACK, None, None, packet.user_data).encode({})
        options = {"raw": not bin_type, "strict_map_key": False}
        assert msgpack.unpackb(answer[1:], **options) == msgpack.unpackb(sent, **options)


@given(st.binary(max_size=200), st.sampled_from([b"J", b"T", b"M", b""]))
def test_any_bytes_are_parsed_or_a_packet_error(data: bytes, letter: bytes) -> None:
    with contextlib.suppress(PacketError):
        assert isinstance(RequestPacket.parse(letter + data), RequestPacket)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    ["from", "id", "seq", "type", "credits", "more", "headers", "uri", "ext", "user-data", "x"]
)


@given(st.dictionaries(_NAMES, _VALUES))
def test_the_formats_agree_on_what_is_malformed(packet: dict[str, Any]) -> None:
    outcomes: list[tuple[object, ...]] = []
    for write in FORMATS:
        try:
            parsed = RequestPacket.parse(write(packet))
            outcomes.append((parsed.sender, parsed.id, parsed.seq, parsed.type, parsed.headers))
        except PacketError as error:
            outcomes.append((error.sender, error.ids, error.type))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@each_format
@pytest.mark.parametrize(
    ("field", "value", "due"),
    [
        ("uri", 1, "text"),
        ("uri", None, "text"),
        ("method", True, "text"),
        ("body", [], "text"),
        ("more", "true", "true or false"),
        ("more", 1, "true or false"),
        ("stream", None, "true or false"),
        ("seq", None, "number"),
        ("credits", [], "number"),
        ("timeout", {}, "number"),
        ("headers", {}, "list"),
        ("headers", [["a"]], "name and a value"),
        ("headers", [["a", 1]], "text"),
        ("ext", [], "dictionary"),
        ("type", "data", "unknown"),
        ("type", "", "unknown"),
        ("id", 5, "text"),
        ("id", [1], "dictionary"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(
    write: Any, field: str, value: Any, due: str
) -> None:
    error = wrong(write({"from": "w", field: value}))
    assert error.reason.startswith(field)
    assert due in error.reason
    assert error.sender == b"w"


@each_format
@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), ("7", 7), (" 7 ", 7), ("x", 0), ("", 0), (True, 1), (2.9, 2), (-1, None), (-5, -5)],
)
def test_numbers_come_in_many_forms(write: Any, value: Any, number: int | None) -> None:
    assert RequestPacket.parse(write({"credits": value})).credits == number


def test_a_condition_is_checked_in_errors_only() -> None:
    assert RequestPacket.parse(as_json({"condition": 5})).condition is None
    assert RequestPacket.parse(as_json({"type": "error", "condition": "x"})).condition == b"x"
    assert "condition" in wrong(as_json({"type": "error", "condition": 5})).reason


@each_format
def test_lists_of_ids(write: Any) -> None:
    one = RequestPacket.parse(write({"id": [{"id": "a", "seq": 3}], "seq": 9}))
    assert (one.id, one.seq, one.ids) == (b"a", 3, None)
    two = RequestPacket.parse(write({"id": [{"id": "a", "seq": 3}, {"id": "b"}]}))
    assert two.ids == [(b"a", 3), (b"b", None)]
    assert RequestPacket.parse(write({"id": []})).id is None


@each_format
def test_a_packet_error_has_the_fields_that_could_be_read(write: Any) -> None:
    error = wrong(write({"from": "w", "id": "1", "type": "cancel", "seq": []}))
    assert (error.sender, error.ids, error.type) == (b"w", (b"1",), b"cancel")
    error = wrong(write({"from": "w", "id": [{"id": "a"}, {"id": "b"}], "seq": []}))
    assert error.ids == (b"a", b"b")


# -- envelopes ------------------------------------------------------------------------------------

HEAD: dict[str, Any] = {
    "seq": 1,
    "code": 200,
    "reason": b"OK",
    "headers": [(b"A", b"1"), (b"B", b"\xff")],
    "body": b"\x00\xff",
    "more": True,
    "ext": {"multi": True},
}


def test_json_has_replacement_characters_for_what_is_no_text() -> None:
    message = Envelope(Format.JSON, b"me", b"1", address=b"w").encode(dict(HEAD))
    assert message.startswith(b"w J{")
    assert json.loads(message[3:]) == {
        "from": "me",
        "id": "1",
        "seq": 1,
        "code": 200,
        "reason": "OK",
        "headers": [["A", "1"], ["B", "\ufffd"]],
        "body": "\0\ufffd",
        "more": True,
        "ext": {"multi": True},
    }


def test_tnetstring_has_all_bytes() -> None:
    message = Envelope(Format.TNETSTRING, b"me", b"1", address=b"w").encode(dict(HEAD))
    assert message.startswith(b"w T")
    packet, rest = read_tnetstring(message[3:])
    assert rest == b""
    assert packet == {
        b"from": b"me",
        b"id": b"1",
        b"seq": 1,
        b"code": 200,
        b"reason": b"OK",
        b"headers": [[b"A", b"1"], [b"B", b"\xff"]],
        b"body": b"\x00\xff",
        b"more": True,
        b"ext": {b"multi": True},
    }


def test_msgpack_has_binary_bodies_and_text_where_it_is_text() -> None:
    message = Envelope(Format.MSGPACK, None, None).encode(dict(HEAD))
    packet = msgpack.unpackb(message[1:])
    assert packet["body"] == b"\x00\xff"
    assert packet["headers"] == [["A", "1"], ["B", b"\xff"]]
    assert packet["reason"] == "OK"
    assert "from" not in packet
    assert "id" not in packet


_JSON_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_BYTES_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.binary(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_MSGPACK_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=10) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def typed(value: Any) -> str:
    """All that two values must share: types and contents, but not the order of keys."""
    if isinstance(value, dict):
        return f"dict {sorted((repr(key), typed(content)) for key, content in value.items())}"
    if isinstance(value, list):
        return f"list {[typed(content) for content in value]}"
    return repr(value)


def answered(packet: RequestPacket) -> bytes:
    return Envelope(packet.format, None, None, packet.user_data).encode({})


@given(_JSON_DATA)
def test_user_data_comes_back_in_json(data: Any) -> None:
    again = json.loads(answered(RequestPacket.parse(as_json({"user-data": data})))[1:])["user-data"]
    assert typed(again) == typed(data)


@given(_BYTES_DATA)
def test_user_data_comes_back_in_tnetstring(data: Any) -> None:
    answer = answered(RequestPacket.parse(as_tnetstring({"user-data": data})))
    again = read_tnetstring(answer[1:])[0][b"user-data"]
    assert typed(again) == typed(data)


@given(_MSGPACK_DATA)
def test_user_data_comes_back_in_msgpack(data: Any) -> None:
    again = msgpack.unpackb(answered(RequestPacket.parse(as_msgpack({"user-data": data})))[1:])[
        "user-data"
    ]
    assert typed(again) == typed(data)


# -- both sides -----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", list(Format))
def test_a_request_comes_through_in_every_format(format: Format) -> None:
    sent = RequestPacket(
        format=format,
        sender=b"w",
        id=b"1",
        seq=0,
        credits=5,
        more=True,
        stream=True,
        max_size=9,
        timeout=1500,
        method=b"POST",
        uri=b"http://a.example/",
        headers=[(b"A", b"1"), (b"A", b"2")],
        body=b"text",
        connect_host=b"h",
        connect_port=81,
        follow_redirects=True,
        user_data=5,
        ext={"other": [1, b"x"]},
        multi=True,
        connect_timeout=250,
        host=b"b.example",
        http_version=b"1.1",
        max_redirects=0,
    )
    got = RequestPacket.parse(sent.encode())
    assert got.fields() == {**sent.fields(), "ext": got.fields()["ext"]}
    assert (got.format, got.sender, got.id, got.user_data) == (format, b"w", b"1", 5)
    assert got.multi
    assert (got.connect_timeout, got.host, got.max_redirects) == (250, b"b.example", 0)
    assert got.ext is not None
    assert got.ext["other"] in ([1, "x"], [1, b"x"])


@pytest.mark.parametrize("format", list(Format))
def test_an_error_comes_through_with_its_reason(format: Format) -> None:
    sent = ResponsePacket(
        format=format,
        sender=b"gw",
        id=b"1",
        seq=3,
        type=b"error",
        condition=b"tls-error",
        error=b"certificate-expired",
        detail="läuft ab".encode(),
    )
    got = ResponsePacket.parse(sent.encode())
    assert (got.type, got.condition, got.seq) == (b"error", b"tls-error", 3)
    assert (got.error, got.detail) == (b"certificate-expired", "läuft ab".encode())
    assert got.final


def test_several_sessions_in_one_packet_come_through() -> None:
    sent = RequestPacket(ids=[(b"a", 1), (b"b", 7)], sender=b"w", type=b"keep-alive")
    got = RequestPacket.parse(sent.encode())
    assert (got.id, got.ids, got.type) == (None, [(b"a", 1), (b"b", 7)], b"keep-alive")


def test_a_response_always_has_its_body() -> None:
    assert b"4:body,0:," in ResponsePacket(code=204).encode()
    assert b"body" not in ResponsePacket(type=b"credit", credits=1).encode()


@each_format
@pytest.mark.parametrize(
    ("flag", "value", "due"),
    [
        ("raw", "yes", "true or false"),
        ("truncate", 1, "true or false"),
        ("timing", None, "true or false"),
        ("auto-pong", [], "true or false"),
        ("connect-timeout", {}, "number"),
        ("host", 5, "text"),
        ("http-version", "4", "one of 1.1, 2, 3, not '4'"),
        ("http-version", 2, "text"),
        ("max-redirects", 21, "from 0 to 20"),
        ("max-redirects", -1, "from 0 to 20"),
        ("max-redirects", "3", "from 0 to 20"),
        ("redirect-method", "post", "one of get"),
        ("trailers", "true", "true or false"),
        ("interim", 0, "true or false"),
        ("history", None, "true or false"),
        ("deliver", {"endpoint": "x"}, "delivery service"),
    ],
)
def test_a_wrong_extension_is_named(write: Any, flag: str, value: Any, due: str) -> None:
    error = wrong(write({"from": "w", "id": "1", "ext": {flag: value}}))
    assert error.reason.startswith(f"ext {flag} ")
    assert due in error.reason


@each_format
def test_multi_and_quiet_of_another_type_are_ignored_as_by_zurl(write: Any) -> None:
    packet = RequestPacket.parse(write({"ext": {"multi": 1, "quiet": "true"}}))
    assert not packet.multi
    assert not packet.quiet


def test_an_earlier_field_is_not_blamed_for_a_wrong_condition() -> None:
    message = as_json({"condition": 5, "type": "error", "uri": "http://a.example/"})
    assert wrong(message).reason.startswith("condition must be text")


def test_secrets_and_bodies_are_in_no_repr() -> None:
    packet = RequestPacket(
        id=b"1",
        body=b"secret",
        headers=[(b"Authorization", b"secret")],
        client_key=b"secret",
        client_cert=b"secret",
        uri=b"http://u:secret@a.example/?secret" + b"x" * 500,
        user_data="secret",
    )
    assert "secret" not in repr(packet)
    assert "id=b'1'" in repr(packet)
    assert len(repr(packet)) < 300
