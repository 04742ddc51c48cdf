"""Download through the gateway to standard output; memory holds what is being written, no more.

python examples/stream.py URL > FILE
"""

from __future__ import annotations

import sys

from zurl_py.client import Client, ZurlError

if len(sys.argv) < 2:
    sys.exit(__doc__)
try:
    with Client() as client, client.stream("GET", sys.argv[1]) as answer:
        print(answer.status_code, answer.reason, file=sys.stderr)
        for piece in answer.iter_bytes():
            sys.stdout.buffer.write(piece)
except ZurlError as error:
    sys.exit(f"stream.py: {error}")
