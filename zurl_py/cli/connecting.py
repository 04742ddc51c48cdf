"""The gateway that a command uses: a running one, or an embedded one."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from ..client.address import DEFAULT_PATH, VARIABLE, Embedded, Gateway, resolve
from ..client.errors import GatewayNotConfigured
from ..client.shorthands import read_certificate
from .terminal import tell

__all__ = ["Connected", "connect", "gateway_options"]

_OPTIONS: Final = (
    click.option(
        "--connect",
        metavar="ADDRESS",
        help="The gateway: path of its zurl.conf, 'embedded', or in=ENDPOINT,in_stream=…,out=…,"
        "req=…. Default: $ZURL_CONNECT, else /etc/zurl.conf, else an embedded one.",
    ),
    click.option("--embedded", is_flag=True, help="A gateway of this command's own."),
    click.option(
        "--allow",
        "allow",
        multiple=True,
        metavar="RULE",
        help="What an embedded gateway may reach besides the public Internet, such as localhost "
        "or 10.1.2.0/24. May be repeated.",
    ),
    click.option(
        "--policy",
        "policy",
        multiple=True,
        metavar="KEY=VALUE",
        help="A key of zurl.conf for an embedded gateway. May be repeated.",
    ),
)

_LOCALHOST: Final = re.compile(r"(?:https?://)?localhost(?::\d+)?", re.IGNORECASE)

CERTIFICATE_OPTIONS: Final[Sequence[tuple[Sequence[str], dict[str, Any]]]] = (
    (("--cert",), {"type": click.Path(exists=True), "help": "PEM of a client certificate."}),
    (("--key",), {"type": click.Path(exists=True), "help": "PEM of its key, if apart."}),
    (("--cacert",), {"type": click.Path(exists=True), "help": "PEM to trust (embedded gateway)."}),
)
"""Names and settings of the options that name files of TLS."""


def client_certificate(options: Mapping[str, Any]) -> dict[str, Any]:
    """``--cert`` and ``--key`` as the client's options.

    Raises:
        click.UsageError: there is a key without a certificate, or a file cannot be read.
    """
    if not options["cert"]:
        if options["key"]:
            raise click.UsageError("--key needs --cert, the certificate that it is for")
        return {}
    try:
        return read_certificate((options["cert"], options["key"]))
    except OSError as error:
        raise click.UsageError(f"--cert, --key: {error}") from None


def gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose the gateway."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Connected:
    """The chosen gateway.

    Attributes:
        gateways: one or more.
        address: the gateway address as given; the path of a ``zurl.conf``, if it is one.
    """

    gateways: Sequence[Gateway]
    address: str

    @property
    def embedded(self) -> Embedded | None:
        """The embedded gateway, if it is one."""
        first = self.gateways[0]
        return first if isinstance(first, Embedded) else None

    def configuration(self) -> str:
        """The text of the gateway's configuration, which has its policy.

        Raises:
            click.UsageError: only the gateway's endpoints are known.
        """
        own = self.embedded
        if own is not None:
            settings = {"in_req_spec": "ipc:///nowhere", **dict(own.settings)}
            return "".join(f"{key}={value}\n" for key, value in settings.items())
        try:
            return Path(self.address).expanduser().read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise click.UsageError(
                "--explain needs the gateway's zurl.conf: name it by --connect"
            ) from None

    def configuration_file(self) -> Iterator[str]:
        """The path of a file with that text, which is removed after the ``with`` block."""
        if self.embedded is None and Path(self.address).expanduser().is_file():
            yield str(Path(self.address).expanduser())
            return
        with tempfile.NamedTemporaryFile(
            "w", suffix=".conf", encoding="utf-8", errors="surrogateescape"
        ) as file:
            file.write(self.configuration())
            file.flush()
            yield file.name


def connect(options: Mapping[str, Any]) -> Connected:
    """The gateway that a command's options choose.

    Raises:
        GatewayUnavailable: there is no such gateway.
        click.UsageError: options exclude each other.
    """
    address, rules = options["connect"], options["allow"]
    settings = _settings(options["policy"])
    if options.get("cacert"):
        settings["ca_file"] = os.path.abspath(options["cacert"])
    if rules:
        settings["allow"] = ",".join(map(_with_addresses, rules))
    if options["embedded"]:
        if address not in (None, "embedded"):
            raise click.UsageError("--embedded and --connect name two gateways; give one of them")
        address = "embedded"
    try:
        gateways = resolve(address)
    except GatewayNotConfigured as error:
        tell(f"zurl-py: {error.args[0].partition('. Name')[0]}; using an embedded gateway")
        gateways = resolve("embedded")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if settings:
        if not isinstance(gateways[0], Embedded):
            raise click.UsageError(
                "--allow, --policy and --cacert are for an embedded gateway; a running one has its "
                "zurl.conf"
            )
        try:
            gateways = resolve("embedded", settings)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    return Connected(gateways, address or _named())


def _with_addresses(rule: str) -> str:
    """A rule of ``--allow``. A rule with a name alone does not allow the name's addresses.

    Where localhost is nobody's name server can say.
    """
    return f"{rule} -> @loopback" if _LOCALHOST.fullmatch(rule.strip()) else rule


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--policy {pair!r}: write KEY=VALUE")
        settings[key.strip()] = value.strip()
    return settings


def _named() -> str:
    return os.environ.get(VARIABLE, "").strip() or DEFAULT_PATH
