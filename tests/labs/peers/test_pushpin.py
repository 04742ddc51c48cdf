"""Pushpin does the same with our daemon as with the original."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.labs.peers.backend import LARGE
from tests.labs.peers.pushpin import DEBIAN_ZURL, OUR_ZURL, Pushpin
from tests.support.daemon import Daemon
from tests.support.deadline import wait_until

pytestmark = pytest.mark.usefixtures("pushpin_installed")


@pytest.fixture(scope="module", params=[DEBIAN_ZURL, OUR_ZURL], ids=["zurl", "ours"])
def pushpin(request: pytest.FixtureRequest, routes: list[str]) -> Iterator[Pushpin]:
    pushpin = Pushpin(request.param, routes)
    yield pushpin
    pushpin.clean()


def websocket(pushpin: Pushpin, path: str, **options: Any) -> ClientConnection:
    uri = f"ws://127.0.0.1:{pushpin.port}{path}"
    opened: ClientConnection = connect(uri, open_timeout=20, **options)
    return opened


def test_the_child_is_the_one_under_test(pushpin: Pushpin, request: pytest.FixtureRequest) -> None:
    ours = request.node.callspec.params["pushpin"] == OUR_ZURL
    assert ("python" in pushpin.zurl_command) is ours


class TestHttp:
    def test_get(self, pushpin: Pushpin) -> None:
        response = pushpin.request("GET", "/hello?a=b")
        assert (response.status, response.read()) == (200, b"hello from the back end\n")

    def test_head(self, pushpin: Pushpin) -> None:
        response = pushpin.request("HEAD", "/hello")
        assert (response.status, response.read()) == (200, b"")

    def test_delete(self, pushpin: Pushpin) -> None:
        assert pushpin.request("DELETE", "/thing").status == 200

    def test_error_of_the_back_end_is_passed_on(self, pushpin: Pushpin) -> None:
        response = pushpin.request("GET", "/missing")
        assert (response.status, response.read()) == (404, b"nothing here")

    @pytest.mark.parametrize("size", [0, 1, 200_000, 200_001, 5_000_000])
    def test_post(self, pushpin: Pushpin, size: int) -> None:
        body = b"x" * size
        response = pushpin.request("POST", "/post", body)
        assert response.read() == f"{size} {hashlib.sha256(body).hexdigest()}".encode()

    def test_chunked_upload(self, pushpin: Pushpin) -> None:
        parts = [b"%07d" % number * 1000 for number in range(300)]
        whole = b"".join(parts)
        response = pushpin.request("PUT", "/put", iter(parts), Transfer_Encoding="chunked")
        assert response.read() == f"{len(whole)} {hashlib.sha256(whole).hexdigest()}".encode()

    def test_large_download(self, pushpin: Pushpin) -> None:
        assert pushpin.request("GET", "/large").read() == LARGE

    def test_encoded_answer_comes_decoded(self, pushpin: Pushpin) -> None:
        response = pushpin.request("GET", "/gzip", Accept_Encoding="gzip")
        assert response.read() == b"squeezed " * 1000
        assert response.getheader("Content-Encoding") is None

    def test_headers_of_the_client_arrive(self, pushpin: Pushpin) -> None:
        response = pushpin.request(
            "GET", "/headers", Host="site.example", X_Thing="one", Cookie="a=b"
        )
        lines = response.read().decode().split("\n")
        assert {"X-Thing: one", "Cookie: a=b", "Host: site.example"} <= set(lines)

    def test_many_at_once(self, pushpin: Pushpin) -> None:
        def one(number: int) -> bool:
            body = b"%d " % number * 5000
            answer = pushpin.request("POST", f"/post?{number}", body).read()
            return answer == f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(one, range(300)))


class TestErrors:
    def test_back_end_down(self, pushpin: Pushpin) -> None:
        assert pushpin.request("GET", "/down").status == 502

    def test_second_target_is_tried(self, pushpin: Pushpin) -> None:
        response = pushpin.request("GET", "/second")
        assert (response.status, response.read()) == (200, b"hello from the back end\n")

    def test_policy_holds_for_untrusted_routes(self, pushpin: Pushpin) -> None:
        assert pushpin.request("GET", "/refused").status == 502


class TestHolds:
    def test_response_hold(self, pushpin: Pushpin) -> None:
        answers: list[bytes] = []
        waiting = threading.Thread(
            target=lambda: answers.append(pushpin.request("GET", "/hold-response").read())
        )
        waiting.start()
        # Nothing tells from outside when the hold is in force: publish until it was.
        wait_until(
            lambda: [pushpin.publish("news", **{"http-response": {"body": "now\n"}}), answers][1],
            "the held response to be published to",
            interval=0.2,
        )
        waiting.join()
        assert answers == [b"now\n"]

    def test_stream_hold(self, pushpin: Pushpin) -> None:
        response = pushpin.request("GET", "/hold-stream")
        assert response.read1(100) == b"open\n"
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(response.read1(5)))
        reader.start()
        wait_until(
            lambda: [pushpin.publish("news", **{"http-stream": {"content": "more\n"}}), got][1],
            "the held stream to be published to",
            interval=0.2,
        )
        reader.join()
        assert got == [b"more\n"]
        response.close()


class TestWebSocket:
    @pytest.mark.parametrize("path", ["/ws", "/ws-http"])
    def test_echo(self, pushpin: Pushpin, path: str) -> None:
        prefix = "echo: " if path == "/ws-http" else ""
        with websocket(pushpin, path) as client:
            for number in range(50):
                client.send(f"message {number}")
                assert client.recv(20) == f"{prefix}message {number}"

    def test_binary_and_large(self, pushpin: Pushpin) -> None:
        with websocket(pushpin, "/ws", compression=None, max_size=None) as client:
            for message in (b"", b"\x00\xff", b"b" * 100_000, "ü" * 10_000):
                client.send(message)
                assert client.recv(20) == message

    def test_close_by_the_client(self, pushpin: Pushpin) -> None:
        with websocket(pushpin, "/ws") as client:
            client.close(4000, "enough")
        assert client.close_code == 4000

    def test_close_by_the_back_end(self, pushpin: Pushpin) -> None:
        with websocket(pushpin, "/ws") as client:
            client.send("close, please")
            with pytest.raises(ConnectionClosed):
                client.recv(20)
            assert (client.close_code, client.close_reason) == (4001, "as you like")

    @pytest.mark.parametrize("path", ["/ws-grip", "/ws-http-grip"])
    def test_back_end_subscribes_and_the_client_gets_what_is_published(
        self, pushpin: Pushpin, path: str
    ) -> None:
        with websocket(pushpin, path) as client:
            client.send("first")
            assert client.recv(20) in ("first", "echo: first")  # by now it is subscribed
            pushpin.publish("sockets", **{"ws-message": {"content": "to all of you"}})
            assert client.recv(20) == "to all of you"

    def test_many_at_once(self, pushpin: Pushpin) -> None:
        def one(number: int) -> bool:
            with websocket(pushpin, "/ws") as client:
                for each in range(20):
                    client.send(f"{number}/{each}")
                    if client.recv(20) != f"{number}/{each}":
                        return False
            return True

        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(one, range(36)))

    def test_back_end_that_speaks_no_websocket(self, pushpin: Pushpin) -> None:
        with pytest.raises(Exception, match=r"HTTP (200|404|50\d)"):
            websocket(pushpin, "/hello")


class TestClients:
    def test_slow_reader_gets_all(self, pushpin: Pushpin) -> None:
        held = [pushpin.request("GET", "/large") for _ in range(4)]
        assert pushpin.request("GET", "/hello").status == 200  # while none of them is read
        assert all(response.read() == LARGE for response in held)

    def test_clients_that_leave_do_not_disturb_others(self, pushpin: Pushpin) -> None:
        for _ in range(20):
            pushpin.request("GET", "/large").close()
            pushpin.request("GET", "/hold-stream").close()
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: pushpin.request("GET", "/large").read(), range(16))
            assert all(answer == LARGE for answer in answers)

    def test_all_kinds_at_once(self, pushpin: Pushpin) -> None:
        def large(_: int) -> bool:
            return pushpin.request("GET", "/large").read() == LARGE

        def upload(number: int) -> bool:
            body = b"%d " % number * 300_000
            answer = pushpin.request("POST", "/post", body).read()
            return answer == f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()

        def talk(number: int) -> bool:
            with websocket(pushpin, "/ws", max_size=None) as client:
                for size in (1, 1000, 100_000):
                    client.send(str(number) * size)
                    if client.recv(20) != str(number) * size:
                        return False
            return True

        with ThreadPoolExecutor(12) as pool:
            done = [pool.submit(kind, n) for n in range(8) for kind in (large, upload, talk)]
            assert all(each.result() for each in done)


class TestLife:
    @pytest.mark.parametrize("size", [0, 500_000])
    def test_daemon_restarts_under_a_running_pushpin(self, routes: list[str], size: int) -> None:
        """Requests that come meanwhile are answered. Ours only: the original loses some."""
        pushpin = Pushpin(None, routes)
        daemon = Daemon(
            interfaces=("stream",),
            arguments=(),
            instance_id=None,
            **cast(dict[str, Any], pushpin.endpoints),
        ).start()
        body = b"r" * size
        right = f"{size} {hashlib.sha256(body).hexdigest()}".encode()
        try:
            pushpin.wait_ready()
            for _ in range(3):
                daemon.signal(signal.SIGTERM)
                daemon.wait()
                with ThreadPoolExecutor(12) as pool:
                    tasks = [pool.submit(pushpin.request, "POST", "/x", body) for _ in range(12)]
                    daemon.start()
                    assert all(task.result().read() == right for task in tasks)
        finally:
            pushpin.clean()
            daemon.stop()

    def test_logs_are_rotated_under_way(self, pushpin: Pushpin) -> None:
        before = pushpin.zurl_pid()
        with websocket(pushpin, "/ws") as client:
            pushpin.rotate()
            client.send("still here")
            assert client.recv(20) == "still here"
        assert pushpin.request("GET", "/hello").status == 200
        assert pushpin.zurl_pid() == before

    # With the original a request is lost now and then; what is tested here is our end.
    @pytest.mark.parametrize("zurl", [OUR_ZURL], ids=["ours"])
    def test_stop_with_connections_open(self, routes: list[str], zurl: str) -> None:
        pushpin = Pushpin(zurl, routes)
        try:
            held = [pushpin.request("GET", "/large"), pushpin.request("GET", "/hold-stream")]
            with websocket(pushpin, "/ws") as client:
                client.send("still here")
                assert client.recv(20) == "still here"
                assert pushpin.stop() == 0, pushpin.logs()  # a child that was killed makes it 1
            for response in held:
                response.close()
        finally:
            pushpin.clean()

    @pytest.mark.parametrize("zurl", [DEBIAN_ZURL, OUR_ZURL], ids=["zurl", "ours"])
    def test_end_of_the_child_is_noticed(self, routes: list[str], zurl: str) -> None:
        pushpin = Pushpin(zurl, routes)
        try:
            os.kill(pushpin.zurl_pid(), signal.SIGTERM)
            wait_until(pushpin.ended, "Pushpin to end with its child")
        finally:
            pushpin.clean()
