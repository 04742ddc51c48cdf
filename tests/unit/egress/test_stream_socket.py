"""Reading and writing a connection that libcurl has left to us, over a pair of sockets."""

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pycurl
import pytest

from zurl_py.egress.stream_socket import StreamSocket
from zurl_py.loop import Loop


class FakeCurl:
    """The part of an easy handle that is used, over a plain socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sends = 0
        self.wants_to_read = False  # as TLS does in the middle of another handshake

    def getinfo(self, _what: int) -> int:
        return self.sock.fileno()

    def send(self, data: bytes | memoryview) -> int:
        self.sends += 1
        if self.wants_to_read:
            raise BlockingIOError
        try:
            return self.sock.send(data)
        except BlockingIOError:
            raise
        except OSError as error:
            raise pycurl.error(pycurl.E_SEND_ERROR, str(error)) from None

    def recv(self, size: int) -> bytes:
        try:
            return self.sock.recv(size)
        except BlockingIOError:
            raise
        except OSError as error:
            raise pycurl.error(pycurl.E_RECV_ERROR, str(error)) from None


class Bench:
    """A connection, its other end, and the loop on the test's clock."""

    def __init__(self, tls: bool = False) -> None:
        self.time = 100.0
        self.loop = Loop(lambda: self.time)
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.curl = FakeCurl(ours)
        self.wakes = 0
        self.written: list[int] = []
        curl: Any = self.curl
        self.socket = StreamSocket(self.loop, curl, tls, self._wake, self.written.append)

    def _wake(self) -> None:
        self.wakes += 1

    def turn(self) -> None:
        self.loop.turn(wait=False)

    def fill(self) -> int:
        """Writes until the kernel has no more room; how many bytes wait then."""
        while self.socket.write(b"x" * 100_000, None):
            pass
        return self.socket.unsent

    def drain(self) -> None:
        """Lets the other end read all there is, and ours write on."""
        self.peer.setblocking(False)
        for _ in range(1000):
            try:
                while self.peer.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
            self.turn()
            if not self.socket.unsent:
                return
        raise AssertionError("it never gets through")

    def close(self) -> None:
        self.socket.close()
        self.loop.close()
        self.curl.sock.close()
        self.peer.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def build(**options: bool) -> Bench:
        made.append(Bench(**options))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


class TestReading:
    def test_on_demand(self, make: Callable[..., Bench]) -> None:
        bench = make()
        assert bench.socket.read() == b""
        bench.peer.send(b"hello")
        bench.turn()
        assert bench.wakes == 1
        assert bench.socket.read() == b"hello"
        assert bench.socket.read() == b""

    def test_so_many_reads_a_turn(self, make: Callable[..., Bench]) -> None:
        bench = make(tls=True)
        bench.peer.setblocking(False)
        bench.turn()
        bench.socket.try_reading()
        for _ in range(4):
            bench.peer.send(b"x")
            assert bench.socket.read() == b"x"
        bench.peer.send(b"y")
        assert bench.socket.read() == b""
        assert bench.socket.has_more
        bench.socket.begin_turn()
        assert bench.socket.read() == b"y"
        assert not bench.socket.has_more

    def test_end(self, make: Callable[..., Bench]) -> None:
        bench = make()
        bench.peer.send(b"last")
        bench.peer.close()
        bench.turn()
        assert bench.socket.read() == b"last"
        bench.turn()
        assert bench.socket.read() == b""
        assert bench.socket.lost is not None
        wakes = bench.wakes
        for _ in range(5):
            bench.turn()
        assert bench.wakes == wakes  # it has left the epoll

    def test_paused(self, make: Callable[..., Bench]) -> None:
        bench = make()
        bench.socket.pause()
        bench.peer.send(b"hello")
        bench.turn()
        assert bench.wakes == 0
        assert bench.socket.read() == b"hello"  # but it may be tried
        bench.peer.send(b"more")
        bench.socket.resume()
        bench.turn()
        assert bench.wakes == 1

    def test_hang_up_while_paused(self, make: Callable[..., Bench]) -> None:
        bench = make()
        bench.peer.send(b"unread")
        bench.socket.pause()
        assert not bench.socket.hung_up
        bench.peer.close()
        bench.turn()
        assert bench.socket.hung_up
        assert bench.wakes == 1
        for _ in range(5):
            bench.turn()
        assert bench.wakes == 1  # told once, although epoll would go on
        assert bench.socket.read() == b"unread"


class TestWriting:
    def test_at_once(self, make: Callable[..., Bench]) -> None:
        bench = make()
        assert bench.socket.write(b"hello", 5)
        assert bench.peer.recv(100) == b"hello"
        assert bench.written == []

    def test_later(self, make: Callable[..., Bench]) -> None:
        bench = make()
        assert bench.fill() > 0
        assert not bench.socket.write(b"told", 4)
        assert not bench.socket.write(b"not told", None)
        assert not bench.socket.write(b"told, too", 0)
        bench.drain()
        assert bench.written == [4, 0]

    def test_broken(self, make: Callable[..., Bench]) -> None:
        """Writing says nothing; reading will tell."""
        bench = make()
        bench.fill()
        bench.peer.close()
        bench.turn()
        assert bench.socket.unsent == 0
        assert bench.socket.read() == b""
        assert bench.socket.lost is not None

    def test_tls_that_has_to_read_first(self, make: Callable[..., Bench]) -> None:
        """The descriptor is writable all the time: that is nothing to wait for."""
        bench = make(tls=True)
        bench.curl.wants_to_read = True
        assert not bench.socket.write(b"waits", 5)
        for _ in range(100):
            bench.turn()
        assert bench.curl.sends <= 3
        bench.time += 10
        for _ in range(100):
            bench.turn()
            bench.time += 0.01
        assert bench.curl.sends < 12
        # What the origin says may be what TLS waits for.
        bench.curl.wants_to_read = False
        bench.peer.send(b"x")
        bench.turn()
        assert bench.socket.read() == b"x"
        bench.turn()
        assert bench.written == [5]
        assert bench.peer.recv(100) == b"waits"

    def test_tls_that_may_write_again_without_a_word(self, make: Callable[..., Bench]) -> None:
        bench = make(tls=True)
        bench.curl.wants_to_read = True
        bench.socket.write(b"waits", 5)
        bench.turn()
        bench.curl.wants_to_read = False
        for _ in range(300):
            bench.time += 0.01
            bench.turn()
        assert bench.written == [5]

    def test_a_full_kernel_is_waited_for(self, make: Callable[..., Bench]) -> None:
        bench = make(tls=True)
        bench.fill()
        sends = bench.curl.sends
        for _ in range(50):
            bench.turn()
        assert bench.curl.sends == sends
        bench.drain()


def test_closed_while_something_waits(make: Callable[..., Bench]) -> None:
    bench = make(tls=True)
    bench.curl.wants_to_read = True
    bench.socket.write(b"waits", 5)
    bench.turn()
    bench.socket.close()
    bench.time += 100
    bench.turn()
    assert bench.written == []
    assert not select.select([bench.peer], [], [], 0)[0]
