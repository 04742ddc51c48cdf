"""Outbound transfers and connections by libcurl, under the policy."""

from .buffered import BufferedTransfer, ResponseSink
from .engine import Egress
from .errors import ErrorName, TransferError
from .extras import Extras
from .handles import EasyHandle
from .meter import Meter
from .permission import check_names
from .request import AddressPolicy, HttpRequest
from .settings import ConnectionSettings, HostSettings, TransportOptions
from .streaming import StreamSink, StreamTransfer

__all__ = [
    "AddressPolicy",
    "BufferedTransfer",
    "ConnectionSettings",
    "EasyHandle",
    "Egress",
    "ErrorName",
    "Extras",
    "HostSettings",
    "HttpRequest",
    "Meter",
    "ResponseSink",
    "StreamSink",
    "StreamTransfer",
    "TransferError",
    "TransportOptions",
    "check_names",
]
