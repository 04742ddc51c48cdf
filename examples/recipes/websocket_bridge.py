"""A bridge: what one WebSocket server says goes to another, and back.

    python examples/recipes/websocket_bridge.py ws://ONE/ ws://OTHER/

Ends when either closes. Neither can be on a private network, whatever its name leads to.
"""

from __future__ import annotations

import asyncio
import sys

from zurl_py.client import AsyncClient, ZurlError
from zurl_py.client.websocket import AsyncWebSocket


async def pass_on(source: AsyncWebSocket, target: AsyncWebSocket) -> None:
    """Every message, until the source closes; then the target is closed, too."""
    async for message in source:
        await target.send(message)
    await target.close()


async def main(one: str, other: str) -> None:
    async with AsyncClient() as client, client.websocket(one) as a, client.websocket(other) as b:
        directions = [asyncio.create_task(pass_on(a, b)), asyncio.create_task(pass_on(b, a))]
        done, rest = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        for task in done:
            task.result()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:3]))
    except ZurlError as error:
        sys.exit(f"websocket_bridge.py: {error}")
