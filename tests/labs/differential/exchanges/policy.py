"""Which hosts may be contacted: names, addresses, ranges, redirects, and ignore-policies."""

from typing import Any

from tests.labs.differential.exchanges.common import OK
from tests.labs.differential.exchanges.redirects import _routes, redirect
from tests.labs.differential.lab import Run, exchange
from tests.support import reply


def _connect(x: Run, host: str, **fields: Any) -> None:
    """A request for `host`, which is reached at 127.0.0.1 if it is a name that does not exist."""
    x.origin.script = reply(OK)
    more: dict[str, Any] = dict(fields)
    if host.endswith(("test", "test.")):
        more = {"connect_host": "127.0.0.1", "connect_port": x.origin.port, **more}
    x.req(method="GET", uri=f"http://{host}:{x.origin.port}/", **more)
    x.fetch(method="GET", uri=f"http://{host}:{x.origin.port}/", **more)


def _host(name: str, variant: str, host: str, **fields: Any) -> None:
    @exchange(f"policy-{name}", variant=variant)
    def run(x: Run) -> None:
        _connect(x, host, **fields)


for _name, _value in {
    "not-listed": "127.0.0.1",
    "not-listed-name": "fine.test",
    "name": "exact.test",
    "name-longer": "inexact.test",
    "name-upper-case": "EXACT.Test",
    "name-trailing-dot": "exact.test.",
    "star": "a.denied.test",
    "star-deep": "a.b.denied.test",
    "star-parent": "denied.test",
    "star-inner": "bad-one.test",
    "star-inner-empty": "bad.test",
    "star-excepted": "good.denied.test",
    "address": "127.0.0.66",
    "range": "127.0.66.1",
    "range-edge": "127.0.66.255",
    "range-beyond": "127.0.67.0",
    "range-excepted": "127.0.66.7",
    "short-range": "127.1.2.3",
    "number": "2130706498",
    "hex": "0x7f000042",
    "octal": "0177.0.0.0102",
    "short-address": "127.66",
}.items():
    _host(f"deny-{_name}", "deny-some", _value)

_host("deny-ignored", "deny-some", "127.0.66.1", ignore_policies=True)
_host("deny-ignored-name", "deny-some", "exact.test", ignore_policies=True)
_host("deny-connect-host", "deny-some", "fine.test", connect_host="127.0.0.66")
_host("deny-connect-host-name", "deny-some", "fine.test", connect_host="a.denied.test")
_host("deny-connect-host-number", "deny-some", "fine.test", connect_host="2130706498")

for _name, _value in {
    "address": "127.0.0.1",
    "other-address": "127.0.0.2",
    "name": "localhost",
    "star": "a.ok.test",
    "excepted": "no.ok.test",
    "not-listed": "fine.test",
}.items():
    _host(f"allow-{_name}", "allow-some", _value)


@exchange(variant="allow-some")
def policy_allow_name_of_other_address(x: Run) -> None:
    """An allowed name that leads to an address which is not allowed."""
    x.req(
        method="GET",
        uri="http://a.ok.test/",
        connect_host="127.0.0.2",
        connect_port=x.origin.port,
    )


@exchange(variant="deny-some")
def policy_redirect_to_denied_address(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(302, f"http://127.0.0.66:{x.origin.port}/to"))
    x.req(method="GET", uri=x.origin.url("/f"), follow_redirects=True)
    x.fetch(method="GET", uri=x.origin.url("/f"), follow_redirects=True)


@exchange(variant="deny-some")
def policy_redirect_to_denied_name(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(302, "http://exact.test/to") if path == b"/f" else OK)
    x.req(
        method="GET",
        uri="http://fine.test/f",
        follow_redirects=True,
        connect_host="127.0.0.1",
        connect_port=x.origin.port,
    )


@exchange(variant="deny-some")
def policy_redirect_ignored(x: Run) -> None:
    _routes(
        x.origin,
        lambda path: (
            redirect(302, f"http://127.0.0.66:{x.origin.port}/to") if path == b"/f" else OK
        ),
    )
    x.req(method="GET", uri=x.origin.url("/f"), follow_redirects=True, ignore_policies=True)
    x.note(len(x.origin.requests))


@exchange(variant="deny-local")
def policy_name_of_denied_address(x: Run) -> None:
    x.req(method="GET", uri=x.origin.url(host="localhost"))
    x.fetch(method="GET", uri=x.origin.url(host="localhost"))
    x.note(f"{x.origin.connections} connections")


@exchange(variant="deny-local")
def policy_not_ridden_on_kept_connection(x: Run) -> None:
    """A connection opened under ignore-policies, then the same without the privilege."""
    x.req(method="GET", uri=x.origin.url(host="localhost"), ignore_policies=True)
    x.req(method="GET", uri=x.origin.url(host="localhost"))
    x.note(f"{len(x.origin.requests)} requests, {x.origin.connections} connections")


@exchange(variant="deny-some")
def policy_upload_refused(x: Run) -> None:
    session = x.start(
        method="POST", uri="http://127.0.0.66/", stream=True, credits=10, more=True, body="x"
    )
    x.finish(session)


@exchange(variant="deny-some")
def policy_before_method(x: Run) -> None:
    """What is complained about first."""
    x.req(method="", uri="http://127.0.0.66/")
    x.req(method="HEAD", uri="http://127.0.0.66/", body="x")
    x.req(method="GET", uri="http://127.0.0.66/%zz")
    x.req(method="GET", uri="ftp://127.0.0.66/")
