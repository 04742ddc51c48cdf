"""A pytest plugin for the suites of other libraries: our classes in the place of theirs.

``-p swap_classes`` with ``SUITE=requests``, ``httpx``, ``httpie`` or ``theirs``, which swaps none.
Our classes find the daemon by ``$ZURL_CONNECT``. Which tests reach it, and how all
end, goes into the file ``$SUITE_REPORT``.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from zurl_py.client.client import _Core

_reached: set[str] = set()
_failed: dict[str, str] = {}
_passed: set[str] = set()
_current = ""


def _count_sends() -> None:
    """Note which tests come as far as the gateway."""
    connected = _Core._connected

    def counted(self: _Core) -> Any:
        _reached.add(_current)
        return connected(self)

    _Core._connected = counted  # type: ignore[method-assign]


def _module(name: str) -> Any:
    """Of the suite's own environment: not all of them are in ours."""
    return importlib.import_module(name)


def _requests() -> None:
    from zurl_py.client.requests import ZurlAdapter

    class Adapter(ZurlAdapter):
        """Takes what ``HTTPAdapter`` takes."""

        def __init__(self, *_: Any, max_retries: Any = 0, **__: Any) -> None:
            super().__init__(max_retries=max_retries)

    globals()["Adapter"] = Adapter  # tests pickle it
    Adapter.__qualname__ = "Adapter"
    _module("requests.adapters").HTTPAdapter = Adapter
    _module("requests.sessions").HTTPAdapter = Adapter


def _httpx() -> None:
    from zurl_py.client.httpx import AsyncZurlTransport, ZurlTransport

    client = _module("httpx._client")
    client.HTTPTransport = lambda *_, **__: ZurlTransport()
    client.AsyncHTTPTransport = lambda *_, **__: AsyncZurlTransport()


def _httpie() -> None:
    from zurl_py.client.requests import ZurlAdapter

    client = _module("httpie.client")
    base: Any = client.HTTPieHTTPAdapter  # which keeps repeated headers apart

    class Adapter(base, ZurlAdapter):  # type: ignore[misc]
        """Takes what HTTPie's adapters take."""

        def __init__(self, *_: Any, verify: Any = True, **__: Any) -> None:
            ZurlAdapter.__init__(self, ignore_tls_errors=verify is False)

    client.HTTPieHTTPAdapter = client.HTTPieHTTPSAdapter = Adapter


def _responses() -> None:
    """The library that answers in the place of origins replaces a method of the adapter."""
    _module("responses").mock.target = "zurl_py.client.requests.ZurlAdapter.send"


_SWAPS = {
    "theirs": (),
    "requests": (_requests,),
    "httpx": (_httpx,),
    "httpie": (_httpie, _responses),
}


def pytest_configure() -> None:
    for swap in _SWAPS[os.environ["SUITE"]]:
        swap()
    _count_sends()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    global _current
    _current = item.nodeid
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.setdefault(report.nodeid, report.longreprtext[-2000:])
    elif report.when == "call" and report.passed:
        _passed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    report = {
        "passed": sorted(_passed - _failed.keys()),
        "failed": _failed,
        "reached": sorted(_reached - {""}),
    }
    Path(os.environ["SUITE_REPORT"]).write_text(json.dumps(report))
