"""What exchanges of several topics use."""

from typing import Any

from tests.labs.differential.lab import Exchange, Run, register
from tests.support import reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def row(
    name: str,
    *,
    answer: bytes = OK,
    path: str = "/",
    buffered: bool = True,
    streamed: bool = True,
    variant: str = "default",
    format: str = "T",
    timeout: float = 20.0,
    parts: bool = False,
    **fields: Any,
) -> None:
    """Registers a request asked over the request interface and again as a streamed session.

    The origin gives `answer` and hangs up. A `uri` may hold ORIGIN, for its host and port.
    """

    fields = {key.replace("_", "-"): value for key, value in fields.items()}

    def run(x: Run) -> None:
        x.origin.script = reply(answer, close=True)
        uri = fields.get("uri", "http://ORIGIN" + path)
        sent = {"method": "GET", **fields}
        if uri is not None:
            sent["uri"] = uri.replace("ORIGIN", x.origin.authority) if isinstance(uri, str) else uri
            sent["uri"] = sent["uri"].replace("PORT", str(x.origin.port))
        else:
            sent.pop("uri")
        if sent.get("connect-port") == "PORT":
            sent["connect-port"] = x.origin.port
        if buffered:
            x.req(sent, format, timeout)
        if streamed:
            x.start("1", format, **{"stream": True, "credits": 10_000_000, **sent})
            x.finish(x.sessions[-1], timeout)

    register(Exchange(name, run, variant, parts=parts))
