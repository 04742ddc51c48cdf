"""``zurl-py check-config``: checks configurations, and prints the effective values."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import combinations, islice
from pathlib import Path
from socket import AF_INET6, inet_pton

import click

from ..config import HOST_KEYS, KEYS, Config, ConfigError, collisions, load
from ..config.hosts import choose_section
from ..delivery.config import KEYS as DELIVER_KEYS
from ..delivery.config import load as load_deliver
from ..delivery.config import shown
from ..delivery.preflight import is_deliver_file
from ..delivery.preflight import preflight as preflight_deliver
from ..policy.addresses import parse_address
from ..policy.rulelist import RuleList
from ..policy.rules import Subject
from ..url import BadUrl, Target, parse
from .preflight import preflight

__all__ = ["check_config"]

_MOST_SIBLINGS = 200  # files of one directory that are read
_LARGEST_SIBLING = 1 << 20  # bytes


@click.command("check-config")
@click.argument("files", metavar="[FILE]...", type=click.Path(), nargs=-1)
@click.option("--config", "-c", "more", type=click.Path(), multiple=True, help="The same as FILE.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors and warnings.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option(
    "--host",
    metavar="NAME",
    help="Show what holds for this host, without a port or with (NAME:PORT, [IPV6]:PORT).",
)
def check_config(
    files: tuple[str, ...], more: tuple[str, ...], quiet: bool, strict: bool, host: str | None
) -> None:
    """Check FILE (/etc/zurl.conf) and print the effective configuration.

    Each value is followed by where it comes from: the line of the file, or the default. The exit
    status is 1 if the daemon would not start on it. Of several files, one for each daemon, it is
    checked as well whether the daemons can stand beside each other. A configuration of zurl-py
    deliver is known by its keys.
    """
    failed = False
    files += more
    configs: dict[str, Config] = {}
    for file in files or ("/etc/zurl.conf",):
        if is_deliver_file(file):
            failed |= check_deliver(file, quiet, strict)
            continue
        try:
            config = configs[file] = load(file)
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        found = preflight(config, file)
        if not quiet:
            print(describe(config, file) if host is None else describe_host(config, file, host))
        failed |= report(found.errors, [*config.warnings, *found.later, *found.warnings], strict)
    if len(files) == 1 and configs:
        failed |= report((), shared_names(files[0], configs[files[0]]), strict)
    failed |= report(*compare(configs), strict)
    raise SystemExit(1 if failed else 0)


def check_deliver(file: str, quiet: bool, strict: bool) -> bool:
    """Check a configuration of ``zurl-py deliver``. Returns whether the check has failed."""
    try:
        config = load_deliver(file)
    except ConfigError as error:
        return report([str(error)], [], strict)
    if not quiet:
        values = {key: getattr(config, key) for key in DELIVER_KEYS}
        if config.store:
            values["store"] = shown(config.store)
        print("\n".join(["[General]", *_lines(values, config.origins, file)]))
    errors, later = preflight_deliver(config, file)
    return report(errors, [*config.warnings, *later], strict)


def report(errors: Iterable[str], warnings: Iterable[str], strict: bool) -> bool:
    """Print errors and warnings. Returns whether the check has failed."""
    failed = False
    for kind, texts, counts in (("error", errors, True), ("warning", warnings, strict)):
        for text in texts:
            print(f"{kind}: {text}", file=sys.stderr)
            failed |= counts
    return failed


def compare(configs: Mapping[str, Config]) -> tuple[list[str], list[str]]:
    """Errors and warnings about several daemons on one machine.

    An endpoint can be bound by one of them only, and a worker's ROUTER distinguishes daemons by
    their instance id.
    """
    errors, warnings = [], []
    for (file, config), (other_file, other) in combinations(configs.items(), 2):
        shared = collisions(config, other)
        errors += [f"{file} and {other_file}: {spec} is bound by both" for spec in shared]
        if config.instance_id and config.instance_id == other.instance_id:
            warnings.append(_one_name(file, config, other_file, other))
    return errors, warnings


def shared_names(file: str, config: Config) -> list[str]:
    """Warnings about other files of the directory with the same instance id.

    A file with the same endpoints is a copy, and not another daemon.
    """
    warnings: list[str] = []
    if not config.instance_id or not config.in_stream_spec:
        return warnings
    path = Path(file)
    for other_path in islice(sorted(path.parent.glob("*.conf")), _MOST_SIBLINGS):
        try:
            if other_path.samefile(path) or other_path.stat().st_size > _LARGEST_SIBLING:
                continue
            other = load(str(other_path))
        except (ConfigError, OSError):
            continue
        if other.instance_id == config.instance_id and not collisions(config, other):
            warnings.append(_one_name(file, config, str(other_path), other))
    return warnings


def _one_name(file: str, config: Config, other_file: str, other: Config) -> str:
    return (
        f"{file}:{config.origins['instance_id']} and {other_file}:{other.origins['instance_id']}: "
        f"one instance_id, {config.instance_id!r}, for two daemons: a worker that connects to both "
        "reaches but one of them with its credits; leave it empty, or give each its own"
    )


def describe_host(config: Config, file: str, host: str) -> str:
    """The effective values for requests to one host, with their origins."""
    target = _target(host)
    section = choose_section(config.hosts, target.host, target.port, target.scheme)
    lines = [f"[host {section.host}]" if section else "[General]"]
    straight = goes_straight(config, target.host, target.port, target.scheme)
    for key in HOST_KEYS:
        general = _GENERAL_NAMES.get(key, key)
        if key == "proxy" and straight:
            lines.append(_line(key, "", f"{file}:{config.origins['no_proxy']}, no_proxy"))
        elif section and key in section.values:
            lines.append(_line(key, section.values[key], f"{file}:{section.origins[key]}"))
        else:
            line = config.origins.get(general)
            origin = f"{file}:{line}" if line else "default"
            lines.append(_line(key, getattr(config, general), origin))
    return "\n".join(lines)


def _target(host: str) -> Target:
    """The target for a host as given: a name or an address, with or without a port."""
    if _NO_HOST.search(host):
        raise click.BadParameter(
            "a host is needed, not a URL: NAME, NAME:PORT, ADDRESS or [ADDRESS]:PORT",
            param_hint="--host",
        )
    with suppress(OSError):
        inet_pton(AF_INET6, host)
        host = f"[{host}]"
    try:
        return parse(f"https://{host}/".encode())
    except BadUrl as error:
        raise click.BadParameter(str(error), param_hint="--host") from None


_NO_HOST = re.compile(r"[/\\?#@]")

# Keys that have another name in [General].
_GENERAL_NAMES = {"max_connections": "max_connections_per_host"}


def goes_straight(config: Config, host: str, port: int, scheme: str) -> bool:
    """Whether no_proxy matches a host, so that it is connected to directly."""
    rules = RuleList("no_proxy", config.no_proxy, denies=False)
    return rules.first(Subject(host, parse_address(host)), None, None, port, scheme) is not None


def _line(key: str, value: object, origin: str) -> str:
    return f"{f'{key}={show(key, value)}':40}  ; {origin}"


def describe(config: Config, file: str) -> str:
    """The effective configuration in the form of a file, with the origins of the values."""
    values = {key: getattr(config, key) for key in KEYS}
    lines = ["[General]", *_lines(values, config.origins, file)]
    for section in config.hosts:
        lines += ["", f"[host {section.host}]"]
        for key, given_value in section.values.items():
            lines.append(_line(key, given_value, f"{file}:{section.origins[key]}"))
    return "\n".join(lines)


def _lines(values: Mapping[str, object], origins: Mapping[str, int], file: str) -> Iterator[str]:
    """Each value in the file's syntax, with its origin."""
    given = {key: show(key, value) for key, value in values.items()}
    width = max(len(f"{key}={value}") for key, value in given.items() if len(value) < 40)
    for key, value in given.items():
        origin = f"{file}:{origins[key]}" if key in origins else "default"
        yield f"{f'{key}={value}':{width}}  ; {origin}"


def show(key: str, value: object) -> str:
    """A value in the file's syntax."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return ""
    if key == "ipc_file_mode":
        return f"{value:o}"
    if isinstance(value, tuple):
        return ",".join(_item(item) for item in value)
    return _quote(str(value))


def _item(item: object) -> str:
    if isinstance(item, tuple):  # a range of ports
        first, last = item
        return str(first) if first == last else f"{first}-{last}"
    return _quote(str(item))


def _quote(text: str) -> str:
    if text.strip() == text and not set(text) & set('",;\\'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
