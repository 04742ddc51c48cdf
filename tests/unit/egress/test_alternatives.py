"""Which Alt-Svc fields are taken, and for how long."""

from __future__ import annotations

import pytest

from zurl_py.egress import alternatives as module
from zurl_py.egress.alternatives import Alternatives

KEY = (("https", "name.test", 443), False)


def port(value: str, now: float = 0.0) -> int | None:
    """What is known some time after an answer with this field."""
    alternatives = Alternatives()
    alternatives.read(KEY, [b"HTTP/1.1 200 OK\r\n", f"Alt-Svc: {value}\r\n".encode()], 0.0)
    return alternatives.port(KEY, now)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('h3=":8443"', 8443),
        ('h3=":8443"; ma=60; persist=1', 8443),
        ('h2=":1", h3-29=":2", h3=":3" , h3=":4"', 3),
        ('h3="name.test:8443"', 8443),
        ('h3="NAME.test:8443"', 8443),
        ('h3="other.test:8443"', None),
        ('h3="other.test:1", h3=":2"', 2),
        ('h3=":0"', None),
        ('h3=":65536"', None),
        ('h3="8443"', None),
        ("h3=:8443", None),
        ("clear", None),
        ("", None),
        ('h3=":8443' + " " * 5000, None),
    ],
)
def test_ports_of_the_same_host_are_taken(value: str, expected: int | None) -> None:
    assert port(value) == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [('h3=":1"; ma=60', 60), ('h3=":1"', 86_400), ('h3=":1"; ma=999999999', 604_800)],
)
def test_alternatives_expire_after_their_max_age(value: str, seconds: float) -> None:
    assert port(value, seconds - 1) == 1
    assert port(value, seconds) is None


def test_alternatives_are_cleared_by_the_origin() -> None:
    alternatives = Alternatives()
    alternatives.read(KEY, [b'Alt-Svc: h3=":1"\r\n'], 0.0)
    assert alternatives.port((KEY[0], True), 0.0) is None  # of another policy class
    alternatives.read(KEY, [b"alt-svc: clear\r\n"], 0.0)
    assert alternatives.port(KEY, 0.0) is None


def test_a_port_that_does_not_answer_is_not_tried_for_a_while() -> None:
    alternatives = Alternatives()
    line = b'Alt-Svc: h3=":1", h3=":2"\r\n'
    alternatives.read(KEY, [line], 0.0)
    alternatives.failed(KEY, 0.0)
    assert alternatives.port(KEY, 0.0) is None
    alternatives.read(KEY, [line], 1.0)
    assert alternatives.port(KEY, 1.0) == 2
    alternatives.failed(KEY, 1.0)
    alternatives.read(KEY, [line], 299.0)
    assert alternatives.port(KEY, 299.0) is None
    alternatives.read(KEY, [line], 300.0)
    assert alternatives.port(KEY, 300.0) == 1


def test_the_number_of_remembered_origins_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_ORIGINS", 10)
    alternatives = Alternatives()
    for number in range(100):
        key = (("https", f"n{number}.test", 443), False)
        alternatives.read(key, [b'Alt-Svc: h3=":1"\r\n'], 0.0)
    assert len(alternatives._known) <= 10
