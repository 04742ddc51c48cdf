"""The engine of the egress without a network: multi handles that the test plays, real options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pycurl
import pytest

from tests.fakes.egress import Rules, StreamedSink
from tests.support.clock import Clock
from zurl_py import url
from zurl_py.egress import BufferedTransfer, StreamTransfer, TransferError, engine, multi_group
from zurl_py.egress.carrier import Carried
from zurl_py.egress.engine import Egress
from zurl_py.egress.kept_connections import KeptConnections
from zurl_py.egress.multi import Multi
from zurl_py.egress.request import HttpRequest
from zurl_py.egress.resolver import Resolver
from zurl_py.egress.settings import ConnectionSettings, HostSettings, TransportOptions
from zurl_py.egress.turns import TURN_SHARE
from zurl_py.http.fields import RequestHeaders
from zurl_py.http.heads import Head
from zurl_py.log import Log
from zurl_py.loop import Loop
from zurl_py.zhttp import Condition
from zurl_py.zhttp.json_text import JsonText

ANSWER = (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n", b"\r\n")
BEYOND_64_BITS = 10**30


class Lines:
    """A log that keeps its errors."""

    debug_on = False

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, _text: str) -> None:
        pass

    def error(self, text: str) -> None:
        self.errors.append(text)

    exception = warning = error


class Names(Resolver[Carried]):
    """A resolver whose name servers are the test."""

    made: list[Names]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[str] = []
        self.made.append(self)

    def _enqueue(self, name: str, _was_found_before: bool) -> None:
        self.asked.append(name)


class FakeMulti:
    """A multi handle whose network is the test.

    Attributes:
        inside: the easy handles that were added and not removed.
    """

    made: list[FakeMulti]

    def __init__(self, _loop: Loop, due: list[Any], finished: list[Any], *_more: object) -> None:
        self.active = 0
        self.broken: str | None = None
        self.slow_in = -1.0
        self.kept = KeptConnections(print)
        self.inside: list[pycurl.Curl] = []
        self.kicked = 0
        self.most = 0  # idle connections
        self.closed = False
        self.stuck: set[pycurl.Curl] = set()  # whose removal libcurl refuses
        self._due = due
        self._finished = finished
        self._ended: list[tuple[pycurl.Curl, int, str]] = []
        self.made.append(self)

    def limit_connections(self, most: int) -> None:
        self.most = most

    def addresses_to_tell(self, host: str, port: int, addresses: tuple[str, ...]) -> list[str]:
        return [f"+{host}:{port}:{','.join(addresses)}"]

    def add(self, curl: pycurl.Curl) -> None:
        assert not self.closed
        assert curl not in self.inside
        self.inside.append(curl)
        self.active += 1
        if self not in self._due:
            self._due.append(self)

    def remove(self, curl: pycurl.Curl) -> None:
        self.active -= 1
        self.inside.remove(curl)
        if curl in self.stuck:
            raise pycurl.error("CURLMcode 1")

    def kick(self) -> None:
        assert not self.closed
        self.kicked += 1

    def call(self) -> None:
        if self not in self._due:
            self._due.append(self)

    def results(self) -> list[tuple[pycurl.Curl, int, str]]:
        ended, self._ended = self._ended, []
        return ended

    def end(self, curl: pycurl.Curl, code: int = 0, message: str = "") -> None:
        """libcurl is done with this handle."""
        self._ended.append((curl, code, message))
        if self not in self._finished:
            self._finished.append(self)

    def break_down(self) -> None:
        """libcurl reports an error of the multi handle itself."""
        self.broken = "broken by the test"
        self._finished.append(self)

    def close(self) -> None:
        assert not self.inside, "closed with transfers in it"
        self.closed = True


class Sink:
    """A session that requested a buffered answer, and counts its reports."""

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.codes: list[int] = []
        self.failures: list[TransferError] = []
        self.then = then

    def response_came(self, head: Head, body: bytes | JsonText) -> None:
        self.codes.append(head.code)
        if self.then is not None:
            self.then()

    def request_failed(self, failure: TransferError) -> None:
        self.failures.append(failure)
        if self.then is not None:
            self.then()

    @property
    def conditions(self) -> list[bytes]:
        return [failure.condition for failure in self.failures]


class Bench:
    """An egress, its policy, and transfers that the test starts and ends."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.log = Lines()
        self.rules = Rules()
        self.egress = Egress(
            self.loop,
            TransportOptions(HostSettings(ConnectionSettings(**options))),
            cast(Log, self.log),
            Names,
        )
        self.names = Names.made[-1]

    def request(self, uri: str = "http://name.test/", **fields: Any) -> HttpRequest:
        return HttpRequest(
            url.parse(uri.encode()), b"GET", RequestHeaders(()), self.rules, **fields
        )

    def start(
        self, uri: str = "http://name.test/", sink: Sink | None = None, **fields: Any
    ) -> tuple[BufferedTransfer, Sink]:
        sink = sink or Sink()
        transfer = BufferedTransfer(self.egress, self.request(uri, **fields), sink)
        transfer.start()
        return transfer, sink

    def resolve(self, name: str = "name.test", *addresses: str, problem: str = "") -> None:
        """A look-up ends: with 192.0.2.1, unless the test says something else."""
        if not addresses and not problem:
            addresses = ("192.0.2.1",)
        self.names.finished.append((name, (addresses, problem)))
        self.egress.turn()

    def answer(self, transfer: BufferedTransfer, *lines: bytes) -> None:
        assert transfer.handle is not None
        transfer.handle.header_lines.extend(lines or ANSWER)
        self.end(transfer)

    def end(self, transfer: BufferedTransfer, code: int = 0, message: str = "") -> None:
        assert transfer.handle is not None
        cast(FakeMulti, transfer.multi).end(transfer.handle.curl, code, message)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeMulti, "made", [], raising=False)
    monkeypatch.setattr(Names, "made", [], raising=False)
    monkeypatch.setattr(engine, "Multi", FakeMulti)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.close()


# -- one transfer ------------------------------------------------------------------------------


def test_the_end_of_a_transfer_is_reported_once(bench: Bench) -> None:
    transfer, sink = bench.start("http://192.0.2.1/")
    assert len(bench.egress) == 1
    bench.egress.turn()
    assert FakeMulti.made[0].kicked == 1
    bench.answer(transfer)
    assert sink.codes == []  # from the turn, never at once
    bench.egress.turn()
    bench.egress.turn()
    assert sink.codes == [200]
    assert not sink.failures
    assert len(bench.egress) == 0
    assert not bench.egress.has_work
    assert FakeMulti.made[0].inside == []


def test_a_transfer_cancelled_by_an_earlier_report_reports_nothing(bench: Bench) -> None:
    other, told = bench.start("http://192.0.2.1/2")
    first, _ = bench.start("http://192.0.2.1/", Sink(other.cancel))
    bench.answer(first)
    bench.answer(other)
    bench.egress.turn()
    assert told.codes == []
    assert told.failures == []
    assert len(bench.egress) == 0


def test_a_bug_in_one_session_does_not_reach_the_next(bench: Bench) -> None:
    first, broken = bench.start("http://192.0.2.1/", Sink(lambda: 1 / 0))  # type: ignore[arg-type]
    second, whole = bench.start("http://192.0.2.1/2")
    bench.answer(first)
    bench.answer(second)
    bench.egress.turn()
    assert whole.codes == [200]
    assert broken.conditions == [Condition.UNDEFINED_CONDITION]
    assert bench.log.errors == ["a report could not be handled"]
    assert len(bench.egress) == 0


def test_a_number_beyond_64_bits_is_no_bug(bench: Bench) -> None:
    _, sink = bench.start("http://192.0.2.1/", max_size=BEYOND_64_BITS)
    bench.egress.turn()
    # Either libcurl gets a number that it can hold, or the request is refused.
    assert len(FakeMulti.made[0].inside) == 1 or sink.conditions == [Condition.BAD_REQUEST]


def refuse_options(monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """Let libcurl refuse an option of the requests to these paths."""
    prepare = BufferedTransfer.prepare

    def refuse(self: BufferedTransfer, handle: Any) -> None:
        if self.request.target.curl_url.path in paths:
            raise pycurl.error(43, "refused by the test")
        prepare(self, handle)

    monkeypatch.setattr(BufferedTransfer, "prepare", refuse)


def test_an_option_that_libcurl_refuses_is_a_late_bad_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_options(monkeypatch, "/bad")
    _, sink = bench.start("http://192.0.2.1/bad")
    assert sink.failures == []
    assert bench.egress.has_work
    bench.egress.turn()
    assert sink.conditions == [Condition.BAD_REQUEST]
    assert FakeMulti.made[0].inside == []


def test_a_transfer_cancelled_before_its_refusal_reports_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_options(monkeypatch, "/bad")
    transfer, sink = bench.start("http://192.0.2.1/bad")
    assert bench.egress.has_work
    transfer.cancel()
    bench.egress.turn()
    assert sink.failures == []
    assert not bench.egress.has_work


def test_a_streamed_transfer_cancelled_before_its_refusal_reports_nothing(bench: Bench) -> None:
    sink = StreamedSink()
    transfer = StreamTransfer(bench.egress, bench.request("http://192.0.2.1/"), sink, 100)
    bench.egress.enforce()
    bench.rules.refused.add("192.0.2.1")
    transfer.start()  # under new rules: refused, and told later
    assert bench.egress.has_work
    transfer.cancel()
    while bench.egress.has_work:
        bench.egress.turn()
    assert sink.told == 0


def test_connections_of_the_privileged_are_their_own(bench: Bench) -> None:
    plain, _ = bench.start("http://192.0.2.1/")
    privileged, _ = bench.start("http://192.0.2.1/", privileged=True)
    again, _ = bench.start("http://192.0.2.1/")
    assert plain.multi is not privileged.multi
    assert again.multi is plain.multi


def test_a_full_multi_handle_is_followed_by_the_next(bench: Bench) -> None:
    for _ in range(multi_group._TRANSFERS_PER_MULTI + 1):
        bench.start("http://192.0.2.1/")
    assert [multi.active for multi in FakeMulti.made] == [multi_group._TRANSFERS_PER_MULTI, 1]


def test_each_host_has_its_home_among_a_few(bench: Bench) -> None:
    """Where its connections are: and a table of libcurl's is not as long as there are hosts."""
    hosts = [f"http://192.0.2.{number}/" for number in range(1, 200)]
    homes = [bench.start(host)[0].multi for host in hosts]
    assert [bench.start(host)[0].multi for host in hosts] == homes
    assert len(FakeMulti.made) == multi_group._HOMES


@pytest.mark.parametrize(("descriptors", "total"), [(1024, 512), (1_000_000, 16_384)])
def test_idle_connections_are_shared_out_among_multi_handles(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, descriptors: int, total: int
) -> None:
    monkeypatch.setattr(engine.resource, "getrlimit", lambda _: (descriptors, descriptors))
    for number in range(1, 100):
        bench.start(f"http://192.0.2.{number}/", privileged=number % 2 == 0)
    limits = [multi.most for multi in FakeMulti.made]
    assert len(set(limits)) == 1
    assert total - len(limits) < sum(limits) <= total


# -- one look-up per name ----------------------------------------------------------------------


def test_one_look_up_serves_all_waiting_transfers(bench: Bench) -> None:
    first, _ = bench.start()
    second, _ = bench.start()
    other, _ = bench.start("http://other.test/")
    assert bench.names.asked == ["name.test", "other.test"]
    assert first.handle is second.handle is other.handle is None
    bench.resolve()
    assert first.handle is not None
    assert second.handle is not None
    assert other.handle is None
    third, _ = bench.start()  # known by now
    assert third.handle is not None
    assert bench.names.asked == ["name.test", "other.test"]


@pytest.mark.parametrize("name", ["web-1", "web1", "x.web1", "1.2.3.4.5.web9"])
def test_a_name_that_ends_in_a_digit_is_a_name(bench: Bench, name: str) -> None:
    first, _ = bench.start(f"http://{name}/")
    bench.start(f"http://{name}/")
    assert first.handle is None
    assert bench.names.asked == [name]


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]", "localhost", "a.localhost"])
def test_addresses_and_this_host_are_not_looked_up(bench: Bench, host: str) -> None:
    transfer, _ = bench.start(f"http://{host}/")
    assert transfer.handle is not None
    assert bench.names.asked == []


def test_a_failed_look_up_fails_all_waiting_transfers(bench: Bench) -> None:
    started = [bench.start() for _ in range(4)]
    started[2][0].cancel()
    bench.resolve(problem="no such name")
    told = [sink.conditions for _, sink in started]
    failed = [Condition.REMOTE_CONNECTION_FAILED]
    assert told == [failed, failed, [], failed]
    assert started[0][1].failures[0].error == "name-not-resolved"
    later(bench, 1)
    bench.start()
    assert bench.names.asked == ["name.test"] * 2  # "no such name" is not remembered


def test_no_such_name_is_remembered_as_long_as_the_setting_says() -> None:
    bench = Bench()
    bench.names.negative_lifetime = 5
    bench.start()
    bench.resolve(problem="no such name")
    _, sink = bench.start()
    bench.egress.turn()
    assert sink.conditions == [Condition.REMOTE_CONNECTION_FAILED]
    assert len(bench.names.asked) == 1
    bench.clock.now += 6
    bench.loop.turn(wait=False)
    bench.start()
    assert len(bench.names.asked) == 2
    bench.loop.close()


def test_a_transfer_cancelled_after_a_failed_look_up_reports_nothing(
    bench: Bench,
) -> None:
    waiting: list[BufferedTransfer] = []
    bench.start(sink=Sink(lambda: waiting[0].cancel()))
    follower, sink = bench.start()
    waiting.append(follower)
    _, last = bench.start(sink=Sink(lambda: waiting[0].cancel()))
    bench.resolve(problem="no such name")
    assert sink.failures == []
    assert len(last.failures) == 1


def test_new_rules_are_checked_for_waiting_transfers(bench: Bench) -> None:
    first, told_first = bench.start()
    _, told_second = bench.start()
    bench.rules.refused.add("name.test")
    bench.egress.enforce()
    bench.resolve()
    assert told_first.conditions == [Condition.POLICY_VIOLATION]
    assert told_second.conditions == [Condition.POLICY_VIOLATION]
    assert FakeMulti.made == []
    assert first.handle is None


def test_a_waiting_transfer_whose_options_are_refused_releases_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_options(monkeypatch, "/bad")
    _, refused = bench.start("http://name.test/bad")
    second, _ = bench.start()
    bench.resolve()
    bench.egress.turn()
    assert refused.conditions == [Condition.BAD_REQUEST]
    assert second.handle is not None


def later(bench: Bench, seconds: float) -> None:
    bench.clock.now += seconds
    bench.loop.turn(wait=False)


def test_old_addresses_are_enough_for_a_kept_connection(bench: Bench) -> None:
    bench.start()
    bench.resolve()
    later(bench, 61)
    second, sink = bench.start()
    assert second.handle is not None
    assert second.handle.kept_only
    bench.answer(second)
    bench.egress.turn()
    assert sink.codes == [200]
    assert len(bench.names.asked) == 1


def test_old_addresses_are_looked_up_before_a_new_connection(bench: Bench) -> None:
    bench.start()
    bench.resolve()
    later(bench, 61)
    second, sink = bench.start()
    assert second.handle is not None
    address = (2, 1, 6, ("192.0.2.1", 80))
    assert second.handle._open_socket(0, address) == pycurl.SOCKET_BAD
    bench.end(second, pycurl.E_COULDNT_CONNECT, "no")
    bench.egress.turn()
    assert len(bench.names.asked) == 2
    assert second.handle is None
    bench.resolve("name.test", "192.0.2.2")
    assert second.handle is not None
    assert not second.handle.kept_only
    assert not sink.failures


def test_an_old_address_that_refuses_is_looked_up_again_at_once(bench: Bench) -> None:
    bench.start()
    bench.resolve()
    later(bench, 1)
    second, sink = bench.start()
    bench.end(second, pycurl.E_COULDNT_CONNECT, "no")
    bench.egress.turn()
    assert len(bench.names.asked) == 2
    bench.resolve("name.test", "192.0.2.2")
    bench.end(second, pycurl.E_COULDNT_CONNECT, "no")
    bench.egress.turn()
    assert sink.conditions == [Condition.REMOTE_CONNECTION_FAILED]
    assert len(bench.names.asked) == 2  # once a request
    bench.start()
    assert len(bench.names.asked) == 2
    later(bench, 0)


def test_names_that_change_are_told_to_libcurl_anew() -> None:
    loop = Loop(Clock())
    multi = Multi(loop, [], [], print)
    answer = ("192.0.2.1", "2001:db8::1")
    told = ["+name.test:80:192.0.2.1,[2001:db8::1]"]
    assert multi.addresses_to_tell("name.test", 80, answer) == told
    assert multi.addresses_to_tell("name.test", 80, answer) == []
    assert multi.addresses_to_tell("name.test", 81, answer) != []
    assert multi.addresses_to_tell("name.test", 80, ("192.0.2.2",)) == ["+name.test:80:192.0.2.2"]
    multi.close()
    loop.close()


# -- connections that are lost, and bugs of ours ---------------------------------------------------


def lost(bench: Bench, transfer: BufferedTransfer, code: int, reused: bool = True) -> None:
    """A connection ends before a byte of an answer."""
    assert transfer.handle is not None
    curl = transfer.handle.curl

    class Info:
        def getinfo(self, what: int) -> float:
            return 0 if reused or what != pycurl.NUM_CONNECTS else 1

        def __getattr__(self, name: str) -> Any:
            return getattr(curl, name)

    handle = transfer.handle
    multi = cast(FakeMulti, transfer.multi)
    multi.inside.remove(curl)
    del bench.egress._transfers[curl]
    handle.curl = cast(pycurl.Curl, Info())
    multi.inside.append(handle.curl)
    bench.egress._transfers[handle.curl] = transfer
    bench.end(transfer, code, "lost")
    bench.egress.turn()


@pytest.mark.parametrize("code", [52, 55, 56, 65])
def test_a_kept_connection_that_is_lost_is_not_the_request_s_fault(bench: Bench, code: int) -> None:
    transfer, sink = bench.start("http://192.0.2.1/")
    lost(bench, transfer, code)
    assert transfer.handle is not None
    assert transfer.avoids_kept
    assert not sink.failures
    lost(bench, transfer, code)
    assert sink.conditions == [Condition.UNDEFINED_CONDITION]  # once


def test_a_new_connection_that_is_lost_is_an_error(bench: Bench) -> None:
    transfer, sink = bench.start("http://192.0.2.1/")
    lost(bench, transfer, 56, reused=False)
    assert sink.conditions == [Condition.UNDEFINED_CONDITION]


@pytest.mark.parametrize("where", ["before_request", "open_socket"])
def test_a_bug_in_the_policy_is_logged_and_named(bench: Bench, where: str) -> None:
    transfer, sink = bench.start("http://192.0.2.1/")
    assert transfer.handle is not None
    bench.rules.check_address = lambda *_: 1 / 0  # type: ignore[method-assign, assignment]
    if where == "before_request":
        answer = transfer.handle._before_request("192.0.2.1", "", 80, 0)
        assert answer == pycurl.PREREQFUNC_ABORT
        bench.end(transfer, pycurl.E_ABORTED_BY_CALLBACK)
    else:
        address = (2, 1, 6, ("192.0.2.1", 80))
        assert transfer.handle._open_socket(0, address) == pycurl.SOCKET_BAD
        bench.end(transfer, pycurl.E_COULDNT_CONNECT)
    bench.egress.turn()
    assert bench.log.errors == ["libcurl's callback could not be handled"]
    assert [failure.error for failure in sink.failures] == ["internal"]


# -- rules that change -------------------------------------------------------------------------


def test_new_rules_end_what_they_refuse_and_nothing_else(bench: Bench) -> None:
    by_name, told_name = bench.start("http://refused.test/")
    by_peer, told_peer = bench.start("http://192.0.2.1/")
    other, told_other = bench.start("http://192.0.2.1/2")
    for transfer, address in ((by_peer, "192.0.2.66"), (other, "192.0.2.2")):
        assert transfer.handle is not None
        transfer.handle._before_request(address, "", 80, 0)
    bench.rules.refused |= {"refused.test", "192.0.2.66"}
    bench.egress.enforce()
    assert told_name.conditions == told_peer.conditions == [Condition.POLICY_VIOLATION]
    assert not told_other.failures
    assert other.handle is not None
    assert by_name.handle is None


def test_new_rules_do_not_apply_to_the_proxy(bench: Bench) -> None:
    """Its address is the operator's choice, and not asked about when a request starts either."""
    proxied = Bench(proxy="http://192.0.2.99:3128")
    transfer, sink = proxied.start("http://name.test/")
    assert transfer.handle is not None
    proxied.rules.refused.add("192.0.2.99")
    assert transfer.handle._before_request("192.0.2.99", "", 3128, 0) == pycurl.PREREQFUNC_OK
    proxied.egress.enforce()
    proxied.egress.turn()
    proxied.loop.close()
    assert sink.failures == []


# -- multi handles that break, and the end --------------------------------------------------------


def test_a_closed_multi_handle_is_not_called_again() -> None:
    loop = Loop(Clock())
    due: list[Multi] = []
    multi = Multi(loop, due, [], print)
    multi.add(curl := pycurl.Curl())
    multi._make_due()
    multi.remove(curl)
    multi.close()
    assert due == []
    loop.close()


def test_without_a_descriptor_for_another_multi_handle_the_others_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = bench.start("http://192.0.2.1/")

    def refuse(*_: object) -> None:
        raise pycurl.error(27, "no descriptor")

    monkeypatch.setattr(engine, "Multi", refuse)
    others = [bench.start(f"http://192.0.2.{number}/")[0] for number in range(2, 50)]
    assert {transfer.multi for transfer in others} == {first.multi}
    _, sink = bench.start("http://192.0.2.1/", privileged=True)  # no group to share with
    bench.egress.turn()
    assert sink.conditions == [Condition.REMOTE_CONNECTION_FAILED]


def test_a_broken_multi_handle_ends_its_transfers_and_no_others(bench: Bench) -> None:
    first, told_first = bench.start("http://192.0.2.1/")
    second, told_second = bench.start("http://192.0.2.1/2")
    privileged, told_privileged = bench.start("http://192.0.2.1/", privileged=True)
    broken = cast(FakeMulti, first.multi)
    broken.break_down()
    bench.egress.turn()
    assert told_first.conditions == told_second.conditions == [Condition.UNDEFINED_CONDITION]
    assert told_privileged.failures == []
    assert broken.closed
    again, _ = bench.start("http://192.0.2.1/")
    assert cast(FakeMulti, again.multi) is not broken
    bench.egress.turn()  # and does not kick what is closed
    assert privileged.handle is not None
    assert second.handle is None


def test_a_bug_in_one_session_does_not_keep_others_of_a_broken_multi_handle_open(
    bench: Bench,
) -> None:
    def raise_once() -> None:
        raise RuntimeError("a session's bug")

    bench.start("http://192.0.2.1/", Sink(raise_once))
    second, told = bench.start("http://192.0.2.1/2")
    broken = cast(FakeMulti, second.multi)
    broken.break_down()
    bench.egress.turn()
    assert told.conditions == [Condition.UNDEFINED_CONDITION]
    assert broken.closed


def test_a_handle_that_a_broken_multi_handle_keeps_is_given_up(bench: Bench) -> None:
    first, told_first = bench.start("http://192.0.2.1/")
    second, told_second = bench.start("http://192.0.2.1/2")
    broken = cast(FakeMulti, first.multi)
    assert first.handle is not None
    kept = first.handle.curl
    broken.stuck.add(kept)
    broken.break_down()
    bench.egress.turn()
    assert told_first.conditions == told_second.conditions == [Condition.UNDEFINED_CONDITION]
    again = [bench.start("http://192.0.2.1/")[0] for _ in range(3)]
    assert kept not in [transfer.handle.curl for transfer in again if transfer.handle is not None]
    assert second.handle is None


def test_a_transfer_that_cannot_be_removed_does_not_hide_other_results(bench: Bench) -> None:
    first, _ = bench.start("http://192.0.2.1/")
    second, told = bench.start("http://192.0.2.1/2")
    assert first.handle is not None
    cast(FakeMulti, first.multi).stuck.add(first.handle.curl)
    bench.answer(first)
    bench.answer(second)
    bench.egress.turn()
    bench.egress.turn()
    assert told.codes == [200]


def test_after_close_no_transfer_is_started(bench: Bench) -> None:
    waiting, _ = bench.start()
    bench.start("http://192.0.2.1/")
    bench.egress.close()  # asserts that nothing is left in libcurl
    assert waiting.handle is None
    assert all(multi.closed for multi in FakeMulti.made)


# -- turns that last for long --------------------------------------------------------------------


def test_multi_handles_that_were_not_called_in_a_long_turn_are_first_in_the_next(
    bench: Bench,
) -> None:
    """libcurl visits all transfers with more to read in one call."""
    egress, calls = bench.egress, []

    class Slow:
        def __init__(self, name: str) -> None:
            self.name = name

        def kick(self) -> None:
            calls.append(self.name)
            bench.clock.now += TURN_SHARE * 2

    egress._due += cast(Any, [Slow("a"), Slow("b"), Slow("c")])
    for _ in range(3):
        bench.loop.turn(wait=False)
        egress.turn()
        egress.turn()  # as the daemon does, before and after it reads messages
        assert egress.has_work == (len(calls) < 3)
    assert calls == ["a", "b", "c"]
