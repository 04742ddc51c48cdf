"""The instance id of a daemon where the configuration has none."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable

from ..config import Config
from ..config.endpoint import parse_endpoint

__all__ = ["instance_name"]

_NAMESPACE = uuid.UUID("8d7c2f0e-5a8e-4c57-9d0b-6f1f3c1f7a52")  # a random one, for this purpose
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")  # machine-id(5)


def instance_name(config: Config, machine_ids: Iterable[str] = _MACHINE_IDS) -> bytes:
    """``instance_id``, or a name that each daemon keeps over restarts and no other daemon has.

    A worker's ROUTER connects, and keeps the identity that it learnt first when it reconnects. If
    the daemon had another one after a restart, the worker's packets would be dropped until the
    worker is restarted as well.

    The name is a hash of this machine's id and the endpoint of in_stream_spec. Where the endpoint
    differs at each start (a port that the system chooses) the name is random.

    Args:
        machine_ids: files that may hold the machine's id; the first that is not empty counts.
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
    """One spelling for an endpoint; None if it differs at each start."""
    endpoint = parse_endpoint(spec)
    return None if not endpoint.path and endpoint.port is None else endpoint.place


def _machine(files: Iterable[str]) -> str:
    """An id of this machine, or of this container."""
    for file in files:
        try:
            with open(file, encoding="ascii", errors="replace") as lines:
                found = lines.readline().strip()
        except OSError:
            continue
        if found and found != "uninitialized":
            return found
    return socket.gethostname()
