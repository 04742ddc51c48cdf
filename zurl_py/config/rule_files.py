"""Files with rules of the policy, one rule per line, for lists that programs write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..policy import PolicyError, parse_rule
from .errors import ConfigError

__all__ = ["RULE_FILES", "read_rules"]

# The keys that name files, and the keys whose lists these extend.
RULE_FILES = {
    "allow_file": "allow",
    "deny_file": "deny",
    "deny_always_file": "deny_always",
    "report_deny_file": "report_deny",
}


def read_rules(files: Iterable[str], config: str, key: str, line: int) -> tuple[str, ...]:
    """The rules of some files, in order. Blank lines and text after a ``#`` are ignored.

    Args:
        files: paths; relative ones are relative to the directory of ``config``.
        config: path of the configuration file.
        key, line: the key that names the files, and its line.

    Raises:
        ConfigError: a file cannot be read, or a line is no rule; the error names file and line.
    """
    rules: list[str] = []
    for file in files:
        path = Path(config).parent / file
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise _unreadable(config, key, line, path, error.strerror) from None
        except ValueError:  # a NUL in the path, or content that is not UTF-8
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
