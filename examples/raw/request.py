"""Ask for a page over the request interface: one question, one answer, in JSON.

    python examples/raw/request.py [URI] [--endpoint ENDPOINT]

A REQ socket is all it takes. The first byte of a message names its format, J for JSON. The daemon
is found as by every client: $ZURL_CONNECT, else /etc/zurl.conf.
"""

from __future__ import annotations

import argparse
import json

import zmq
from finding import endpoints

TIMEOUT = 30_000  # milliseconds to wait for the answer


def request(endpoint: str, fields: dict[str, object]) -> dict[str, object]:
    """Send a request and return its answer.

    Raises:
        TimeoutError: none came in time.
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send(b"J" + json.dumps(fields).encode())
        if not socket.poll(TIMEOUT):
            raise TimeoutError(f"no answer from {endpoint}")
        answer = socket.recv()
    fields = json.loads(answer[1:])
    return fields


def main() -> None:
    """Print status and body, or what went wrong."""
    parser = argparse.ArgumentParser(description="Ask for a page through the gateway.")
    parser.add_argument("uri", nargs="?", default="http://example.com/")
    parser.add_argument("--endpoint", help="the daemon's in_req_spec")
    arguments = parser.parse_args()
    endpoint = arguments.endpoint or endpoints().req
    if not endpoint:
        raise SystemExit("request.py: the daemon has no in_req_spec")
    answer = request(endpoint, {"method": "GET", "uri": arguments.uri})
    if answer.get("type") == "error":
        raise SystemExit(f"failed: {answer['condition']}")
    print(answer["code"], answer["reason"])
    print(answer.get("body", ""))


if __name__ == "__main__":
    main()
