"""What one turn of the loop leaves for the next: nothing may wait that could go on."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.support import Connection, Daemon, ScriptedOrigin, Session, Worker, encode, reply
from tests.support.deadline import DEADLINE, wait_until

Start = Callable[..., tuple[Daemon, Worker]]

SOON = 3.0  # seconds; far below any timer that would wake a daemon by chance
REPEATS = 300


def hold(connection: Connection) -> None:
    """Answer nothing."""
    connection.read_head()
    connection.expect_end()


def upload(worker: Worker, origin: ScriptedOrigin, id: bytes) -> tuple[bytes, bytes]:
    """The first packet of an upload, and the one that follows it."""
    common = {"from": worker.address, "id": id}
    first = {**common, "seq": 0, "method": "POST", "uri": origin.url(), "more": True}
    return encode(first), encode({**common, "seq": 1, "body": "x", "more": True})


def nudge(worker: Worker) -> None:
    """Return when the daemon has seen a turn in which nothing new could be started."""
    worker.follow({"from": worker.address, "id": "nobody", "type": "nonsense"})
    assert worker.next_of(b"nobody").get("condition") == b"bad-request"


# -- room ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["cancel", "out of sequence", "data after the end"])
def test_room_that_a_later_packet_makes_is_used_at_once(
    start_daemon: Start, origin: ScriptedOrigin, end: str
) -> None:
    """PULL is read before DEALER: what a cancel makes room for must not wait for another event."""
    origin.script = hold
    _, worker = start_daemon(max_open_requests=1)
    first = worker.start(method="GET", uri=origin.url("/1"), stream=True, credits=100)
    origin.wait_request(1, complete=False)
    first.next()
    second = worker.start(method="GET", uri=origin.url("/2"), stream=True, credits=100)
    # The daemon has seen the second packet once it has had to do with something else since.
    nudge(worker)
    if end == "cancel":
        first.cancel()
    elif end == "out of sequence":
        first.send(type="keep-alive", seq=77)
    else:
        first.send(body="x")
    assert second.next(timeout=SOON).type == b"keep-alive"


def assert_none_was_ended(worker: Worker) -> None:
    """No session was answered with a cancel or an error."""
    worker.fence()
    worker.drain()
    assert not [m for m in worker.received if m.type in (b"cancel", b"error")]


# -- first packets and those behind them --------------------------------------------------------


def test_a_packet_right_behind_the_first_finds_its_session(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = hold
    for number in range(REPEATS):
        id = b"behind-%d" % number
        first, behind = upload(worker, origin, id)
        worker.push_socket.send(first)
        worker.router.send_multipart([worker.instance, b"", behind])
        assert worker.next_of(id).type == b"credit"
        worker.follow({"from": worker.address, "id": id, "type": "cancel"})
    assert_none_was_ended(worker)


def test_packets_right_behind_many_first_ones_find_their_sessions(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    origin.script = hold
    ids = [b"many-%d" % number for number in range(REPEATS)]
    for id in ids:
        first, behind = upload(worker, origin, id)
        worker.push_socket.send(first)
        worker.router.send_multipart([worker.instance, b"", behind])
    for id in ids:
        assert worker.next_of(id).type == b"credit"
        worker.follow({"from": worker.address, "id": id, "type": "cancel"})
    assert_none_was_ended(worker)


def test_a_packet_behind_a_first_one_that_queues_finds_its_session(
    worker: Worker, origin: ScriptedOrigin
) -> None:
    """More first packets than are read in one turn: those behind them must not overtake them."""
    origin.script = hold
    filler = encode({"from": worker.address, "id": "filler", "method": "GET", "uri": "x-none:"})
    for number in range(5):
        id = b"queues-%d" % number
        first, behind = upload(worker, origin, id)
        for _ in range(500):
            worker.push_socket.send(filler)
        worker.push_socket.send(first)
        worker.router.send_multipart([worker.instance, b"", behind])
        assert worker.next_of(id).type == b"credit"
        worker.follow({"from": worker.address, "id": id, "type": "cancel"})


def test_a_packet_behind_a_first_one_that_has_no_room_yet_is_not_answered(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = hold
    _, worker = start_daemon(max_open_requests=1)
    open_ = worker.start(method="GET", uri=origin.url("/1"), stream=True, credits=100)
    open_.next()
    first, behind = upload(worker, origin, b"waits")
    worker.push_socket.send(first)
    worker.router.send_multipart([worker.instance, b"", behind])
    nudge(worker)
    open_.cancel()
    assert worker.next_of(b"waits", timeout=SOON).type == b"credit"


# -- the end -----------------------------------------------------------------------------------


def test_answers_that_a_slow_worker_has_not_read_survive_a_stop(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    body = b"x" * 50_000
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + body)
    daemon, worker = start_daemon(
        worker={"hwm": 5}, out_hwm=5, drain_timeout=10, interfaces=("stream",)
    )
    count = 200
    for number in range(count):
        worker.push({"from": "worker", "id": f"a-{number}", "method": "GET", "uri": origin.url()})
    wait_until(lambda: daemon.log().count("code=200") == count, "all have been answered")
    daemon.wait_log("its packets wait")
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("stopping;")
    for number in range(count):
        Session(worker, b"a-%d" % number, "T").skip(b"keep-alive")
    assert daemon.wait() == 0


def test_an_answer_whose_worker_has_not_subscribed_yet_survives_a_stop(
    start_daemon: Start,
) -> None:
    daemon, worker = start_daemon(drain_timeout=10, interfaces=("stream",))
    worker.push({"from": "late", "id": "1", "method": "GET", "uri": "x-none:"})
    daemon.wait_log("the worker 'late' is not subscribed")
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("stopping;")
    worker.sub.subscribe(b"late ")
    assert worker.sub.poll(int(DEADLINE * 1000))
    assert b"bad-request" in worker.sub.recv()
    assert daemon.wait() == 0


def test_new_rules_do_not_end_what_goes_through_the_proxy(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    """The proxy's address is the operator's choice; the policy is not asked about it."""

    def proxy(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.wait_for("go")
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    origin.script = proxy
    daemon, worker = start_daemon(proxy=f"http://{origin.authority}")
    worker.send_req({"id": "1", "method": "GET", "uri": "http://name.test/"})
    origin.wait_request()
    daemon.write_config(deny="127.0.0.0/8")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("policy read anew")
    origin.let("go")
    assert worker.recv_req().get("code") == 200
    assert worker.request(id="2", method="GET", uri="http://name.test/").get("code") == 200


def test_a_configuration_that_breaks_leaves_all_as_it_was(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon()
    daemon.config_path.write_bytes(b"[General]\ndefpolicy=\xff\x00maybe\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("the policy stays as it was")
    daemon.config_path.unlink()
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.log().count("the policy stays as it was") == 2, "a second refusal")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
