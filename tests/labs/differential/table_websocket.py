"""Intended differences in WebSockets."""

from tests.labs.differential.difference import Difference, difference

_WEBSOCKETS = "WebSockets"

ROWS: list[Difference] = [
    difference(
        _WEBSOCKETS,
        "`rejected` has code and body only.",
        "It also has reason and headers; Content-Length is that of the delivered body.",
        "Zurl 1.12 does the same, and workers need them to find the cause.",
        "ws-refused-by-length",
        "ws-refused-by-chunks",
        "ws-refused-by-end",
        "ws-refused-too-long",
        "ws-refused-by-redirect",
    ),
    difference(
        _WEBSOCKETS,
        "A refusal ends with `undefined-condition` if its body is shorter than its length or has "
        "invalid framing.",
        "It ends with `rejected` and the part of the body that came. If the connection stays "
        "open, the gateway waits until the origin has been silent for a second.",
        "The head of the answer is the refusal.",
        "ws-refused-broken-off",
    ),
    difference(
        _WEBSOCKETS,
        "`Content-Length: 0` and hop-by-hop headers of the worker are sent.",
        "They are not sent, nor are headers that Connection names.",
        "They describe another connection (RFC 9110 section 7.6.1).",
        "ws-open",
    ),
    difference(
        _WEBSOCKETS,
        "The answer to the handshake is not checked.",
        "Sec-WebSocket-Accept, Upgrade, subprotocol and extensions must match the request; if "
        "not, the session ends with `undefined-condition`, and `ext` names the fault.",
        "RFC 6455 section 4.1 requires it.",
        "ws-wrong-accept",
    ),
    difference(
        _WEBSOCKETS,
        "A redirect with a relative Location fails.",
        "It is followed.",
        "RFC 9110 section 10.2.2 permits relative ones.",
        "ws-redirect-relative",
    ),
    difference(
        _WEBSOCKETS,
        "`timeout` is ignored.",
        "It limits the time until the handshake has succeeded or failed.",
        "An origin that never answers would keep the session open for ever.",
        "ws-timeout",
    ),
    difference(
        _WEBSOCKETS,
        "The payload of pings and pongs is lost.",
        "It is delivered in both directions.",
        "A pong must have the payload of its ping (RFC 6455 section 5.5.3).",
        "ws-echo-ping-payload",
        "ws-ping-payload-from-origin",
    ),
    difference(
        _WEBSOCKETS,
        "Invalid UTF-8 in text, and close codes that must not be sent, are sent to the origin.",
        "Nothing is sent; the session ends with `bad-request`, and the origin gets a close frame "
        "with 1011.",
        "The origin would have to end the connection, although the mistake is the worker's.",
        "ws-bad-text-from-worker",
        "ws-bad-close-code-from-worker",
    ),
    difference(
        _WEBSOCKETS,
        "The origin's frames are hardly checked.",
        "The first violation ends the connection: the origin gets the matching close code, and "
        "the worker the reason in `ext`.",
        "RFC 6455 sections 5 and 8.1 require it.",
        "ws-bad-text-from-origin",
    ),
    difference(
        _WEBSOCKETS,
        "A frame of more than `buffer_size` bytes ends the session with `frame-too-large`.",
        "It is delivered in pieces with `more`, like a message of several frames "
        "(`websocket_large_frames=refuse` does what Zurl does).",
        "How a message is divided into frames has no meaning (RFC 6455 section 5.4).",
        "ws-frame-too-large",
    ),
    difference(
        _WEBSOCKETS,
        "Data that arrives together with a close frame is delivered after the close.",
        "It is delivered before the close.",
        "Packets have the order of the frames.",
        "ws-close-in-one-piece-with-data",
    ),
    difference(
        _WEBSOCKETS,
        "Data that waits for credits is lost when the origin hangs up.",
        "The data is delivered first, then the error.",
        "A worker with more credits would have received these bytes.",
        "ws-lost-while-data-waits",
    ),
]
