"""The configuration as a frozen value: one field per key, with unit and default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

from ..client_certificate import ClientCertificate
from ..policy import Policy
from . import values
from .curve import Curve
from .hosts import HostSection

__all__ = ["HOST_KEYS", "KEYS", "Config"]

NEVER = 10_000_000  # seconds (116 days): stands for "no limit"
_MAX_BYTES = 1 << 40
_MAX_KEEPALIVE = 32_767  # seconds; Linux's MAX_TCP_KEEPIDLE


@dataclass(frozen=True, slots=True)
class Config:
    """One field per key of ``zurl.conf``; zurl.conf(5) describes them.

    Attributes:
        instance_id: name of this instance; "": made from this machine's id and the endpoint.
        in_spec, in_stream_spec, out_spec, in_req_spec: ZeroMQ endpoints to bind.
        ipc_file_mode: mode of the ipc sockets; None: by the umask.
        defpolicy: "allow" or "deny".
        allow, deny, deny_always, report_deny: rules, in the order of the file.
        allow_file, deny_file, deny_always_file, report_deny_file: paths of files with more rules.
        allow_ports: (first, last) pairs; empty: all ports.
        require_tls: refuse http and ws.
        policy_mode: "enforce" or "report".
        nat64: "decode" and prefixes under which an IPv6 address stands for an IPv4 address.
        allow_ignore_policies, allow_ignore_tls_errors, allow_connect_host,
            allow_trust_connect_host: requests may use the field of that name.
        allow_host_override: requests may have another Host than their URI's; None: only where
            ``@private`` is not denied.
        allow_ipv6: connect over IPv6 too.
        max_open_requests: sessions open at once; 0 or less: no limit.
        max_requests_per_client: sessions of one worker open at once; further requests wait; 0: no
            limit.
        max_memory: bytes of bodies and answers held in all; 0: no limit.
        max_request_time: seconds that a request may take, whatever its own timeout; 0: no limit.
        buffer_size: bytes held per session and direction.
        timeout: seconds without activity until a session ends.
        connection_max_time: seconds that a connection may be used.
        in_hwm, out_hwm: messages queued per ZeroMQ connection; 0: no limit.
        max_message_size: bytes of one message of a worker; 0: no limit.
        worker_keepalive: seconds of silence after which TCP probes a worker's connection; 0: never.
        worker_heartbeat: seconds between ZMTP's heartbeats over TCP; 0: none.
        worker_heartbeat_timeout: seconds to answer a heartbeat.
        curve_server_key_file: path of the daemon's secret key for tcp endpoints; "" for none.
        curve_clients_dir: path of a directory with the public keys of clients; "" for none.
        allow_insecure_tcp: other machines may connect to tcp endpoints without a key.
        drain_timeout: seconds that open requests get when the daemon stops.
        max_response_size: bytes of a buffered answer, decoded; 0: no limit.
        max_expansion: decoded bytes for one byte of a body as sent; 0: no limit.
        user_agent: ``User-Agent`` of requests that have none; "" for none.
        ca_file: path of a PEM file of certificates to trust; "" for the system's.
        websocket_compression: offer permessage-deflate to WebSocket origins.
        websocket_large_frames: for frames of more than buffer_size: "split" or "refuse".
        websocket_ping_interval: seconds between the gateway's own pings; 0: none.
        websocket_ping_timeout: seconds until the origin has to send something after a ping.
        websocket_close_timeout: seconds until the origin has to answer a worker's close.
        proxy: URL of the proxy for all connections; "" for none.
        proxy_credentials_file: path of a file with USER:PASSWORD in it; "" for none.
        no_proxy: rules for hosts that are connected to directly.
        http_version: the highest version to use: "1.1", "2" or "3".
        source_address: local addresses of connections, one of each family at most.
        tls_groups: key exchange groups in OpenSSL's syntax; "" for OpenSSL's default.
        tls_min_version: "1.2" or "1.3".
        client_cert_file, client_key_file: paths of PEM files for client authentication; "" for
            none.
        tcp_keepalive: seconds of silence after which TCP probes a connection to an origin; 0:
            never.
        dns_cache: seconds that the addresses of a name are used; 0: looked up each time.
        dns_negative_cache: seconds that "no such name" is remembered.
        stream_memory: bytes that libcurl may hold for all streams of HTTP/2 and 3.
        max_connections_per_host: connections to one host; 0: no limit.
        max_host_errors: consecutive failures that open a host's circuit breaker; 0: never.
        metrics_listen: address of the status listener: HOST:PORT or unix:PATH; "" for none.
        log_level: 0 and 1 errors and warnings, 2 information, 3 debug.
        log_format: "text" or "json".
        log_query: URLs in log and status have their query.
        proxy_credentials: content of proxy_credentials_file; not shown by ``repr``.
        client_certificate: content of the two files; None where there are none.
        hosts: sections for hosts, in the order of the file.
        curve: the keys of CURVE; None where none are configured.
        file_rules: rules from files, by the key whose list they extend.
        warnings: faults of the file that do not prevent the start.
        origins: the number of the line of each key that is given.
    """

    instance_id: str = ""
    in_spec: tuple[str, ...] = ()
    in_stream_spec: tuple[str, ...] = ()
    out_spec: tuple[str, ...] = ()
    in_req_spec: tuple[str, ...] = ()
    ipc_file_mode: int | None = None
    defpolicy: str = "allow"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    deny_always: tuple[str, ...] = ()
    report_deny: tuple[str, ...] = ()
    allow_file: tuple[str, ...] = ()
    deny_file: tuple[str, ...] = ()
    deny_always_file: tuple[str, ...] = ()
    report_deny_file: tuple[str, ...] = ()
    allow_ports: tuple[tuple[int, int], ...] = ()
    require_tls: bool = False
    policy_mode: str = "enforce"
    nat64: tuple[str, ...] = ()
    allow_ignore_policies: bool = True
    allow_ignore_tls_errors: bool = True
    allow_connect_host: bool = True
    allow_trust_connect_host: bool = True
    allow_host_override: bool | None = None
    allow_ipv6: bool = False
    max_open_requests: int = 0
    max_requests_per_client: int = 0
    max_memory: int = 1_000_000_000
    max_request_time: int = 0
    buffer_size: int = 200_000
    timeout: int = 600
    connection_max_time: int = 7200
    in_hwm: int = 1000
    out_hwm: int = 1000
    max_message_size: int = 100_000_000
    worker_keepalive: int = 60
    worker_heartbeat: int = 20
    worker_heartbeat_timeout: int = 60
    curve_server_key_file: str = ""
    curve_clients_dir: str = ""
    allow_insecure_tcp: bool = False
    drain_timeout: int = 3
    max_response_size: int = 100_000_000
    max_expansion: int = 0
    user_agent: str = ""
    ca_file: str = ""
    websocket_compression: bool = False
    websocket_large_frames: str = "split"
    websocket_ping_interval: int = 0
    websocket_ping_timeout: int = 20
    websocket_close_timeout: int = 10
    proxy: str = ""
    proxy_credentials_file: str = ""
    metrics_listen: str = ""
    log_level: int = 2
    log_format: str = "text"
    log_query: bool = False
    no_proxy: tuple[str, ...] = ()
    http_version: str = "2"
    source_address: tuple[str, ...] = ()
    # With OpenSSL's default list the ClientHello needs two segments, which some firewalls drop.
    # With X25519 first it fits one, and servers that prefer the hybrid group still choose it.
    tls_groups: str = "X25519:X25519MLKEM768:P-256:P-384:P-521"
    tls_min_version: str = "1.2"
    client_cert_file: str = ""
    client_key_file: str = ""
    tcp_keepalive: int = 60
    dns_cache: int = 60
    dns_negative_cache: int = 0
    stream_memory: int = 64_000_000
    max_connections_per_host: int = 0
    max_host_errors: int = 0
    proxy_credentials: str = field(default="", repr=False)
    client_certificate: ClientCertificate | None = field(default=None, repr=False)
    hosts: tuple[HostSection, ...] = ()
    curve: Curve | None = field(default=None, repr=False)
    file_rules: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    origins: dict[str, int] = field(default_factory=dict)

    def policy(
        self, own_ports: Iterable[int] = (), is_local: Callable[[str], bool] | None = None
    ) -> Policy:
        """The policy that this configuration describes.

        Args:
            own_ports: TCP ports that this process listens on.
            is_local: whether an address is one of this host's; called for ``own_ports`` only.

        Raises:
            PolicyError: a rule cannot be used; ``load`` has checked that all can.
        """
        return Policy.from_rules(
            self.defpolicy,
            (*self.allow, *self.file_rules.get("allow", ())),
            (*self.deny, *self.file_rules.get("deny", ())),
            deny_always=(*self.deny_always, *self.file_rules.get("deny_always", ())),
            report_deny=(*self.report_deny, *self.file_rules.get("report_deny", ())),
            allow_ports=self.allow_ports,
            require_tls=self.require_tls,
            nat64=self.nat64,
            policy_mode=self.policy_mode,
            allow_ignore_policies=self.allow_ignore_policies,
            allow_ignore_tls_errors=self.allow_ignore_tls_errors,
            allow_connect_host=self.allow_connect_host,
            allow_trust_connect_host=self.allow_trust_connect_host,
            allow_host_override=self._allows_host_override,
            own_ports=own_ports,
            is_local=is_local,
        )

    @property
    def _allows_host_override(self) -> bool:
        # A server of the inner network may trust Host alone; so overriding it needs permission.
        if self.allow_host_override is not None:
            return self.allow_host_override
        return "@private" not in (*self.deny, *self.deny_always)


# Every key of [General], with the function that checks and converts its value.
KEYS: dict[str, values.Converter] = {
    "instance_id": values.identity,
    "in_spec": values.endpoints,
    "in_stream_spec": values.endpoints,
    "out_spec": values.endpoints,
    "in_req_spec": values.endpoints,
    "ipc_file_mode": values.octal_mode,
    "defpolicy": values.choice("allow", "deny"),
    "allow": values.items,
    "deny": values.items,
    "deny_always": values.items,
    "report_deny": values.items,
    "allow_file": values.items,
    "deny_file": values.items,
    "deny_always_file": values.items,
    "report_deny_file": values.items,
    "allow_ports": values.ports,
    "require_tls": values.boolean,
    "policy_mode": values.choice("enforce", "report"),
    "nat64": values.items,
    "allow_ignore_policies": values.boolean,
    "allow_ignore_tls_errors": values.boolean,
    "allow_connect_host": values.boolean,
    "allow_trust_connect_host": values.boolean,
    "allow_host_override": values.boolean,
    "allow_ipv6": values.boolean,
    "max_open_requests": values.number(-1, 10_000_000),
    "max_requests_per_client": values.number(0, 10_000_000),
    "max_memory": values.number(0, _MAX_BYTES),
    "max_request_time": values.number(0, NEVER),
    "buffer_size": values.number(1, _MAX_BYTES),
    "timeout": values.number(1, NEVER, minus_1=NEVER),
    # In Zurl, 0 empties the connection pool at once, and -1 never does.
    "connection_max_time": values.number(1, NEVER, minus_1=NEVER, zero=1),
    "in_hwm": values.number(0, 1_000_000_000),
    "out_hwm": values.number(0, 1_000_000_000),
    "max_message_size": values.number(0, _MAX_BYTES),
    "worker_keepalive": values.number(0, _MAX_KEEPALIVE),
    "worker_heartbeat": values.number(0, 3600),
    "worker_heartbeat_timeout": values.number(1, 3600),
    "curve_server_key_file": values.text,
    "curve_clients_dir": values.text,
    "allow_insecure_tcp": values.boolean,
    "drain_timeout": values.number(0, 86_400),
    "max_response_size": values.number(0, _MAX_BYTES),
    "max_expansion": values.number(0, 1_000_000_000),
    "user_agent": values.field_value,
    "ca_file": values.text,
    "websocket_compression": values.boolean,
    "websocket_large_frames": values.choice("split", "refuse"),
    "websocket_ping_interval": values.number(0, 86_400),
    "websocket_ping_timeout": values.number(1, 86_400),
    "websocket_close_timeout": values.number(1, 86_400),
    "proxy": values.proxy,
    "proxy_credentials_file": values.text,
    "no_proxy": values.items,
    "http_version": values.choice("1.1", "2", "3"),
    "source_address": values.source_address,
    "tls_groups": values.tls_groups,
    "tls_min_version": values.choice("1.2", "1.3"),
    "client_cert_file": values.text,
    "client_key_file": values.text,
    "tcp_keepalive": values.number(0, _MAX_KEEPALIVE),
    "dns_cache": values.number(0, NEVER),
    "dns_negative_cache": values.number(0, NEVER),
    "stream_memory": values.number(0, _MAX_BYTES),
    "max_connections_per_host": values.number(0, 1_000_000),
    "max_host_errors": values.number(0, 1_000_000),
    "metrics_listen": values.listener,
    "log_level": values.number(0, 3),
    "log_format": values.choice("text", "json"),
    "log_query": values.boolean,
}

# Keys that a section for hosts may set. Only there, an empty value means none.
HOST_KEYS: dict[str, values.Converter] = {
    **{
        key: KEYS[key]
        for key in (
            "ca_file",
            "client_cert_file",
            "client_key_file",
            "proxy",
            "http_version",
            "source_address",
            "tls_min_version",
            "tls_groups",
            "timeout",
        )
    },
    "max_connections": KEYS["max_connections_per_host"],
}

# A key with an empty value has its default where that is harmless. These keys need a value, or are
# off when it is empty.
NEEDS_VALUE = frozenset(("defpolicy", "policy_mode", "log_format", "websocket_large_frames")) | {
    key
    for key, convert in KEYS.items()
    if convert is values.boolean and key != "allow_host_override"  # empty: it depends on deny
}

_NO_KEYS = {
    "curve",
    "proxy_credentials",
    "client_certificate",
    "hosts",
    "file_rules",
    "warnings",
    "origins",
}
assert set(KEYS) == {f.name for f in fields(Config)} - _NO_KEYS
