"""Pooled libcurl easy handles, and the policy's two questions that libcurl puts to us.

A handle in the pool has the options of ``_prepare`` and nothing else. A request that needs only an
URL and headers sets these two; what it adds beyond is undone, or the handle reset, on release.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pycurl

from ..policy import Decision
from .request import HttpRequest, connect_host_url, connect_to, header_lines

__all__ = ["EasyHandle", "HandlePool", "TransportOptions"]

_HTTP_SCHEMES = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
# TCP_NODELAY is libcurl's default already.
_MAX_POOLED = 1000
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_..., which pycurl does not name


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What the configuration says about every connection."""

    allow_ipv6: bool = False
    connection_max_time: int = 7200  # seconds a connection may be used
    ca_file: str | None = None
    ca_path: str | None = None
    max_response_size: int = 0  # bytes of a buffered answer; 0 is unlimited
    proxy: str = ""
    proxy_userpwd: str = ""


class EasyHandle:
    """One ``pycurl.Curl`` with the callbacks that every transfer needs.

    Attributes:
        curl: the handle itself.
        header_lines: header lines of a buffered answer, as libcurl gives them.
        chunks: body of a buffered answer.
        refused: the policy decision that refused an address, if one did.
        tried: addresses that the policy let pass.
        peer: address of the connection in use, once known.
        gated: others wait for this handle to resolve a name; it then goes into the list
            ``resolved`` that the pool was made with.
    """

    __slots__ = (
        "_dirty",
        "_discards",
        "_options",
        "_posted",
        "_proxied",
        "_request",
        "_resolved",
        "_streams",
        "chunks",
        "curl",
        "gated",
        "header_lines",
        "peer",
        "refused",
        "tried",
    )

    def __init__(self, options: TransportOptions, resolved: list[EasyHandle]) -> None:
        self.curl = pycurl.Curl()
        self._resolved = resolved
        self.gated = False
        self.header_lines: list[bytes] = []
        self.chunks: list[bytes] = []
        self.refused: Decision | None = None
        self.tried = 0
        self.peer: str | None = None
        self._request: HttpRequest | None = None
        self._options = options
        self._proxied = bool(options.proxy)
        self._posted = False  # options of a body are set
        self._discards = False  # the body goes nowhere
        self._streams = False  # the answer goes to a StreamTransfer as it comes
        self._dirty = False  # options are set that only a reset takes back
        self._prepare()

    def _prepare(self) -> None:
        options = self._options
        setopt = self.curl.setopt
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROTOCOLS, _HTTP_SCHEMES)
        setopt(pycurl.REDIR_PROTOCOLS, _HTTP_SCHEMES)
        # An explicit proxy, "" included, keeps libcurl from asking the environment for one.
        setopt(pycurl.PROXY, options.proxy)
        setopt(pycurl.NOPROXY, "" if options.proxy else "*")
        if options.proxy:
            # The proxy's answer to CONNECT is not the origin's.
            setopt(_SUPPRESS_CONNECT_HEADERS, 1)
            if options.proxy_userpwd:
                setopt(pycurl.PROXYUSERPWD, options.proxy_userpwd)
        if not options.allow_ipv6:
            setopt(pycurl.IPRESOLVE, pycurl.IPRESOLVE_V4)
        setopt(pycurl.USERAGENT, "")  # none, unless the worker sends one
        setopt(pycurl.ACCEPT_ENCODING, "")  # all that libcurl can undo
        setopt(pycurl.PATH_AS_IS, 1)
        # What one read unpacks to is held at once, however small its credits: so not larger.
        setopt(pycurl.BUFFERSIZE, 65536)
        # Never aged here, as the whole cache would be scanned after every transfer; see Egress.
        setopt(pycurl.DNS_CACHE_TIMEOUT, -1)
        setopt(pycurl.MAXLIFETIME_CONN, options.connection_max_time)
        if options.ca_file is not None:
            setopt(pycurl.CAINFO, options.ca_file)
        if options.ca_path is not None:
            setopt(pycurl.CAPATH, options.ca_path)
        setopt(pycurl.MAXFILESIZE_LARGE, options.max_response_size)
        setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        setopt(pycurl.PREREQFUNCTION, self._before_request)
        setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
        setopt(pycurl.WRITEFUNCTION, self.chunks.append)

    # -- one request ---------------------------------------------------------------------------

    def apply(self, request: HttpRequest, verify_connect_host: bool = False) -> None:
        """Set what this request needs beyond the prepared options, but for an upload's body.

        The answer is buffered in ``header_lines`` and ``chunks``.

        Args:
            verify_connect_host: the certificate must be the connect host's, not the URI's.
        """
        self._request = request
        self.refused = None
        self.tried = 0
        self.peer = None
        setopt = self.curl.setopt
        url = connect_host_url(request) if verify_connect_host else request.target.curl_url
        setopt(pycurl.CURLU, url)
        lines = header_lines(request, verify_connect_host)
        method = request.method
        if request.body or (method != b"GET" and method not in _BODYLESS):
            self._apply_body(request, lines)
        else:
            setopt(pycurl.HTTPHEADER, lines)
            if method != b"GET":
                self._posted = True
                setopt(pycurl.CUSTOMREQUEST, method)
                if method == b"HEAD":
                    self._dirty = True
                    setopt(pycurl.NOBODY, 1)
                    # A Content-Length counts as size here, and no body comes.
                    setopt(pycurl.MAXFILESIZE_LARGE, 0)
        if request.max_size is not None and method != b"HEAD":
            self._dirty = True
            setopt(pycurl.MAXFILESIZE_LARGE, max(1, request.max_size))
        if request.discard:
            self._discards = True
            setopt(pycurl.WRITEFUNCTION, len)  # "all of it is taken"
        if request.connects_elsewhere or request.ignore_tls_errors:
            self._apply_connection(request)

    def _apply_body(self, request: HttpRequest, lines: list[bytes]) -> None:
        setopt = self.curl.setopt
        lines = [*lines, b"Expect:"]
        if not request.headers.has_type:
            lines.append(b"Content-Type:")
        setopt(pycurl.HTTPHEADER, lines)
        self._posted = True
        setopt(pycurl.POST, 1)
        setopt(pycurl.POSTFIELDS, request.body)
        if request.method != b"POST":
            setopt(pycurl.CUSTOMREQUEST, request.method)

    def _apply_connection(self, request: HttpRequest) -> None:
        self._dirty = True
        elsewhere = connect_to(request)
        if elsewhere is not None:
            self.curl.setopt(pycurl.CONNECT_TO, [elsewhere])
        if request.ignore_tls_errors:
            self.curl.setopt(pycurl.SSL_VERIFYPEER, 0)
            self.curl.setopt(pycurl.SSL_VERIFYHOST, 0)

    def stream(
        self,
        header_came: Callable[[bytes], int | None],
        body_came: Callable[[memoryview], int | None],
    ) -> None:
        """Give header lines and body to these as they come, over HTTP/1.1, however much it is."""
        self._streams = True
        setopt = self.curl.setopt
        setopt(pycurl.HEADERFUNCTION, header_came)
        setopt(pycurl.WRITEFUNCTION, body_came, use_memoryview=True)
        setopt(pycurl.MAXFILESIZE_LARGE, 0)
        # A paused stream of a shared HTTP/2 connection would buffer up to 10 MB in libcurl.
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)

    def set(self, option: int, value: Any) -> None:
        """Set an option that only a reset takes back."""
        self._dirty = True
        self.curl.setopt(option, value)

    def release(self) -> None:
        """Take back what the request set; the transfer must be out of its multi handle."""
        self._request = None
        self.header_lines.clear()
        self.chunks.clear()
        if self._dirty:
            self._dirty = self._posted = self._discards = self._streams = False
            self.curl.reset()
            self._prepare()
            return
        if self._streams:
            self._streams = False
            self.curl.setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
            self.curl.setopt(pycurl.WRITEFUNCTION, self.chunks.append)
            self.curl.setopt(pycurl.MAXFILESIZE_LARGE, self._options.max_response_size)
            self.curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_NONE)
        elif self._discards:
            self._discards = False
            self.curl.setopt(pycurl.WRITEFUNCTION, self.chunks.append)
        if self._posted:
            self._posted = False
            self.curl.setopt(pycurl.POSTFIELDS, b"")
            self.curl.setopt(pycurl.HTTPGET, 1)
            self.curl.unsetopt(pycurl.CUSTOMREQUEST)

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _open_socket(self, _purpose: int, address: Any) -> int:
        """``CURLOPT_OPENSOCKETFUNCTION``: asked for every address, before connecting to it."""
        try:
            self._tell_resolved()
            family, kind, protocol, where = address
            if family not in (socket.AF_INET, socket.AF_INET6) or self._request is None:
                return int(pycurl.SOCKET_BAD)
            # Through a proxy only its own address is seen here, and the operator chose that.
            if not self._proxied and not self._allows(where[0], where[1]):
                return int(pycurl.SOCKET_BAD)
            self.tried += 1
            return socket.socket(family, kind, protocol).detach()
        except Exception:  # no descriptors left, most likely; libcurl reports a failed connect
            return int(pycurl.SOCKET_BAD)

    def _before_request(self, address: str, _local: str, port: int, _local_port: int) -> int:
        """``CURLOPT_PREREQFUNCTION``: asked before every request, on reused connections too."""
        try:
            self._tell_resolved()
            self.peer = address
            if self._proxied or self._allows(address, port):
                return int(pycurl.PREREQFUNC_OK)
        except Exception:
            pass
        return int(pycurl.PREREQFUNC_ABORT)

    def _tell_resolved(self) -> None:
        if self.gated:
            self.gated = False
            self._resolved.append(self)

    def _allows(self, address: str, port: int) -> bool:
        request = self._request
        if request is None:
            return False
        target = request.target
        host = request.connect_host or target.host
        decision = request.policy.check_address(address, port, target.scheme, host)
        if decision.allowed:
            return True
        self.refused = decision
        return False


# Methods that go out without Content-Length where there is no body; all others say 0.
_BODYLESS = frozenset((b"HEAD", b"OPTIONS", b"DELETE"))


class HandlePool:
    """Easy handles that wait for a request."""

    def __init__(self, options: TransportOptions, resolved: list[EasyHandle]) -> None:
        self._options = options
        self._resolved = resolved
        self._idle: list[EasyHandle] = []

    def take(self) -> EasyHandle:
        """A prepared handle."""
        return self._idle.pop() if self._idle else EasyHandle(self._options, self._resolved)

    def give_back(self, handle: EasyHandle) -> None:
        """Release a handle that is in no multi handle any more."""
        if len(self._idle) < _MAX_POOLED:
            handle.release()
            self._idle.append(handle)
        else:
            handle.curl.close()
