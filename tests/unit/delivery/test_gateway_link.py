"""A link to a gateway: when attempts may be given to it."""

from __future__ import annotations

from typing import Any, cast

import zmq

from tests.support import wait_until
from zurl_py.delivery.attempts import Outcome
from zurl_py.delivery.gateway import GatewayLink
from zurl_py.loop import Loop
from zurl_py.zhttp import tnetstring


class _Log:
    def info(self, *_: object) -> None: ...

    warning = info


def test_a_gateway_that_stops_gets_no_more() -> None:
    loop = Loop()
    ended: list[tuple[object, Outcome]] = []
    with zmq.Context() as context, context.socket(zmq.ROUTER) as gateway:
        gateway.linger = 0
        port = gateway.bind_to_random_port("tcp://127.0.0.1")

        def up_after_a_turn() -> bool:
            loop.turn(wait=False)
            link.read(10)
            link.settle()
            return link.up

        link = GatewayLink(
            cast(Any, context),
            f"tcp://127.0.0.1:{port}",
            loop,
            cast(Any, _Log()),
            lambda flight, outcome: ended.append((flight, outcome)),
            lambda: None,
        )
        wait_until(up_after_a_turn, "the gateway to be there")
        flight: Any = type("Flight", (), {"started": 0.0})()
        link.send(flight, lambda id: b"T" + tnetstring.dumps({b"id": id}), 5)
        address, _, message = gateway.recv_multipart()
        packet = {
            b"id": tnetstring.loads(message[1:])[b"id"],
            b"type": b"error",
            b"condition": b"undefined-condition",
            b"ext": {b"error": b"stopping"},
        }
        gateway.send_multipart([address, b"", b"T" + tnetstring.dumps(packet)])
        wait_until(lambda: not up_after_a_turn(), "the gateway to be left alone")
        assert [outcome.uncharged for _, outcome in ended] == [True]
        link.close()
    loop.close()
