"""The client library: HTTP and WebSockets through a gateway, from Python.

::

    from zurl_py.client import Client

    with Client("embedded") as client:
        answer = client.get("https://example.com/")

It needs pyzmq, msgspec and tnetstring3. To import it loads neither libcurl nor the daemon.
"""

from .address import Endpoints, resolve
from .client import AsyncClient, Client
from .errors import *  # noqa: F403 - the whole tree
from .errors import __all__ as _errors
from .failures import FAILURES, Failure, exit_code
from .headers import Headers
from .request import Request
from .response import AsyncResponse, Redirect, Response
from .timeouts import Timeout
from .trace import Direction, PacketTrace
from .webhooks import AsyncWebhooks, Webhooks
from .websocket import AsyncWebSocket, WebSocket

__all__ = [
    "FAILURES",
    "AsyncClient",
    "AsyncResponse",
    "AsyncWebSocket",
    "AsyncWebhooks",
    "Client",
    "Direction",
    "Endpoints",
    "Failure",
    "Headers",
    "PacketTrace",
    "Redirect",
    "Request",
    "Response",
    "Timeout",
    "WebSocket",
    "Webhooks",
    "exit_code",
    "resolve",
]
__all__ += _errors
