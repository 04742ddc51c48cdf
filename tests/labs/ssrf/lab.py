"""Attempts, and the daemon that they are played with, inside the namespace."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.labs.ssrf.network import Arrival, Listeners, Name, NameServer
from tests.support import Daemon, Message, Worker, wait_until

OURS, ZURL = "ours", "zurl"
OPEN = "open"  # ours without rules: that the listeners see what there is to see
_PATIENCE = 5.0  # seconds for a request that should be refused at once
HOSTS = """\
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
10.1.2.3 intranet.hosts.example
93.184.215.14 public.hosts.example
"""

# What a careful administrator may tell zurl: Debian's patterns, the IANA special-purpose ranges of
# IPv4 and most of IPv6's (not those that embed IPv4), multicast, and Azure's platform address.
_ZURL_DENY = """\
127.* 10.* 192.168.* *.local localhost *.localhost 0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8
169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
224.0.0.0/4 240.0.0.0/4 168.63.129.16/32 ::/128 ::1/128 100::/64 2001::/23 2001:db8::/32
3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"""
_SETTINGS: dict[str, dict[str, Any]] = {
    OURS: {"deny": "@private", "allow_ipv6": "true"},
    OPEN: {"allow_ipv6": "true"},
    ZURL: {"deny": ",".join(_ZURL_DENY.split()), "allow_ipv6": "true"},
}
_PROXY = "http://10.1.2.3:3128"
_PUBLIC_PROXY = "http://93.184.215.15:3128"
_VARIABLES = ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy", "HTTPS_PROXY")
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "default": {},
    "http_proxy": {"http_proxy": _PROXY, "no_proxy": None},
    "proxies": dict.fromkeys((*_VARIABLES, "ALL_PROXY"), _PROXY) | {"no_proxy": None},
    "public-proxies": dict.fromkeys((*_VARIABLES, "ALL_PROXY"), _PUBLIC_PROXY) | {"no_proxy": None},
    "socks": {"all_proxy": "socks5h://10.1.2.3:1080", "ALL_PROXY": "socks5h://10.1.2.3:1080"},
    "resolver": {"RES_OPTIONS": "ndots:9", "LOCALDOMAIN": "corp.example"},
}


@dataclass
class Result:
    """What became of an attempt.

    Attributes:
        answers: condition, or code and body, of each answer.
        arrivals: what reached the listeners since the last `Lab.forget`.
        leak: text that must not be seen was in an answer.
        skipped: why it cannot be tried with this daemon.
    """

    answers: list[str]
    arrivals: list[Arrival]
    leak: bool = False
    skipped: str = ""

    @property
    def held(self) -> bool:
        """No request reached a forbidden address, and nothing leaked."""
        return not self.leak and not any(arrival.is_breach for arrival in self.arrivals)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "Result":
        """From JSON."""
        return cls(
            data["answers"],
            [Arrival(**arrival) for arrival in data["arrivals"]],
            data["leak"],
            data["skipped"],
        )


class NotForThis(Exception):
    """The attempt makes no sense with this daemon."""


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    Attributes:
        group: the class that it is counted in.
        run: plays it.
        environment: key of `ENVIRONMENTS`.
    """

    name: str
    group: str
    run: Callable[["Lab"], None]
    environment: str = "default"


ATTEMPTS: dict[str, Attempt] = {}


def register(item: Attempt) -> None:
    """Adds an attempt to the suite."""
    assert item.name not in ATTEMPTS, item.name
    ATTEMPTS[item.name] = item


class Lab:
    """A daemon in the namespace, as attempts see it.

    Attributes:
        names: what the DNS says; attempts add to it.
    """

    def __init__(self, kind: str, listeners: Listeners, server: NameServer, env: str) -> None:
        self.kind = kind
        self.names: dict[str, Name] = server.names
        self.answers: list[str] = []
        self.leak = False
        self._listeners = listeners
        self._env = env
        self._daemon: Daemon | None = None
        self._worker: Worker | None = None
        self._count = 0

    @property
    def worker(self) -> Worker:
        """A worker of a daemon that runs; a dead one is started again."""
        if self._daemon is None or not self._daemon.alive:
            self.close()
            self._daemon = Daemon(
                OURS if self.kind == OPEN else self.kind,
                environment=ENVIRONMENTS[self._env],
                **_SETTINGS[self.kind],
            ).start()
            self._worker = Worker(self._daemon).ready()
        assert self._worker is not None
        return self._worker

    def close(self) -> None:
        """Stops the daemon."""
        if self._worker is not None:
            self._worker.close()
        if self._daemon is not None:
            self._daemon.close()
        self._worker = self._daemon = None

    def play(self, attempt: Attempt) -> Result:
        """Plays one attempt."""
        self.worker  # noqa: B018  (starts it)
        self.forget()
        skipped = ""
        try:
            attempt.run(self)
        except NotForThis as reason:
            skipped = str(reason)
        except AssertionError as error:  # the daemon died, or does not answer
            self._note(f"({str(error).splitlines()[0][:60]})")
        self._listeners.fence()
        return Result(self.answers, list(self._listeners.arrivals), self.leak, skipped)

    def forget(self) -> None:
        """What was so far was preparation."""
        self._listeners.fence()
        self._listeners.arrivals.clear()
        self.answers = []
        self.leak = False

    # -- for attempts ------------------------------------------------------------------------

    def get(self, uri: str | bytes, **fields: Any) -> str:
        """Asks over the request interface; returns the condition, or code and body."""
        packet = {"id": "get", "method": "GET", "uri": uri, "timeout": int(1000 * _PATIENCE)}
        packet |= {name.replace("_", "-"): value for name, value in fields.items()}
        # Not `request`, whose timeout is its own.
        self.worker.send_req(packet)
        return self._note(_show(self.worker.recv_req()))

    def stream(self, uri: str | bytes, **fields: Any) -> str:
        """Asks over the streaming interface."""
        request = {"method": "GET", "uri": uri, "timeout": int(1000 * _PATIENCE), **fields}
        session = self.worker.start(stream=True, credits=100_000, **request)
        return self._note(_show(session.finish()[-1]))

    def websocket(self, uri: str | bytes, **fields: Any) -> str:
        """Opens a WebSocket, and cuts it if that works."""
        session = self.worker.start(uri=uri, credits=100_000, **fields)
        end = time.monotonic() + _PATIENCE
        while True:
            # Some keep a session alive for ever whose connection was refused.
            message = session.next(max(0.0, end - time.monotonic()))
            if message.type != b"keep-alive":
                break
        if message.type == b"data":
            session.cancel()
        return self._note(_show(message))

    def reload(self, **settings: Any) -> None:
        """Changes the configuration and has it read anew, which only our daemon does."""
        if self.kind != OURS:
            raise NotForThis("it does not read its rules anew")
        daemon = self._daemon
        assert daemon is not None
        before = daemon.log().count("policy read anew")
        daemon.write_config(**settings)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: daemon.log().count("policy read anew") > before, "a reload")

    def name(self, *answers: list[str], cname: str | None = None, silent: bool = False) -> str:
        """A new name with these answers, one after another."""
        self._count += 1
        name = f"n{self._count}.attack.example"
        self.names[name] = Name(list(answers) or [[]], cname, silent)
        return name

    def _note(self, answer: str) -> str:
        self.answers.append(answer)
        if "root:" in answer:
            self.leak = True
        return answer


def _show(message: Message) -> str:
    if message.type == b"error":
        return str((message.get("condition") or b"").decode())
    return f"{message.get('code')} {message.body.decode('latin-1')}"[:200]
