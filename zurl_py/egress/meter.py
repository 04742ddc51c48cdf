"""Measures transfers for the metrics: phases, bytes, connections, look-ups."""

from __future__ import annotations

from typing import Final

import pycurl

from ..metrics import PHASES, Metrics
from ..websocket import Close, Data, Event, Ping, Pong

__all__ = ["Meter"]

_RESOLVE, _CONNECT, _TLS, _FIRST_BYTE, _TRANSFER = range(len(PHASES))
# RFC 6455 section 5.2
_OPCODES: Final = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
_CONTROLS: Final = {Close: "close", Ping: "ping", Pong: "pong"}
_RESOLVED: Final = {True: "resolved", False: "failed"}


class Meter:
    """Reads libcurl's figures when a transfer has ended, and adds them to the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        pending = metrics.phases.pending
        self._resolve = pending[_RESOLVE]
        self._connect = pending[_CONNECT]
        self._tls = pending[_TLS]
        self._first_byte = pending[_FIRST_BYTE]
        self._transfer = pending[_TRANSFER]
        self._lookups = metrics.lookups
        self._opened = metrics.connections_opened.values
        self._reused = metrics.connections_reused.values
        self._uploaded = metrics.uploaded.values
        self._downloaded = metrics.downloaded.values
        self._frames = metrics.frames

    def looked_up(self, found: bool, seconds: float) -> None:
        """Count a look-up that has ended."""
        self._lookups.add(_RESOLVED[found])
        self._resolve.append(seconds)

    def transfer_ended(self, curl: pycurl.Curl, sends: bool, answered: bool) -> None:
        """Count a transfer that libcurl has ended, while its handle still has the figures.

        libcurl's times count from the start of the transfer (curl_easy_getinfo(3)); a phase is the
        difference of two of them. With a kept connection the first three are zero. Each figure
        costs a tenth of a microsecond to read, so only those that are needed are read.

        Args:
            sends: the request has a body.
            answered: it ended well; if not, libcurl may have a time of the first byte without one.
        """
        get = curl.getinfo
        if sends:
            self._uploaded[0] += get(pycurl.SIZE_UPLOAD_T)
        self._downloaded[0] += get(pycurl.SIZE_DOWNLOAD_T)
        asked_at = 0.0
        opened = get(pycurl.NUM_CONNECTS)
        if opened:
            self._opened[0] += opened
            self._new_connection(curl)
            asked_at = get(pycurl.PRETRANSFER_TIME)
        elif answered:
            self._reused[0] += 1
        if answered:
            first_byte = get(pycurl.STARTTRANSFER_TIME)
            self._first_byte.append(first_byte - asked_at)
            self._transfer.append(get(pycurl.TOTAL_TIME) - first_byte)

    def frame_came(self, event: Event, continues: bool) -> None:
        """Count a frame, or a piece of a large one, from a WebSocket's origin.

        Args:
            continues: it continues a message.
        """
        if isinstance(event, Data):
            opcode = "continuation" if continues else "binary" if event.binary else "text"
            self._frames.add("in", opcode)
        elif type(event) in _CONTROLS:
            self._frames.add("in", _CONTROLS[type(event)])

    def frame_went(self, wire: bytes) -> None:
        """Count a frame to a WebSocket's origin."""
        self._frames.add("out", _OPCODES[wire[0] & 0x0F])

    def _new_connection(self, curl: pycurl.Curl) -> None:
        get = curl.getinfo
        connected, encrypted = get(pycurl.CONNECT_TIME), get(pycurl.APPCONNECT_TIME)
        if connected:
            self._connect.append(connected - get(pycurl.NAMELOOKUP_TIME))
            if encrypted:
                self._tls.append(encrypted - connected)
