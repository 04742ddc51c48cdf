"""What a debugger, or the log of a test, shows of an object: its state, and never a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.fakes.sessions import FakeOutlet, make_services
from zurl_py.client import AsyncWebhooks, Client, Endpoints, Webhooks
from zurl_py.client.exchange import HttpExchange, Sender
from zurl_py.client.headers import Headers
from zurl_py.client.request import Request, build_request
from zurl_py.client.timeouts import Timeout
from zurl_py.config import Config
from zurl_py.delivery.breaker import Breaker
from zurl_py.delivery.lane import Lane
from zurl_py.delivery.model import Delivery, Endpoint, NewDelivery, Settings
from zurl_py.delivery.scheduler import Scheduler
from zurl_py.egress.handles import EasyHandle, HandlePool
from zurl_py.egress.multi import Multi
from zurl_py.egress.multi_group import MultiGroup
from zurl_py.egress.request import HttpRequest
from zurl_py.egress.resolver import Answer, Resolver
from zurl_py.egress.settings import ConnectionSettings
from zurl_py.egress.streaming import StreamTransfer
from zurl_py.egress.upload import UploadBody
from zurl_py.egress.websocket import WebSocketTransfer
from zurl_py.egress.window import ReceiveWindow, StreamBudget
from zurl_py.http.codings import BodyDecoder, choose_coding
from zurl_py.http.fields import RequestHeaders
from zurl_py.http.heads import Head
from zurl_py.journal import REQUEST, Account, Journal
from zurl_py.log import Log
from zurl_py.loop import Loop, Timer
from zurl_py.messaging.reorder import ReorderBuffer
from zurl_py.messaging.sockets import Endpoints as Sockets
from zurl_py.metrics import Metrics
from zurl_py.policy import Policy
from zurl_py.policy.addresses import Nat64, parse_address
from zurl_py.policy.rulelist import RuleList
from zurl_py.policy.rules import Subject, parse_rule
from zurl_py.sessions import Admission
from zurl_py.sessions.single import SingleSession
from zurl_py.signatures import Signer
from zurl_py.url import Target, parse
from zurl_py.websocket.connection import Connection
from zurl_py.websocket.handshake import Handshake
from zurl_py.websocket.response import Response, ResponseReader
from zurl_py.zhttp import Format, RequestPacket

SECRET = "hidden-4711"
URL = f"https://user:{SECRET}@origin.test/path?token={SECRET}"
HEADERS = [(b"Authorization", SECRET.encode()), (b"X-Key", SECRET.encode())]


def target() -> Target:
    return parse(URL.encode())


def http_request() -> HttpRequest:
    return HttpRequest(
        target(), b"POST", RequestHeaders(HEADERS), Config().policy(), body=SECRET.encode()
    )


def client_request() -> Request:
    headers = {"Authorization": SECRET, "Cookie": SECRET, "Accept": "text/html"}
    return build_request("GET", URL, {"headers": headers}, Headers(), Timeout(), {})


def packet() -> RequestPacket:
    return RequestPacket(id=b"1", sender=b"w", method=b"GET", uri=URL.encode(), headers=HEADERS)


def loop() -> Loop:
    return Loop(lambda: 7.0)


def never(*_: object) -> Any:
    raise AssertionError("not to be called")


def endpoint() -> Endpoint:
    settings = Settings(URL, headers=((b"Authorization", SECRET.encode()),))
    return Endpoint(1, "shop", settings, secrets=(SECRET,))


def easy_handle() -> EasyHandle:
    log = Log()
    handle = HandlePool(ConnectionSettings(proxy_userpwd=SECRET), 0, log, []).make()
    handle.apply(http_request())
    log.close()
    return handle


def set_timer() -> Timer:
    timer = Timer(never)
    loop().set_timer(timer, 9.5)
    return timer


def account() -> Account:
    log = Log()
    journal = Journal(log, Metrics(), loop())
    made = journal.open(REQUEST, b"1", b"w", 0.0)
    journal.refused_uri(made, b"GET", URL.encode(), HEADERS)
    log.close()
    return made


SHOWN: dict[str, tuple[Callable[[], object], str]] = {
    # -- what was asked for
    "packet": (packet, "<RequestPacket"),
    "target": (target, "<Target https://origin.test/path>"),
    "http request": (http_request, "<HttpRequest POST <Target https://origin.test/path>>"),
    "request headers": (lambda: RequestHeaders(HEADERS), "<RequestHeaders Authorization,X-Key>"),
    "head": (lambda: Head(200, b"OK", HEADERS), "<Head HTTP/1.1 200 headers=2>"),
    "client request": (client_request, "<Request GET https://origin.test/path>"),
    "client headers": (
        lambda: client_request().headers,
        "Headers([('Authorization', '[secure]'), ('Cookie', '[secure]'), ('Accept', 'text/html')",
    ),
    "client": (
        lambda: Client(Endpoints(req="ipc:///nowhere")),
        "<Client [Endpoints(",
    ),
    "exchange": (
        lambda: HttpExchange(Sender(Format.JSON, b"w", b"1"), client_request(), 0.0),
        "<HttpExchange <Endpoint worker http ours=",
    ),
    "webhooks": (lambda: Webhooks("ipc:///nowhere"), "<Webhooks ipc:///nowhere>"),
    "async webhooks": (lambda: AsyncWebhooks("ipc:///nowhere"), "<AsyncWebhooks ipc:///nowhere>"),
    # -- egress
    "transfer": (
        lambda: StreamTransfer(cast(Any, _Egress()), http_request(), cast(Any, None), 1000),
        "<StreamTransfer <HttpRequest POST <Target https://origin.test/path>> outside libcurl",
    ),
    "upload": (
        lambda: UploadBody(SECRET.encode(), 1000),
        f"<UploadBody open unsent={len(SECRET)} taken=0>",
    ),
    "easy handle": (
        easy_handle,
        "<EasyHandle <HttpRequest POST <Target https://origin.test/path>>",
    ),
    "multi": (lambda: Multi(loop(), [], [], never), "<Multi active=0 sockets=0>"),
    "multi group": (lambda: MultiGroup(never), "<MultiGroup []>"),
    "answer": (
        lambda: Answer((("192.0.2.1",), ""), 1.0, 2.0),
        "<Answer 192.0.2.1 made_at=1.0 good_until=2.0>",
    ),
    "resolver": (lambda: Resolver(loop(), 1.0, 1.0, never), "<Resolver known=0 waiting=0>"),
    "window": (
        lambda: ReceiveWindow(cast(Any, _Curl()), StreamBudget(1 << 30), 0.0),
        "<ReceiveWindow open size=",
    ),
    "decoder": (
        lambda: BodyDecoder(cast(Any, choose_coding([b"gzip"]))),
        "<BodyDecoder waiting consumed=0 produced=0>",
    ),
    # -- policy
    "policy": (
        lambda: Policy.from_rules("deny", ["a.test"], ["@private"]),
        "<Policy enforce Ruleset(default_allow=False, allow=<RuleList allow=a.test>",
    ),
    "rule": (lambda: parse_rule("*.a.test:443"), "<Rule *.a.test:443>"),
    "rule list": (
        lambda: RuleList("deny", [f"{n}.test" for n in range(20)], denies=True),
        "<RuleList deny=0.test,1.test,2.test,3.test,4.test,5.test,6.test,7.test,8.test,9.test,… 20",
    ),
    "subject": (lambda: Subject("a.test", None), "<Subject a.test None>"),
    "address": (lambda: parse_address("127.0.0.1"), "<Address 127.0.0.1 loopback,private>"),
    "nat64": (lambda: Nat64("64:ff9b::/96"), "<Nat64 64:ff9b::/96>"),
    # -- loop and log
    "loop": (loop, "<Loop now=7.000 descriptors=0 timers=0>"),
    "timer": (lambda: Timer(never), "<Timer never not set>"),
    "timer that is set": (set_timer, "<Timer never when=9.500>"),
    "account": (account, "<Account 1 GET https://origin.test open>"),
    # -- sessions and messages
    "session": (
        lambda: SingleSession(make_services(loop(), FakeOutlet()), packet(), never, never),
        "<SingleSession 1 open <Endpoint gateway http ours=IDLE",
    ),
    "websocket": (
        lambda: WebSocketTransfer(
            cast(Any, _Egress()),
            loop(),
            http_request(),
            Handshake([(b"Authorization", SECRET.encode())], compression=False),
            cast(Any, None),
            1000,
        ),
        "<WebSocketTransfer <HttpRequest POST <Target https://origin.test/path>> CONNECTING>",
    ),
    "reorder buffer": (
        lambda: ReorderBuffer(loop(), never, never),
        "<ReorderBuffer packets=0 bytes=0>",
    ),
    "sockets": (lambda: Sockets(Config(), b"gw"), "<Endpoints >"),
    "admission": (lambda: Admission(10, 0), "<Admission "),
    # -- WebSockets
    "connection": (lambda: Connection(1000), "<Connection open unread=0>"),
    "response": (
        lambda: Response(401, b"no", HEADERS, SECRET.encode()),
        "Response(code=401, reason=b'no')",
    ),
    "response reader": (lambda: ResponseReader(False), "<ResponseReader None unread=0>"),
    # -- webhooks
    "endpoint": (endpoint, "Endpoint(id=1, name='shop', settings=Settings(signature='none'"),
    "lane": (lambda: Lane(endpoint()), "<Lane shop ready=0 in_flight=0 next_due="),
    "breaker": (Breaker, "<Breaker closed failures=0 open_until=0.0>"),
    "scheduler": (Scheduler, "<Scheduler lanes=0 in_flight=0 ready=0 paused="),
    "delivery": (
        lambda: Delivery(1, "m", 1, SECRET.encode(), 0.0, 0.0, secrets=(SECRET,)),
        "Delivery(seq=1, id='m', endpoint=1, due=0.0",
    ),
    "new delivery": (
        lambda: NewDelivery(
            None,
            "m",
            "",
            URL,
            SECRET.encode(),
            b"d",
            0.0,
            headers=tuple(HEADERS),
            secrets=(SECRET,),
        ),
        "NewDelivery(token=None, id='m', endpoint=''",
    ),
    "signer": (
        lambda: Signer("github", [SECRET]),
        "<Signer github secrets=1>",
    ),
}


class _Egress:
    """What a transfer reads of the engine when it is made."""

    rules = 0
    max_response_size = 0


class _Curl:
    """An easy handle that takes every option."""

    def setopt(self, _option: int, _value: object) -> None:
        pass


@pytest.mark.parametrize("name", SHOWN)
def test_state_is_shown_and_no_secret(name: str) -> None:
    make, begins = SHOWN[name]
    made = make()
    shown = repr(made)
    assert shown.startswith(begins)
    assert SECRET not in shown
    assert not re.search(r" at 0x[0-9a-f]+", shown)
    if isinstance(made, (Client, Sockets)):
        made.close()
