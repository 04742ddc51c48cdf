"""Look-ups: which transfers share one, and how long a result is used."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.clock import Clock
from tests.support.deadline import DEADLINE, wait_until
from zurl_py.egress import resolver as module
from zurl_py.egress.resolver import Outcome, Resolver, look_up
from zurl_py.loop import Loop

FOUND: Outcome = (("192.0.2.1",), "")
NOT_FOUND: Outcome = ((), "no such name")


class Servers:
    """Name servers that answer when the test says so; they know all names."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent: dict[str, threading.Event] = {}
        self.outcome = FOUND

    def look_up(self, name: str) -> Outcome:
        self.asked.append(name)
        if name in self.silent:
            self.silent[name].wait(DEADLINE)
        return self.outcome


class Bench:
    """A resolver of strings that wait, on a loop."""

    def __init__(self, lifetime: float = 60, negative_lifetime: float = 0) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.servers = Servers()
        self.resolver: Resolver[str] = Resolver(
            self.loop, lifetime, negative_lifetime, self.servers.look_up
        )

    def collect(self, count: int = 1) -> list[tuple[str, Outcome]]:
        """The next outcomes, at least ``count`` of them."""
        told: list[tuple[str, Outcome]] = []

        def enough() -> bool:
            self.loop.turn(wait=False)
            for waiter, answer in self.resolver.collect():
                told.append((waiter, (answer.addresses, answer.problem)))
            return len(told) >= count

        wait_until(enough, f"{count} outcomes, has {told}")
        return told

    def silence(self, name: str) -> Callable[[], None]:
        """Let the servers say nothing about a name until the result is called."""
        event = self.servers.silent[name] = threading.Event()
        return event.set


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for event in bench.servers.silent.values():
        event.set()
    bench.resolver.close()
    bench.loop.close()


def test_one_look_up_serves_all_waiting_transfers_in_order(bench: Bench) -> None:
    answer = bench.silence("a.test")
    for waiter in ("first", "second", "third"):
        bench.resolver.ask("a.test", waiter)
    bench.resolver.leave("a.test", "second")
    answer()
    assert bench.collect(2) == [("first", FOUND), ("third", FOUND)]
    assert bench.servers.asked == ["a.test"]


def test_an_answer_is_good_for_its_lifetime(bench: Bench) -> None:
    bench.resolver.ask("a.test", "first")
    bench.collect()
    known = bench.resolver.known("a.test")
    assert known is not None
    assert known.good_until == bench.loop.now + 60
    bench.resolver.distrust("a.test")
    assert known.good_until == 0.0
    assert bench.resolver.known("b.test") is None


@pytest.mark.parametrize(
    ("outcome", "lifetime", "negative", "good"),
    [(FOUND, 0, 9, 0.0), (FOUND, 7, 9, 1007.0), (NOT_FOUND, 7, 0, 0.0), (NOT_FOUND, 7, 9, 1009.0)],
)
def test_lifetimes_are_settings(
    outcome: Outcome, lifetime: float, negative: float, good: float
) -> None:
    bench = Bench(lifetime, negative)
    bench.servers.outcome = outcome
    bench.resolver.ask("a.test", "first")
    assert bench.collect() == [("first", outcome)]
    known = bench.resolver.known("a.test")
    assert known is not None
    assert known.good_until == good
    bench.resolver.close()
    bench.loop.close()


def test_silent_name_servers_do_not_delay_other_names(bench: Bench) -> None:
    """400 of them: libcurl's resolver has 20 threads."""
    names = [f"silent-{number}.test" for number in range(400)]
    for name in names:
        bench.silence(name)
        bench.resolver.ask(name, name)
    bench.resolver.ask("web1", "other")
    assert bench.collect() == [("other", FOUND)]


def test_beyond_the_last_thread_names_that_exist_go_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.resolver.ask("known.test", "first")
    bench.collect()
    bench.resolver._most = 1
    answer = bench.silence("silent.test")
    bench.resolver.ask("silent.test", "silent")
    wait_until(lambda: "silent.test" in bench.servers.asked, "the silent name is asked about")
    bench.resolver.ask("new.test", "new")
    bench.resolver.ask("known.test", "known")
    answer()
    assert [waiter for waiter, _ in bench.collect(3)] == ["silent", "known", "new"]


def test_no_look_up_is_made_if_no_transfer_waits_any_more(bench: Bench) -> None:
    bench.resolver._most = 1
    answer = bench.silence("silent.test")
    bench.resolver.ask("silent.test", "silent")
    wait_until(lambda: bench.servers.asked, "the silent name is asked about")
    bench.resolver.ask("given-up.test", "one")
    bench.resolver.leave("given-up.test", "one")
    bench.resolver.ask("last.test", "last")
    answer()
    assert [waiter for waiter, _ in bench.collect(2)] == ["silent", "last"]
    assert "given-up.test" not in bench.servers.asked


def test_the_number_of_remembered_names_is_limited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KNOWN", 100)
    for number in range(300):
        bench.resolver.ask(f"n{number}.test", str(number))
    bench.collect(300)
    assert len(bench.resolver) <= 100
    assert not bench.resolver._waiting
    assert not bench.resolver._asked_at


def test_without_threads_a_look_up_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    bench.resolver.ask("a.test", "first")
    assert bench.collect() == [("first", ((), "no thread can be started"))]


# -- the system's resolver -------------------------------------------------------------------------


def answers(monkeypatch: pytest.MonkeyPatch, table: dict[int, list[str] | int]) -> list[object]:
    """Let getaddrinfo answer by family: addresses, or the number of an error."""
    asked: list[object] = []

    def getaddrinfo(host: bytes, _port: None, family: int, _kind: int) -> list[object]:
        asked.append((host, family))
        answer = table[family]
        if isinstance(answer, int):
            raise socket.gaierror(answer, "words of the system")
        return [(family, 1, 6, "", (address, 0)) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_addresses_come_once_each_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] | int = ["2001:db8::1", "192.0.2.2", "2001:db8::1", "fe80::1%eth0"]
    answers(monkeypatch, {socket.AF_UNSPEC: found})
    assert look_up("a.test", ipv6=True) == (("2001:db8::1", "192.0.2.2"), "")


def test_a_name_with_ipv6_addresses_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[int, list[str] | int] = {
        socket.AF_INET: socket.EAI_NODATA,
        socket.AF_INET6: ["2001:db8::1"],
    }
    answers(monkeypatch, table)
    _, problem = look_up("a.test", ipv6=False)
    assert problem == "it has IPv6 addresses only, and allow_ipv6 is off"


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (socket.EAI_NONAME, "no such name"),
        (socket.EAI_AGAIN, "the name servers do not answer"),
        (socket.EAI_MEMORY, "words of the system"),
    ],
)
def test_each_failure_has_its_text(
    monkeypatch: pytest.MonkeyPatch, number: int, problem: str
) -> None:
    answers(monkeypatch, {socket.AF_INET: number, socket.AF_INET6: number})
    assert look_up("a.test", ipv6=False) == ((), problem)


def test_onion_names_are_not_leaked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, {})
    for name in ("x.onion", "x.onion."):
        assert look_up(name, ipv6=True)[0] == ()
    assert asked == []
