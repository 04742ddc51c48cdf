"""Attempts by way of names: what they resolve to, and when."""

from collections.abc import Callable

from tests.labs.ssrf.lab import Attempt, Lab, register
from tests.labs.ssrf.network import OTHER_PUBLIC4, PUBLIC4, PUBLIC6, Name, redirect_to

__all__: list[str] = []

DNS = "Names"
REBINDING = "Rebinding"
PRIVATE = "10.1.2.3"
ADDRESSES = """\
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 168.63.129.16 169.254.169.254 172.16.0.1
192.0.0.192 192.0.2.1 192.168.0.1 198.18.0.1 203.0.113.1 240.0.0.1 :: ::1 ::ffff:10.1.2.3
::ffff:127.0.0.1 ::10.1.2.3 ::ffff:0:10.1.2.3 64:ff9b::a01:203 64:ff9b:1::a01:203 2002:a01:203::1
2001:0:a01:203::1 2606:4700::5efe:a01:203 fd00::1 fd00:ec2::254 fec0::1 2001:db8::1 3fff::1
5f00::1"""


def _attempt(name: str, group: str) -> Callable[[Callable[[Lab], None]], None]:
    def decorate(run: Callable[[Lab], None]) -> None:
        register(Attempt(name, group, run))

    return decorate


def _resolves_to(address: str) -> None:
    @_attempt(f"name-of-{address}", DNS)
    def run(lab: Lab) -> None:
        lab.get(f"http://{lab.name([address])}/")


for _text in ADDRESSES.split():
    _resolves_to(_text)


def _mixed(name: str, addresses: list[str]) -> None:
    @_attempt(f"name-mixed-{name}", DNS)
    def run(lab: Lab) -> None:
        host = lab.name(addresses)
        for _ in range(3):
            lab.get(f"http://{host}/", headers=[["Connection", "close"]])
        lab.websocket(f"ws://{host}/")


_mixed("private-first", [PRIVATE, PUBLIC4])
_mixed("private-last", [PUBLIC4, PRIVATE])
_mixed("private-many", [PRIVATE, "127.0.0.1", "169.254.169.254", "192.168.0.1"])
_mixed("ipv6-private", [PUBLIC4, "::1"])
_mixed("ipv6-mapped", [PUBLIC4, "::ffff:10.1.2.3"])
_mixed("ipv4-private", ["10.1.2.3", PUBLIC6])
_mixed("nat64", ["64:ff9b::a01:203", PUBLIC4])


def _known(name: str, host: str) -> None:
    @_attempt(f"name-{name}", DNS)
    def run(lab: Lab) -> None:
        lab.get(f"http://{host}/")
        lab.websocket(f"ws://{host}/")


for _name, _host in {
    "localhost": "localhost",
    "localhost-upper": "LOCALHOST",
    "localhost-dot": "localhost.",
    "localhost-below": "a.localhost",
    "localhost-ipv6": "ip6-localhost",
    "localhost-wide": "ｌｏｃａｌｈｏｓｔ",
    "localhost-circled": "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "hosts-file": "intranet.hosts.example",
    "hosts-file-upper": "INTRANET.hosts.example",
    "hosts-file-dot": "intranet.hosts.example.",
}.items():
    _known(_name, _host)


@_attempt("name-search-domain", DNS)
def _search_domain(lab: Lab) -> None:
    """A name without a dot, completed by the resolver."""
    lab.names["wiki.corp.example"] = Name([[PRIVATE]])
    lab.get("http://wiki/")


@_attempt("name-metadata", DNS)
def _metadata(lab: Lab) -> None:
    lab.names["metadata.google.internal"] = Name([["169.254.169.254"]])
    lab.get("http://metadata.google.internal/computeMetadata/v1/")


def _alias(name: str, cname: str, address: str) -> None:
    @_attempt(f"name-alias-{name}", DNS)
    def run(lab: Lab) -> None:
        lab.get(f"http://{lab.name([address], cname=cname)}/")


_alias("private", "db.corp.example", PRIVATE)
_alias("localhost", "localhost", "127.0.0.1")
_alias("number", "10.1.2.3", PRIVATE)
_alias("ipv6", "db.corp.example", "::ffff:10.1.2.3")


# -- rebinding ---------------------------------------------------------------------------------


def _rebinding(name: str, first: list[str], then: list[str]) -> None:
    @_attempt(f"rebinding-{name}", REBINDING)
    def run(lab: Lab) -> None:
        host = lab.name(first, then)
        for _ in range(4):
            lab.get(f"http://{host}/", headers=[["Connection", "close"]])


_rebinding("to-private", [PUBLIC4], [PRIVATE])
_rebinding("to-loopback", [PUBLIC4], ["127.0.0.1"])
_rebinding("to-metadata", [PUBLIC4], ["169.254.169.254"])
_rebinding("to-mapped", [PUBLIC4], ["::ffff:10.1.2.3"])
_rebinding("to-nat64", [PUBLIC4], ["64:ff9b::a01:203"])
_rebinding("to-any", [PUBLIC4], ["0.0.0.0"])
_rebinding("from-private", [PRIVATE], [PUBLIC4])
_rebinding("to-mixed", [PUBLIC4], [PRIVATE, PUBLIC4])


@_attempt("rebinding-between-questions", REBINDING)
def _between(lab: Lab) -> None:
    """A and AAAA disagree, as if asked at different times."""
    host = lab.name([PUBLIC4, "::1"], ["127.0.0.1", PUBLIC6], [PRIVATE, "::1"])
    for _ in range(4):
        lab.get(f"http://{host}/", headers=[["Connection", "close"]])


@_attempt("rebinding-at-redirect", REBINDING)
def _at_redirect(lab: Lab) -> None:
    """The name leads elsewhere when it is looked up again for the second hop."""
    host = lab.name([PUBLIC4], [PRIVATE])
    hop = f"http://{host}:8080/"
    lab.get(f"http://{host}{redirect_to(hop)}", follow_redirects=True)
    lab.get(f"http://{host}{redirect_to(hop)}", follow_redirects=True)


@_attempt("rebinding-websocket", REBINDING)
def _websocket(lab: Lab) -> None:
    host = lab.name([PUBLIC4], [PRIVATE])
    for _ in range(3):
        lab.websocket(f"ws://{host}/")


@_attempt("rebinding-connect-host", REBINDING)
def _connect_host(lab: Lab) -> None:
    host = lab.name([PUBLIC4], [PRIVATE])
    for _ in range(3):
        lab.get(
            "http://public.hosts.example/",
            connect_host=host,
            connect_port=80,
            headers=[["Connection", "close"]],
        )


@_attempt("rebinding-other-port", REBINDING)
def _other_port(lab: Lab) -> None:
    host = lab.name([PUBLIC4], [PRIVATE])
    for port in (80, 8080, 5000, 9200):
        lab.get(f"http://{host}:{port}/")


@_attempt("rebinding-dead-public", REBINDING)
def _dead_public(lab: Lab) -> None:
    """The public address refuses to talk, and the private one is next."""
    host = lab.name([OTHER_PUBLIC4, PRIVATE])
    lab.get(f"http://{host}:1/")
    lab.get(f"http://{host}:2/")


@_attempt("rebinding-streamed", REBINDING)
def _streamed(lab: Lab) -> None:
    host = lab.name([PUBLIC4], [PRIVATE])
    for _ in range(3):
        lab.stream(f"http://{host}/", headers=[["Connection", "close"]])


@_attempt("name-silent", DNS)
def _silent(lab: Lab) -> None:
    """Names whose servers never answer end their own sessions and no others."""
    sessions = [
        lab.worker.start(method="GET", uri=f"http://{lab.name(silent=True)}/", timeout=4000)
        for _ in range(15)
    ]
    lab.get(f"http://{lab.name([PUBLIC4])}/")
    for session in sessions:
        session.finish()
