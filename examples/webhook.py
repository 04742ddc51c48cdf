"""Send a webhook and forget it: the program goes on when ZeroMQ has the message.

    python examples/webhook.py URL [JSON]

The gateway makes the request by its own rules about whom it may contact, and logs the outcome.
"""

from __future__ import annotations

import json
import sys

from zurl_py.client import Client, ZurlError

if len(sys.argv) < 2:
    sys.exit(__doc__)
url, payload = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else '{"hello": "world"}'
try:
    with Client() as client:
        client.send_nowait("POST", url, json=json.loads(payload), follow_redirects=True)
except ZurlError as error:
    sys.exit(f"webhook.py: {error}")
