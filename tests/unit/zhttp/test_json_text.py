"""Large bodies in JSON: the same text as in one go, however they are cut."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from zurl_py.zhttp import Envelope, Format, JsonText

_BODIES = st.lists(
    st.sampled_from(
        [b"plain", "\u2603\U0001f600".encode(), b"\xff", b"\xf0\x9f", b'\0\x1f"\\', b"\xc3"]
    ),
    max_size=12,
).map(b"".join)


@given(_BODIES, st.integers(1, 7))
def test_pieces_make_the_same_text(body: bytes, size: int) -> None:
    text = JsonText()
    pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    for piece in pieces[:-1]:
        text.feed(piece, last=False)
    text.feed(memoryview(pieces[-1]), last=True)
    assert len(text) == len(body)
    envelope = Envelope(Format.JSON, None, b"1")
    message = envelope.encode({"body": text, "code": 200})
    assert message == envelope.encode({"body": body, "code": 200})
    assert json.loads(message[1:])["body"] == body.decode("utf-8", "replace")
