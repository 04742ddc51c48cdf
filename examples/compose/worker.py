"""Asks two daemons in turn for a page: `worker.py SOCKET SOCKET [URI]`."""

import json
import sys

import zmq


def main() -> None:
    *sockets, uri = sys.argv[1:] if len(sys.argv) > 3 else [*sys.argv[1:], "https://example.com/"]
    dealer = zmq.Context().socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    for path in sockets:
        dealer.connect(f"ipc://{path}")
    for number in range(4):
        request = {"id": str(number), "method": "GET", "uri": uri}
        dealer.send_multipart([b"", b"J" + json.dumps(request).encode()])
    for _ in range(4):
        if not dealer.poll(30_000):
            sys.exit("no answer within 30 s")
        answer = json.loads(dealer.recv_multipart()[1][1:])
        print(answer["id"], answer.get("code") or answer.get("condition"), flush=True)


if __name__ == "__main__":
    main()
