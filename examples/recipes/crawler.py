"""A crawler: 1,000 URLs at once in one small process; the gateway keeps it off private networks.

    python examples/recipes/crawler.py < URLS

Prints status and size of each page. A page is cut at a megabyte, and given up after 20 seconds.
"""

from __future__ import annotations

import asyncio
import sys

from zurl_py.client import AsyncClient, ZurlError

AT_ONCE = 1000


async def look_at(client: AsyncClient, url: str, room: asyncio.Semaphore) -> str:
    async with room:
        try:
            answer = await client.get(
                url, timeout=20, follow_redirects=True, max_size=1_000_000, truncate=True
            )
        except ZurlError as error:
            return f"{url}: {error.condition or 'failed'}"
        return f"{url}: {answer.status_code}, {len(answer.content)} bytes"


async def main() -> None:
    room = asyncio.Semaphore(AT_ONCE)
    urls = [line.strip() for line in sys.stdin if line.strip()]
    async with AsyncClient() as client:
        for line in asyncio.as_completed([look_at(client, url, room) for url in urls]):
            print(await line)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ZurlError as error:
        sys.exit(f"crawler.py: {error}")
