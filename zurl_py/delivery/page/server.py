"""Serves the web page on loopback or a Unix socket, for a few people at once.

It is protected in four ways. Only this machine can connect. A Host other than this machine is
refused, because a stranger's name may resolve to this address and make a browser send requests
(DNS rebinding). The token, if there is one, is the password of HTTP's Basic scheme (RFC 7617). Each
change is a POST with a secret of this process that only our own pages contain (CSRF).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import http.server
import os
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from ...config.listener import Listener
from ..messages import QuestionError
from .html import Safe
from .pages import PageError, Pages
from .views import message

__all__ = ["PageServer"]

_AT_ONCE: Final = 8  # requests
_PATIENCE: Final = 10.0  # seconds for a request
_MOST_FORM: Final = 8192  # bytes
_MOST_FIELDS: Final = 20
_HOSTS: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class PageServer:
    """Serves pages in threads of its own; the loop answers its questions to the store.

    Args:
        token: the password; "" for none.
        mode: of a Unix socket; None: for the owner alone.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, address: Listener, mode: int | None, token: str, pages: Pages) -> None:
        self._path = address.path
        self._handler: type[_Handler] = type(
            "Handler", (_Handler,), {"pages": pages, "token": token, "path_": self._path}
        )
        self._server: socketserver.BaseServer
        if address.path:
            with contextlib.suppress(FileNotFoundError):
                if not _listens(address.path):
                    os.unlink(address.path)
            before = os.umask(0o777 & ~(0o600 if mode is None else mode))
            try:
                self._server = _UnixServer(address.path, self._handler)
            finally:
                os.umask(before)
        else:
            kind = _Server6 if ":" in address.host else _Server
            self._server = kind((address.host, address.port), self._handler)
        threading.Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    def use_token(self, token: str) -> None:
        """Set the password; "" for none."""
        self._handler.token = token

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


class _Bounded(socketserver.ThreadingMixIn):
    daemon_threads = True
    _room = threading.BoundedSemaphore(_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(timeout=_PATIENCE):
            super().process_request(request, client_address)
        else:
            request.close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: the browser has closed the connection."""


class _Server(_Bounded, http.server.HTTPServer):
    pass


class _Server6(_Server):
    address_family = socket.AF_INET6


class _UnixServer(_Bounded, socketserver.UnixStreamServer):
    pass


class _Handler(http.server.BaseHTTPRequestHandler):
    pages: ClassVar[Pages]
    token: ClassVar[str]
    path_: ClassVar[str]
    timeout = _PATIENCE
    protocol_version = "HTTP/1.0"
    server_version = "zurl"
    sys_version = ""

    def address_string(self) -> str:
        """A placeholder: over a Unix socket there is no address."""
        return "-"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: ids and endpoints are in the service's log already."""

    def do_GET(self) -> None:
        """Show a page."""
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, max_num_fields=_MOST_FIELDS))
        self._answer(lambda nonce: self.pages.get(url.path, query, nonce))

    def do_HEAD(self) -> None:
        """Answer as for GET, without the body."""
        self.do_GET()

    def do_POST(self) -> None:
        """Carry out a form that was confirmed."""
        try:
            length = min(int(self.headers.get("Content-Length", "0")), _MOST_FORM)
        except ValueError:
            length = 0
        text = self.rfile.read(max(0, length)).decode("utf-8", "replace")
        fields = dict(parse_qsl(text, max_num_fields=_MOST_FIELDS))
        origin = self.headers.get("Origin")
        if origin not in (None, "null") and urlsplit(origin or "").netloc != self.headers.get(
            "Host"
        ):
            fields.pop("csrf", None)
        self._answer(lambda nonce: self.pages.post(urlsplit(self.path).path, fields, nonce))

    def _answer(self, make: Callable[[str], Safe | str]) -> None:
        nonce = secrets.token_urlsafe(12)
        status, extra = 200, {}
        try:
            self._refuse_strangers()
            page = make(nonce)
            if not isinstance(page, Safe):  # the path of a redirect
                status, extra, page = 303, {"Location": page}, Safe("")
        except PageError as error:
            status, extra = error.status, error.headers
            page = message(error.title, str(error), nonce)
        except QuestionError as failure:
            status = 404 if failure.condition.startswith("unknown-") else 400
            page = message(failure.condition, failure.detail, nonce)
        body = page.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {**_headers(nonce), **extra}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse_strangers(self) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if not self.path_ and host not in _HOSTS:
            raise PageError(421, "Not here", "this page is for this machine: use localhost")
        if self.token and not self._has_token():
            raise PageError(
                401,
                "Token needed",
                "the password is the token of http_token_file",
                {"WWW-Authenticate": 'Basic realm="zurl webhooks", charset="UTF-8"'},
            )

    def _has_token(self) -> bool:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = value.strip().encode()
        elif scheme.lower() == "basic":
            try:
                given = base64.b64decode(value, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        else:
            return False
        return hmac.compare_digest(given, self.token.encode())


def _headers(nonce: str) -> dict[str, str]:
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
    raise OSError(f"another process listens on {path}")
