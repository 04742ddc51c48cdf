"""Ask for a page through the gateway.

python examples/request.py [URL]
"""

from __future__ import annotations

import sys

from zurl_py.client import Client, ZurlError

url = sys.argv[1] if len(sys.argv) > 1 else "https://example.com/"
try:
    with (
        Client() as client
    ):  # $ZURL_CONNECT, else /etc/zurl.conf; Client("embedded") brings its own
        answer = client.get(url, timeout=30)
except ZurlError as error:
    sys.exit(f"request.py: {error}")
print(answer.status_code, answer.reason)
print(answer.text)
