"""``zurl-py check-url``: whether the policy allows a request, and why, without sending it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from ..config import Config, ConfigError, load
from ..host_addresses import is_local
from ..policy import Decision, Policy, parse_address
from ..url import BadUrl, Target, parse
from .options import config_option

__all__ = ["check_url"]


@click.command("check-url")
@click.argument("url")
@config_option("/etc/zurl.conf", "Configuration whose policy to apply.")
@click.option(
    "--address",
    "-a",
    "addresses",
    multiple=True,
    help="Suppose that the host has this address, and look nothing up. May be repeated.",
)
@click.option("--ignore-policies", is_flag=True, help="Suppose that the request asks for it.")
def check_url(url: str, config: str, addresses: tuple[str, ...], ignore_policies: bool) -> None:
    """Say what the policy would do with URL, and why, address by address.

    The host is looked up in the DNS, unless --address says where it is; nothing else is sent. The
    exit status is 0 if the request would be made, 1 if it would be refused or its host is unknown,
    2 if URL or configuration cannot be used.
    """
    try:
        loaded = load(config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    try:
        target = parse(url.encode("utf-8", "surrogateescape"))
    except BadUrl as error:
        hint = "" if "://" in url else f"; did you mean https://{url} ?"
        print(f"bad-request: {error}{hint}")
        raise SystemExit(2) from None
    for address in addresses:
        if parse_address(address) is None:
            print(f"error: --address {address!r} is not an IPv4 or IPv6 address", file=sys.stderr)
            raise SystemExit(2)
    check = Check(loaded, target, ignore_policies)
    for line in check.lines(list(addresses)):
        print(line)
    raise SystemExit(0 if check.allowed else 1)


@dataclass
class Check:
    """The policy's decisions about one URL.

    Attributes:
        allowed: the result, once all lines have been read.
    """

    config: Config
    target: Target
    ignore_policies: bool = False
    allowed: bool = False

    def lines(self, addresses: list[str]) -> Iterator[str]:
        """The report.

        Args:
            addresses: of the host; empty: look them up.
        """
        target = self.target
        yield f"url:     {target.text}"
        yield f"host:    {target.host}, port {target.port}, {target.scheme}"
        policy = self._policy()
        if self.ignore_policies:
            decision = policy.check_privileges(
                ignore_policies=True,
                ignore_tls_errors=False,
                connect_host=False,
                trust_connect_host=False,
            )
            yield f"privilege: {show(decision)}"
            if not decision.allowed:
                yield "outcome: policy-violation"
                return
            policy = policy.privileged()
        decision = policy.check_name(target.host, target.port, target.scheme)
        yield f"name:    {show(decision)}"
        if not decision.allowed:
            yield "outcome: policy-violation"
        elif self.config.proxy and not addresses:
            self.allowed = True
            yield f"address: not looked up; the proxy {self.config.proxy} would do that"
            yield "outcome: the proxy is asked to connect"
        else:
            yield from self._address_lines(policy, addresses)

    def _address_lines(self, policy: Policy, addresses: list[str]) -> Iterator[str]:
        target, ipv6 = self.target, self.config.allow_ipv6
        try:
            found = addresses or look_up(target.curl_url.host.strip("[]"), ipv6)
        except OSError as error:
            yield f"address: {error.strerror or error}"
            yield "outcome: remote-connection-failed"
            return
        usable, tried = [], False
        for address in found:
            if ":" in address and not ipv6:
                yield f"address: {address}: not used, as allow_ipv6 is false"
                continue
            tried = True
            decision = policy.check_address(address, target.port, target.scheme, target.host)
            yield f"address: {address}: {show(decision)}"
            if decision.allowed:
                usable.append(address)
        self.allowed = bool(usable)
        if usable:
            yield f"outcome: connects to {' or '.join(usable)}, port {target.port}"
        else:
            yield "outcome: policy-violation" if tried else "outcome: remote-connection-failed"

    def _policy(self) -> Policy:
        config = self.config
        specs = (*config.in_spec, *config.in_stream_spec, *config.out_spec, *config.in_req_spec)
        ports = {spec.rpartition(":")[2] for spec in specs if spec.startswith("tcp://")}
        return config.policy((int(port) for port in ports if port.isdecimal()), is_local)


def show(decision: Decision) -> str:
    """A decision in words."""
    if decision.reported:
        return f"allowed, but reported: would be {decision.reason}"
    if not decision.allowed:
        return decision.reason
    return f"allowed by {decision.rule}" if decision.rule else "allowed"


def look_up(host: str, ipv6: bool) -> list[str]:
    """The addresses of a host, in the order in which libcurl would try them.

    Args:
        host: as libcurl looks it up: with a dot at its end, without search domains.
        ipv6: include IPv6 addresses; without it they are included only if there are no others.

    Raises:
        OSError: there are none.
    """
    if host == "localhost" or host.endswith(".localhost"):  # libcurl does not look these up
        return ["::1", "127.0.0.1"] if ipv6 else ["127.0.0.1"]
    try:
        return _resolve(host, socket.AF_UNSPEC if ipv6 else socket.AF_INET)
    except OSError:
        if ipv6:
            raise
        return _resolve(host, socket.AF_INET6)


def _resolve(host: str, family: socket.AddressFamily) -> list[str]:
    found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
