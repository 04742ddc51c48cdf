"""Secrets by reference: store and messages hold the place of a secret, not the secret itself.

``credential:NAME`` is a file of ``$CREDENTIALS_DIRECTORY`` (systemd's ``LoadCredential=``),
``env:NAME`` a variable of this process's environment. Anything else is the secret itself.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..signatures import Mode, SecretError, check_secret

__all__ = ["check", "resolve"]

_CREDENTIAL = "credential:"
_ENVIRONMENT = "env:"
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,255}")
_MOST = 4096  # bytes of a credential


def check(mode: Mode, secrets: tuple[str, ...]) -> None:
    """Refuse secrets that ``mode`` cannot sign with, and references that lead to nothing.

    Raises:
        SecretError: a secret cannot be used.
    """
    for secret in secrets:
        check_secret(mode, resolve(secret))


def resolve(secret: str) -> str:
    """The secret that a text is, or refers to.

    Raises:
        SecretError: the file or variable is missing.
    """
    if secret.startswith(_CREDENTIAL):
        return _credential(secret.removeprefix(_CREDENTIAL))
    if secret.startswith(_ENVIRONMENT):
        name = secret.removeprefix(_ENVIRONMENT)
        found = os.environ.get(name)
        if not found:
            raise SecretError(f"the environment of deliver has no variable {name[:60]!r}")
        return found
    return secret


def _credential(name: str) -> str:
    # A name with a slash could lead out of the directory.
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or _NAME.fullmatch(name) is None or name in (".", ".."):
        raise SecretError(f"there is no credential {name[:60]!r}; see LoadCredential= of systemd")
    try:
        with Path(directory, name).open("rb") as file:
            return file.read(_MOST).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise SecretError(f"the credential {name!r} cannot be read") from None
