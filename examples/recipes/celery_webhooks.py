"""Celery: a task that delivers a webhook, and tries again where that may help.

    celery --app examples.recipes.celery_webhooks worker

A worker process forks; a ``Client`` makes sockets of its own in each child. Where losing one is no
option, `zurl-py deliver` keeps webhooks on disk and needs neither Celery nor a broker.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task

from zurl_py.client import BadRequest, Client, PolicyViolation, ZurlError

app = Celery("webhooks", broker=os.environ.get("BROKER", "memory://"))
client = Client()


@app.task(bind=True, max_retries=5, retry_backoff=True)  # type: ignore[untyped-decorator]
def deliver(task: Task, url: str, payload: dict[str, Any]) -> int:
    """POST ``payload`` to ``url``; the status that it was answered with."""
    try:
        answer = client.post(url, json=payload, timeout=10)
    except (BadRequest, PolicyViolation):
        raise  # it will not get better
    except ZurlError as error:
        raise task.retry(exc=error) from error
    if answer.status_code >= 500:
        raise task.retry()
    return answer.status_code
