"""Intended differences in messages and sockets."""

from tests.labs.differential.difference import Difference


def _row(zurl: str, ours: str, why: str, *exchanges: str) -> Difference:
    return Difference("Messages and sockets", zurl, ours, why, exchanges)


ROWS = [
    _row(
        "A TNetString that is cut short, whose inner lengths lead outside, or that is nested very "
        "deep ends the process.",
        "It is dropped and logged.",
        "No message may end the daemon.",
        "garbage-tnetstring-cut",
        "garbage-tnetstring-inner-too-long",
        "garbage-tnetstring-bad-number",
        "garbage-tnetstring-deep",
    ),
    _row(
        "What is malformed is dropped on the request interface: a REQ socket waits for ever.",
        "It is answered with `bad-request`, in the format of its first byte or else in JSON, with "
        "its `id` where that can be read.",
        "The envelope says where the asker is.",
        "garbage-*",
        "malformed-*-[TJ]",
        "field-wrong-*",
        "id-list-two",
        "id-list-of-texts",
        "id-list-without-ids",
        "id-list-id-number",
        "id-list-dictionary",
    ),
    _row(
        "`bad-request` for a malformed message and `cancel` for an unknown session are "
        "TNetStrings, whatever was asked.",
        "They have the format of the message that they answer.",
        "A worker that speaks JSON need not read another format.",
        "malformed-*-J",
        "field-wrong-*",
        "unknown-session-json",
    ),
    _row(
        "A lone surrogate in JSON (`\\ud800`) becomes a question mark.",
        "It becomes U+FFFD.",
        "That stands for text that is none, in answers as well.",
        "tolerated-json-lone-surrogate",
    ),
    _row(
        "Signs, leading zeros in the length of a TNetString and a byte order mark before JSON are "
        "passed over.",
        "The message is malformed.",
        "Neither format has them, and no client sends them.",
        "tolerated-tnetstring-leading-zero",
        "tolerated-tnetstring-plus",
        "tolerated-json-byte-order-mark",
    ),
    _row(
        "`user-data` in JSON: integers beyond 32 bits wrap, text ends at NUL, 3.0 becomes 3. In "
        "TNetStrings: floats keep six digits, null is left out.",
        "It comes back as it was sent.",
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
    _row(
        "Two empty frames before the packet on the request interface: one is lost from the "
        "envelope.",
        "The message is dropped: two frames, where there must be one.",
        "The first empty frame ends the envelope.",
        "envelope-two-empty-frames",
    ),
    _row(
        "A request with `from` is answered to that address, and the asker gets nothing. Without "
        "`out_spec` the process ends.",
        "`from` is ignored on the request interface.",
        "Whoever asks is answered.",
        "req-with-from",
        "req-with-other-from",
        "req-with-from-alone",
        "req-malformed-with-from-alone",
    ),
    _row(
        "A request whose `id` a streaming session is using is dropped; one that ends takes a "
        "session of the same `id` with it.",
        "The two interfaces know nothing of each other's ids.",
        "They belong to different workers.",
        "req-id-of-live-session",
        "req-end-leaves-session-alone",
    ),
    _row(
        "A session is known by its `id` alone: two workers with the same `id` are in each other's "
        "way, and one can cancel the other's.",
        "A session is known by address and `id`.",
        "RFC 33, and no worker may touch another's requests.",
        "id-in-use-by-other-worker",
        "id-of-other-worker-followed",
    ),
    _row(
        "`handoff-start` is counted in sequence and ignored.",
        "The session can go to another worker, as RFC 33 has it.",
        "A worker can be replaced without losing what it has under way.",
        "handoff-start",
    ),
    _row(
        "A packet without `from` ends the session of its `id`: by `cancel`, or out of sequence.",
        "It continues the session, if it is the next in order; it ends none.",
        "An `id` alone does not show whose the session is.",
        "cancel-without-from",
        "sequence-no-from-wrong",
    ),
    _row(
        "A follow-up without `id` to no session is answered with a `cancel` without `id`.",
        "It is dropped and logged.",
        "Nobody could tell what was cancelled.",
        "unknown-session-without",
        "id-list-without-ids",
    ),
    _row(
        "Fire and forget with an unusable URI, or a WebSocket without `from`, ends the process.",
        "It is dropped and logged.",
        "No message may end the daemon.",
        "forget-bad-uri",
        "forget-bad-uri-with-id",
        "forget-no-uri",
        "forget-websocket",
        "forget-websocket-with-id",
    ),
    _row(
        "Fire and forget with `more` opens a request whose body can never end.",
        "It is refused.",
        "Nobody can send the rest.",
        "forget-upload",
    ),
    _row(
        "A first packet without `seq` makes every later one out of sequence.",
        "The next is expected to have `seq` 1.",
        "There is no number for which it could go on otherwise.",
        "sequence-first-without",
    ),
    _row(
        "Negative credits while body waits lift the limit: all of it is delivered.",
        "They are subtracted.",
        "Credits are there to hold the sender back.",
        "credits-negative",
    ),
    _row(
        "Without credits not even the head of an answer is delivered.",
        "The head, and the end of an empty body, come without credits.",
        "Credits count bytes of body; the worker learns earlier what it has got.",
        "credits-none-at-first",
        "credits-zero-at-first",
        "credits-empty-body-without",
        "credits-negative-first",
        "field-credits-no-number-J",
        "field-credits-minus-one-J",
        "max-size-beyond-credits",
    ),
    _row(
        "What waits for credits is lost when the origin's connection breaks.",
        "It is delivered; then comes the error.",
        "The worker has bytes that it would have had with more credits.",
        "download-ends-with-reset-while-stalled",
    ),
    _row(
        "An upload that does not keep to its Content-Length: too much is cut off, too little hangs "
        "until a timeout, no number sends an empty body.",
        "Error `bad-request`.",
        "The origin would get a broken body, or another request in its place.",
        "upload-longer-than-its-length",
        "upload-shorter-than-its-length",
        "upload-length-is-no-number",
    ),
    _row(
        "A `timeout` beyond 32 bits is over at once.",
        "It is as long as it says.",
        "Numbers mean what they say.",
        "timeout-long-enough",
    ),
]
