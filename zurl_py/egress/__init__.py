"""Everything that leaves the machine: libcurl transfers and connections, under the policy."""

from .engine import Egress
from .errors import ErrorName, TransferError
from .handles import EasyHandle
from .permission import check_names
from .request import AddressPolicy, HttpRequest
from .settings import ConnectionSettings, HostSettings, TransportOptions
from .streaming import StreamSink, StreamTransfer
from .transfer import BufferedTransfer, ResponseSink

__all__ = [
    "AddressPolicy",
    "BufferedTransfer",
    "ConnectionSettings",
    "EasyHandle",
    "Egress",
    "ErrorName",
    "HostSettings",
    "HttpRequest",
    "ResponseSink",
    "StreamSink",
    "StreamTransfer",
    "TransferError",
    "TransportOptions",
    "check_names",
]
