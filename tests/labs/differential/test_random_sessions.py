"""Random sessions: the same follow-ups, in order or not, lead to the same state on both sides."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import require_peer
from tests.labs.differential.exchanges.downloads import body, settled
from tests.labs.differential.lab import KINDS, OURS, ZURL, Lab, Run
from tests.support import CertificateAuthority, Connection, Session, reply

Step = tuple[str, dict[str, Any]]

_CREDITS = st.integers(0, 30)
_COMMON = [
    st.tuples(
        st.just("credit"), st.fixed_dictionaries({"type": st.just("credit"), "credits": _CREDITS})
    ),
    st.tuples(st.just("keep-alive"), st.just({"type": "keep-alive"})),
    st.tuples(st.just("ping"), st.just({"type": "ping"})),
    st.tuples(
        st.just("wrong seq"),
        st.fixed_dictionaries({"type": st.just("credit"), "seq": st.integers(5, 9)}),
    ),
    st.tuples(st.just("malformed"), st.just({"type": "credit", "credits": [], "seq": 1})),
    st.tuples(st.just("error"), st.just({"type": "error", "condition": "x"})),
]
_DOWNLOAD = st.lists(
    st.one_of(
        *_COMMON[:4],
        *_COMMON,
        st.just(("data", {"body": "x"})),
        st.just(("cancel", {"type": "cancel"})),
    ),
    max_size=6,
)
_UPLOAD = st.lists(
    st.one_of(
        *_COMMON[:4],
        st.tuples(
            st.just("part"),
            st.fixed_dictionaries({"body": st.text("ab", max_size=5), "more": st.just(True)}),
        ),
        st.tuples(st.just("end"), st.fixed_dictionaries({"body": st.text("ab", max_size=5)})),
        _COMMON[4],
    ),
    max_size=7,
)
_SETTINGS = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def labs(authority: CertificateAuthority) -> Iterator[dict[str, Lab]]:
    """A lab of each kind."""
    require_peer("zurl")
    made = {kind: Lab(kind, "default", authority) for kind in KINDS}
    yield made
    for lab in made.values():
        lab.close()


_numbers = iter(range(10**9))


def _play(lab: Lab, first: dict[str, Any], steps: list[Step], size: int) -> list[str]:
    """What is known of the session after each step."""
    worker = lab.worker()
    worker.received.clear()
    run = Run(f"random-{next(_numbers)}", worker, lab.authority, lab.kind)
    run.origin.script = _upload_script if first.get("more") else reply(body(size))
    states = []
    try:
        session = run.start(uri=run.origin.url(), stream=True, **first)
        session.next()
        if not first.get("more"):
            run.origin.wait_request()
        for _, fields in [("", {}), *steps]:
            if fields:
                session.send(**fields)
            settled(run)
            states.append(_state(session))
            if states[-1].startswith("ended"):
                break
        states.append(f"{[(r.complete, r.body) for r in run.origin.requests]}")
        lab.settle(run)
        return states
    finally:
        for origin in run.origins:
            origin.close()


def _compare(labs: dict[str, Lab], first: dict[str, Any], steps: list[Step], size: int) -> None:
    """Both come to the same; under load what is late may show up late, a difference stays."""
    for _ in range(2):
        if _play(labs[OURS], first, steps, size) == _play(labs[ZURL], first, steps, size):
            return
    assert _play(labs[OURS], first, steps, size) == _play(labs[ZURL], first, steps, size)


def _upload_script(connection: Connection) -> None:
    connection.read_request()
    connection.send(body(3))
    connection.expect_end()


def _state(session: Session) -> str:
    queue = session.worker._queues.get(session.id)
    while queue:
        session.next()
    got = [m for m in session.messages if m.type == b"data"]
    malformed = len([m for m in session.messages if "from" not in m])
    own = [m for m in session.messages if "from" in m]
    assert [m["seq"] for m in own] == list(range(len(own)))
    last = own[-1]
    if last.is_final:
        return f"ended {last.type!r} {last.get('condition')} {session.body!r} {malformed}"
    return f"open {session.body!r} {malformed}" if got else f"open b'' {malformed}"


@_SETTINGS
@given(credits=_CREDITS, size=st.integers(1, 40), steps=_DOWNLOAD)
def test_downloads(labs: dict[str, Lab], credits: int, size: int, steps: list[Step]) -> None:
    _compare(labs, {"method": "GET", "credits": credits}, steps, size)


@_SETTINGS
@given(method=st.sampled_from(["POST", "GET"]), steps=_UPLOAD)
def test_uploads(labs: dict[str, Lab], method: str, steps: list[Step]) -> None:
    _compare(labs, {"method": method, "credits": 1000, "more": True}, steps, 3)
