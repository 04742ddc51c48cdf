"""The log: form, levels, order, and that logging never blocks."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import zurl_py.log
from tests.support.deadline import wait_until
from zurl_py.log import DEBUG, ERROR, INFO, WARNING, Kind, Log

LINE = re.compile(r"\[(ERR|WARN|INFO|DEBUG)\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (.*)")


def parse(text: str) -> list[tuple[str, str]]:
    """(level, text) of each line; fails on a line of another form."""
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert None not in found, text
    return [match.groups() for match in found]  # type: ignore[union-attr,misc]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        os.close(fd)


def test_each_level_has_its_tag_and_lines_keep_their_order(path: Path) -> None:
    log = Log(DEBUG, str(path))
    log.debug("one")
    log.info("two")
    log.warning("three")
    log.error("four")
    log.close()
    assert parse(path.read_text()) == [
        ("DEBUG", "one"),
        ("INFO", "two"),
        ("WARN", "three"),
        ("ERR", "four"),
    ]


@pytest.mark.parametrize(
    ("level", "written", "info_on", "debug_on"),
    [
        (ERROR, ["ERR"], False, False),
        (WARNING, ["WARN", "ERR"], False, False),
        (INFO, ["INFO", "WARN", "ERR"], True, False),
        (DEBUG, ["DEBUG", "INFO", "WARN", "ERR"], True, True),
    ],
)
def test_a_level_holds_back_what_is_above_it(
    path: Path, level: int, written: list[str], info_on: bool, debug_on: bool
) -> None:
    log = Log(level, str(path))
    assert (log.info_on, log.debug_on) == (info_on, debug_on)
    log.debug("x")
    log.info("x")
    log.warning("x")
    log.error("x")
    log.close()
    assert [tag for tag, _ in parse(path.read_text())] == written


def test_the_time_is_local_and_to_the_millisecond(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1_800_000_000.0, 1_800_000_000.9996, 1_800_000_059.25, 1_799_999_999.5])
    expected = [
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)) + fraction
        for second, fraction in [
            (1_800_000_000, ".000"),
            (1_800_000_000, ".999"),
            (1_800_000_059, ".250"),
            (1_799_999_999, ".500"),  # the clock was set back
        ]
    ]
    log = Log(INFO, str(path))
    with monkeypatch.context() as patch:
        patch.setattr(zurl_py.log.time, "time", lambda: next(times))  # type: ignore[attr-defined]
        for _ in expected:
            log.info("x")
    log.close()
    assert [line[7:30] for line in path.read_text().splitlines()] == expected


def test_text_of_a_peer_cannot_forge_a_line(path: Path) -> None:
    log = Log(INFO, str(path))
    log.info("id=1\n[ERR] forged")
    log.info("esc \x1b[2J \r \x00 \u2028 bad \udcff")
    log.info("naïve ☃")
    log.close()
    assert parse(path.read_text(encoding="utf-8")) == [
        ("INFO", "id=1\\n[ERR] forged"),
        ("INFO", "esc \\x1b[2J \\r \\x00 \\u2028 bad \\udcff"),
        ("INFO", "naïve ☃"),
    ]


def test_an_exception_brings_its_traceback_line_by_line(path: Path) -> None:
    log = Log(ERROR, str(path))
    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("it broke")
    log.close()
    lines = parse(path.read_text())
    assert lines[0] == ("ERR", "it broke")
    assert lines[1] == ("ERR", "Traceback (most recent call last):")
    assert lines[-1] == ("ERR", "KeyError: 'lost'")


def test_lines_appear_without_close(path: Path) -> None:
    log = Log(INFO, str(path))
    log.info("soon")
    wait_until(lambda: "soon" in path.read_text(), "the line")
    log.info("again")
    wait_until(lambda: "again" in path.read_text(), "the second line")
    log.close()


def test_reopen_goes_on_in_a_new_file(path: Path) -> None:
    log = Log(INFO, str(path))
    log.info("before")
    wait_until(lambda: "before" in path.read_text(), "the line")
    rotated = path.rename(path.with_suffix(".1"))
    log.reopen()
    wait_until(path.exists, "the new file")
    log.info("after")
    log.close()
    assert [text for _, text in parse(rotated.read_text())] == ["before"]
    assert [text for _, text in parse(path.read_text())] == ["after"]


def test_if_reopening_fails_the_old_file_is_used(tmp_path: Path) -> None:
    path = tmp_path / "there" / "log"
    path.parent.mkdir()
    log = Log(INFO, str(path))
    gone = path.parent.rename(tmp_path / "moved") / "log"
    log.reopen()
    wait_until(lambda: "cannot reopen" in gone.read_text(), "the complaint")
    log.info("still here")
    log.close()
    lines = parse(gone.read_text())
    assert lines[0] == ("ERR", f"cannot reopen {path}: No such file or directory")
    assert lines[1] == ("INFO", "still here")


def test_a_file_that_cannot_be_opened_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Log(INFO, str(tmp_path / "missing" / "log"))


def test_reopen_of_a_descriptor_changes_nothing(pipe: tuple[int, int]) -> None:
    log = Log(INFO, fd=pipe[1])
    log.reopen()
    log.info("here")
    log.close()
    assert b"here" in os.read(pipe[0], 1000)


def test_a_full_pipe_does_not_block_and_losses_are_reported(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zurl_py.log, "_MAX_WAITING", 1000)
    log = Log(INFO, fd=pipe[1])
    longest = 0.0
    text = "x" * 200
    until = time.monotonic() + 30
    while not log.dropped and time.monotonic() < until:
        before = time.perf_counter()
        for _ in range(100):
            log.info(text)
        longest = max(longest, time.perf_counter() - before)
    assert log.dropped
    assert longest < 10  # the pipe stays full for ever: a write on this thread would hang

    got = bytearray()
    reader = threading.Thread(
        target=lambda: [
            got.extend(os.read(pipe[0], 65536)) for _ in iter(lambda: b"lost" in got, True)
        ]
    )
    reader.start()
    reader.join(30)
    dropped = log.dropped
    log.close()
    lines = parse(bytes(got).decode().rpartition("\n")[0])
    assert ("WARN", f"{dropped} log lines were lost, too many came at once") in lines


def test_a_non_blocking_pipe_loses_nothing_that_fits_in_time(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    log = Log(INFO, fd=pipe[1])
    for number in range(2000):  # three times what a pipe holds
        log.info(f"{number} " + "x" * 80)
    got = bytearray()
    while b" 1999 " not in got:
        got += os.read(pipe[0], 65536)
    log.close()
    assert [int(text.split()[0]) for _, text in parse(got.decode())] == list(range(2000))


def test_a_closed_pipe_is_survived() -> None:
    read, write = os.pipe()
    os.close(read)
    log = Log(INFO, fd=write)
    log.error("nobody reads this")
    wait_until(lambda: not log._lines, "the attempt")
    log.info("nor this")
    log.close()
    os.close(write)


def test_close_writes_waiting_lines_and_ends_the_thread(path: Path) -> None:
    log = Log(INFO, str(path))
    for number in range(5000):
        log.info(str(number))
    log.close()
    assert not log._writer.is_alive()
    assert [int(text) for _, text in parse(path.read_text())] == list(range(5000))


# -- gathering ---------------------------------------------------------------------------------


def sleeping(log: Log) -> Log:
    """The same log, once its writer has gone to sleep."""
    wait_until(lambda: log._idle, "the writer sleeps")
    return log


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines gather for far longer than a test waits."""
    monkeypatch.setattr(zurl_py.log, "_WRITE_INTERVAL", 1000.0)


def test_lines_wait_half_a_second_for_company(path: Path) -> None:
    """Bound: half a second, in which a few wake-ups of the writer serve all the lines."""
    assert zurl_py.log._WRITE_INTERVAL == 0.5
    log = sleeping(Log(INFO, str(path)))
    begun = time.monotonic()
    log.info("first")
    wait_until(lambda: "first" in path.read_text(), "the line")
    assert time.monotonic() - begun > 0.3
    log.close()


@pytest.mark.parametrize("asleep", [True, False])
def test_errors_wait_for_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, asleep: bool) -> None:
    if asleep:
        log = sleeping(Log(INFO, str(path)))
        patient(monkeypatch)
    else:
        patient(monkeypatch)
        log = Log(INFO, str(path))
    log.info("with it")
    log.error("at once")
    wait_until(lambda: "at once" in path.read_text(), "the error")
    assert [text for _, text in parse(path.read_text())] == ["with it", "at once"]
    log.close()


def test_flush_soon_writes_waiting_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = sleeping(Log(INFO, str(path)))
    patient(monkeypatch)
    log.info("now")
    log.flush_soon()
    wait_until(lambda: "now" in path.read_text(), "the line")
    log.close()


def test_a_steady_trickle_wakes_the_writer_twice_a_second(path: Path) -> None:
    """Bound: 200 lines a second cost 2 wake-ups a second, not one for each line."""
    log = Log(INFO, str(path))
    log.info("begin")
    wait_until(lambda: "begin" in path.read_text(), "the line")
    status = Path(f"/proc/self/task/{log._writer.native_id}/status")

    def switches() -> int:
        found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M)
        assert found
        return int(found[1])

    before, begun = switches(), time.monotonic()
    for number in range(400):
        log.info(str(number))
        time.sleep(0.005)
    # Each takes a few switches; on a machine that is busy so many lines take longer.
    allowed = 40 * max(1.0, (time.monotonic() - begun) / 2)
    assert switches() - before < min(allowed, 300)
    log.close()


# -- forms -------------------------------------------------------------------------------------

THING = Kind("thing", lambda what: f"thing {what['a']}", lambda what: {"a": what["a"], "n": 1})


def objects(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_has_one_object_a_line(path: Path) -> None:
    log = Log(DEBUG, str(path), form="json")
    log.info("ready", "start", version="1")
    log.warning("odd\n[ERR] forged \x1b[2J \u2028 \x9b", "policy-report")
    log.error("bad \udcff")
    log.debug("detail")
    log.add(INFO, THING, {"a": "naïve ☃ \udc80"})
    log.close()
    found = objects(path)
    assert len(found) == 5
    for entry in found:
        stamp = entry.pop("time")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(stamp))
    assert found == [
        {"level": "info", "event": "start", "message": "ready", "version": "1"},
        {
            "level": "warning",
            "event": "policy-report",
            "message": "odd\n[ERR] forged \x1b[2J \u2028 \x9b",
        },
        {"level": "error", "event": "error", "message": "bad \udcff"},
        {"level": "debug", "event": "debug", "message": "detail"},
        {
            "level": "info",
            "event": "thing",
            "message": "thing naïve ☃ \udc80",
            "a": "naïve ☃ \udc80",
            "n": 1,
        },
    ]
    assert path.read_text().replace("\n", "").isprintable()


def test_json_times_are_utc(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(INFO, str(path), form="json")
    with monkeypatch.context() as patch:
        patch.setattr(zurl_py.log.time, "time", lambda: 1_800_000_000.25)  # type: ignore[attr-defined]
        log.info("x")
    log.close()
    assert objects(path)[0]["time"] == "2027-01-15T08:00:00.250Z"


def test_a_bug_is_one_object_with_its_traceback(path: Path) -> None:
    log = Log(ERROR, str(path), form="json")
    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("it broke")
    log.close()
    (found,) = objects(path)
    assert (found["event"], found["message"]) == ("bug", "it broke")
    assert "KeyError: 'lost'" in str(found["traceback"])


def test_level_and_form_can_be_changed(path: Path) -> None:
    log = Log(INFO, str(path))
    log.info("text")
    wait_until(lambda: "text" in path.read_text(), "the line")
    log.configure(WARNING, "json")
    log.info("not written")
    log.warning("object")
    log.close()
    first, second = path.read_text().splitlines()
    assert first.startswith("[INFO] ")
    assert json.loads(second)["message"] == "object"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_journal_is_told_the_priority(
    path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch()
    found = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    log = Log(DEBUG, str(path), form=form)
    log.error("x")
    log.warning("x")
    log.info("x")
    log.debug("x")
    log.close()
    assert [line[:4] for line in path.read_text().splitlines()] == [
        "<3>" + ("[" if form == "text" else "{"),
        "<4>" + ("[" if form == "text" else "{"),
        "<6>" + ("[" if form == "text" else "{"),
        "<7>" + ("[" if form == "text" else "{"),
    ]


@pytest.mark.parametrize("stream", ["", "1:1", "garbage", ":"])
def test_another_stream_is_not_the_journal(
    path: Path, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    log = Log(INFO, str(path))
    log.info("x")
    log.close()
    assert path.read_text().startswith("[INFO] ")


# -- a disk that is full -----------------------------------------------------------------------


def test_lines_that_cannot_be_written_are_counted_and_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = False

    def write(fd: int, data: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    real = os.write
    log = Log(INFO, str(path))
    monkeypatch.setattr(zurl_py.log.os, "write", write)  # type: ignore[attr-defined]
    full = True
    for _ in range(5):
        log.info("lost")
    log.flush_soon()
    wait_until(lambda: log.dropped == 5, "the losses")
    full = False
    log.error("room again")
    log.close()
    assert parse(path.read_text()) == [
        ("ERR", "room again"),
        ("WARN", "5 log lines were lost, they could not be written"),
    ]


def test_after_half_a_line_the_next_begins_a_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 40

    def write(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = real(fd, data[:room])
        room -= written
        return written

    real = os.write
    log = Log(INFO, str(path))
    monkeypatch.setattr(zurl_py.log.os, "write", write)  # type: ignore[attr-defined]
    log.info("half of this is written")
    log.flush_soon()
    wait_until(lambda: log.dropped == 1, "the loss")
    room = 1000
    log.error("whole")
    log.close()
    assert path.read_text().splitlines()[1].endswith(" whole")


def test_a_log_knows_whether_it_leads_where_a_descriptor_does(
    path: Path, pipe: tuple[int, int]
) -> None:
    _, write = pipe
    log, other = Log(INFO, fd=write), Log(INFO, str(path))
    copy = os.dup(write)
    assert log.leads_to(copy)
    assert not other.leads_to(copy)
    os.close(copy)
    assert not log.leads_to(copy)
    log.close()
    other.close()
