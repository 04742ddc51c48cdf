"""Intended differences in WebSockets."""

from tests.labs.differential.difference import Difference


def _row(zurl: str, ours: str, why: str, *exchanges: str) -> Difference:
    return Difference("WebSockets", zurl, ours, why, exchanges)


ROWS = [
    _row(
        "`rejected` has code and body only.",
        "Reason and headers, too; Content-Length is that of the body handed on.",
        "As Zurl 1.12 does; a worker wants to know why.",
        "ws-refused-by-length",
        "ws-refused-by-chunks",
        "ws-refused-by-end",
        "ws-refused-too-long",
        "ws-refused-by-redirect",
    ),
    _row(
        "A refusal with a body that is shorter than its length, or whose framing makes no sense, "
        "is `undefined-condition`.",
        "`rejected`, with as much of the body as came. One that is left open is waited for until "
        "the origin has been silent for a second.",
        "The origin has refused; its reason is in the head.",
        "ws-refused-broken-off",
    ),
    _row(
        "`Content-Length: 0` and hop-by-hop fields of the worker go out.",
        "They stay behind, as does what Connection names.",
        "They are about another connection (RFC 9110 section 7.6.1).",
        "ws-open",
    ),
    _row(
        "The answer to the handshake is not checked.",
        "Sec-WebSocket-Accept, Upgrade, the subprotocol and the extensions must fit what was sent; "
        "else `undefined-condition`, with the name of the fault in `ext`.",
        "RFC 6455 section 4.1.",
        "ws-wrong-accept",
    ),
    _row(
        "A redirect with a relative Location fails.",
        "It is followed.",
        "RFC 9110 section 10.2.2.",
        "ws-redirect-relative",
    ),
    _row(
        "`timeout` is ignored.",
        "It bounds the time until the handshake's outcome.",
        "An origin that never answers would hold the session for ever.",
        "ws-timeout",
    ),
    _row(
        "What pings and pongs hold is lost.",
        "It is handed on, both ways.",
        "A pong has to repeat it (RFC 6455 section 5.5.3).",
        "ws-echo-ping-payload",
        "ws-ping-payload-from-origin",
    ),
    _row(
        "Text that is not UTF-8, and close codes that may not be sent, go out.",
        "Error `bad-request`, nothing of it goes out, and the origin gets a close frame with 1011.",
        "The origin would have to fail the connection for it, and is not to blame.",
        "ws-bad-text-from-worker",
        "ws-bad-close-code-from-worker",
    ),
    _row(
        "The origin's frames are hardly checked.",
        "The first violation ends the connection, with the right close code to the origin and, in "
        "`ext`, the reason to the worker.",
        "RFC 6455 sections 5 and 8.1.",
        "ws-bad-text-from-origin",
    ),
    _row(
        "A frame of more than `buffer_size` bytes ends the session with `frame-too-large`.",
        "It is handed on in pieces with `more`, as a message of several frames is "
        "(`websocket_large_frames=refuse` does as Zurl does).",
        "How a message is cut into frames is the sender's affair (RFC 6455 section 5.4).",
        "ws-frame-too-large",
    ),
    _row(
        "Data that comes in one piece with a close is delivered after it.",
        "It is delivered before it.",
        "Order is part of the protocol.",
        "ws-close-in-one-piece-with-data",
    ),
    _row(
        "Data that waits for credits is lost when the origin hangs up.",
        "It is delivered; then comes the error.",
        "The worker has bytes that it would have had with more credits.",
        "ws-lost-while-data-waits",
    ),
]
