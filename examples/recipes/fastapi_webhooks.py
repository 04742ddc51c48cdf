"""FastAPI: subscribers name a URL, and get a webhook for each event.

    fastapi dev examples/recipes/fastapi_webhooks.py

The URLs are strangers'. The gateway refuses those that lead to a private network, whatever their
names resolve to; nothing here has to check.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from zurl_py.client import AsyncClient, PolicyViolation, ZurlError

subscribers: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncClient() as client:  # one for the whole application
        app.state.gateway = client
        yield


app = FastAPI(lifespan=lifespan)


class Subscription(BaseModel):
    url: str


class Event(BaseModel):
    name: str


@app.post("/subscriptions", status_code=201)
async def subscribe(subscription: Subscription, request: Request) -> dict[str, str]:
    """Takes a URL that answers a first request; says why if it does not."""
    client: AsyncClient = request.app.state.gateway
    try:
        answer = await client.post(subscription.url, json={"event": "hello"}, timeout=5)
    except PolicyViolation:
        raise HTTPException(422, "this URL cannot be used") from None
    except ZurlError as error:
        raise HTTPException(422, f"no answer: {error.error or error.condition}") from None
    if not answer.is_success:
        raise HTTPException(422, f"it answers {answer.status_code}")
    subscribers.append(subscription.url)
    return {"url": subscription.url}


@app.post("/events", status_code=202)
async def happened(event: Event, request: Request) -> dict[str, int]:
    """Tells all subscribers, and waits for none of them."""
    client: AsyncClient = request.app.state.gateway
    for url in subscribers:
        await client.send_nowait("POST", url, json={"event": event.name})
    return {"sent": len(subscribers)}
