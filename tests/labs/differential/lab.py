"""Where an exchange is run: one daemon, one worker, a fresh origin, and a transcript.

A transcript is a list of lines, one for each thing that somebody outside the daemon can see:
answers on the request interface, messages published, requests that reached an origin, and what
the exchange itself notes. Whatever may differ between two runs of the same program (ports, ids,
how a body is cut into pieces) is taken out of the lines; see `tests.labs.differential.transcript`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.labs.differential import transcript
from tests.support import (
    CertificateAuthority,
    Daemon,
    Message,
    ScriptedOrigin,
    Session,
    Worker,
)
from tests.support.worker import NoAnswer

ZURL, OURS = "zurl", "ours"
_TAGS = itertools.count()

KINDS = (ZURL, OURS)

SHORT = 1.0
"""Seconds to wait for an answer that one of the two never gives."""

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "small": {"buffer_size": 1000},
    "deny-some": {
        "deny": '127.0.0.66,127.0.66.0/24,127.1/16,10/8,*.denied.test,bad*.test,"exact.test",[::1]',
        "allow": "127.0.66.7,good.denied.test",
    },
    "allow-some": {
        "defpolicy": "deny",
        "allow": "127.0.0.1,localhost,*.ok.test",
        "deny": "no.ok.test",
    },
    "deny-local": {"deny": "127.0.0.0/8"},
    "inactive": {"timeout": 1},
    "one": {"max_open_requests": 1},
    "ipv6": {"allow_ipv6": "true"},
    "req-only": {"interfaces": ("req",)},
    "stream-only": {"interfaces": ("stream",)},
    "proxied": {"environment": {"http_proxy": "http://127.0.0.1:9/", "no_proxy": ""}},
}
"""Settings of the daemons that exchanges may ask for."""


@dataclass
class Exchange:
    """A named exchange and how to run it.

    Attributes:
        run: plays it.
        variant: key of VARIANTS.
        merge: whether pieces of one body, and credits, are summed up before comparing.
        requests: whether what reached the origin is part of the transcript.
        credits: whether credit messages are; no, where they depend on when the last part came.
        slow: whether it takes a minute, and so runs beside the others.
        parts: whether data before a final error is; no, where it depends on what comes together.
    """

    name: str
    run: Callable[["Run"], None]
    variant: str = "default"
    merge: bool = True
    requests: bool = True
    credits: bool = True
    slow: bool = False
    parts: bool = True


EXCHANGES: dict[str, Exchange] = {}


def register(item: Exchange) -> None:
    """Adds an exchange to the suite."""
    assert item.name not in EXCHANGES, f"two exchanges are called {item.name}"
    assert item.variant in VARIANTS, item.variant
    EXCHANGES[item.name] = item


def exchange(
    name: str | None = None,
    variant: str = "default",
    merge: bool = True,
    requests: bool = True,
    credits: bool = True,
    slow: bool = False,
    parts: bool = True,
) -> Callable[[Callable[["Run"], None]], Callable[["Run"], None]]:
    """Registers a function as an exchange, by its own name unless `name` is given."""

    def decorate(function: Callable[["Run"], None]) -> Callable[["Run"], None]:
        chosen = name or function.__name__.replace("_", "-")
        register(Exchange(chosen, function, variant, merge, requests, credits, slow, parts))
        return function

    return decorate


@dataclass
class Run:
    """One exchange with one daemon, as its function sees it."""

    name: str
    worker: Worker
    authority: CertificateAuthority
    kind: str
    origins: list[ScriptedOrigin] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.origin = self.another_origin()

    def another_origin(self, **options: Any) -> ScriptedOrigin:
        """One more origin; `tls` is a context of `authority`."""
        made = ScriptedOrigin(**options)
        self.origins.append(made)
        return made

    def id(self, name: str) -> str:
        """A session id that no other exchange uses."""
        return f"{self.name}.{name}"

    def note(self, text: object) -> None:
        """Adds a line to the transcript."""
        self.notes.append(f"note {text}")

    # Request interface

    def req(
        self, fields: Any = None, format: str = "T", timeout: float = 20.0, **more: Any
    ) -> Message | None:
        """Asks and notes the answer, or that none came within `timeout`."""
        if not isinstance(fields, bytes):
            fields = {
                **(fields or {}),
                **{k.rstrip("_").replace("_", "-"): v for k, v in more.items()},
            }
        tag = b"tag-%d" % next(_TAGS)
        self.worker.send_req(fields, format, (tag, b""))
        try:
            answer = self._answer(tag, timeout)
        except NoAnswer:
            self._dead()
            self.answers.append("req nothing")
            return None
        self.answers.append("req " + transcript.message(answer))
        return answer

    def _answer(self, tag: bytes, timeout: float) -> Message:
        """The answer in the envelope `tag`; late answers to earlier requests are skipped."""
        while True:
            frames = self._req_frames(timeout)
            if frames[0] == tag:
                assert frames[1:-1] == [b""], frames
                return transcript.decode_frame(frames[-1])

    def req_dropped(self, message: Any, envelope: tuple[bytes, ...] = (b"",)) -> None:
        """Sends something that is answered at once or never, and notes which."""
        self.worker.send_req(message, envelope=envelope)
        self.worker.send_req({"id": "req-fence", "method": "GET", "uri": "x-probe:"})
        while True:
            frames = self._req_frames()
            answer = transcript.decode_frame(frames[-1])
            if answer.id == b"req-fence":
                return
            if frames[0].startswith(b"tag-"):
                continue
            self.answers.append(f"req {frames[:-1]} " + transcript.message(answer))

    def _req_frames(self, timeout: float = 20.0) -> list[bytes]:
        worker = self.worker
        worker._poll(worker.dealer, timeout)
        frames: list[bytes] = worker.dealer.recv_multipart()
        return frames

    # Streaming interface

    def start(self, name: str = "1", format: str = "T", **fields: Any) -> Session:
        """Starts a session by PUSH; it is cancelled at the end of the exchange."""
        session = self.worker.session(self.id(name), format)
        self.sessions.append(session)
        return session.start(**fields)

    def fetch(self, name: str = "1", timeout: float = 20.0, **fields: Any) -> Session:
        """A streamed request with credits for everything, read to its end."""
        session = self.start(name, **{"stream": True, "credits": 10_000_000, **fields})
        self.finish(session, timeout)
        return session

    def finish(self, session: Session, timeout: float = 20.0) -> None:
        """Reads a session to its end, or notes that it has none within `timeout`."""
        try:
            session.finish(timeout)
        except NoAnswer:
            self._dead()
            self.note(f"{session.id.decode()} has no end")

    def push_dropped(self, message: Any, format: str = "T") -> None:
        """Sends something by PUSH that is answered at once or never."""
        self.worker.push(message, format)
        self.worker.fence()

    def follow_dropped(self, message: Any, format: str = "T") -> None:
        """Sends something by ROUTER that is answered at once or never."""
        self.worker.follow(message, format)
        self.worker.fence()

    def _dead(self) -> None:
        if not self.worker.daemon.alive:
            raise NoAnswer("daemon died")


class Lab:
    """One daemon of a variant, started when it is needed and again when it has died."""

    def __init__(self, kind: str, variant: str, authority: CertificateAuthority) -> None:
        self.kind = kind
        self.variant = variant
        self.authority = authority
        self._daemon: Daemon | None = None
        self._worker: Worker | None = None

    def worker(self) -> Worker:
        """A worker of the daemon, which is started if it does not run."""
        if self._worker is not None and self._daemon is not None and self._daemon.alive:
            return self._worker
        self.close()
        settings = dict(VARIANTS[self.variant])
        environment = {"SSL_CERT_FILE": self.authority.path, **settings.pop("environment", {})}
        self._daemon = Daemon(self.kind, environment=environment, **settings).start()
        self._worker = Worker(self._daemon)
        return self._worker.ready()

    def play(self, item: Exchange) -> list[str]:
        """Runs an exchange and returns its transcript."""
        worker = self.worker()
        run = Run(item.name, worker, self.authority, self.kind)
        worker.received.clear()
        try:
            try:
                item.run(run)
                self.settle(run)
            except NoAnswer:
                if worker.daemon.alive:
                    raise
                run.note("the daemon died")
            return transcript.lines(run, worker.received, item)
        finally:
            for origin in run.origins:
                origin.close()

    def settle(self, run: Run) -> None:
        """Ends what the exchange has left open, so that it does not reach into the next one."""
        worker = run.worker
        if not worker.streaming:
            return
        worker.fence()
        seen = list(worker.received)
        for session in run.sessions:
            worker.follow({"from": worker.address, "id": session.id, "type": "cancel"})
        worker.fence()
        worker.received[:] = seen
        worker._queues.clear()
        worker._order.clear()

    def close(self) -> None:
        """Stops the daemon."""
        if self._worker is not None:
            self._worker.close()
        if self._daemon is not None:
            self._daemon.close()
        self._worker = self._daemon = None
