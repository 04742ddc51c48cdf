"""Groups of connections for workers that log in: how many are kept, and for how long."""

from __future__ import annotations

from typing import cast

import pytest

from zurl_py import url
from zurl_py.egress import logins as module
from zurl_py.egress.logins import Logins
from zurl_py.egress.multi import Multi
from zurl_py.egress.multi_group import MultiGroup
from zurl_py.egress.request import AddressPolicy, HttpRequest
from zurl_py.http.fields import RequestHeaders


class Bench:
    """Logins, and the groups that they have let go."""

    def __init__(self) -> None:
        self.gone: list[MultiGroup] = []
        self.logins = Logins(self._no_multi, self.gone.append)

    def _no_multi(self) -> Multi:
        raise AssertionError("a group makes its handles when it is used")

    def ask(self, worker: int, now: float, login: bool = False) -> MultiGroup | None:
        lines = ((b"Authorization", b"NTLM x"),) if login else ()
        request = HttpRequest(
            url.parse(b"http://name.test/"),
            b"GET",
            RequestHeaders(lines),
            cast(AddressPolicy, None),
            worker=b"%d" % worker,
        )
        return self.logins.group(request, now)


def test_the_number_of_logins_is_limited_and_the_least_recently_used_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_LOGINS", 3)
    bench = Bench()
    first, second, third = (bench.ask(worker, 0.0, login=True) for worker in range(3))
    assert bench.ask(0, 1.0) is first
    assert bench.ask(3, 2.0, login=True) is not None
    assert bench.gone == [second]
    assert bench.ask(1, 3.0) is None
    assert bench.ask(0, 3.0) is first
    assert bench.ask(2, 3.0) is third


def test_unused_logins_are_closed_when_another_comes() -> None:
    bench = Bench()
    first = bench.ask(0, 0.0, login=True)
    second = bench.ask(1, 0.0, login=True)
    assert bench.ask(1, 299.0) is second
    bench.ask(2, 301.0, login=True)
    assert bench.gone == [first]


def test_ten_thousand_logins_leave_256() -> None:
    bench = Bench()
    for worker in range(10_000):
        bench.ask(worker, 0.0, login=True)
    assert len(list(bench.logins.groups())) == 256
    assert len(bench.gone) == 10_000 - 256
