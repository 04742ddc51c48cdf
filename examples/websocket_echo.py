"""Talk to a WebSocket server through the gateway: each line typed is a message.

python examples/websocket_echo.py ws://HOST/PATH
"""

from __future__ import annotations

import sys

from zurl_py.client import Client, ZurlError

if len(sys.argv) < 2:
    sys.exit(__doc__)
try:
    with Client() as client, client.websocket(sys.argv[1]) as socket:
        for line in sys.stdin:
            socket.send(line.rstrip("\n"))
            print(socket.recv(timeout=30), flush=True)
except (ZurlError, TimeoutError) as error:
    sys.exit(f"websocket_echo.py: {error}")
