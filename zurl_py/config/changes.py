"""What a reload changes: which keys differ, and which of them need a restart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .model import KEYS, Config

__all__ = ["NEEDS_RESTART", "Changes"]

# Sockets are bound once, and libzmq copies their options then.
NEEDS_RESTART = frozenset(
    (
        "instance_id",
        "in_spec",
        "in_stream_spec",
        "out_spec",
        "in_req_spec",
        "ipc_file_mode",
        "in_hwm",
        "out_hwm",
        "worker_keepalive",
        "worker_heartbeat",
        "worker_heartbeat_timeout",
        "max_message_size",
        "curve_server_key_file",
        "metrics_listen",
    )
)
# Fields of ``Config`` that are no keys, and what to call them in the log.
_CONTENTS = {
    "proxy_credentials": "the file of proxy_credentials_file",
    "client_certificate": "the files of client_cert_file and client_key_file",
    "file_rules": "files of rules",
    "hosts": "sections for hosts",
    "curve": "keys of clients",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between a configuration and one that a reload has read.

    Attributes:
        made: keys whose new value is in force.
        waiting: keys whose new value needs a restart.
        running: the configuration in force: the new one with the old values of ``waiting``.
    """

    made: list[str]
    waiting: list[str]
    running: Config

    @classmethod
    def between(cls, before: Config, after: Config) -> Changes:
        """Compare the configuration in force with the one that was read.

        A key that needs a restart since an earlier reload is still named.
        """
        different = [key for key in KEYS if getattr(before, key) != getattr(after, key)]
        waiting = [key for key in different if key in NEEDS_RESTART]
        made = [key for key in different if key not in NEEDS_RESTART]
        made += [
            name for key, name in _CONTENTS.items() if getattr(before, key) != getattr(after, key)
        ]
        return cls(made, waiting, replace(after, **{key: getattr(before, key) for key in waiting}))
