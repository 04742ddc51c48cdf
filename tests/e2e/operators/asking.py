"""Asking a daemon's status listener, as Prometheus and people do."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support import Daemon

__all__ = ["Asked", "ask", "metrics", "status"]

Labels = frozenset[tuple[str, str]]


class Asked(dict[tuple[str, Labels], float]):
    """The samples of an exposition."""

    def value(self, name: str, **labels: str) -> float:
        """One sample's value; KeyError if it is not there."""
        return self[name, frozenset(labels.items())]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name with these labels."""
        wanted = set(labels.items())
        return sum(value for (n, found), value in self.items() if n == name and wanted <= found)


def ask(daemon: Daemon, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and body of a page."""
    address = str(daemon.settings["metrics_listen"])
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]") or "x", timeout=10)
    if address.startswith("unix:"):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(address.removeprefix("unix:"))
    else:
        connection.port = int(port)
    connection.request("GET", path, headers=dict(headers or {}))
    response = connection.getresponse()
    return response.status, response.read().decode()


def metrics(daemon: Daemon) -> Asked:
    """All samples of a daemon."""
    code, text = ask(daemon, "/metrics")
    assert code == 200
    return Asked(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def status(daemon: Daemon) -> dict[str, Any]:
    """A daemon's status."""
    code, text = ask(daemon, "/status")
    assert code == 200
    found: dict[str, Any] = json.loads(text)
    return found


def socket_in(daemon: Daemon) -> str:
    """An address for a status listener that is the daemon's own."""
    return f"unix:{Path(daemon.directory) / 'status'}"
