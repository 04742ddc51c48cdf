"""Redirects: which are followed, with which method, body and headers, and how often."""

from collections.abc import Callable
from typing import Any

from tests.labs.differential.exchanges.common import OK
from tests.labs.differential.lab import Run, exchange
from tests.support import Connection, ScriptedOrigin
from tests.support.origin import dead_port

Answer = Callable[[bytes], bytes]


def _routes(origin: ScriptedOrigin, answer: Callable[[bytes], bytes]) -> None:
    """Answers each request by its target."""

    def script(connection: Connection) -> None:
        while True:
            request = connection.read_request()
            connection.send(answer(request.line.split(b" ")[1]))

    origin.script = script


def redirect(status: int, location: str, body: bytes = b"") -> bytes:
    """A redirect."""
    return (
        f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _follow(name: str, status: int, method: str, **fields: object) -> None:
    @exchange(name)
    def run(x: Run) -> None:
        _routes(x.origin, lambda path: redirect(status, "/to") if path == b"/from" else OK)
        sent: dict[str, Any] = {
            "method": method,
            "uri": x.origin.url("/from"),
            "follow-redirects": True,
            **fields,
        }
        x.req(sent)
        x.fetch(**{key.replace("-", "_"): value for key, value in sent.items()})


for _status in (301, 302, 303, 307, 308):
    for _method in ("GET", "POST", "PUT"):
        _follow(
            f"redirect-{_status}-{_method}",
            _status,
            _method,
            **(
                {}
                if _method == "GET"
                else {"body": "payload", "headers": [["Content-Type", "x/y"]]}
            ),
        )
_follow("redirect-303-POST-no-body", 303, "POST")
_follow("redirect-303-HEAD", 303, "HEAD")
_follow("redirect-303-DELETE", 303, "DELETE")
_follow("redirect-303-PATCH", 303, "PATCH", body="payload")
_follow("redirect-302-HEAD", 302, "HEAD")
_follow("redirect-302-DELETE", 302, "DELETE")
_follow("redirect-303-POST-length", 303, "POST", body="12345", headers=[["Content-Length", "5"]])
for _status in (300, 304, 305, 306, 399):
    _follow(f"redirect-{_status}", _status, "GET")


def _location(name: str, location: str, start: str = "/a/b/c?q=1") -> None:
    @exchange(f"location-{name}")
    def run(x: Run) -> None:
        place = location.replace("ORIGIN", x.origin.authority)
        place = place.replace("PORT", str(x.origin.port))
        _routes(x.origin, lambda path: redirect(302, place) if path == start.encode() else OK)
        x.req(method="GET", uri=x.origin.url(start), follow_redirects=True)


for _name, _value in {
    "absolute": "http://ORIGIN/x",
    "other-name": "http://localhost:PORT/x",
    "scheme-relative": "//ORIGIN/x",
    "path": "/x",
    "relative": "x",
    "parent": "../x",
    "query": "?x=1",
    "fragment": "/x#part",
    "dots": "/x/../y/./z",
    "blank": "/x y",
    "escapes": "/%41%7e%2f",
    "not-ascii": "/grün",
    "upper-case": "HTTP://ORIGIN/X",
    "userinfo": "http://u:p@ORIGIN/x",
    "ftp": "ftp://127.0.0.1:1/x",
    "file": "file:///etc/hostname",
    "unknown-scheme": "foo:bar",
    "bad-port": "http://127.0.0.1:99999/",
    "no-host": "http:///x",
    "unresolvable": "http://nosuch.invalid/",
    "empty": "",
}.items():
    _location(_name, _value)


@exchange()
def redirect_not_followed(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(302, "/to", b"moved"))
    x.req(method="GET", uri=x.origin.url())
    x.req(method="GET", uri=x.origin.url(), follow_redirects=False)
    x.fetch(method="GET", uri=x.origin.url())


@exchange()
def redirect_without_location(x: Run) -> None:
    _routes(x.origin, lambda path: b"HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\n!")
    x.req(method="GET", uri=x.origin.url(), follow_redirects=True)


@exchange()
def redirect_two_locations(x: Run) -> None:
    both = b"HTTP/1.1 302 Found\r\nLocation: /1\r\nLocation: /2\r\nContent-Length: 0\r\n\r\n"
    _routes(x.origin, lambda path: both if path == b"/" else OK)
    x.req(method="GET", uri=x.origin.url(), follow_redirects=True)


@exchange()
def location_on_200_and_201(x: Run) -> None:
    for path, status in (("/200", 200), ("/201", 201)):
        _routes(x.origin, lambda path: redirect(int(path[1:]), "/to"))
        x.req(method="GET", uri=x.origin.url(path), follow_redirects=True)
        x.note(status)


def _count(name: str, hops: int) -> None:
    @exchange(name, requests=False)
    def run(x: Run) -> None:
        def answer(path: bytes) -> bytes:
            number = int(path[1:])
            return redirect(302, f"/{number + 1}") if number < hops else OK

        _routes(x.origin, answer)
        x.req(method="GET", uri=x.origin.url("/0"), follow_redirects=True)
        x.fetch(method="GET", uri=x.origin.url("/0"), follow_redirects=True)
        x.note(f"{len(x.origin.requests)} requests")


_count("redirect-8-times", 8)
_count("redirect-9-times", 9)


def _cross(name: str, where: Callable[[Run], str], headers: list[list[str]]) -> None:
    @exchange(name)
    def run(x: Run) -> None:
        target = where(x)
        _routes(x.origin, lambda path: redirect(307, target) if path == b"/from" else OK)
        x.req(
            method="POST",
            uri=x.origin.url("/from"),
            follow_redirects=True,
            body="payload",
            headers=headers,
        )


_SECRETS = [["Authorization", "Bearer s"], ["Cookie", "c=1"], ["X-Other", "kept"]]
_cross("redirect-secrets-same-origin", lambda x: x.origin.url("/to"), _SECRETS)
_cross("redirect-secrets-other-host", lambda x: x.origin.url("/to", host="localhost"), _SECRETS)
_cross("redirect-secrets-other-port", lambda x: x.another_origin().url("/to"), _SECRETS)


@exchange()
def redirect_secrets_back_again(x: Run) -> None:
    """Away to another host and back: the first host's secrets."""
    away = x.another_origin()
    _routes(x.origin, lambda path: redirect(302, away.url("/away")) if path == b"/from" else OK)
    _routes(away, lambda path: redirect(302, x.origin.url("/back")))
    x.req(method="GET", uri=x.origin.url("/from"), follow_redirects=True, headers=_SECRETS)


@exchange()
def redirect_userinfo_other_host(x: Run) -> None:
    other = x.another_origin()
    _routes(x.origin, lambda path: redirect(302, other.url("/to")))
    uri = x.origin.url("/from").replace("://", "://user:pass@")
    x.req(method="GET", uri=uri, follow_redirects=True)


@exchange()
def redirect_userinfo_same_host(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(302, "/to") if path == b"/from" else OK)
    uri = x.origin.url("/from").replace("://", "://user:pass@")
    x.req(method="GET", uri=uri, follow_redirects=True)


@exchange()
def redirect_host_header(x: Run) -> None:
    _routes(
        x.origin,
        lambda path: redirect(302, x.origin.url("/to", host="localhost")) if path == b"/f" else OK,
    )
    x.req(method="GET", uri=x.origin.url("/f"), follow_redirects=True, headers=[["Host", "x"]])


@exchange()
def redirect_body_counts_for_nothing(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(302, "/to", b"x" * 1000) if path == b"/f" else OK)
    x.req(method="GET", uri=x.origin.url("/f"), follow_redirects=True, max_size=10)
    x.fetch(method="GET", uri=x.origin.url("/f"), follow_redirects=True, max_size=10, credits=10)


@exchange()
def redirect_to_refused(x: Run) -> None:
    with dead_port() as port:
        _routes(x.origin, lambda path: redirect(302, f"http://127.0.0.1:{port}/"))
        x.req(method="GET", uri=x.origin.url("/f"), follow_redirects=True)


@exchange()
def redirect_to_ftp_connects(x: Run) -> None:
    """Whether the daemon connects to what a redirect to ftp names."""

    def ftp(connection: Connection) -> None:
        connection.expect_end()

    server = x.another_origin(script=ftp)
    _routes(x.origin, lambda path: redirect(302, f"ftp://127.0.0.1:{server.port}/x"))
    x.req(method="GET", uri=x.origin.url("/f"), follow_redirects=True, timeout=1.0)
    x.note(f"{server.connections} connections to ftp")


@exchange(requests=False)
def redirect_with_large_body(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(307, "/to") if path == b"/from" else OK)
    for size in (900_000, 1_200_000):
        x.req(method="POST", uri=x.origin.url("/from"), follow_redirects=True, body=b"x" * size)
        x.note([(item.line, len(item.body)) for item in x.origin.requests])


@exchange(requests=False)
def redirect_with_large_body_dropped(x: Run) -> None:
    _routes(x.origin, lambda path: redirect(303, "/to") if path == b"/from" else OK)
    x.req(method="PUT", uri=x.origin.url("/from"), follow_redirects=True, body=b"x" * 1_200_000)
    x.note([(item.line, len(item.body)) for item in x.origin.requests])


@exchange(credits=False)
def redirect_of_upload(x: Run) -> None:
    """A body that came in parts is sent again."""
    _routes(x.origin, lambda path: redirect(307, "/to") if path == b"/from" else OK)
    session = x.start(
        method="POST",
        uri=x.origin.url("/from"),
        follow_redirects=True,
        stream=True,
        credits=1000,
        more=True,
        body="one ",
    )
    session.next()
    session.send(body="two")
    x.finish(session)


@exchange()
def redirect_within_streamed_answer(x: Run) -> None:
    """Only the last answer is shown, however slowly the redirect's own body comes."""

    def script(connection: Connection) -> None:
        while True:
            if b"/to" in connection.read_request().line:
                connection.send(OK)
            else:
                connection.send(redirect(302, "/to", b"12345678")[:-4])
                connection.wait_for("rest")
                connection.send(b"5678")

    x.origin.script = script
    session = x.start(
        method="GET", uri=x.origin.url(), follow_redirects=True, stream=True, credits=100
    )
    session.next()
    x.origin.wait_request()
    x.req(method="GET", uri=x.another_origin().url())
    x.origin.let("rest")
    x.finish(session)
