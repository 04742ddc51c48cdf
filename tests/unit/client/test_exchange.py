"""The worker's side of a session, without sockets and on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from zurl_py.client import Headers, Request, Timeout, errors
from zurl_py.client.body import Body
from zurl_py.client.exchange import (
    GRACE,
    WINDOW,
    Data,
    Ended,
    Exchange,
    Failed,
    HttpExchange,
    Opened,
    Room,
    Sender,
)
from zurl_py.client.websocket_exchange import Closed, Pong, Rejected, WebSocketExchange
from zurl_py.zhttp import (
    KEEP_ALIVE_INTERVAL,
    SESSION_EXPIRY,
    Format,
    RequestPacket,
    ResponsePacket,
)

NOW = 1000.0
SENDER = Sender(Format.TNETSTRING, b"me", b"1")


def request(
    body: Body | None = None, timeout: Timeout | None = None, url: str = "http://h/"
) -> Request:
    return Request("GET", url, Headers(), body or Body(), timeout or Timeout())


def http(body: Body | None = None, **limits: float) -> HttpExchange:
    return HttpExchange(SENDER, request(body, Timeout(**limits)), NOW)


def sent(exchange: Exchange) -> list[RequestPacket]:
    return [RequestPacket.parse(message) for message in exchange.packets_to_send()]


class Gateway:
    """What the other side says, with its packets counted."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.seq = 0

    def says(self, now: float = NOW, **fields: Any) -> list[object]:
        packet = ResponsePacket(sender=b"gw", id=b"1", seq=self.seq, **fields)
        self.seq += 1
        return self.exchange.receive(ResponsePacket.parse(packet.encode()), now)


def test_the_first_packet() -> None:
    packet = RequestPacket.parse(http(total=1.5, connect=2).first)
    assert (packet.sender, packet.id, packet.seq) == (b"me", b"1", 0)
    assert (packet.method, packet.uri) == (b"GET", b"http://h/")
    assert packet.stream
    assert not packet.more
    assert packet.credits == WINDOW
    assert (packet.timeout, packet.connect_timeout) == (1500, 2000)


def test_an_answer_in_parts() -> None:
    exchange = http()
    gateway = Gateway(exchange)
    assert gateway.says(type=b"keep-alive") == []
    assert exchange.peer == b"gw"
    (opened, data) = gateway.says(
        code=200, reason=b"OK", headers=[(b"a", b"b")], body=b"x", more=True
    )
    assert isinstance(opened, Opened)
    assert (opened.head.code, opened.head.headers) == (200, [(b"a", b"b")])
    assert data == Data(b"x")
    assert gateway.says(body=b"y", more=True) == [Data(b"y")]
    assert gateway.says(ext={"truncated": True}) == [Ended({"truncated": True})]
    assert exchange.over
    assert gateway.says(body=b"z") == []


def test_credits_are_granted_as_the_body_is_read() -> None:
    exchange = http()
    gateway = Gateway(exchange)
    gateway.says(code=200, body=b"x" * WINDOW, more=True)
    exchange.consumed += WINDOW // 2 - 1
    assert not exchange.grant_is_due()
    exchange.consumed += 1
    assert exchange.grant_is_due()
    exchange.grant(NOW)
    (packet,) = sent(exchange)
    assert (packet.type, packet.credits, packet.seq) == (b"credit", WINDOW // 2, 1)
    exchange.grant(NOW)
    assert sent(exchange) == []


def test_later_packets_wait_for_the_daemons_name() -> None:
    exchange = http(Body(pieces=[], length=None))
    exchange.send_body(b"x", True, NOW)
    assert exchange.packets_to_send() == []
    assert Gateway(exchange).says(type=b"credit", credits=7) == [Room()]
    assert exchange.granted == 7
    assert [(packet.body, packet.more, packet.seq) for packet in sent(exchange)] == [
        (b"x", True, 1)
    ]


def test_a_packet_that_was_lost_ends_it_on_both_sides() -> None:
    exchange = http()
    gateway = Gateway(exchange)
    gateway.says(type=b"keep-alive")
    gateway.seq += 1
    (failed,) = gateway.says(code=200)
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.GatewayLost
    assert [packet.type for packet in sent(exchange)] == [b"cancel"]


def test_errors_and_cancels_of_the_daemon() -> None:
    exchange = http()
    fields: dict[str, Any] = {
        "condition": b"policy-violation",
        "error": b"deny",
        "detail": b"@private",
    }
    (failed,) = Gateway(exchange).says(type=b"error", **fields)
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.PolicyViolation
    assert (failed.error.error, failed.error.detail) == ("deny", "@private")
    assert failed.error.request is not None
    exchange = http()
    (failed,) = Gateway(exchange).says(type=b"cancel")
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.GatewayLost
    assert sent(exchange) == []


@pytest.mark.parametrize("method", ["cancel", "fail"])
def test_nothing_happens_after_the_end(method: str) -> None:
    exchange = http()
    gateway = Gateway(exchange)
    gateway.says(type=b"keep-alive")
    if method == "cancel":
        exchange.cancel(NOW)
        assert [packet.type for packet in sent(exchange)] == [b"cancel"]
    else:
        assert exchange.fail(errors.GatewayLost()) is not None
    assert exchange.fail(errors.GatewayLost()) is None
    exchange.cancel(NOW)
    exchange.grant(NOW)
    assert exchange.expire(NOW + 1e6) == []
    assert sent(exchange) == []


# -- time ------------------------------------------------------------------------------------------


def test_keep_alives_and_expiry() -> None:
    exchange = http()
    gateway = Gateway(exchange)
    gateway.says(type=b"keep-alive")
    at = exchange.deadline(NOW)
    assert at == NOW + KEEP_ALIVE_INTERVAL
    assert exchange.expire(at) == []
    assert [packet.type for packet in sent(exchange)] == [b"keep-alive"]
    (failed,) = exchange.expire(NOW + SESSION_EXPIRY)
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.GatewayLost


@pytest.mark.parametrize(
    ("limit", "kind", "at"),
    [
        ("pool", errors.PoolTimeout, 2.0),
        ("total", errors.ReadTimeout, 2.0 + GRACE),
    ],
)
def test_limits_before_the_first_packet(
    limit: str, kind: type[errors.ZurlError], at: float
) -> None:
    limits: dict[str, Any] = {limit: 2.0}
    exchange = http(**limits)
    assert exchange.deadline(NOW) == NOW + at
    assert exchange.expire(NOW + at - 0.01) == []
    (failed,) = exchange.expire(NOW + at)
    assert isinstance(failed, Failed)
    assert type(failed.error) is kind
    assert failed.error.error == f"{limit}-timeout"
    assert failed.error.detail


def test_limits_where_no_packet_comes_before_the_answer() -> None:
    sender = Sender(Format.TNETSTRING, None, b"1")
    exchange = HttpExchange(sender, request(timeout=Timeout(pool=1, read=2)), NOW)
    assert exchange.deadline(NOW) == NOW + 2
    assert exchange.expire(NOW + 1.9) == []
    (failed,) = exchange.expire(NOW + 2)
    assert isinstance(failed, Failed)
    assert (failed.error.condition, failed.error.error) == ("session-timeout", "read-timeout")


def test_silence_counts_from_the_last_data_and_only_while_a_caller_waits() -> None:
    exchange = http(read=2.0)
    gateway = Gateway(exchange)
    gateway.says(type=b"keep-alive")
    gateway.says(NOW + 1, code=200, body=b"x", more=True)
    assert exchange.deadline(NOW + 1) == NOW + 3
    exchange.reading_since = None
    assert exchange.expire(NOW + 5) == []
    exchange.reading_since = NOW + 5
    assert exchange.expire(NOW + 6.9) == []
    gateway.says(NOW + 6.9, type=b"keep-alive")  # which is not the origin's
    (failed,) = exchange.expire(NOW + 7)
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.ReadTimeout
    assert (failed.error.condition, failed.error.error) == ("session-timeout", "read-timeout")
    assert failed.error.detail == "nothing came for 2 seconds"
    assert [packet.type for packet in sent(exchange)] == [b"cancel"]


def test_a_jam_counts_from_the_last_room() -> None:
    exchange = http(Body(pieces=[], length=None), write=2.0)
    gateway = Gateway(exchange)
    gateway.says(type=b"credit", credits=1)
    exchange.writing_since = NOW
    gateway.says(NOW + 1, type=b"credit", credits=1)
    assert exchange.expire(NOW + 2.9) == []
    (failed,) = exchange.expire(NOW + 3)
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.WriteTimeout


# -- WebSockets ------------------------------------------------------------------------------------


def websocket(**limits: float) -> WebSocketExchange:
    return WebSocketExchange(SENDER, request(timeout=Timeout(**limits), url="ws://h/"), NOW)


def opened(exchange: WebSocketExchange, credits: int = 200_000) -> Gateway:
    gateway = Gateway(exchange)
    assert isinstance(gateway.says(code=101, credits=credits)[0], Opened)
    return gateway


def test_a_websocket_opens() -> None:
    exchange = websocket(total=3)
    packet = RequestPacket.parse(exchange.first)
    assert packet.method is None
    assert packet.auto_pong
    assert packet.timeout == 3000
    opened(exchange)
    assert exchange.granted == 200_000
    assert exchange.expire(NOW + 29) == []  # the limit was the handshake's


def test_a_daemon_of_large_frames_gets_a_larger_window() -> None:
    exchange = websocket()
    opened(exchange, credits=1_000_000)
    (packet,) = sent(exchange)
    assert (packet.type, packet.credits) == (b"credit", 2_000_000 - WINDOW)


def test_frames_both_ways() -> None:
    exchange = websocket()
    gateway = opened(exchange)
    assert gateway.says(body=b"t") == [Data(b"t")]
    assert gateway.says(body=b"b", content_type=b"binary", more=True) == [Data(b"b", True, True)]
    assert gateway.says(type=b"ping", body=b"p") == []
    assert gateway.says(type=b"pong", body=b"q") == [Pong(b"q")]
    exchange.send_data(b"x", True, True, NOW)
    exchange.send_ping(b"y", NOW)
    packets = sent(exchange)
    assert [(packet.type, packet.body) for packet in packets] == [
        (b"pong", b"p"),
        (None, b"x"),
        (b"ping", b"y"),
    ]
    assert (packets[1].content_type, packets[1].more) == (b"binary", True)


def test_their_close_is_answered() -> None:
    exchange = websocket()
    gateway = opened(exchange)
    assert gateway.says(type=b"close", code=4000, body=b"why") == [Closed(4000, "why")]
    (packet,) = sent(exchange)
    assert (packet.type, packet.code) == (b"close", 4000)
    assert exchange.over


def test_our_close_waits_for_theirs() -> None:
    exchange = websocket()
    gateway = opened(exchange)
    exchange.send_close(1000, "bye", NOW)
    exchange.send_close(1000, "again", NOW)
    (packet,) = sent(exchange)
    assert (packet.code, packet.body) == (1000, b"bye")
    assert gateway.says(body=b"late") == [Data(b"late")]
    assert gateway.says(type=b"close") == [Closed(1005, "")]
    assert exchange.over
    assert sent(exchange) == []


def test_a_refusal_has_the_origins_answer() -> None:
    exchange = websocket()
    (failed,) = Gateway(exchange).says(
        type=b"error", condition=b"rejected", code=403, headers=[(b"a", b"b")], body=b"no"
    )
    assert isinstance(failed, Rejected)
    assert type(failed.error) is errors.InvalidStatus
    assert (failed.head.code, failed.body) == (403, b"no")


def test_the_end_of_an_open_websocket_is_a_closed_connection() -> None:
    exchange = websocket()
    (failed,) = opened(exchange).says(type=b"error", condition=b"undefined-condition")
    assert isinstance(failed, Failed)
    assert type(failed.error) is errors.ConnectionClosedError
    exchange = websocket()
    opened(exchange)
    lost = exchange.fail(errors.GatewayLost("gone"))
    assert lost is not None
    assert isinstance(lost.error, errors.ConnectionLost)
