"""The limits of the outboxes: how much waits, for how long, and which callbacks are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import zmq

from tests.fakes.outbox import Lab, Lines, OutboxLab
from tests.support.clock import Clock
from zurl_py.log import Log
from zurl_py.loop import Loop
from zurl_py.messaging import outbox as module
from zurl_py.messaging.outbox import _MAX_HELD, Publisher, Replier


class RouterSocket:
    """A ROUTER as the replier sees it.

    Attributes:
        sent: whole messages.
        full: identities whose queue has no room.
        gone: identities that nobody has.
    """

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.full: set[bytes] = set()
        self.gone: set[bytes] = set()
        self._frames: list[bytes] = []

    def send(self, frame: bytes, flags: int = 0) -> None:
        if not self._frames:
            if frame in self.full:
                raise zmq.Again
            if frame in self.gone:
                raise zmq.ZMQError(zmq.EHOSTUNREACH)
        self._frames.append(frame)
        if not flags & zmq.SNDMORE:
            self.sent.append(self._frames)
            self._frames = []


class ReplyLab(OutboxLab):
    """A replier."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = RouterSocket()
        self.replier = Replier(
            cast(Any, self.socket), self.loop, cast(Log, self.log), self.was_used
        )


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.loop.close()


@pytest.fixture
def replies() -> Iterator[ReplyLab]:
    lab = ReplyLab()
    yield lab
    lab.loop.close()


# -- answers in envelopes ------------------------------------------------------------------------


def test_an_answer_leaves_in_its_envelope_whole_or_not_at_all(replies: ReplyLab) -> None:
    replies.socket.full.add(b"slow")
    replies.replier.reply([b"slow", b"hop", b""], b"one")
    replies.replier.reply([b"quick", b""], b"two")
    replies.replier.reply([b"slow", b"hop", b""], b"three")
    replies.replier.flush()
    assert replies.socket.sent == [[b"quick", b"", b"two"]]
    replies.socket.full.clear()
    replies.wait(0.1)
    assert replies.socket.sent[1:] == [
        [b"slow", b"hop", b"", b"one"],
        [b"slow", b"hop", b"", b"three"],
    ]


def test_an_asker_that_is_gone_costs_only_its_own_answer(replies: ReplyLab) -> None:
    replies.socket.gone.add(b"gone")
    replies.replier.reply([b"gone", b""], b"one")
    replies.replier.reply([b"here", b""], b"two")
    replies.replier.flush()
    assert replies.socket.sent == [[b"here", b"", b"two"]]
    assert not replies.replier.slow
    assert len(replies.log.lines) == 1


def test_an_asker_that_goes_while_its_answers_wait_frees_them(replies: ReplyLab) -> None:
    replies.socket.full.add(b"w")
    for _ in range(3):
        replies.replier.reply([b"w", b""], b"x")
    replies.replier.flush()
    replies.socket.full.clear()
    replies.socket.gone.add(b"w")
    replies.wait(0.1)
    assert not replies.replier.slow
    assert replies.socket.sent == []


def test_every_use_of_the_socket_is_noted(replies: ReplyLab) -> None:
    """A send may swallow a signal: the socket must be looked at before the loop sleeps."""
    for _ in range(_MAX_HELD):  # let go as soon as so many are held, within the turn
        replies.replier.reply([b"w", b""], b"x")
    assert replies.used == 1
    replies.replier.flush()
    assert replies.used == 1  # there was nothing
    replies.replier.reply([b"w", b""], b"x")
    replies.replier.flush()
    assert replies.used == 2


def test_frames_of_a_real_router_are_never_torn_apart() -> None:
    with zmq.Context() as context:
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.linger = 0
        router.set_hwm(2)
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.IDENTITY, b"w")
        dealer.linger = 0
        dealer.set_hwm(2)
        router.bind("inproc://replies")
        dealer.connect("inproc://replies")
        dealer.send_multipart([b"", b"hello"])
        assert router.recv_multipart() == [b"w", b"", b"hello"]
        lab = ReplyLab()
        replier = Replier(router, lab.loop, cast(Log, lab.log), lambda: None)
        for number in range(30):
            replier.reply([b"w", b"hop", b""], b"%d" % number)
        replier.flush()
        assert set(replier.slow) == {b"w"}
        got: list[list[bytes]] = []
        while len(got) < 30:
            while dealer.poll(0):
                got.append(dealer.recv_multipart())
            lab.wait(0.1)
        assert got == [[b"hop", b"", b"%d" % number] for number in range(30)]
        lab.loop.close()
        router.close()
        dealer.close()


# -- packets to addresses ------------------------------------------------------------------------


def test_an_exception_in_one_callback_does_not_stop_the_others(lab: Lab) -> None:
    def fail() -> None:
        raise RuntimeError("a session's bug")

    cast(Any, lab.log).exception = lab.log.lines.append
    lab.subscribe(b"")
    lab.socket.full |= {b"a", b"b"}
    lab.publish(b"a one", b"b one")
    lab.publisher.when_caught_up(b"a", fail)
    lab.socket.full.remove(b"a")
    try:
        lab.wait(0.2)
    except RuntimeError:
        pass
    lab.socket.full.clear()
    lab.wait(0.5)
    assert lab.socket.sent == [b"a one", b"b one"]
    assert not lab.publisher.slow


def test_after_a_subscription_ends_packets_wait_again(lab: Lab) -> None:
    lab.publish(b"w one")
    lab.wait(4)  # given up
    lab.subscribe(b"w ")  # it is there after all; nothing is sent to it meanwhile
    lab.publisher.subscription([b"\0w "])
    lab.socket.sent.clear()
    lab.publish(b"w two")
    assert lab.socket.sent == []
    lab.wait(0.5)
    lab.subscribe(b"w ")
    lab.wait(0.2)
    assert lab.socket.sent == [b"w two"]


def test_many_unknown_addresses_do_not_prolong_any_wait(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KNOWN", 50)
    lab.publish(b"first x")
    for step in range(120):  # six seconds, in which a hundred others come in every second
        for number in range(5):
            lab.publish(b"stranger-%d-%d x" % (step, number))
        lab.wait(0.05)
    assert b"first x" in lab.socket.sent
    assert len(lab.publisher.slow) <= 5 * 20 * 4


def test_each_subscription_counts_however_they_overlap(lab: Lab) -> None:
    lab.subscribe(b"w")
    lab.subscribe(b"w ")
    lab.publisher.subscription([b"\0w "])
    lab.publish(b"w one")
    assert lab.socket.sent == [b"w one"]
    lab.publisher.subscription([b"\0w"])
    lab.publish(b"w two")
    assert lab.socket.sent == [b"w one"]


def test_an_address_is_no_prefix_of_anothers(lab: Lab) -> None:
    lab.subscribe(b"worker-1 ")
    lab.publish(b"worker x", b"worker-10 x", b"worker-1 x")
    assert lab.socket.sent == [b"worker-1 x"]


def test_a_wait_for_a_subscription_costs_little(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may use thousands of addresses to which no worker ever subscribes."""
    asked = 0
    may_send_now = Publisher._may_send_now

    def counted(self: Publisher, worker: bytes, message: bytes) -> bool:
        nonlocal asked
        asked += 1
        return may_send_now(self, worker, message)

    monkeypatch.setattr(Publisher, "_may_send_now", counted)
    for number in range(200):
        lab.publish(b"nobody-%d x" % number)
    lab.wait(2)
    assert asked <= 200 * 5


def test_after_a_send_subscriptions_are_checked(lab: Lab) -> None:
    """The end of a subscription is a message: until it is read, packets have no receiver."""
    lab.subscribe(b"w ")
    lab.publish(b"w one")
    lab.wait(0.5)
    assert lab.used


class SmallQueues:
    """A publisher with a real XPUB and subscribers whose queues hold two messages each."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.out = self.context.socket(zmq.XPUB)
        self.out.setsockopt(zmq.XPUB_NODROP, 1)
        self.out.set_hwm(2)
        self.out.bind("inproc://out")
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.publisher = Publisher(self.out, self.loop, cast(Log, Lines()), lambda: None)
        self._open: list[zmq.Socket[bytes]] = []  # one that nobody holds would be closed

    def subscriber(self, topic: bytes) -> zmq.Socket[bytes]:
        made = self.context.socket(zmq.SUB)
        made.set_hwm(2)
        made.subscribe(topic)
        made.connect("inproc://out")
        self._open.append(made)
        self.publisher.subscription([self.out.recv()])
        return made


@pytest.fixture
def queues() -> Iterator[SmallQueues]:
    made = SmallQueues()
    yield made
    made.loop.close()
    made.context.destroy(linger=0)


def test_a_subscriber_that_hangs_does_not_silence_the_others(queues: SmallQueues) -> None:
    """Two subscriptions may cover one address: an onlooker's, or a connection that died unseen."""
    queues.subscriber(b"")
    reads = queues.subscriber(b"w ")
    got: list[bytes] = []
    for number in range(50):
        queues.publisher.publish(b"w", b"w %d" % number)
    for _ in range(100):  # nearly two minutes
        queues.publisher.flush()
        queues.out.getsockopt(
            zmq.EVENTS
        )  # libzmq takes note of what was read, as it does with time
        while reads.poll(0):
            got.append(reads.recv())
        queues.clock.now += 1
        queues.loop.turn(wait=False)
    assert got == [b"w %d" % number for number in range(50)]


def test_onlookers_that_hang_one_after_the_other_delay_no_packet(queues: SmallQueues) -> None:
    """What tells them from the worker is a packet more, which may fill up the next of them."""
    reads = queues.subscriber(b"worker ")
    onlookers = [b"", b"wo", b"work"]
    for number in range(17):
        if onlookers:
            queues.subscriber(onlookers.pop(0))
        message = b"worker %d" % number
        queues.publisher.publish(b"worker", message)
        queues.publisher.flush()
        assert reads.poll(0), f"packet {number} waits"
        assert reads.recv() == message


def test_bytes_that_wait_for_one_worker_are_limited(lab: Lab) -> None:
    lab.subscribe(b"w ")
    lab.subscribe(b"v ")
    lab.socket.full.add(b"w")
    large = b"w " + bytes(module._MAX_WAITING_SIZE // 4)
    for _ in range(6):
        lab.publish(large)
    lab.publish(b"v x")
    assert lab.publisher.dropped == 3
    assert lab.socket.sent == [b"v x"]
    lab.socket.full.clear()
    lab.wait(0.1)
    assert lab.socket.sent[1:] == [large] * 3
    # What has gone counts no more; and one message may be of any size.
    lab.socket.full.add(b"w")
    huge = b"w " + bytes(module._MAX_WAITING_SIZE)
    lab.publish(huge)
    lab.publish(b"w after")
    assert lab.publisher.dropped == 4
    lab.socket.full.clear()
    lab.wait(0.1)
    assert lab.socket.sent[4:] == [huge]
