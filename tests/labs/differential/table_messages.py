"""Intended differences in messages and sockets."""

from tests.labs.differential.difference import Difference, difference

_MESSAGES = "Messages and sockets"

ROWS: list[Difference] = [
    difference(
        _MESSAGES,
        "The process ends when a TNetString is cut short, nested very deeply, or has an inner "
        "length that exceeds the message.",
        "The message is dropped and logged.",
        "No message may end the daemon.",
        "garbage-tnetstring-cut",
        "garbage-tnetstring-inner-too-long",
        "garbage-tnetstring-bad-number",
        "garbage-tnetstring-deep",
    ),
    difference(
        _MESSAGES,
        "A malformed message on the request interface is dropped, so a REQ socket waits for ever.",
        "It is answered with `bad-request`, in the format that its first byte names or else in "
        "JSON, with its `id` if that can be read.",
        "The envelope of the message says where to send the answer.",
        "garbage-*",
        "malformed-*-[TJ]",
        "field-wrong-*",
        "id-list-two",
        "id-list-of-texts",
        "id-list-without-ids",
        "id-list-id-number",
        "id-list-dictionary",
    ),
    difference(
        _MESSAGES,
        "`bad-request` for a malformed message and `cancel` for an unknown session are always "
        "TNetStrings.",
        "They have the format of the message that they answer.",
        "A worker that uses JSON should not need a second parser.",
        "malformed-*-J",
        "field-wrong-*",
        "unknown-session-json",
    ),
    difference(
        _MESSAGES,
        "A lone surrogate in JSON (`\\ud800`) becomes a question mark.",
        "It becomes U+FFFD.",
        "U+FFFD replaces invalid characters in answers, too.",
        "tolerated-json-lone-surrogate",
    ),
    difference(
        _MESSAGES,
        "A sign or a leading zero in the length of a TNetString, and a byte order mark before "
        "JSON, are ignored.",
        "The message is malformed.",
        "Neither format permits them, and no client sends them.",
        "tolerated-tnetstring-leading-zero",
        "tolerated-tnetstring-plus",
        "tolerated-json-byte-order-mark",
    ),
    difference(
        _MESSAGES,
        "`user-data` changes. In JSON, integers beyond 32 bits wrap, a text ends at its first "
        "NUL, and 3.0 becomes 3. In TNetStrings, floats keep six digits, and null is left out.",
        "`user-data` is returned unchanged.",
        "It is the worker's own state.",
        "user-data-nul-J",
        "user-data-null-T",
        "user-data-int-33-J",
        "user-data-int-negative-33-J",
        "user-data-int-64-J",
        "user-data-float-digits-T",
        "user-data-float-whole-J",
        "tolerated-json-point-behind",
        "field-user-data-null-T",
    ),
    difference(
        _MESSAGES,
        "Of two empty frames before the packet on the request interface, one is removed from the "
        "envelope.",
        "The message is dropped, because two frames follow the first empty one.",
        "The first empty frame ends the envelope; one packet must follow.",
        "envelope-two-empty-frames",
    ),
    difference(
        _MESSAGES,
        "The answer to a request with `from` on the request interface is published to that "
        "address, and the sender gets nothing. Without `out_spec` the process ends.",
        "`from` is ignored on the request interface.",
        "The answer belongs to the socket that sent the request.",
        "req-with-from",
        "req-with-other-from",
        "req-with-from-alone",
        "req-malformed-with-from-alone",
    ),
    difference(
        _MESSAGES,
        "A request on the request interface is dropped if a streaming session has the same `id`. "
        "When such a request ends, it ends the session with that `id`, too.",
        "The ids of the two interfaces are independent.",
        "Requests and sessions belong to different workers.",
        "req-id-of-live-session",
        "req-end-leaves-session-alone",
    ),
    difference(
        _MESSAGES,
        "A session is identified by its `id` alone. Two workers with the same `id` disturb each "
        "other, and one can cancel the other's session.",
        "A session is identified by address and `id`.",
        "RFC 33 requires it, and no worker may affect another's requests.",
        "id-in-use-by-other-worker",
        "id-of-other-worker-followed",
    ),
    difference(
        _MESSAGES,
        "`handoff-start` is counted in the sequence and otherwise ignored.",
        "It passes the session to another worker, as RFC 33 describes.",
        "A worker can be replaced without losing its open sessions.",
        "handoff-start",
    ),
    difference(
        _MESSAGES,
        "A packet without `from` ends the session with its `id` if it is a `cancel` or out of "
        "sequence.",
        "Such a packet can continue the session if it is the next in sequence; it cannot end it.",
        "An `id` alone does not prove who owns the session.",
        "cancel-without-from",
        "sequence-no-from-wrong",
    ),
    difference(
        _MESSAGES,
        "A later packet without `id` that belongs to no session is answered with a `cancel` "
        "without `id`.",
        "It is dropped and logged.",
        "A worker could not tell which session that `cancel` is about.",
        "unknown-session-without",
        "id-list-without-ids",
    ),
    difference(
        _MESSAGES,
        "A fire-and-forget request with an invalid URI, or a WebSocket without `from`, ends the "
        "process.",
        "It is dropped and logged.",
        "No message may end the daemon.",
        "forget-bad-uri",
        "forget-bad-uri-with-id",
        "forget-no-uri",
        "forget-websocket",
        "forget-websocket-with-id",
    ),
    difference(
        _MESSAGES,
        "A fire-and-forget request with `more` opens a request whose body never ends.",
        "It is refused.",
        "No later packet can deliver the rest of the body.",
        "forget-upload",
    ),
    difference(
        _MESSAGES,
        "After a first packet without `seq`, every later packet is out of sequence.",
        "The second packet is expected to have `seq` 1.",
        "Otherwise the session could not continue at all.",
        "sequence-first-without",
    ),
    difference(
        _MESSAGES,
        "Negative credits remove the limit while body data waits: all of it is delivered.",
        "Negative credits are subtracted.",
        "Credits limit what the sender may send.",
        "credits-negative",
    ),
    difference(
        _MESSAGES,
        "Without credits nothing of an answer is delivered, not even its head.",
        "The head of an answer, and the end of an empty body, are delivered without credits.",
        "Credits count bytes of body, and the worker learns the status earlier.",
        "credits-none-at-first",
        "credits-zero-at-first",
        "credits-empty-body-without",
        "credits-negative-first",
        "field-credits-no-number-J",
        "field-credits-minus-one-J",
        "max-size-beyond-credits",
    ),
    difference(
        _MESSAGES,
        "Body data that waits for credits is lost when the connection to the origin breaks.",
        "The data is delivered first, then the error.",
        "A worker with more credits would have received these bytes.",
        "download-ends-with-reset-while-stalled",
    ),
    difference(
        _MESSAGES,
        "If an upload differs from its Content-Length, surplus bytes are cut off, a short body "
        "hangs until the timeout, and with an invalid length an empty body is sent.",
        "Each of these ends with the error `bad-request`.",
        "The origin would get a damaged body, or read a part of it as the next request.",
        "upload-longer-than-its-length",
        "upload-shorter-than-its-length",
        "upload-length-is-no-number",
    ),
    difference(
        _MESSAGES,
        "A `timeout` beyond 32 bits expires at once.",
        "It has the given length.",
        "A large number is valid.",
        "timeout-long-enough",
    ),
]
