"""Options that are named as in httpx and requests: ``cert``, ``http2``, ``http3``."""

from __future__ import annotations

import os
from typing import Any, Final

__all__ = ["expand", "read_certificate"]

_VERSIONS: Final = ("http2", "http3")


def expand(options: dict[str, Any]) -> None:
    """Replace these options by ``client_cert``, ``client_key`` and ``http_version``.

    Raises:
        TypeError: the options contradict each other, or have a wrong type.
        ValueError: a key has a pass phrase.
        OSError: a file cannot be read.
    """
    certificate = options.pop("cert", None)
    if certificate is not None:
        if "client_cert" in options or "client_key" in options:
            raise TypeError("cert= and client_cert=, client_key=: give one or the other")
        options.update(read_certificate(certificate))
    given = {name: options.pop(name) for name in _VERSIONS if name in options}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is True or False, not {type(value).__name__}")
    if not given:
        return
    if options.get("http_version") is not None:
        raise TypeError("http_version= and http2=, http3=: give one or the other")
    if given.get("http3"):
        options["http_version"] = "3"
    else:
        options["http_version"] = "2" if given.get("http2", True) else "1.1"


def read_certificate(cert: Any) -> dict[str, bytes]:
    """The content of a client certificate and its key.

    Args:
        cert: path of a file with both, or a pair of paths.

    Raises:
        TypeError: it is neither.
        ValueError: it has a third item, the pass phrase of the key.
        OSError: a file cannot be read.
    """
    if isinstance(cert, (str, os.PathLike)):
        paths: list[Any] = [cert]
    elif isinstance(cert, (tuple, list)) and 1 <= len(cert) <= 3 and cert[0]:
        if len(cert) == 3 and cert[2] is not None:
            raise ValueError("cert: a key with a pass phrase cannot be used")
        paths = [path for path in cert[:2] if path]
    else:
        raise TypeError("cert is a path, or a pair of paths")
    paths = [paths[0], paths[-1]]  # one file may hold both
    for path, what in zip(paths, ("certificate", "key"), strict=True):
        if not os.path.exists(path):  # requests' message, before either is read
            raise OSError(f"Could not find the TLS {what} file, invalid path: {path}")
    texts = []
    for path in paths:
        with open(path, "rb") as file:
            texts.append(file.read())
    return {"client_cert": texts[0], "client_key": texts[1]}
