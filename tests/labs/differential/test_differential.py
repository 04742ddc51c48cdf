"""Every exchange with both daemons at once; see the other modules of this package."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.conftest import require_peer
from tests.labs.differential import differences, document, load
from tests.labs.differential.difference import Difference
from tests.labs.differential.lab import EXCHANGES, KINDS, OURS, ZURL, Exchange, Lab
from tests.support import CertificateAuthority

load()
_QUICK = [name for name, item in EXCHANGES.items() if not item.slow]
_SLOW = [name for name, item in EXCHANGES.items() if item.slow]


class _Bench:
    """Both daemons of every variant, each kind on a thread of its own."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._threads = {kind: ThreadPoolExecutor(1, f"lab-{kind}") for kind in KINDS}
        self._labs: dict[tuple[str, str], Lab] = {}

    def _play(self, kind: str, item: Exchange) -> list[str]:
        key = (kind, item.variant)
        if key not in self._labs:
            self._labs[key] = Lab(kind, item.variant, self._authority)
        return self._labs[key].play(item)

    def start(self, item: Exchange) -> dict[str, Future[list[str]]]:
        """Runs an exchange with both."""
        return {kind: self._threads[kind].submit(self._play, kind, item) for kind in KINDS}

    def close(self) -> None:
        """Stops every daemon."""
        for kind, thread in self._threads.items():
            for lab in [lab for (of, _), lab in self._labs.items() if of == kind]:
                thread.submit(lab.close).result()
            thread.shutdown()


@pytest.fixture(scope="session")
def slow_started(
    request: pytest.FixtureRequest, authority: CertificateAuthority
) -> Iterator[dict[str, dict[str, Future[list[str]]]]]:
    """Slow exchanges, which run beside all the others."""
    require_peer("zurl")
    wanted = {item.name for item in request.session.items}
    names = [name for name in _SLOW if f"test_slow_exchange[{name}]" in wanted]
    benches = {name: _Bench(authority) for name in names}
    yield {name: bench.start(EXCHANGES[name]) for name, bench in benches.items()}
    for bench in benches.values():
        bench.close()


@pytest.fixture(scope="module")
def bench(authority: CertificateAuthority, slow_started: object) -> Iterator[_Bench]:
    """Both daemons of every variant."""
    made = _Bench(authority)
    yield made
    made.close()


def _compare(name: str, runs: dict[str, Future[list[str]]]) -> None:
    zurl, ours = runs[ZURL].result(), runs[OURS].result()
    if differences.of_exchange(name):
        assert ours == differences.read_expected()[name]
        assert ours != zurl, "is listed as a difference and is none"
    else:
        assert ours == zurl


@pytest.mark.parametrize("name", _QUICK)
def test_exchange(name: str, bench: _Bench) -> None:
    # Where things happen at the same time, either daemon may now and then show them in another
    # order, on a machine under load above all: a difference that is one shows again.
    for _ in range(2):
        with contextlib.suppress(AssertionError):
            _compare(name, bench.start(EXCHANGES[name]))
            return
    _compare(name, bench.start(EXCHANGES[name]))


@pytest.mark.last
@pytest.mark.parametrize("name", _SLOW)
def test_slow_exchange(name: str, slow_started: dict[str, dict[str, Future[list[str]]]]) -> None:
    _compare(name, slow_started[name])


def test_there_are_enough_exchanges() -> None:
    assert len(EXCHANGES) >= 60


def test_expected_transcripts_are_those_of_the_differences() -> None:
    named = {name for name in EXCHANGES if differences.of_exchange(name)}
    assert set(differences.read_expected()) == named


def test_every_difference_is_shown_by_an_exchange() -> None:
    for item in differences.DIFFERENCES:
        for pattern in item.exchanges:
            covered = Difference("", "", "", "", (pattern,))
            assert any(covered.covers(name) for name in EXCHANGES), pattern


def test_documentation_agrees_with_the_table() -> None:
    assert document.PAGE.read_text() == document.updated(document.PAGE.read_text())
