"""``zurl-py check-config``: is this file fit to run on, and what does it say in effect?"""

from __future__ import annotations

import sys

import click

from ..config import KEYS, Config, ConfigError, load

__all__ = ["check_config"]


@click.command("check-config")
@click.argument("file", type=click.Path(), default="/etc/zurl.conf")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors and warnings.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
def check_config(file: str, quiet: bool, strict: bool) -> None:
    """Check FILE (/etc/zurl.conf) and print the effective configuration.

    Each value is followed by where it comes from: the line of the file, or the default. The exit
    status is 1 if the daemon would not start on it.
    """
    try:
        config = load(file)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if not quiet:
        print(describe(config, file))
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    raise SystemExit(1 if strict and config.warnings else 0)


def describe(config: Config, file: str) -> str:
    """The effective configuration as a file that has the same effect, with the origins."""
    lines = ["[General]"]
    given = {key: show(key, config) for key in KEYS}
    width = max(len(f"{key}={value}") for key, value in given.items() if len(value) < 40)
    for key, value in given.items():
        origin = f"{file}:{config.origins[key]}" if key in config.origins else "default"
        lines.append(f"{f'{key}={value}':{width}}  ; {origin}")
    return "\n".join(lines)


def show(key: str, config: Config) -> str:
    """A value as it is written in the file."""
    value = getattr(config, key)
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
