"""Bodies that come in several packets."""

from typing import Any

from tests.labs.differential.exchanges.common import OK
from tests.labs.differential.exchanges.downloads import settled
from tests.labs.differential.lab import Run, exchange
from tests.support import Connection, Session, reply


def _start(x: Run, **fields: Any) -> Session:
    x.origin.script = reply(OK)
    sent = {"method": "POST", "uri": x.origin.url(), "stream": True, "credits": 100, "more": True}
    return x.start(**{**sent, **fields})


def _upload(name: str, *parts: str, variant: str = "default", **fields: Any) -> None:
    """Registers an upload of `parts`; the first goes with the first packet."""

    @exchange(f"upload-{name}", variant=variant, credits=False)
    def run(x: Run) -> None:
        session = _start(x, **({"body": parts[0]} if parts[0] else {}), **fields)
        session.next()
        for part in parts[1:-1]:
            session.send(body=part, more=True)
        session.send(**({"body": parts[-1]} if parts[-1] else {}))
        x.finish(session)


for _method in ("POST", "PUT", "GET", "DELETE", "OPTIONS", "PURGE", "HEAD"):
    _upload(f"{_method}", "one ", "two ", "three", method=_method)
    _upload(f"{_method}-empty", "", "", method=_method)
_upload("end-alone", "one ", "two", "")
_upload("known-length", "one ", "two", headers=[["Content-Length", "7"]])
_upload("known-length-get", "one ", "two", headers=[["Content-Length", "7"]], method="GET")
_upload("known-length-zero", "", "", headers=[["Content-Length", "0"]])
_upload("transfer-encoding-given", "one", "two", headers=[["Transfer-Encoding", "chunked"]])
_upload("not-streamed-answer", "one ", "two", stream=False)
_upload("small-buffer", "x" * 5000, "y" * 5000, "z" * 5000, variant="small")
_upload("in-json", "one ", "grün", format="J")


@exchange(requests=False)
def upload_first_credit(x: Run) -> None:
    session = _start(x, credits=None)
    session.next()
    x.worker.fence()


@exchange(variant="small", requests=False)
def upload_first_credit_is_buffer_size(x: Run) -> None:
    session = _start(x)
    session.next()
    x.worker.fence()


@exchange()
def upload_credits_sum_up(x: Run) -> None:
    """All that was handed over before the last part is credited."""
    session = _start(x, body="12345")
    granted = 0
    for part in ("678", "90"):
        while granted < 200_000 + 5:
            granted += session.next().get("credits", 0)
        session.send(body=part, more=True)
        granted -= len(part)
    while granted < 200_005:
        granted += session.next().get("credits", 0)
    session.send(body="end")
    x.finish(session)


@exchange(credits=False)
def upload_beyond_credits(x: Run) -> None:
    session = _start(x, body="x" * 150_000)
    session.next()
    session.send(body="y" * 150_000, more=True)
    session.send(body="z" * 150_000)
    x.finish(session)


@exchange(variant="small", credits=False)
def upload_far_beyond_credits(x: Run) -> None:
    """What a worker sends that was never granted."""
    session = _start(x, body="x" * 100_000)
    session.next()
    session.send(body="y" * 300_000)
    x.finish(session)


@exchange()
def upload_sequence_must_start_at_zero(x: Run) -> None:
    for number, seq in enumerate((1, None, 5)):
        session = x.start(
            str(number), method="POST", uri=x.origin.url(), stream=True, more=True, seq=seq
        )
        x.finish(session)


@exchange(credits=False)
def upload_data_after_end(x: Run) -> None:
    x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
    session = x.start(method="POST", uri=x.origin.url(), stream=True, credits=9, more=True)
    session.next()
    session.send(body="end")
    x.origin.wait_request()
    session.send(body="more")
    x.finish(session)


@exchange()
def upload_out_of_sequence(x: Run) -> None:
    session = _start(x, body="one")
    x.origin.wait_request(complete=False)
    settled(x)
    session.send(body="two", seq=5)
    x.finish(session)
    x.origin.wait_closed()
    x.note("hung up")


@exchange()
def upload_cancelled(x: Run) -> None:
    session = _start(x, body="one")
    x.origin.wait_request(complete=False)
    session.cancel()
    x.origin.wait_closed()
    x.note("hung up")
    x.worker.received.clear()


@exchange(credits=False, requests=False)
def upload_longer_than_its_length(x: Run) -> None:
    x.origin.script = reply(OK)
    session = _start(x, headers=[["Content-Length", "5"]], body="123")
    session.next()
    session.send(body="4567")
    x.finish(session, 2.0)


@exchange(credits=False, requests=False)
def upload_shorter_than_its_length(x: Run) -> None:
    session = _start(x, headers=[["Content-Length", "9"]], body="123")
    session.next()
    session.send(body="45")
    x.finish(session, 2.0)


@exchange(credits=False, requests=False)
def upload_length_is_no_number(x: Run) -> None:
    session = _start(x, headers=[["Content-Length", "x"]], body="123")
    session.next()
    session.send(body="45")
    x.finish(session, 2.0)


@exchange(credits=False)
def upload_answered_early(x: Run) -> None:
    """An answer that comes before the upload is over ends only with it."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(OK)
        connection.expect_end()

    x.origin.script = script
    session = x.start(
        method="POST", uri=x.origin.url(), stream=True, credits=9, more=True, body="one"
    )
    while session.body != b"hi":
        session.next()
    settled(x)
    while x.worker._queues.get(session.id):
        session.next()
    x.note(f"ended before the upload: {session.messages[-1].is_final}")
    if not session.messages[-1].is_final:
        session.send(body="two")
        x.finish(session)


@exchange(credits=False)
def upload_answered_early_and_closed(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(
            b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
        )

    x.origin.script = script
    session = x.start(
        method="POST", uri=x.origin.url(), stream=True, credits=9, more=True, body="one"
    )
    while session.body != b"no" and not (session.messages and session.messages[-1].is_final):
        session.next()
    if not session.messages[-1].is_final:
        x.origin.wait_closed()
        settled(x)
        session.send(body="two")
        x.finish(session)


@exchange()
def upload_method_checks(x: Run) -> None:
    session = _start(x, method="")
    x.finish(session)


@exchange(credits=False)
def upload_held_back(x: Run) -> None:
    """A GET with `more` waits for the first byte or the end."""
    session = _start(x, method="GET")
    session.next()
    settled(x)
    x.note(f"{len(x.origin.requests)} requests")
    session.send(body="now")
    x.finish(session)


@exchange()
def upload_post_goes_at_once(x: Run) -> None:
    session = _start(x)
    session.next()
    x.origin.wait_request(complete=False)
    x.note("head arrived")
    session.send()
    x.finish(session)


@exchange(credits=False)
def upload_multi_megabyte(x: Run) -> None:
    """Flow control over a body many times the buffer."""
    x.origin.script = reply(OK)
    session = _start(x)
    left, granted = 3_000_000, 0
    while left:
        while granted == 0:
            granted += session.next().get("credits", 0)
        count = min(granted, left, 60_000)
        left -= count
        granted -= count
        session.send(body=b"x" * count, **({"more": True} if left else {}))
    x.finish(session)
