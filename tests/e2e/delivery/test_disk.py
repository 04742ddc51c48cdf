"""The disk: synced before the acknowledgement, full, failing."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require_peer
from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Receiver, Reply, Webhook
from tests.support.deadline import wait_until

Start = Callable[..., Deliver]


def synced_before_the_answer(trace: str, id: str) -> bool:
    """Whether, between the message and its acknowledgement, a sync of a file came back.

    Args:
        trace: of all threads, in the order of events.
    """
    came = trace.index(id)
    answered = trace.index(r"\"type\":\"accepted\"", came)
    return re.search(r"f(?:data)?sync\b[^\n]*= 0$", trace[came:answered], re.M) is not None


def traced(start: Start, receiver: Receiver, path: Path, environment: dict[str, str]) -> str:
    strace = require_peer("strace")
    calls = "fsync,fdatasync,recvfrom,recvmsg,read,sendto,sendmsg,write"
    deliver = start(
        prefix=(strace, "-D", "-f", "-s", "500", "-e", f"trace={calls}", "-o", str(path)),
        environment=environment,
        loglevel=0,
    ).wait_started(30)
    worker = deliver.worker()
    worker.deliver(uri=receiver.url(), id="before")  # the endpoint is made with the first
    worker.deliver(uri=receiver.url(), id="traced-one")
    deliver.stop()
    wait_until(lambda: "+++ exited" in path.read_text(errors="replace"), "the whole trace")
    return path.read_text(errors="replace")


def test_synced_before_the_acknowledgement(
    start_deliver: Start, receiver: Receiver, tmp_path: Path
) -> None:
    trace = traced(start_deliver, receiver, tmp_path / "trace", {})
    assert synced_before_the_answer(trace, "traced-one")


def test_the_check_fails_without_syncs(
    start_deliver: Start, receiver: Receiver, tmp_path: Path
) -> None:
    require_peer("eatmydata")
    (library,) = glob.glob("/usr/lib/*/libeatmydata.so")
    trace = traced(start_deliver, receiver, tmp_path / "trace", {"LD_PRELOAD": library})
    assert not synced_before_the_answer(trace, "traced-one")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = Path(tempfile.mkdtemp(prefix="zs-"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        os.rmdir(folder)
        if os.environ.get("ZURL_REQUIRE_PEERS"):
            pytest.fail(f"mount: {done.stderr.decode()}")
        pytest.skip("a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    os.rmdir(folder)


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with open(path, "wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(b"x" * 4096)


def test_full_disk(start_deliver: Start, receiver: Receiver, small_disk: Path) -> None:
    deliver = start_deliver(store=f"sqlite:///{small_disk}/store.db", schedule="0,1")
    worker = deliver.worker()
    worker.put("off", receiver.url("/off"))
    worker.ask("endpoint-disable", endpoint="off")
    body = "x" * 100_000
    accepted = []
    for number in range(400):  # more than there is room for, whenever the log is emptied
        answer = worker.ask("deliver", endpoint="off", body=body, id=f"f{number}")
        if answer["type"] == "error":
            break
        accepted.append(answer["id"])
    assert answer["condition"] == "store-full", answer
    assert len(accepted) > 20
    # Something else takes the rest: results cannot be written any more, deliveries go on.
    fill(small_disk / "rest")
    assert worker.ask("stats")["states"]["held"] == len(accepted)
    worker.ask("endpoint-enable", endpoint="off")
    answer = worker.ask("deliver", endpoint="off", body="", id="more")
    assert answer["condition"] in ("store-full", "unavailable")
    (small_disk / "rest").unlink()
    wait_until(
        lambda: worker.ask("endpoint-enable", endpoint="off")["type"] == "ok", "it to write again"
    )
    receiver.wait(len(accepted))
    for id in accepted:
        worker.wait_state(id, "done")
    assert sorted(receiver.ids()) == sorted(accepted)


def test_results_are_kept_until_they_can_be_written(
    start_deliver: Start, receiver: Receiver, small_disk: Path
) -> None:
    deliver = start_deliver(store=f"sqlite:///{small_disk}/store.db", schedule="0,1")
    worker = deliver.worker()
    full = threading.Event()

    def late(_hook: Webhook) -> Reply:
        full.wait(10)
        return Reply(body=b"r" * 4096)

    receiver.reply = late
    ids = [worker.deliver(uri=receiver.url(), id=f"k{number}") for number in range(40)]
    receiver.wait(40)
    fill(small_disk / "rest")
    full.set()
    deliver.wait_log("[ERR]")
    (small_disk / "rest").unlink()
    for id in ids:
        assert worker.wait_state(id, "done")["attempts"][0]["code"] == 200
    deliver.wait_log("works again")
    assert len(receiver.webhooks) == 40


class Faults:
    """Errors that writes and syncs of a store's files fail with, by a preloaded library."""

    def __init__(self, folder: Path) -> None:
        gcc = require_peer("gcc")
        self._folder = folder
        self._library = folder / "disk_faults.so"
        source = Path(__file__).with_name("disk_faults.c")
        subprocess.run(
            [gcc, "-shared", "-fPIC", "-Wall", "-Werror", "-o", self._library, source, "-ldl"],
            check=True,
        )
        self.store = folder / "faulty.db"
        self.settings = {
            "store": f"sqlite://{self.store}",
            "schedule": "0,0.5",
            "environment": {
                "LD_PRELOAD": str(self._library),
                "DISK_FAULTS": str(folder),
                "DISK_FAULTS_OF": str(self.store),
            },
        }

    @contextlib.contextmanager
    def failing(self, what: str, error: int) -> Iterator[None]:
        """``write`` or ``sync`` fails meanwhile."""
        file = self._folder / what
        fresh = self._folder / "fresh"
        fresh.write_text(str(error))
        fresh.rename(file)
        yield
        file.unlink()


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path)


def refused(worker: Worker, uri: str, ids: list[str]) -> set[str]:
    """The conditions that messages are refused with."""
    answers = [worker.ask("deliver", uri=uri, body="b", id=id) for id in ids]
    assert {answer["type"] for answer in answers} == {"error"}, answers
    return {answer["condition"] for answer in answers}


@pytest.mark.parametrize(
    ("what", "error", "condition"),
    [
        ("sync", errno.EIO, "unavailable"),
        ("write", errno.EIO, "unavailable"),
        ("write", errno.ENOSPC, "store-full"),
    ],
    ids=["sync-EIO", "write-EIO", "write-ENOSPC"],
)
def test_a_commit_that_fails(
    start_deliver: Start,
    receiver: Receiver,
    faults: Faults,
    what: str,
    error: int,
    condition: str,
) -> None:
    """It is no acknowledgement, nothing acknowledged is lost, and it ends with the fault."""
    deliver = start_deliver(**faults.settings).wait_started(30)
    worker = deliver.worker()
    before = [worker.deliver(uri=receiver.url(), id=f"before-{n}") for n in range(3)]
    for id in before:
        worker.wait_state(id, "done")
    during = [f"during-{n}" for n in range(3)]
    with faults.failing(what, error):
        assert refused(worker, receiver.url(), during) == {condition}
        deliver.wait_log("[ERR]")
        # Questions are answered from what is there.
        assert worker.ask("stats")["states"]["done"] == 3
        assert worker.ask("delivery-get", id=before[0])["deliveries"][0]["state"] == "done"
        assert worker.ask("delivery-get", id=during[0])["condition"] == "unknown-delivery"
    assert "during-0" not in receiver.ids()
    after = [worker.deliver(uri=receiver.url(), id=id, body="b") for id in during]
    deliver.wait_log("works again")
    deliver.kill()
    worker = deliver.start().wait_started(30).worker()
    for id in before + after:
        worker.wait_state(id, "done")
    assert worker.ask("stats")["states"] == {
        "pending": 0,
        "leased": 0,
        "held": 0,
        "done": 6,
        "dead": 0,
    }
    assert set(receiver.ids()) == {*before, *after}


def test_results_are_kept_while_writes_fail(
    start_deliver: Start, receiver: Receiver, faults: Faults
) -> None:
    deliver = start_deliver(**faults.settings).wait_started(30)
    worker = deliver.worker()
    gate = threading.Event()

    def late(_hook: Webhook) -> Reply:
        gate.wait(10)
        return Reply()

    receiver.reply = late
    ids = [worker.deliver(uri=receiver.url(), id=f"k{n}") for n in range(20)]
    receiver.wait(20)
    with faults.failing("write", errno.EIO):
        gate.set()
        deliver.wait_log("[ERR]")
        assert worker.ask("stats")["states"]["done"] == 0
    for id in ids:
        assert len(worker.wait_state(id, "done")["attempts"]) == 1
    assert sorted(receiver.ids()) == sorted(ids)


def test_store_max_bytes(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(store_max_bytes=2_000_000)
    worker = deliver.worker()
    answers = [
        worker.ask("deliver", uri=receiver.url(), body="x" * 100_000)["type"] for _ in range(30)
    ]
    assert answers[:10] == ["accepted"] * 10
    assert answers[-1] == "error"
    assert worker.ask("stats")["type"] == "ok"
    deliver.write_config(store_max_bytes=20_000_000)
    os.kill(deliver.pid, signal.SIGHUP)
    wait_until(
        lambda: worker.ask("deliver", uri=receiver.url(), body="")["type"] == "accepted", "room"
    )


def test_schedule_of_days_in_seconds(start_deliver: Start, receiver: Receiver) -> None:
    """75 hours of the default schedule, by a clock that runs 20,000 times as fast."""
    require_peer("faketime")
    (library,) = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    assert sys.executable
    receiver.reply = lambda _hook: Reply(500)
    deliver = start_deliver(
        environment={
            "LD_PRELOAD": library,
            "FAKETIME": "+0 x20000",
            "FAKETIME_DONT_FAKE_MONOTONIC": "0",
            "DONT_FAKE_MONOTONIC": "0",
        },
        loglevel=1,
    )
    worker = deliver.worker()
    # Half a second of the receiver's is three hours of the process's.
    worker.put("days", receiver.url(), timeout=3_600_000)
    id = worker.deliver(endpoint="days")
    shown = worker.wait_state(id, "dead", 60.0)
    times = [attempt["time"] for attempt in shown["attempts"]]
    assert len(times) == 10
    assert shown["reason"] == "schedule-used-up"
    assert 60 * 3600 <= times[-1] - times[0] <= 130 * 3600
