"""Everything that leaves the machine: libcurl transfers and connections, under the policy."""

from .engine import Egress
from .failures import Failure
from .handles import EasyHandle, TransportOptions
from .headers import BadHeader, Head, RequestHeaders, check_method
from .local import is_local
from .permission import check_names
from .request import AddressPolicy, HttpRequest
from .streaming import StreamSink, StreamTransfer
from .transfer import BufferedTransfer, ResponseSink

__all__ = [
    "AddressPolicy",
    "BadHeader",
    "BufferedTransfer",
    "EasyHandle",
    "Egress",
    "Failure",
    "Head",
    "HttpRequest",
    "RequestHeaders",
    "ResponseSink",
    "StreamSink",
    "StreamTransfer",
    "TransportOptions",
    "check_method",
    "check_names",
    "is_local",
]
