"""Django: a webhook after the transaction that it is about, and not if that is rolled back.

    python examples/recipes/django_webhooks.py runserver

POST /orders?url=… with any body. With PostgreSQL, `SELECT zurl.deliver(…)` inside the transaction
does not even lose the webhook of a process that dies after the commit: see docs/webhooks.md.
"""

from __future__ import annotations

import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from zurl_py.client import Client

if not settings.configured:
    settings.configure(
        DEBUG=True,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY=os.environ.get("SECRET_KEY", "for trying it out only"),
        ROOT_URLCONF=__name__,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ.get("DATABASE", ":memory:"),
            }
        },
    )
    django.setup()

gateway = Client()  # shared by all threads; after a fork each process has its own sockets


@csrf_exempt
def orders(request: HttpRequest) -> HttpResponse:
    """Keeps an order, and tells the URL that the customer gave."""
    url = request.GET["url"]
    text = request.body.decode()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS orders (text)")
            cursor.execute("INSERT INTO orders VALUES (%s)", [text])
            number = cursor.lastrowid
        transaction.on_commit(
            lambda: gateway.send_nowait("POST", url, json={"event": "order", "number": number})
        )
        if not text:
            transaction.set_rollback(True)
    return JsonResponse({"number": number if text else None})


urlpatterns = [path("orders", orders)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
