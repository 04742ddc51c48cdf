"""A Django application that commits its rows and their webhooks together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver
from tests.support import ROOT

_SHOP = """
import sys
sys.path.insert(0, sys.argv[1])
import django_outbox
from django.test import Client
client = Client()
for text in ("", "two books"):
    print(client.post("/orders", text, "text/plain").content.decode())
"""


@pytest.fixture(scope="module")
def store_kind() -> str:
    return "postgresql"


def test_both_are_committed_or_neither(
    start_deliver: Callable[..., Deliver], receiver: Receiver
) -> None:
    deliver = start_deliver().wait_started()
    deliver.worker().put("shop", receiver.url())
    done = subprocess.run(
        [sys.executable, "-c", _SHOP, str(ROOT / "examples" / "recipes")],
        capture_output=True,
        timeout=60,
        env={**os.environ, "DATABASE_URL": deliver.settings["store"]},
    )
    assert done.returncode == 0, done.stderr.decode()
    undone, kept = map(json.loads, done.stdout.decode().splitlines())
    assert (undone["kept"], kept["kept"]) == (False, True)
    (hook,) = receiver.wait_for(kept["webhook"])
    assert json.loads(hook.body) == {"order": kept["order"]}
    assert [webhook.id for webhook in receiver.webhooks] == [kept["webhook"]]
