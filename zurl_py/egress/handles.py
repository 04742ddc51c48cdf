"""Pooled libcurl easy handles, and the two callbacks in which libcurl asks for the policy.

A handle in the pool has the options of ``_prepare`` and nothing else. A request that needs only a
URL and headers sets these two options; further ones are undone, or the handle is reset, on release.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeVar

import pycurl

from .. import descriptors
from ..http.codings import OFFERED
from ..log import Log
from ..policy import Decision
from . import datagrams
from .kept_connections import KeptConnections
from .request import HttpRequest, connect_host_url, connect_to, header_lines
from .settings import ConnectionSettings
from .window import ReceiveWindow, StreamBudget

__all__ = ["MOST_PIECES", "PIECE_SHIFT", "EasyHandle", "HandlePool", "with_slack"]

_Data = TypeVar("_Data")

_HTTP_SCHEMES = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
# Pieces of a body, or interim heads, that a transfer may take in each turn of the loop. With more,
# it pauses if the turn has lasted too long: one read may have hundreds of thousands of chunks of
# one byte. While the transfer is paused, libcurl joins them. Large pieces count as several.
MOST_PIECES = 32
PIECE_SHIFT = 11  # one more for each 2 KiB
_MAX_POOLED = 1000
# CURLOPT_... that pycurl has no names for
_SUPPRESS_CONNECT_HEADERS = 265
_SSL_EC_CURVES = 10298
_TCP_KEEPCNT = 326
_IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>
_INET6 = socket.AF_INET6
_NO_TIME = 1e-5  # seconds
_GO_ON = int(pycurl.PREREQFUNC_OK)
_ABORT = int(pycurl.PREREQFUNC_ABORT)
_ALTERNATIVE_TIMEOUT = 1000  # milliseconds
_QUIC_MAX_IDLE = 20  # seconds
_PROBES = 4
_PROBE_INTERVAL = 15  # seconds
_TLS_VERSIONS = {"1.2": pycurl.SSLVERSION_TLSv1_2, "1.3": pycurl.SSLVERSION_TLSv1_3}
_HTTP_VERSIONS = {
    "1.1": pycurl.CURL_HTTP_VERSION_1_1,
    "2": pycurl.CURL_HTTP_VERSION_2TLS,
    "3": 30,  # CURL_HTTP_VERSION_3: falls back to the others
}
_HTTP3_ONLY = 31  # CURL_HTTP_VERSION_3ONLY: the origin offers no TCP at that port
_FAMILIES = {
    (4,): pycurl.IPRESOLVE_V4,
    (6,): pycurl.IPRESOLVE_V6,
    (4, 6): pycurl.IPRESOLVE_WHATEVER,
}


def with_slack(limit: int) -> int:
    """Bytes that a body of ``limit`` bytes may have in its coding, if it does not compress.

    libcurl counts coded bytes; limits apply to decoded bodies.
    """
    return limit + limit // 8 + 65_536 if limit else 0


class EasyHandle:
    """One ``pycurl.Curl`` with the callbacks that every transfer needs.

    Attributes:
        curl: the handle itself.
        header_lines: header lines of a buffered answer, as libcurl gives them.
        body: body of a buffered answer, as the origin sent it.
        must_yield: called when a body comes in many pieces; true pauses the transfer, so that
            others have their turn.
        pieces: of the body in this turn of the loop.
        refused: the policy decision that refused an address, if one did.
        tried: number of addresses that the policy allowed.
        peer: address of the connection in use, once known.
        proxied: connections go to a proxy.
        kept_only: no connection may be opened.
        wanted_socket: libcurl asked for a socket although ``kept_only``, and got none.
        broken: a bug of ours in a callback has ended the transfer.
        kept: the kept connections of its multi handle.
        out_of_descriptors: no file descriptor was left for a connection.
        was_dead: libcurl was about to send the request on a dead connection.
        problem: why no socket could be made, if none could.
        offers_http2: the request may use a version above HTTP/1.1.
        spares_memory: it uses HTTP/1.1 because streams hold too much memory already.
        alternative: it uses a port that the origin has named (``Alt-Svc``).
        tries_quic: the request may use HTTP/3.
        first: key of the connection that other transfers wait for while this one connects; None
            if none may wait.
        window: receive window of a streamed answer whose connection may be shared.
    """

    __slots__ = (
        "_dirty",
        "_discards",
        "_has_limit",
        "_log",
        "_most_coded",
        "_pool",
        "_posted",
        "_request",
        "_settings",
        "_streams",
        "alternative",
        "body",
        "broken",
        "curl",
        "first",
        "header_lines",
        "kept",
        "kept_only",
        "must_yield",
        "offers_http2",
        "out_of_descriptors",
        "peer",
        "peer_port",
        "pieces",
        "problem",
        "proxied",
        "refused",
        "spares_memory",
        "tried",
        "tries_quic",
        "wanted_socket",
        "was_dead",
        "window",
    )

    def __init__(self, pool: HandlePool) -> None:
        self.curl = pycurl.Curl()
        self._pool = pool
        self._log = pool.log
        self.kept_only = False
        self.wanted_socket = False
        self.broken = False
        self.kept: KeptConnections | None = None
        self.was_dead = False
        self.offers_http2 = pool.settings.http_version != "1.1"
        self.first: object = None
        self.window: ReceiveWindow | None = None
        self.peer_port = 0
        self.tries_quic = self.alternative = self.spares_memory = False
        self.problem = ""
        self.header_lines: list[bytes] = []
        self.body = BytesIO()
        self.must_yield: Callable[[], bool] | None = None
        self.pieces = 0
        self.refused: Decision | None = None
        self.out_of_descriptors = False
        self.tried = 0
        self.peer: str | None = None
        self._request: HttpRequest | None = None
        self._settings = pool.settings
        self._most_coded = with_slack(pool.max_response_size)  # bytes of an answer
        self.proxied = bool(pool.settings.proxy)
        self._posted = False  # options of a body are set
        self._has_limit = False  # a speed limit is set
        self._discards = False  # the body is dropped
        self._streams = False  # the answer goes to a StreamTransfer as it comes
        self._dirty = False  # options are set that only a reset undoes
        self._prepare()

    def __repr__(self) -> str:
        return f"<EasyHandle {self._request or 'idle'} peer={self.peer} tried={self.tried}>"

    def _prepare(self) -> None:
        options = self._settings
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
        setopt(pycurl.IPRESOLVE, _FAMILIES[options.families])
        setopt(pycurl.USERAGENT, "")  # none, unless the worker sends one
        # Transfers decode, piece by piece: libcurl would expand one read to gigabytes.
        setopt(pycurl.ACCEPT_ENCODING, OFFERED)
        setopt(pycurl.HTTP_CONTENT_DECODING, 0)
        setopt(pycurl.PATH_AS_IS, 1)
        setopt(pycurl.BUFFERSIZE, 65536)
        # Never expired by libcurl, which would scan its whole cache after every transfer: the
        # engine knows the age of a name, and sets its addresses again.
        setopt(pycurl.DNS_CACHE_TIMEOUT, -1)
        setopt(pycurl.MAXLIFETIME_CONN, options.connection_max_time)
        setopt(pycurl.HTTP_VERSION, self._http_version(options.http_version))
        if options.http_version == "3":
            # Nothing reports that the other end of a QUIC connection is gone: keep none for long.
            setopt(pycurl.MAXAGE_CONN, _QUIC_MAX_IDLE)
        self._prepare_tls(options)
        if options.tcp_keepalive:
            setopt(pycurl.TCP_KEEPALIVE, 1)
            setopt(pycurl.TCP_KEEPIDLE, options.tcp_keepalive)
            setopt(pycurl.TCP_KEEPINTVL, _PROBE_INTERVAL)
            setopt(_TCP_KEEPCNT, _PROBES)
        setopt(pycurl.MAXFILESIZE_LARGE, self._most_coded)
        setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        setopt(pycurl.PREREQFUNCTION, self._before_request)
        setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
        setopt(pycurl.WRITEFUNCTION, self._collect)

    def _http_version(self, version: str) -> int:
        """``CURLOPT_HTTP_VERSION`` for the highest version to use."""
        if version == "3" and self.proxied:
            version = "2"  # libcurl would ask the proxy for a QUIC tunnel first
        return int(_HTTP_VERSIONS[version])

    def _prepare_tls(self, options: ConnectionSettings) -> None:
        setopt = self.curl.setopt
        if options.ca_file is not None:
            setopt(pycurl.CAINFO, options.ca_file)
        if options.ca_path is not None:
            setopt(pycurl.CAPATH, options.ca_path)
        setopt(pycurl.SSLVERSION, _TLS_VERSIONS[options.tls_min_version])
        if options.tls_groups:
            setopt(_SSL_EC_CURVES, options.tls_groups)
        if options.client_certificate is not None:
            setopt(pycurl.SSLCERT_BLOB, options.client_certificate.chain)
            setopt(pycurl.SSLKEY_BLOB, options.client_certificate.key)

    # -- one request ---------------------------------------------------------------------------

    def apply(self, request: HttpRequest, verify_connect_host: bool = False) -> None:
        """Set the options of this request, except those of an upload's body.

        The answer is buffered in ``header_lines`` and ``body``.

        Args:
            verify_connect_host: the certificate must be the connect host's, not the URI's.
        """
        self._request = request
        self.refused = self.peer = None
        self.tried = 0
        self.problem = ""
        self.out_of_descriptors = self.tries_quic = self.alternative = self.spares_memory = False
        self.wanted_socket = self.broken = self.was_dead = False
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
                    # libcurl would compare Content-Length with this, though no body comes.
                    setopt(pycurl.MAXFILESIZE_LARGE, 0)
        if request.max_size is not None and method != b"HEAD":
            self._dirty = True
            setopt(pycurl.MAXFILESIZE_LARGE, with_slack(max(1, request.max_size)))
        if request.discard:
            self._discards = True
            setopt(pycurl.WRITEFUNCTION, len)  # reports all bytes as taken
        if (
            request.connect_host is not None
            or request.connect_port is not None
            or request.ignore_tls_errors
        ):
            self._apply_connection(request)
        if request.client_certificate is not None:
            self.set(pycurl.SSLCERT_BLOB, request.client_certificate.chain)
            self.set(pycurl.SSLKEY_BLOB, request.client_certificate.key)
        if request.http_version:
            self.offers_http2 = request.http_version != "1.1"
            self.set(pycurl.HTTP_VERSION, self._http_version(request.http_version))
        if request.connect_timeout:
            self.set(pycurl.CONNECTTIMEOUT_MS, request.connect_timeout)

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

    def _collect(self, data: bytes) -> int | None:
        """``CURLOPT_WRITEFUNCTION`` of a buffered answer."""
        if self.pieces > MOST_PIECES and self.must_yield is not None and self.must_yield():
            self.pieces = 0
            return int(pycurl.WRITEFUNC_PAUSE)  # the same bytes come again
        self.pieces += 1 + (len(data) >> PIECE_SHIFT)
        self.body.write(data)
        return None

    def watch(
        self,
        header_came: Callable[[bytes], int | None],
        body_came: Callable[[memoryview], int | None] | None,
    ) -> None:
        """Call these with each header line and, if given, each piece of the body, of any size.

        Args:
            header_came: must not raise; it is called too often to be guarded here.
        """
        self._streams = True
        self.curl.setopt(pycurl.HEADERFUNCTION, header_came)
        if body_came is not None:
            self._give_body(self.guarded(body_came, 0))

    def _give_body(self, take: Callable[[memoryview], Any]) -> None:
        self.curl.setopt(pycurl.WRITEFUNCTION, take, use_memoryview=True)
        self.curl.setopt(pycurl.MAXFILESIZE_LARGE, 0)

    def stream(
        self,
        header_came: Callable[[bytes], int | None],
        body_came: Callable[[memoryview], int | None],
    ) -> None:
        """Call these with each header line and each piece of the body, of any size; see `watch`."""

        def came(data: memoryview) -> int | None:
            try:
                answer = body_came(data)
                window = self.window
                if window is not None:
                    if answer is None:
                        window.paused = False
                        window.taken += len(data)
                    elif answer == pycurl.WRITEFUNC_PAUSE:
                        window.pause()
            except Exception:
                return self.fail(0)
            return answer

        self.watch(header_came, None)
        self._give_body(came)

    def guarded(self, callback: Callable[[_Data], Any], failure: Any) -> Callable[[_Data], Any]:
        """A callback that returns ``failure`` instead of raising, which pycurl would only print."""

        def call(data: _Data) -> Any:
            try:
                return callback(data)
            except Exception:
                return self.fail(failure)

        return call

    def fail(self, answer: int) -> int:
        """In an ``except`` block of a callback: log the exception, and end the transfer.

        Returns:
            ``answer``, the value that ends it.
        """
        self.broken = True
        self._log.exception("libcurl's callback could not be handled")
        return answer

    @property
    def answer_began(self) -> bool:
        """A byte of an answer has come."""
        if self.peer is None:  # no request was sent
            return False
        getinfo = self.curl.getinfo
        # If sending fails, libcurl sets both times to the same value.
        waited = getinfo(pycurl.STARTTRANSFER_TIME) - getinfo(pycurl.PRETRANSFER_TIME)
        return bool(waited > _NO_TIME or getinfo(pycurl.HEADER_SIZE))

    @property
    def shows_certificate(self) -> bool:
        """There is a client certificate for an origin that asks for one."""
        request = self._request
        return self._settings.client_certificate is not None or (
            request is not None and request.client_certificate is not None
        )

    def give_back(self) -> None:
        """Return to the pool; the transfer must be out of its multi handle."""
        idle = self._pool.idle
        if len(idle) < _MAX_POOLED:
            self.release()
            idle.append(self)
        else:
            self.curl.close()

    def use_alternative(self, port: int) -> None:
        """Use another port of the same host, over QUIC, with a short timeout for the connection."""
        self.alternative = True
        self.set(pycurl.CONNECT_TO, [f":::{port}"])
        self.set(pycurl.HTTP_VERSION, _HTTP3_ONLY)
        self.set(pycurl.CONNECTTIMEOUT_MS, _ALTERNATIVE_TIMEOUT)

    def limit_to_tcp(self) -> None:
        """Do not try QUIC, which does not get through to this origin."""
        self.set(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)

    def use_once(self) -> None:
        """Use a new connection that no other request uses, now or later."""
        self.set(pycurl.FRESH_CONNECT, 1)
        self.set(pycurl.FORBID_REUSE, 1)

    def limit_to_http1(self) -> None:
        """Use HTTP/1.1, and so a connection that no other request shares."""
        self.offers_http2 = False
        self.set(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)

    def open_window(self, budget: StreamBudget, now: float) -> None:
        """Bound what libcurl holds of the answer, whose stream may share its connection."""
        self._dirty = True
        self.window = ReceiveWindow(self.curl, budget, now)

    def limit_speed(self, size: int) -> None:
        """Have libcurl read no more than ``size`` bytes at once; 0: no limit."""
        self._has_limit = size > 0
        self.curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, size)

    def set(self, option: int, value: Any) -> None:
        """Set an option that only a reset undoes."""
        self._dirty = True
        self.curl.setopt(option, value)

    def release(self) -> None:
        """Undo the request's options; the transfer must be out of its multi handle."""
        self._request = None
        self.kept = self.first = None
        self.offers_http2 = self._settings.http_version != "1.1"
        if self.window is not None:
            self.window.close()
            self.window = None
        self.header_lines.clear()
        self.must_yield = None
        self.pieces = 0
        if self._has_limit:
            self.limit_speed(0)
        if self.body.tell():
            self.body.seek(0)
            self.body.truncate()
        if self._dirty:
            self._dirty = self._posted = self._discards = self._streams = False
            self.curl.reset()
            self._prepare()
            return
        if self._streams:
            self._streams = False
            self.curl.setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
            self.curl.setopt(pycurl.WRITEFUNCTION, self._collect)
            self.curl.setopt(pycurl.MAXFILESIZE_LARGE, self._most_coded)
        elif self._discards:
            self._discards = False
            self.curl.setopt(pycurl.WRITEFUNCTION, self._collect)
        if self._posted:
            self._posted = False
            self.curl.setopt(pycurl.POSTFIELDS, b"")
            self.curl.setopt(pycurl.HTTPGET, 1)
            self.curl.unsetopt(pycurl.CUSTOMREQUEST)

    # -- called by libcurl: record, never raise, never call libcurl ------------------------------

    def _open_socket(self, _purpose: int, address: Any) -> int:
        """``CURLOPT_OPENSOCKETFUNCTION``: called for every address, before connecting to it."""
        bad = int(pycurl.SOCKET_BAD)
        try:
            if self.kept_only:
                self.wanted_socket = True
                return bad
            family, kind, protocol, where = address
            if family not in (socket.AF_INET, socket.AF_INET6) or self._request is None:
                return bad
            # With a proxy this is the proxy's address, which the operator chose.
            if not self.proxied and not self._allows(where[0], where[1]):
                return bad
            self.tried += 1
            fd = self._make_socket(family, kind, protocol)
            if self.kept is not None:
                self.kept.opened(fd, self._host)
            return fd
        except OSError as error:  # libcurl reports a failed connect
            self.problem = f"no socket for {address[3][0]}: {error.strerror}"
            self.out_of_descriptors = error.errno in (errno.EMFILE, errno.ENFILE)
            return bad
        except Exception:
            return self.fail(bad)

    def _make_socket(self, family: int, kind: int, protocol: int) -> int:
        """A socket, bound to the configured ``source_address``, if there is one.

        Raises:
            OSError: there is no source address of this family, or no descriptor is left.
        """
        sources = self._settings.source_address
        source = next((item for item in sources if (":" in item) == (family == _INET6)), None)
        if sources and source is None:
            raise OSError(errno.EADDRNOTAVAIL, "source_address has none of this family")
        with socket.socket(family, kind, protocol) as sock:
            if sock.fileno() >= self._pool.most_descriptors:
                # The rest is reserved for sockets of workers, files and look-ups.
                raise OSError(errno.EMFILE, "no descriptor is left: raise LimitNOFILE")
            if protocol == socket.IPPROTO_UDP:
                datagrams.record_times(sock.fileno())
            if source is not None:
                # connect() chooses the port, so that connections to many peers may share one.
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
            return sock.detach()

    def _before_request(self, address: str, local: str, port: int, local_port: int) -> int:
        """``CURLOPT_PREREQFUNCTION``: called before every request, on reused connections too."""
        try:
            self.peer, self.peer_port = address, port
            if self.first is not None:
                self._pool.connected.append(self)
            kept = self.kept
            if kept is not None:
                here = (local, local_port)
                if here in kept.dead:
                    self.was_dead = True
                    return _ABORT
                request = self._request
                if request is not None and request.target.scheme[0] == "h":
                    origin = request.target.origin
                    if kept.ends.get(here) != origin:  # it is nearly always equal
                        kept.used(here, origin)
            if self.proxied or self._allows(address, port):
                return _GO_ON
        except Exception:
            return self.fail(_ABORT)
        return _ABORT

    @property
    def _host(self) -> str:
        """The host that the connection of this request is for."""
        request = self._request
        assert request is not None
        return request.connect_host or request.target.host

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


# Methods that are sent without Content-Length if there is no body; all others have 0.
_BODYLESS = frozenset((b"HEAD", b"OPTIONS", b"DELETE"))


class HandlePool:
    """Easy handles without a request, all with the same prepared options.

    Attributes:
        settings: settings of their connections.
        most_descriptors: descriptors of connections are below this number.
        connected: handles that have a connection now which other transfers wait for.
        max_response_size: bytes of a buffered answer; 0 is unlimited.
        idle: handles that were given back.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        max_response_size: int,
        log: Log,
        connected: list[EasyHandle],
    ) -> None:
        self.settings = settings
        self.max_response_size = max_response_size
        self.log = log
        self.most_descriptors = descriptors.limit() - descriptors.reserve()
        self.connected: list[EasyHandle] = connected
        self.idle: list[EasyHandle] = []

    def __repr__(self) -> str:
        return f"<HandlePool idle={len(self.idle)} {self.settings!r}>"

    def make(self) -> EasyHandle:
        """A prepared handle, where none is idle."""
        return EasyHandle(self)
