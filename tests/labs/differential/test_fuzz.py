"""What is malformed: both daemons are asked about the same random packets.

A packet that is well-formed but cannot be carried out is answered by a session, with `from`; a
malformed one by nobody, without; and some are not answered at all. Both must see it alike.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import require_peer
from tests.labs.differential.lab import KINDS, OURS, ZURL, Lab
from tests.support import CertificateAuthority, Worker, encode

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(-1e6, 1e6, allow_nan=False)
    | _TEXT
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_HEADERS = st.lists(st.lists(_TEXT | _SCALARS, min_size=1, max_size=3), max_size=3)
_TYPES = st.sampled_from(
    [
        "error",
        "credit",
        "keep-alive",
        "cancel",
        "close",
        "ping",
        "pong",
        "data",
        "",
    ]
)
_FIELDS = {
    "seq": _VALUES,
    "type": _TYPES | _VALUES,
    "condition": _VALUES,
    "credits": _VALUES,
    "more": st.booleans() | _VALUES,
    "stream": st.booleans() | _VALUES,
    "max-size": _VALUES,
    "timeout": _VALUES,
    "method": _TEXT | _VALUES,
    "headers": _HEADERS | _VALUES,
    "body": _TEXT | _VALUES,
    "content-type": _TEXT | _VALUES,
    "code": _VALUES,
    "user-data": _VALUES,
    "connect-host": _TEXT | _VALUES,
    "connect-port": _VALUES,
    "peer-address": _TEXT | _VALUES,
    "peer-port": _VALUES,
    "trust-connect-host": st.booleans() | _VALUES,
    "ignore-policies": st.booleans() | _VALUES,
    "ignore-tls-errors": st.booleans() | _VALUES,
    "follow-redirects": st.booleans() | _VALUES,
    "passthrough": _VALUES,
    "ext": st.dictionaries(st.sampled_from(["multi", "quiet", "x"]), _VALUES) | _VALUES,
    "unknown": _VALUES,
}
_PACKETS = st.fixed_dictionaries({}, optional=_FIELDS)


@pytest.fixture(scope="module")
def workers(authority: CertificateAuthority) -> Iterator[dict[str, Worker]]:
    """A worker of each kind of daemon."""
    require_peer("zurl")
    labs = {kind: Lab(kind, "default", authority) for kind in KINDS}
    yield {kind: lab.worker() for kind, lab in labs.items()}
    for lab in labs.values():
        lab.close()


def _verdict(worker: Worker, message: bytes) -> str:
    worker.received.clear()
    worker.push(message)
    worker.fence()
    answers = [item for item in worker.received if item.id == b"fuzz"]
    worker._queues.clear()
    worker._order.clear()
    if not answers:
        return "unanswered"
    assert len(answers) == 1, answers
    assert answers[0]["condition"] == b"bad-request"
    return "well-formed" if "from" in answers[0] else "malformed"


@settings(
    max_examples=250,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(fields=_PACKETS, format=st.sampled_from("JT"))
def test_same_packets_are_malformed(
    workers: dict[str, Worker], fields: dict[str, Any], format: str
) -> None:
    packet = {"uri": "x:", "method": "GET", **fields, "from": "worker", "id": "fuzz"}
    message = encode(packet, format)
    ours, zurl = (_verdict(workers[kind], message) for kind in (OURS, ZURL))
    if fields.get("type") in ("cancel", "error"):
        # Malformed ones of these types are not answered; but zurl has not read the type yet when
        # it is a field before it in its own order that is wrong.
        ours, zurl = (item.replace("unanswered", "malformed") for item in (ours, zurl))
    assert ours == zurl
