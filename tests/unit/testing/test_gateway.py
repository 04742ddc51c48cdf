"""The fake gateway that is shipped: what programs' tests do with it."""

import asyncio
import itertools

import pytest

from tests.support import ask_when_gone, wait_until
from zurl_py.client import (
    AsyncClient,
    Client,
    ConnectFailed,
    Endpoints,
    GatewayUnavailable,
    InvalidStatus,
    PolicyViolation,
    ReadTimeout,
)
from zurl_py.testing import Clock, FakeAnswer, FakeError, FakeGateway, FakeRequest


def world(request: FakeRequest) -> FakeAnswer | FakeError:
    if request.url == "http://10.0.0.1/":
        return FakeError("policy-violation", "deny", "@private")
    if request.url.endswith("/echo"):
        return FakeAnswer(201, request.body, [("X", "y")], "Made")
    if request.url.endswith("/endless"):
        return FakeAnswer(body=itertools.repeat(b"x" * 1000))
    return FakeError("remote-connection-failed")


def test_answers_and_errors_come_from_the_function() -> None:
    with FakeGateway(world) as gateway, Client(gateway.endpoints) as client:
        answer = client.post("http://h/echo", content=b"body", headers={"A": "b"})
        assert (answer.status_code, answer.reason, answer.content) == (201, "Made", b"body")
        assert answer.headers["x"] == "y"
        with pytest.raises(PolicyViolation) as told:
            client.get("http://10.0.0.1/")
        assert (told.value.error, told.value.detail) == ("deny", "@private")
        with pytest.raises(ConnectFailed):
            client.get("http://elsewhere/")
        with pytest.raises(InvalidStatus):
            client.websocket("ws://h/")
        first = gateway.requests[0]
        assert (first.method, first.url, first.body) == ("POST", "http://h/echo", b"body")
        assert first.headers["a"] == "b"


def test_large_bodies_keep_to_credits() -> None:
    with FakeGateway(world) as gateway, Client(gateway.endpoints) as client:
        body = bytes(range(256)) * 8000
        assert client.put("http://h/echo", content=body).content == body
        assert client.put("http://h/echo", content=iter([b"a"] * 1000)).content == b"a" * 1000
        with client.stream("GET", "http://h/endless") as answer:
            parts = answer.iter_bytes()
            assert sum(len(next(parts)) for _ in range(1000)) == 1_000_000
        wait_until(lambda: gateway.requests[-1].cancelled, "the cancel")


def test_asynchronous_and_by_the_request_interface() -> None:
    async def ask(client: AsyncClient) -> list[bytes]:
        answers = await asyncio.gather(
            *(client.post("http://h/echo", content=b"%d" % number) for number in range(50))
        )
        return [answer.content for answer in answers]

    with FakeGateway(world) as gateway:
        for ends in (gateway.endpoints, Endpoints(req=gateway.endpoints.req)):
            client = AsyncClient(ends)
            assert asyncio.run(ask(client)) == [b"%d" % number for number in range(50)]
            asyncio.run(client.close())


def test_a_closed_gateway_does_not_answer() -> None:
    gateway = FakeGateway(lambda _: FakeAnswer())
    with Client(gateway.endpoints, timeout=20) as client:
        assert client.get("http://h/").content == b""
        client.send_nowait("GET", "http://h/note")
        wait_until(lambda: len(gateway.requests) == 2, "the note")
        gateway.close()
        with pytest.raises(GatewayUnavailable):
            ask_when_gone(lambda: client.get("http://h/", timeout=0.5))


def test_waits_have_a_limit() -> None:
    def slow(_: FakeRequest) -> FakeAnswer:
        wait_until(lambda: stop, "the end")
        return FakeAnswer()

    stop: list[bool] = []
    with FakeGateway(slow) as gateway, Client(gateway.endpoints) as client:
        with pytest.raises(ReadTimeout):
            client.get("http://h/", timeout=0.2)
        stop.append(True)


def test_a_clock_advances_only_when_told() -> None:
    clock = Clock(5.0)
    assert clock() == 5.0
    assert clock.advance(2.5) == clock() == 7.5
