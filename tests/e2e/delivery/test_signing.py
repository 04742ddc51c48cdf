"""Signatures as the receivers' own libraries check them, rotation, secrets by reference."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import stripe
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Receiver, Webhook

Start = Callable[..., Deliver]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()
BODY = '{"test": "héllo\\u0000"}'


def delivered(worker: Worker, receiver: Receiver, **fields: Any) -> Webhook:
    worker.put("signed", receiver.url(), **fields)
    return receiver.wait_for(worker.deliver(BODY, endpoint="signed"))[0]


def test_standard_by_its_library(worker: Worker, receiver: Receiver) -> None:
    hook = delivered(worker, receiver, secrets=[SECRET])
    standardwebhooks.Webhook(SECRET).verify(hook.body, hook.headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(hook.body, hook.headers)


def test_standard_by_svix(worker: Worker, receiver: Receiver) -> None:
    hook = delivered(worker, receiver, secrets=[SECRET])
    svix.webhooks.Webhook(SECRET).verify(hook.body, hook.headers)


def test_rotation(worker: Worker, receiver: Receiver) -> None:
    hook = delivered(worker, receiver, secrets=[OTHER, SECRET])
    assert len(hook.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER):
        standardwebhooks.Webhook(secret).verify(hook.body, hook.headers)
    signed = f"{hook.id}.{hook.headers['webhook-timestamp']}.".encode() + hook.body
    first = base64.b64encode(hmac.digest(bytes(range(64)), signed, "sha256")).decode()
    assert hook.headers["webhook-signature"].split(" ")[0] == f"v1,{first}"


def test_ed25519(worker: Worker, receiver: Receiver) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    secret = "whsk_" + base64.b64encode(bytes(range(32))).decode()
    hook = delivered(worker, receiver, secrets=[secret, SECRET])
    v1a, v1 = hook.headers["webhook-signature"].split(" ")
    assert v1.startswith("v1,")
    assert v1a.startswith("v1a,")
    signed = f"{hook.id}.{hook.headers['webhook-timestamp']}.".encode() + hook.body
    key.public_key().verify(base64.b64decode(v1a[4:]), signed)
    # Svix's keys have the public one behind the seed.
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    long = "whsk_" + base64.b64encode(bytes(range(32)) + public).decode()
    hook = delivered(worker, receiver, secrets=[long])
    signed = f"{hook.id}.{hook.headers['webhook-timestamp']}.".encode() + hook.body
    key.public_key().verify(base64.b64decode(hook.headers["webhook-signature"][4:]), signed)


def test_stripe(worker: Worker, receiver: Receiver) -> None:
    hook = delivered(worker, receiver, signature="stripe", secrets=["whsec_plain text", "second"])
    header = hook.headers["stripe-signature"]
    for secret in ("whsec_plain text", "second"):
        assert stripe.WebhookSignature.verify_header(hook.body.decode(), header, secret, 300)
    assert hook.headers["webhook-id"]
    assert hook.headers["webhook-timestamp"] in header
    assert "webhook-signature" not in hook.headers


def test_github(worker: Worker, receiver: Receiver) -> None:
    hook = delivered(worker, receiver, signature="github", secrets=["It's a Secret", "second"])
    expected = hmac.new(b"It's a Secret", hook.body, hashlib.sha256).hexdigest()
    assert hook.headers["x-hub-signature-256"] == f"sha256={expected}"
    assert hook.headers["webhook-id"]
    assert hook.headers["webhook-timestamp"]


def test_none(worker: Worker, receiver: Receiver) -> None:
    hook = delivered(worker, receiver, signature="none", secrets=[SECRET])
    assert hook.headers["webhook-id"]
    assert hook.headers["webhook-timestamp"]
    assert not any("signature" in name for name in hook.headers)


def test_by_reference(start_deliver: Start, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "shop").write_text(SECRET + "\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path), "SHOP_SECRET": OTHER}
    deliver = start_deliver(environment=environment)
    hook = delivered(deliver.worker(), receiver, secrets=["credential:shop", "env:SHOP_SECRET"])
    for secret in (SECRET, OTHER):
        standardwebhooks.Webhook(secret).verify(hook.body, hook.headers)
    stored = b"".join(path.read_bytes() for path in deliver.directory.glob("store.db*"))
    assert SECRET.encode() not in stored
    assert b"credential:shop" in stored


def test_references_are_read_again_at_a_reload(
    start_deliver: Start, receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "shop").write_text(SECRET)
    deliver = start_deliver(environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    worker = deliver.worker()
    hook = delivered(worker, receiver, secrets=["credential:shop"])
    standardwebhooks.Webhook(SECRET).verify(hook.body, hook.headers)
    (tmp_path / "shop").write_text(OTHER)
    os.kill(deliver.pid, signal.SIGHUP)
    deliver.wait_log("read anew")
    (endpoint,) = worker.ask("endpoint-list")["endpoints"]
    hook = receiver.wait_for(worker.deliver(endpoint=endpoint["endpoint"]))[0]
    standardwebhooks.Webhook(OTHER).verify(hook.body, hook.headers)


def test_secrets_at_rest(start_deliver: Start, receiver: Receiver, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    deliver = start_deliver(loglevel=3)
    worker = deliver.worker()
    worker.put("signed", receiver.url(), secrets=[SECRET])
    own = worker.deliver(uri=receiver.url("/own"), secrets=[OTHER])
    worker.wait_state(own, "done")
    deliver.stop()
    # What was kept in the clear is encrypted once there is a key.
    deliver.write_config(secret_key_file=str(key))
    deliver.start()
    hook = receiver.wait_for(worker.deliver(endpoint="signed"))[0]
    standardwebhooks.Webhook(SECRET).verify(hook.body, hook.headers)
    other = worker.deliver(uri=receiver.url("/own"), secrets=[OTHER])
    hook = receiver.wait_for(other)[0]
    standardwebhooks.Webhook(OTHER).verify(hook.body, hook.headers)
    worker.wait_state(other, "done")
    deliver.stop()
    stored = deliver.store_path.read_bytes()
    for secret in (SECRET, SECRET[6:]):
        assert secret.encode() not in stored
        assert secret not in deliver.log()
    # Another key, or none: one line, and no start.
    key.write_bytes(os.urandom(32))
    deliver.start()
    assert deliver.wait() > 0
    assert "another key" in deliver.log()
    deliver.write_config(secret_key_file="")
    deliver.start()
    assert deliver.wait() > 0
    assert "secret_key_file is needed" in deliver.log()
