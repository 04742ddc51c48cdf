"""zurl_py: an outbound HTTP and WebSocket gateway that speaks ZHTTP (ZeroMQ RFC 33)."""

__version__ = "0.1.0"
