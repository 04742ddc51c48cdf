"""What goes out: method, target, headers and the framing of whole bodies."""

from tests.labs.differential.exchanges.common import EMPTY, OK, row
from tests.labs.differential.lab import SHORT, Run, exchange
from tests.support import reply

# Methods

row("get")
row("head", method="HEAD", answer=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
for _method in ("OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PURGE", "get", "M-SEARCH", "TRACE"):
    row(f"method-{_method}-without-body", method=_method)
    row(f"method-{_method}-with-body", method=_method, body="payload")
row("method-GET-with-body", body="payload")
row("method-HEAD-with-body", method="HEAD", body="payload")
row("method-empty-body", method="POST", body="")
row("method-missing", method="")
row("method-with-blank", method="GE T", timeout=SHORT)
row("method-with-newline", method="GET / HTTP/1.1\r\nX: 1\r\n\r\nPOST", timeout=SHORT)
row("method-with-nul", method="GE\0T", timeout=SHORT)
row("method-not-ascii", method="GÉT", timeout=SHORT)

# Target and Host

row("target-escapes", path="/a/../b//c/./%41%7e%2F%2e?x=%20y%41&z=a+b#frag")
row("target-no-path", uri="http://ORIGIN")
row("target-query-only", uri="http://ORIGIN?x=1")
row("target-not-ascii", path="/grün?x=ü")
row("target-escaped-utf8", path="/gr%C3%BCn")
row("target-lower-escapes", path="/%c3%bc%2f")
row("target-odd-characters", path="/a;b=c,d'e(f)g*h!i$j&k@l:m~n_o-p+q?r/s?t=[u]'v")
for _number, _character in enumerate('[]{}|^`"\\'):
    row(f"target-bad-character-{_number}", path=f"/a{_character}b")
row("uri-userinfo", uri="http://us%40er:pa%3Ass@ORIGIN/x")
row("uri-userinfo-name-only", uri="http://user@ORIGIN/x")
row("uri-upper-case", uri="HTTP://LOCALHOST:PORT/Path")
row("uri-name", uri="http://localhost:PORT/")
row(
    "uri-default-port",
    uri="http://example.test/",
    connect_host="127.0.0.1",
    connect_port="PORT",
)
row(
    "uri-port-80",
    uri="http://example.test:80/",
    connect_host="127.0.0.1",
    connect_port="PORT",
)
row("uri-number-host", uri="http://2130706433:PORT/")
row("uri-hex-host", uri="http://0x7f.1:PORT/")
row("uri-trailing-dot", uri="http://localhost.:PORT/")
row("host-header-replaced", headers=[["Host", "other.test"], ["hOsT", "more.test"]])

# URIs that cannot be used

row("uri-absent", uri=None)
row("uri-empty", uri="")
row("uri-relative", uri="/path")
row("uri-leading-blank", uri=" http://ORIGIN/")
row("uri-scheme-ftp", uri="ftp://ORIGIN/")
row("uri-scheme-file", uri="file:///etc/passwd")
row("uri-inner-blank", path="/a b")
row("uri-bad-escape", path="/%zz")
row("uri-bad-character", path="/<x>")
row("uri-newline", path="/a\r\nX: 1")
row("uri-port-too-big", uri="http://127.0.0.1:65536/")
row("uri-port-zero", uri="http://127.0.0.1:0/")
row("uri-port-not-a-number", uri="http://127.0.0.1:x/")
row("uri-no-host", uri="http:///x")
row("uri-backslash", uri="http://127.0.0.1:PORT\\@example.test/")

# Headers

row(
    "headers-removed",
    headers=[
        ["Connection", "close"],
        ["Keep-Alive", "300"],
        ["Accept-Encoding", "x"],
        ["Content-Encoding", "x"],
        ["Transfer-Encoding", "chunked"],
        ["Expect", "100-continue"],
        ["X-Kept", "1"],
    ],
)
row(
    "headers-kept",
    headers=[
        ["TE", "trailers"],
        ["Trailer", "X"],
        ["Upgrade", "x"],
        ["Proxy-Connection", "keep-alive"],
        ["Proxy-Authorization", "x"],
        ["Cookie", "a=b"],
        ["Authorization", "Bearer x"],
        ["User-Agent", "agent"],
        ["Content-Type", "text/x"],
        ["Accept", "text/y"],
        ["Range", "bytes=0-1"],
        ["If-Modified-Since", "x"],
    ],
)
row("headers-two-accepts", headers=[["Accept", "a"], ["Accept", "b"]])
row("headers-blanks", headers=[["X-A", "  padded\t "], ["X-B", "in  side"]])
row("headers-not-ascii", format="J", headers=[["X-A", "grün"]])
row("headers-binary", headers=[["X-A", b"\xff\xfe"]])
row("headers-empty-value", headers=[["X-Empty", ""], ["X-B", "b"]])
row("headers-blank-value", headers=[["X-Blank", "  "], ["X-B", "b"]])
row("headers-newline-in-value", headers=[["X-A", "1\r\nX-Injected: 2"]], timeout=SHORT)
row("headers-lf-in-value", headers=[["X-A", "1\nX-Injected: 2"]], timeout=SHORT)
row("headers-nul-in-value", headers=[["X-A", "1\x002"]], timeout=SHORT)
row("headers-newline-in-name", headers=[["X-A: 1\r\nX-Injected", "2"]], timeout=SHORT)
row("headers-colon-in-name", headers=[["X-A:b", "2"]], timeout=SHORT)
row("headers-blank-in-name", headers=[["X A", "2"]], timeout=SHORT)
row("headers-empty-name", headers=[["", "2"]], timeout=SHORT)
row("headers-semicolon-name", headers=[["X-A;", ""]], timeout=SHORT)
row("headers-control-in-value", headers=[["X-A", "1\x012"]], timeout=SHORT)


@exchange()
def headers_order(x: Run) -> None:
    headers = [["X-C", "1"], ["X-A", "1"], ["x-c", "2"], ["X-B", "1"], ["X-A", "2"]]
    x.req(method="GET", uri=x.origin.url(), headers=headers)
    sent = x.origin.wait_request().headers
    x.note([(name, value) for name, value in sent if name.lower().startswith(b"x-")])


@exchange(requests=False)
def headers_many(x: Run) -> None:
    headers = [[f"X-{number}", "v" * 50] for number in range(200)]
    x.req(method="GET", uri=x.origin.url(), headers=headers)
    sent = x.origin.wait_request().headers
    x.note([list(p) for p in headers] == [[n.decode(), v.decode()] for n, v in sent if b"X-" in n])


# Framing of a whole body

row("length-right", method="POST", body="12345", headers=[["Content-Length", "5"]])
row("length-right-lower-case", method="POST", body="12345", headers=[["content-length", "5"]])
row("length-without-body-get", headers=[["Content-Length", "0"]])
row("length-without-body-get-5", headers=[["Content-Length", "5"]])
row("length-without-body-post", method="POST", headers=[["Content-Length", "0"]])
row("length-twice", method="POST", body="12345", headers=[["Content-Length", "5"]] * 2)
row(
    "transfer-encoding-given",
    method="POST",
    body="12345",
    headers=[["Transfer-Encoding", "chunked"]],
)


def _wrong_length(name: str, value: str, method: str = "POST") -> None:
    @exchange(name)
    def run(x: Run) -> None:
        x.req(
            method=method,
            uri=x.origin.url(),
            body="12345",
            headers=[["Content-Length", value]],
            timeout=SHORT,
        )


_wrong_length("length-too-small", "3")
_wrong_length("length-too-big", "7")
_wrong_length("length-no-number", "x")
_wrong_length("length-negative", "-1")


@exchange()
def length_missing_body_post(x: Run) -> None:
    x.req(method="POST", uri=x.origin.url(), headers=[["Content-Length", "5"]], timeout=SHORT)


@exchange(requests=False)
def body_of_two_megabytes(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req(method="POST", uri=x.origin.url(), body=b"x" * 2_000_000)
    request = x.origin.wait_request()
    x.note((len(request.body), request.framing, request.get(b"expect")))


@exchange()
def body_binary(x: Run) -> None:
    x.req(method="POST", uri=x.origin.url(), body=bytes(range(256)))


@exchange()
def body_not_ascii_json(x: Run) -> None:
    x.req(format="J", method="POST", uri=x.origin.url(), body="grün\0☃")


# Connections


@exchange()
def connection_reused(x: Run) -> None:
    for _ in range(3):
        x.req(method="GET", uri=x.origin.url())
    x.note(f"{x.origin.connections} connections")


@exchange()
def connection_dead_post_repeated(x: Run) -> None:
    """A kept connection that ends when the next request comes is replaced."""

    def script(connection: object) -> None:
        from tests.support import Connection

        assert isinstance(connection, Connection)
        connection.read_request()
        connection.send(EMPTY)
        connection.read_request()
        if connection.number > 0:
            connection.send(EMPTY)

    x.origin.script = script
    x.req(method="GET", uri=x.origin.url("/first"))
    x.req(method="POST", uri=x.origin.url("/second"), body="once")
    x.note(f"{x.origin.connections} connections")


@exchange()
def connection_close_honoured(x: Run) -> None:
    x.origin.script = reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    for _ in range(2):
        x.req(method="GET", uri=x.origin.url())
    x.note(f"{x.origin.connections} connections")


@exchange(variant="proxied")
def proxy_of_environment(x: Run) -> None:
    x.req(method="GET", uri=x.origin.url())
