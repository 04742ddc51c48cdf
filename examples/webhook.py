"""Send a webhook and forget it: one PUSH, no answer, in JSON.

    python examples/webhook.py URI [BODY] [--endpoint ipc:///tmp/zurl-in]

A message without `from` and `id` has nobody to answer to: the gateway makes the request, follows
its own rules about whom it may contact, and writes the outcome to its log.
"""

from __future__ import annotations

import argparse
import json

import zmq

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
    parser.add_argument("--endpoint", default="ipc:///tmp/zurl-in")
    arguments = parser.parse_args()
    send_webhook(arguments.endpoint, arguments.uri, json.loads(arguments.body))


if __name__ == "__main__":
    main()
