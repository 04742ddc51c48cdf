"""All errors of the package have one base, and each has a name of its own."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest

import zurl_py
from zurl_py.client import ZurlError
from zurl_py.errors import Error, StartError

# Their errors belong to the libraries that they adapt.
ADAPTERS = ("zurl_py.client.httpx", "zurl_py.client.httpx2", "zurl_py.client.requests")


def exceptions() -> Iterator[type[BaseException]]:
    """Each exception class that the package defines, the adapters' aside."""
    found = set()
    for module in pkgutil.walk_packages(zurl_py.__path__, "zurl_py."):
        if module.name in ADAPTERS or module.name.endswith("__main__"):
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            if (
                isinstance(thing, type)
                and issubclass(thing, BaseException)
                and thing.__module__.startswith("zurl_py.")
            ):
                found.add(thing)
    yield from sorted(found, key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", list(exceptions()), ids=lambda kind: kind.__name__)
def test_each_error_has_the_common_base_and_says_what_it_is(kind: type[BaseException]) -> None:
    assert issubclass(kind, Error)
    assert kind.__doc__ or kind.__name__.startswith("_")


def test_no_two_errors_have_one_name() -> None:
    names = Counter(kind.__name__ for kind in exceptions())
    assert [name for name, times in names.items() if times > 1] == []


def test_the_clients_errors_are_one_family_and_the_daemons_are_not_in_it() -> None:
    for kind in exceptions():
        if kind.__module__ in ("zurl_py.client.errors", "zurl_py.client.webhooks"):
            assert issubclass(kind, ZurlError)
        elif not kind.__module__.startswith("zurl_py.client"):
            assert not issubclass(kind, ZurlError)


def test_what_stops_a_start_is_caught_in_one_clause() -> None:
    from zurl_py.egress.configure import NoAuthorities
    from zurl_py.messaging import BindError

    assert issubclass(BindError, StartError)
    assert issubclass(NoAuthorities, StartError)
