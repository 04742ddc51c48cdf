"""Send a webhook and forget it: one PUSH, no answer, in JSON.

    python examples/raw/webhook.py URI [BODY] [--endpoint ENDPOINT]

A message without `from` and `id` has nobody to answer to: the gateway makes the request, follows
its own rules about whom it may contact, and writes the outcome to its log. The daemon is found as
by every client: $ZURL_CONNECT, else /etc/zurl.conf.
"""

from __future__ import annotations

import argparse
import json

import zmq
from finding import endpoints

LINGER = 10_000  # milliseconds that the message may take to leave this process


def send_webhook(endpoint: str, uri: str, payload: object) -> None:
    """POST `payload` as JSON to `uri`."""
    fields = {
        "method": "POST",
        "uri": uri,
        "headers": [["Content-Type", "application/json"]],
        "body": json.dumps(payload),
        "follow-redirects": True,
        "timeout": 30_000,
    }
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = LINGER
        socket.connect(endpoint)
        socket.send(b"J" + json.dumps(fields).encode())


def main() -> None:
    """Send what the command line says."""
    parser = argparse.ArgumentParser(description="Send a webhook through the gateway.")
    parser.add_argument("uri")
    parser.add_argument("body", nargs="?", default='{"hello": "world"}', help="JSON")
    parser.add_argument("--endpoint", help="the daemon's in_spec")
    arguments = parser.parse_args()
    endpoint = arguments.endpoint or endpoints().in_
    if not endpoint:
        raise SystemExit("webhook.py: the daemon has no in_spec")
    send_webhook(endpoint, arguments.uri, json.loads(arguments.body))


if __name__ == "__main__":
    main()
