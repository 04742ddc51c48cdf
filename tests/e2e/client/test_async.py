"""``AsyncClient`` under asyncio and trio: the same, with ``await``."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.support import DEADLINE, Connection, Daemon, ScriptedOrigin, reply
from tests.support.websocket import accept, echo, frame, read_frame
from zurl_py.client import (
    AsyncClient,
    AsyncResponse,
    ConnectFailed,
    ConnectionClosedOK,
    InvalidStatus,
    ReadTimeout,
    StreamError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Test = Callable[[AsyncClient], Awaitable[None]]


async def sleep(seconds: float) -> None:
    """In the loop that runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


@pytest.fixture(params=["asyncio", "trio"])
def play(request: pytest.FixtureRequest, shared_daemon: Daemon) -> Callable[[Test], None]:
    """Runs a coroutine function with a client, in either kind of loop."""

    async def with_client(test: Test) -> None:
        async with AsyncClient(str(shared_daemon.config_path), timeout=20) as client:
            await test(client)

    def run(test: Test) -> None:
        if request.param == "trio":
            trio.run(with_client, test)
        else:
            asyncio.run(with_client(test))

    return run


def test_answers_streams_and_uploads(play: Callable[[Test], None], origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        while True:
            body = connection.read_request().body
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            await sleep(0)
            yield b"x" * 10_000

    async def test(client: AsyncClient) -> None:
        answer = await client.post(origin.url(), json={"a": 1})
        assert answer.json() == {"a": 1}
        answer = await client.put(origin.url(), content=pieces())
        assert answer.content == b"x" * 500_000
        async with client.stream("POST", origin.url(), content="eins\nzwei") as answer:
            assert [line async for line in answer.iter_lines()] == ["eins", "zwei"]
        async with client.stream("POST", origin.url(), content=b"x" * 2_000_000) as answer:
            assert sum([len(part) async for part in answer.iter_bytes()]) == 2_000_000
        async with client.stream("POST", origin.url(), content=b"abc") as answer:
            with pytest.raises(StreamError):
                _ = answer.content
            assert await answer.read() == answer.content == b"abc"
        with pytest.raises(ConnectFailed):
            await client.get("http://127.0.0.1:1/")
        await client.send_nowait("POST", origin.url("/note"), content=b"note")

    origin.script = script
    play(test)
    assert origin.wait_request(6).body == b"note"


def test_many_at_once(play: Callable[[Test], None], origin: ScriptedOrigin) -> None:
    async def test(client: AsyncClient) -> None:
        got: list[bytes] = []

        async def one() -> None:
            got.append((await client.get(origin.url())).content)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(one)
        else:
            await asyncio.gather(*(one() for _ in range(100)))
        assert got == [b"hello"] * 100

    origin.script = reply(OK)
    play(test)


def test_more_at_once_than_zeromq_has_room_for(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    """Those that wait in the client for room are answered, too; each of ten bursts is whole."""
    origin.script = reply(OK)

    async def burst() -> None:
        async with AsyncClient(str(shared_daemon.config_path), timeout=20) as client:
            answers = await asyncio.gather(*(client.get(origin.url()) for _ in range(400)))
            assert [answer.status_code for answer in answers] == [200] * 400

    for _ in range(10):
        asyncio.run(burst())


def hanging(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    connection.expect_end()


async def give_up(seconds: float, what: Awaitable[Any]) -> bool:
    """Cancels something after a time. Returns whether it had to."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with trio.move_on_after(seconds) as scope:
            await what
        return scope.cancelled_caught
    try:
        async with asyncio.timeout(seconds):
            await what
    except TimeoutError:
        return True
    return False


async def until(condition: Callable[[], bool], what: str) -> None:
    """``wait_until`` that leaves the loop to others."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what
        await sleep(0.01)


async def give_up_when(condition: Callable[[], bool], what: Awaitable[Any]) -> None:
    """Cancels something once a condition is true."""

    async def run() -> None:
        await what

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(condition, "what comes before the end")
            nursery.cancel_scope.cancel()
    else:
        task = asyncio.create_task(run())
        await until(condition, "what comes before the end")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_cancelled_task_cancels_its_request(
    play: Callable[[Test], None], origin: ScriptedOrigin
) -> None:
    answers: list[object] = []

    async def read(client: AsyncClient) -> None:
        async with client.stream("GET", origin.url()) as answer:
            answers.append(answer)
            await answer.read()

    async def test(client: AsyncClient) -> None:
        await give_up_when(lambda: len(origin.requests) == 1, client.get(origin.url()))
        await until(lambda: len(origin.closed) == 1, "its end")
        await give_up_when(lambda: len(answers) == 1, read(client))
        await until(lambda: len(origin.closed) == 2, "its end")
        with pytest.raises(ReadTimeout):
            await client.get(origin.url(), timeout=0.3)

    origin.script = hanging
    play(test)


def test_an_answer_lives_as_long_as_its_parts(
    play: Callable[[Test], None], origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsome")
        connection.wait_for("go on")
        connection.send(b"more")
        connection.expect_end()

    async def test(client: AsyncClient) -> None:
        request = client.build_request("GET", origin.url())
        parts = (await client.send(request, stream=True)).iter_bytes()
        assert await anext(parts) == b"some"
        gc.collect()
        origin.let("go on")
        assert await anext(parts) == b"more"

    origin.script = script
    play(test)


def test_nothing_can_be_read_after_a_read_that_was_cancelled(
    play: Callable[[Test], None], origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsome")
        connection.expect_end()

    async def test(client: AsyncClient) -> None:
        async with client.stream("GET", origin.url(), timeout=None) as answer:
            parts = answer.iter_bytes()
            assert await anext(parts) == b"some"
            assert await give_up(0.2, anext(parts))
            with pytest.raises(StreamError, match="cancelled"):
                await give_up(5, anext(parts))

    origin.script = script
    play(test)


def test_a_cancelled_handshake_is_given_up(
    play: Callable[[Test], None], origin: ScriptedOrigin
) -> None:
    """Even where it is the first thing that is asked of a daemon."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.expect_end()

    async def opened(client: AsyncClient) -> None:
        await client.websocket(origin.url("/", "ws"))

    async def test(client: AsyncClient) -> None:
        await give_up_when(lambda: len(origin.requests) == 1, opened(client))
        await until(lambda: len(origin.closed) == 1, "its end")

    origin.script = script
    play(test)


def test_websockets(play: Callable[[Test], None], origin: ScriptedOrigin) -> None:
    async def test(client: AsyncClient) -> None:
        async with client.websocket(origin.url("/", "ws")) as ws:
            for message in ("text", b"\xff" * 300_000):
                await ws.send(message)
                assert await ws.recv(timeout=10) == message
            with pytest.raises(TimeoutError):
                await ws.recv(timeout=0.2)
            assert await give_up(0.2, ws.recv())
            await ws.send("again")
            assert await ws.recv() == "again"
            await ws.send(part for part in ("pa", "rts"))
            assert [part async for part in ws.recv_streaming()] == ["pa", "rts"]
        assert ws.close_code == 1000
        await ws.wait_closed()
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()

    origin.script = echo
    play(test)


def test_waiting_for_the_end(play: Callable[[Test], None], origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        accept(connection)
        connection.wait_for("bye")
        connection.send(frame(8, b"\x03\xe8bye"))
        read_frame(connection)

    async def test(client: AsyncClient) -> None:
        async with client.websocket(origin.url("/", "ws")) as ws:
            assert await give_up(0.2, ws.wait_closed())
            assert not origin.closed
            origin.let("bye")
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (1000, "bye")

    origin.script = script
    play(test)


def test_pings_and_the_end_of_iteration(
    play: Callable[[Test], None], origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        accept(connection)
        first, payload = read_frame(connection)
        assert first & 15 == 9
        connection.send(frame(10, payload) + frame(1, b"m") + frame(8, (1000).to_bytes(2)))
        connection.expect_end()

    async def test(client: AsyncClient) -> None:
        ws = await client.websocket(origin.url("/", "ws"))
        await (await ws.ping())
        assert [message async for message in ws] == ["m"]
        await ws.close()

    origin.script = script
    play(test)


def test_refused_websockets(play: Callable[[Test], None], origin: ScriptedOrigin) -> None:
    async def test(client: AsyncClient) -> None:
        with pytest.raises(InvalidStatus) as told:
            async with client.websocket(origin.url("/", "ws")):
                pass
        assert told.value.response.content == b"hello"

    origin.script = reply(OK)
    play(test)


def test_one_client_in_several_loops(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    client = AsyncClient(str(shared_daemon.config_path), timeout=20)

    async def ask() -> bytes:
        return (await client.get(origin.url())).content

    assert asyncio.run(ask()) == b"hello"
    assert asyncio.run(ask()) == b"hello"
    assert trio.run(ask) == b"hello"
    asyncio.run(client.close())


def test_what_one_loop_has_opened_is_an_error_in_another(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    origin.script = hanging
    client = AsyncClient(str(shared_daemon.config_path))

    async def opened() -> AsyncResponse:
        request = client.build_request("GET", origin.url(), timeout=None)
        return await client.send(request, stream=True)

    async def read(answer: AsyncResponse) -> None:
        parts = answer.iter_bytes()
        assert await anext(parts) == b"half"
        with pytest.raises(RuntimeError, match="another event loop"):
            await give_up(5, anext(parts))

    asyncio.run(read(asyncio.run(opened())))
    asyncio.run(read(trio.run(opened)))
    trio.run(read, asyncio.run(opened()))
    trio.run(client.close)


def test_outside_a_loop_there_is_a_clear_error(shared_daemon: Daemon) -> None:
    client = AsyncClient(str(shared_daemon.config_path))
    with pytest.raises(RuntimeError):
        client.get("http://127.0.0.1:1/").send(None)
