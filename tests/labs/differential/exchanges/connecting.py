"""Where requests go: connect-host, names, refusals, addresses, certificates."""

from collections.abc import Callable
from typing import Any

from tests.labs.differential.exchanges.common import OK, row
from tests.labs.differential.exchanges.redirects import _routes, redirect
from tests.labs.differential.lab import SHORT, Run, exchange
from tests.support import Connection, ScriptedOrigin, reply
from tests.support.origin import dead_port

# connect-host, connect-port

_BOTH: dict[str, Any] = {"connect_host": "127.0.0.1", "connect_port": "PORT"}
row("connect-both", uri="http://example.test/", **_BOTH)
row("connect-both-explicit-port", uri="http://example.test:81/x", **_BOTH)
row("connect-both-upper-case", uri="http://EXAMPLE.test/", **_BOTH)
row("connect-host-alone", uri="http://example.test:PORT/", connect_host="127.0.0.1")
row("connect-port-alone", uri="http://127.0.0.1:1/", connect_port="PORT")
row("connect-host-name", uri="http://example.test/", connect_host="localhost", connect_port="PORT")
row("connect-host-empty", uri="http://ORIGIN/", connect_host="", connect_port="PORT")
row("connect-port-zero", uri="http://ORIGIN/", connect_host="127.0.0.1", connect_port=0)
row("connect-port-minus-one", uri="http://ORIGIN/", connect_host="127.0.0.1", connect_port=-1)
row("connect-port-too-big", uri="http://ORIGIN/", connect_host="127.0.0.1", connect_port=65536)
row("connect-port-as-text", uri="http://ORIGIN/", connect_host="127.0.0.1", connect_port="x")
row(
    "connect-host-unresolvable",
    uri="http://ORIGIN/",
    connect_host="no.invalid",
    connect_port="PORT",
)
row("connect-host-with-port", uri="http://ORIGIN/", connect_host="127.0.0.1:1", connect_port="PORT")
row(
    "connect-host-newline", uri="http://ORIGIN/", connect_host="127.0.0.1\r\nX", connect_port="PORT"
)


@exchange()
def connect_both_redirect(x: Run) -> None:
    """connect-host and connect-port hold for every hop."""
    _routes(x.origin, lambda path: redirect(302, "http://other.test/to") if path == b"/f" else OK)
    x.req(
        method="GET",
        uri="http://example.test/f",
        follow_redirects=True,
        connect_host="127.0.0.1",
        connect_port=x.origin.port,
    )


@exchange()
def refused(x: Run) -> None:
    with dead_port() as port:
        x.req(method="GET", uri=f"http://127.0.0.1:{port}/")
        x.fetch(method="GET", uri=f"http://127.0.0.1:{port}/")


row("unresolvable", uri="http://nosuch.invalid/")
row("name-too-long", uri="http://" + "a" * 64 + ".test/")
row("name-empty-label", uri="http://a..test/")
row("name-not-ascii", uri="http://grün.invalid/")
row("ipv6-not-allowed", uri="http://[::1]:PORT/")
row("ipv6-refused", uri="http://[::1]:1/", variant="ipv6")
row("ipv4-with-ipv6-allowed", variant="ipv6")
row("localhost-with-ipv6-allowed", uri="http://localhost:PORT/", variant="ipv6")


@exchange(variant="ipv6")
def ipv6(x: Run) -> None:
    origin = x.another_origin(host="::1", script=reply(OK))
    x.req(method="GET", uri=origin.url())
    x.req(method="GET", uri=origin.url().replace("[::1]", "[0:0::1]"))


# Certificates


def _tls(
    name: str,
    context: Callable[[Run], Any],
    host: str = "localhost",
    note_handshake: bool = True,
    **fields: Any,
) -> None:
    @exchange(f"tls-{name}")
    def run(x: Run) -> None:
        origin = x.another_origin(tls=context(x), script=reply(OK))
        more: dict[str, Any] = {k: origin.port if v == "PORT" else v for k, v in fields.items()}
        uri = f"https://{host}:{origin.port}/"
        x.req(method="GET", uri=uri, **more)
        x.fetch(method="GET", uri=uri, **more)
        x.note("request arrived" if origin.requests else "no request arrived")


def _good(x: Run) -> Any:
    return x.authority.server_context()


def _named(*names: str, **options: Any) -> Callable[[Run], Any]:
    return lambda x: x.authority.server_context(*names, **options)


_tls("good", _good)
_tls("good-upper-case", _good, host="LOCALHOST")
_tls("good-address", _good, host="127.0.0.1")
_tls(
    "wildcard",
    _named("*.example.test"),
    "a.example.test",
    connect_host="127.0.0.1",
    connect_port="PORT",
)
_tls(
    "wildcard-two-labels",
    _named("*.example.test"),
    "a.b.example.test",
    connect_host="127.0.0.1",
    connect_port="PORT",
)
_tls("wrong-name", _named("other.test"))
_tls("wrong-name-ignored", _named("other.test"), ignore_tls_errors=True)
_tls("self-signed", _named("localhost", self_signed=True))
_tls("self-signed-ignored", _named("localhost", self_signed=True), ignore_tls_errors=True)
_tls("expired", _named("localhost", expired=True))
_tls("expired-ignored", _named("localhost", expired=True), ignore_tls_errors=True)
_tls(
    "all-wrong-ignored",
    _named("other.test", expired=True, self_signed=True),
    ignore_tls_errors=True,
)
_CONNECT: dict[str, Any] = {"connect_host": "localhost", "connect_port": "PORT"}
_tls("connect-host", _named("example.test"), "example.test", **_CONNECT)
_tls("connect-host-own-name", _named("localhost"), "example.test", **_CONNECT)
_tls(
    "connect-host-trusted", _named("localhost"), "example.test", trust_connect_host=True, **_CONNECT
)
_tls(
    "connect-host-trusted-uri",
    _named("example.test"),
    "example.test",
    trust_connect_host=True,
    **_CONNECT,
)
_tls(
    "connect-host-trusted-neither",
    _named("other.test"),
    "example.test",
    trust_connect_host=True,
    **_CONNECT,
)
_tls("trust-without-connect-host", _named("other.test"), trust_connect_host=True)


@exchange()
def tls_to_plain_port(x: Run) -> None:
    def plain(connection: Connection) -> None:
        connection._fill()
        connection.send(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")

    origin = x.another_origin(script=plain)
    x.req(method="GET", uri=f"https://127.0.0.1:{origin.port}/")


@exchange()
def tls_peer_hangs_up(x: Run) -> None:
    def hang_up(connection: Connection) -> None:
        connection._fill()

    origin = x.another_origin(script=hang_up)
    x.req(method="GET", uri=f"https://127.0.0.1:{origin.port}/")


@exchange()
def tls_end_without_close_notify(x: Run) -> None:
    """A body to the end of a TLS connection that just stops."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")

    origin = x.another_origin(tls=x.authority.server_context(), script=script)
    x.req(method="GET", uri=origin.url(host="localhost"))


@exchange()
def tls_redirect_from_http(x: Run) -> None:
    origin = x.another_origin(tls=x.authority.server_context(), script=reply(OK))
    _routes(x.origin, lambda path: redirect(302, origin.url("/to", host="localhost")))
    x.req(method="GET", uri=x.origin.url(), follow_redirects=True, headers=[["Cookie", "a=b"]])


@exchange()
def tls_redirect_to_http(x: Run) -> None:
    origin = x.another_origin(tls=x.authority.server_context())
    _routes(origin, lambda path: redirect(302, x.origin.url("/to")))
    uri = origin.url("/from", host="localhost")
    x.req(method="GET", uri=uri, follow_redirects=True, headers=[["Authorization", "x"]])


@exchange()
def tls_pool_keeps_strictness_apart(x: Run) -> None:
    """A connection opened with ignore-tls-errors does not serve a strict request."""
    origin = x.another_origin(tls=x.authority.server_context("other.test"), script=reply(OK))
    x.req(method="GET", uri=origin.url(host="localhost"), ignore_tls_errors=True)
    x.req(method="GET", uri=origin.url(host="localhost"))


@exchange()
def plain_to_tls_port(x: Run) -> None:
    origin = x.another_origin(tls=x.authority.server_context(), script=reply(OK))
    x.req(method="GET", uri=f"http://localhost:{origin.port}/", timeout=SHORT)
    assert isinstance(origin, ScriptedOrigin)
