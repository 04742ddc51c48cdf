"""Attempts that need something to have happened before: connections kept, proxies, new rules."""

from collections.abc import Callable

from tests.labs.ssrf.lab import Attempt, Lab, register
from tests.labs.ssrf.network import PUBLIC4, redirect_to

__all__: list[str] = []

REUSE = "Reuse of connections"
ENVIRONMENT = "Environment"
RULES = "New rules"
PRIVATE = "10.1.2.3"


def _attempt(
    name: str, group: str, environment: str = "default"
) -> Callable[[Callable[[Lab], None]], None]:
    def decorate(run: Callable[[Lab], None]) -> None:
        register(Attempt(name, group, run, environment))

    return decorate


# -- a connection that was opened with a privilege ---------------------------------------------


def _open(lab: Lab, host: str, **fields: object) -> None:
    """Leaves a connection to `host` behind that was permitted."""
    for _ in range(2):
        answer = lab.get(f"http://{host}/", ignore_policies=True, **fields)
        assert answer.startswith("200 "), answer
    lab.forget()


def _reuse(name: str, host: str) -> None:
    @_attempt(f"reuse-{name}", REUSE)
    def run(lab: Lab) -> None:
        _open(lab, host)
        for _ in range(2):
            lab.get(f"http://{host}/")

    @_attempt(f"reuse-streamed-{name}", REUSE)
    def run_streamed(lab: Lab) -> None:
        _open(lab, host)
        lab.stream(f"http://{host}/")

    @_attempt(f"reuse-redirect-{name}", REUSE)
    def run_redirect(lab: Lab) -> None:
        _open(lab, host)
        lab.get(f"http://{PUBLIC4}{redirect_to(f'http://{host}/')}", follow_redirects=True)


_reuse("address", PRIVATE)
_reuse("hosts-file", "intranet.hosts.example")
_reuse("localhost", "localhost")
_reuse("mapped", "[::ffff:10.1.2.3]")


@_attempt("reuse-name", REUSE)
def _name(lab: Lab) -> None:
    host = lab.name([PRIVATE])
    _open(lab, host)
    lab.get(f"http://{host}/")
    lab.stream(f"http://{host}/")


@_attempt("reuse-name-mixed", REUSE)
def _name_mixed(lab: Lab) -> None:
    """Without the privilege the public address would have been used."""
    host = lab.name([PRIVATE], [PUBLIC4])
    _open(lab, host)
    lab.get(f"http://{host}/")


@_attempt("reuse-connect-host", REUSE)
def _connect_host(lab: Lab) -> None:
    fields = {"connect_host": PRIVATE, "connect_port": 80}
    _open(lab, "public.hosts.example", **fields)
    lab.get("http://public.hosts.example/", **fields)
    lab.get("http://public.hosts.example/")


@_attempt("reuse-websocket", REUSE)
def _websocket(lab: Lab) -> None:
    """A WebSocket does not ride on a connection either."""
    _open(lab, PRIVATE)
    lab.websocket(f"ws://{PRIVATE}/")


@_attempt("reuse-after-redirect", REUSE)
def _after_redirect(lab: Lab) -> None:
    """The connection was opened by a hop of a privileged request."""
    lab.get(
        f"http://{PUBLIC4}{redirect_to(f'http://{PRIVATE}/')}",
        follow_redirects=True,
        ignore_policies=True,
    )
    lab.forget()
    lab.get(f"http://{PRIVATE}/")


@_attempt("reuse-many", REUSE)
def _many(lab: Lab) -> None:
    """Privileged requests and others at the same time."""
    sessions = [
        lab.worker.start(
            method="GET",
            uri=f"http://{PRIVATE}/",
            stream=True,
            credits=100_000,
            ignore_policies=True,
        )
        for _ in range(10)
    ]
    for session in sessions:
        session.finish()
    lab.forget()
    for _ in range(10):
        lab.get(f"http://{PRIVATE}/")


# -- the environment of the daemon -------------------------------------------------------------


def _environment(name: str, environment: str, run: Callable[[Lab], None]) -> None:
    register(Attempt(f"environment-{environment}-{name}", ENVIRONMENT, run, environment))


def _plain(lab: Lab) -> None:
    lab.get(f"http://{PUBLIC4}/")


def _plain_name(lab: Lab) -> None:
    lab.get("http://public.hosts.example/")


def _plain_tls(lab: Lab) -> None:
    lab.get(f"https://{PUBLIC4}/")


def _plain_socket(lab: Lab) -> None:
    lab.websocket(f"ws://{PUBLIC4}/")


def _plain_socket_tls(lab: Lab) -> None:
    lab.websocket(f"wss://{PUBLIC4}/")


def _plain_stream(lab: Lab) -> None:
    lab.stream(f"http://{PUBLIC4}/")


def _to_private(lab: Lab) -> None:
    lab.get("http://192.168.0.1/")


def _no_dot(lab: Lab) -> None:
    lab.get("http://wiki/")


def _private_name(lab: Lab) -> None:
    """A proxy would look it up itself, and go there."""
    lab.get(f"http://{lab.name([PRIVATE])}/")


_environment("private-name", "public-proxies", _private_name)
for _setting in ("http_proxy", "proxies", "public-proxies", "socks"):
    _environment("get", _setting, _plain)
    _environment("name", _setting, _plain_name)
    _environment("private", _setting, _to_private)
    _environment("stream", _setting, _plain_stream)
for _setting in ("proxies", "public-proxies", "socks"):
    _environment("tls", _setting, _plain_tls)
    _environment("websocket", _setting, _plain_socket)
    _environment("websocket-tls", _setting, _plain_socket_tls)
_environment("search", "resolver", _no_dot)


# -- rules that are tightened while the daemon runs ----------------------------------------------


@_attempt("rules-kept-connection", RULES)
def _kept(lab: Lab) -> None:
    lab.reload(deny="")
    assert lab.get(f"http://{PRIVATE}/").startswith("200 ")
    lab.reload(deny="@private")
    lab.forget()
    lab.get(f"http://{PRIVATE}/")
    lab.stream(f"http://{PRIVATE}/")


@_attempt("rules-websocket", RULES)
def _open_socket(lab: Lab) -> None:
    """A WebSocket that was open is closed."""
    lab.reload(deny="")
    session = lab.worker.start(uri=f"ws://{PRIVATE}/", credits=1000)
    assert session.next().get("code") == 101
    lab.reload(deny="@private")
    lab.forget()
    session.send(body="x")
    session.next()
    lab.websocket(f"ws://{PRIVATE}/")


@_attempt("rules-privilege", RULES)
def _privilege(lab: Lab) -> None:
    lab.reload(allow_ignore_policies="true")
    assert lab.get(f"http://{PRIVATE}/", ignore_policies=True).startswith("200 ")
    lab.reload(allow_ignore_policies="false")
    lab.forget()
    try:
        lab.get(f"http://{PRIVATE}/", ignore_policies=True)
    finally:
        lab.reload(allow_ignore_policies="true")
