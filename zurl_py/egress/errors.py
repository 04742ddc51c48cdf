"""What libcurl's error codes mean to a worker: code to ZHTTP condition."""

from __future__ import annotations

import pycurl

from ..zhttp import Condition

__all__ = ["TransferError"]


class TransferError(Exception):
    """A transfer that ended without a complete answer.

    Attributes:
        condition: the ZHTTP error condition.
        detail: what happened, for the log; may hold addresses, never secrets.
    """

    def __init__(self, condition: bytes, detail: str) -> None:
        super().__init__(condition, detail)
        self.condition = condition
        self.detail = detail

    @classmethod
    def from_curl(cls, code: int, message: str) -> TransferError:
        """The failure for a libcurl result code (``CURLE_*``) and its message."""
        condition = _CONDITIONS.get(code, Condition.UNDEFINED_CONDITION)
        return cls(condition, f"{message or 'no detail'} (libcurl {code})")


# Numbers where pycurl has no name. Whatever is missing here is an undefined-condition: an answer
# that is no HTTP (1, 8), broken off (18, 52, 56), an encoding that cannot be undone (61), ...
_CONDITIONS = {
    pycurl.E_URL_MALFORMAT: Condition.BAD_REQUEST,
    pycurl.E_COULDNT_RESOLVE_PROXY: Condition.REMOTE_CONNECTION_FAILED,
    pycurl.E_COULDNT_RESOLVE_HOST: Condition.REMOTE_CONNECTION_FAILED,
    pycurl.E_COULDNT_CONNECT: Condition.REMOTE_CONNECTION_FAILED,
    97: Condition.REMOTE_CONNECTION_FAILED,  # CURLE_PROXY
    pycurl.E_OPERATION_TIMEDOUT: Condition.CONNECTION_TIMEOUT,
    pycurl.E_FILESIZE_EXCEEDED: Condition.MAX_SIZE_EXCEEDED,
    pycurl.E_SSL_CONNECT_ERROR: Condition.TLS_ERROR,
    pycurl.E_SSL_ENGINE_NOTFOUND: Condition.TLS_ERROR,
    pycurl.E_SSL_ENGINE_SETFAILED: Condition.TLS_ERROR,
    pycurl.E_SSL_CERTPROBLEM: Condition.TLS_ERROR,
    pycurl.E_SSL_CIPHER: Condition.TLS_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION: Condition.TLS_ERROR,
    pycurl.E_USE_SSL_FAILED: Condition.TLS_ERROR,
    pycurl.E_SSL_CACERT_BADFILE: Condition.TLS_ERROR,
    pycurl.E_SSL_SHUTDOWN_FAILED: Condition.TLS_ERROR,
    pycurl.E_SSL_CRL_BADFILE: Condition.TLS_ERROR,
    pycurl.E_SSL_ISSUER_ERROR: Condition.TLS_ERROR,
    90: Condition.TLS_ERROR,  # CURLE_SSL_PINNEDPUBKEYNOTMATCH
    91: Condition.TLS_ERROR,  # CURLE_SSL_INVALIDCERTSTATUS
    98: Condition.TLS_ERROR,  # CURLE_SSL_CLIENTCERT
}
