"""The name that a daemon gives itself where the configuration gives it none."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable

from ..config import Config
from ..config.endpoint import parse_endpoint

__all__ = ["instance_name"]

_NAMESPACE = uuid.UUID("8d7c2f0e-5a8e-4c57-9d0b-6f1f3c1f7a52")  # ours, made at random once
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")  # machine-id(5)


def instance_name(config: Config, machine_ids: Iterable[str] = _MACHINE_IDS) -> bytes:
    """``instance_id``, or a name that is the same after each start and another for each daemon.

    A worker's ROUTER, which connects, keeps the name that it learnt first over reconnects. With
    another name after a restart, what it sends would go nowhere until it restarts as well.

    The name is made from this machine's id, which is not shown by it, and from where the workers
    find the daemon. Where no worker could find it again (a port that the system chooses) the name
    is a random one.

    Args:
        machine_ids: files that may have the machine's id; the first that says something counts.
    """
    if config.instance_id:
        return config.instance_id.encode()
    specs = config.in_stream_spec or config.in_req_spec
    place = _place(specs[0]) if specs else None
    if place is None:
        return b"{%b}" % str(uuid.uuid4()).encode()
    name = uuid.uuid5(_NAMESPACE, f"{_machine(machine_ids)} {place}")
    return b"{%b}" % str(name).encode()


def _place(spec: str) -> str | None:
    """One spelling for an endpoint; None if it is another at each start."""
    endpoint = parse_endpoint(spec)
    return None if not endpoint.path and endpoint.port is None else endpoint.place


def _machine(files: Iterable[str]) -> str:
    """What tells this machine, or this container, from others."""
    for file in files:
        try:
            with open(file, encoding="ascii", errors="replace") as lines:
                found = lines.readline().strip()
        except OSError:
            continue
        if found and found != "uninitialized":
            return found
    return socket.gethostname()
