"""Django on PostgreSQL: the order and its webhook are committed together, or neither is.

    DATABASE_URL=postgresql://user@/shop python examples/recipes/django_outbox.py runserver

`zurl-py deliver` runs with `store=` that database and has an endpoint named "shop". POST /orders
with any body; an empty one is an order that is rolled back. See docs/webhooks.md.
"""

from __future__ import annotations

import json
import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from psycopg.conninfo import conninfo_to_dict

if not settings.configured:
    database = conninfo_to_dict(os.environ["DATABASE_URL"])
    settings.configure(
        DEBUG=True,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY=os.environ.get("SECRET_KEY", "for trying it out only"),
        ROOT_URLCONF=__name__,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": database.get("dbname"),
                "USER": database.get("user"),
                "PASSWORD": database.get("password"),
                "HOST": database.get("host"),
                "PORT": database.get("port"),
            }
        },
    )
    django.setup()


@csrf_exempt
def orders(request: HttpRequest) -> HttpResponse:
    """Keeps an order and its webhook."""
    text = request.body.decode()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS orders (number serial, text text)")
        cursor.execute("INSERT INTO orders (text) VALUES (%s) RETURNING number", [text])
        (number,) = cursor.fetchone()
        body = json.dumps({"order": number}).encode()
        cursor.execute(
            "SELECT zurl.deliver(%s, %s, event => %s, key => %s)",
            ["shop", body, "order.paid", f"order-{number}"],
        )
        (id,) = cursor.fetchone()
        if not text:
            transaction.set_rollback(True)
    return JsonResponse({"order": number, "webhook": id, "kept": bool(text)})


urlpatterns = [path("orders", orders)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
