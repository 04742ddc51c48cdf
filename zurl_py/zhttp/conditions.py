"""The error conditions of ZHTTP (ZeroMQ RFC 33, and the variant of Zurl)."""

from __future__ import annotations

from typing import Final

__all__ = ["Condition"]


class Condition:
    """Values of the field ``condition`` in packets of type ``error``."""

    BAD_REQUEST: Final = b"bad-request"  # the message or its URI cannot be used
    POLICY_VIOLATION: Final = b"policy-violation"  # refused by name, or by every address
    REMOTE_CONNECTION_FAILED: Final = b"remote-connection-failed"  # DNS, refused, unreachable
    CONNECTION_TIMEOUT: Final = b"connection-timeout"  # libcurl gave up connecting
    TLS_ERROR: Final = b"tls-error"  # the handshake failed, a certificate was not accepted
    CONTENT_NOT_ALLOWED: Final = b"content-not-allowed"  # a body where the method has none
    TOO_MANY_REDIRECTS: Final = b"too-many-redirects"
    MAX_SIZE_EXCEEDED: Final = b"max-size-exceeded"  # the response is larger than max-size
    SESSION_TIMEOUT: Final = b"session-timeout"  # the request's timeout, or no activity
    REJECTED: Final = b"rejected"  # a WebSocket handshake was refused, with an HTTP answer
    FRAME_TOO_LARGE: Final = b"frame-too-large"  # a WebSocket frame larger than buffer_size
    UNDEFINED_CONDITION: Final = b"undefined-condition"  # anything else; the log says what
