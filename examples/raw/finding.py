"""Where the daemon is: by the rule of every client, $ZURL_CONNECT, else /etc/zurl.conf."""

from __future__ import annotations

import sys

from zurl_py.client import Endpoints, GatewayUnavailable, resolve

__all__ = ["endpoints"]


def endpoints() -> Endpoints:
    """Its ZeroMQ endpoints; ends the program with a line that says why where there are none."""
    try:
        found = resolve()[0]
    except (GatewayUnavailable, ValueError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    if not isinstance(found, Endpoints):
        sys.exit(f"{sys.argv[0]}: this example opens the sockets of a daemon that runs")
    return found
