"""Rules of the policy in files of their own: one to a line, for lists that programs write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..policy import PolicyError, parse_rule
from .errors import ConfigError

__all__ = ["RULE_FILES", "read_rules"]

# The key that names files, and the key whose list they make longer.
RULE_FILES = {
    "allow_file": "allow",
    "deny_file": "deny",
    "deny_always_file": "deny_always",
    "report_deny_file": "report_deny",
}


def read_rules(files: Iterable[str], config: str, key: str, line: int) -> tuple[str, ...]:
    """The rules of some files, in order. Blank lines and what follows a ``#`` count for nothing.

    Args:
        files: paths; relative ones are relative to the directory of ``config``.
        config: path of the configuration file.
        key, line: where in it the files are named.

    Raises:
        ConfigError: a file cannot be read; or a line is no rule, and then it names that line.
    """
    rules: list[str] = []
    for file in files:
        path = Path(config).parent / file
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise _unreadable(config, key, line, path, error.strerror) from None
        except ValueError:  # a NUL in its name, or bytes that are not UTF-8
            raise _unreadable(config, key, line, path, "it is not UTF-8") from None
        for number, written in enumerate(text.splitlines(), 1):
            rule = written.partition("#")[0].strip()
            if not rule:
                continue
            try:
                parse_rule(rule)
            except PolicyError as error:
                raise ConfigError(str(path), str(error), line=number) from None
            rules.append(rule)
    return tuple(rules)


def _unreadable(config: str, key: str, line: int, path: Path, reason: str | None) -> ConfigError:
    return ConfigError(config, f"cannot read {str(path)!r}: {reason}", line=line, key=key)
