"""Policy checks of a request: its privileges, its names, and the address of its connection.

They are made when a request comes in, at each hop, and for all open requests when the rules change.
"""

from __future__ import annotations

from ..policy import Decision
from .request import HttpRequest

__all__ = ["check_names", "check_peer", "check_request"]


def check_request(request: HttpRequest) -> Decision:
    """Decide whether this request may be made."""
    if (
        request.privileged
        or request.ignore_tls_errors
        or request.connects_elsewhere
        or request.host is not None
    ):
        decision = request.policy.check_privileges(
            ignore_policies=request.privileged,
            ignore_tls_errors=request.ignore_tls_errors,
            connect_host=request.connects_elsewhere,
            trust_connect_host=request.trust_connect_host,
            host_override=request.host is not None,
        )
        if not decision.allowed:
            return decision
    return check_names(request)


def check_names(request: HttpRequest) -> Decision:
    """Decide whether it may go to the host of its URL and to its connect host."""
    target, policy = request.target, request.policy
    decision = policy.check_name(target.host, target.port, target.scheme)
    if request.connect_host is None and request.connect_port is None:
        return decision
    if decision.allowed:
        host = request.connect_host if request.connect_host is not None else target.host
        port = request.connect_port if request.connect_port is not None else target.port
        decision = policy.check_name(host, port, target.scheme)
    return decision


def check_peer(request: HttpRequest, address: str) -> Decision:
    """Decide whether it may use a connection to this address."""
    target = request.target
    host = request.connect_host if request.connect_host is not None else target.host
    port = request.connect_port if request.connect_port is not None else target.port
    return request.policy.check_address(address, port, target.scheme, host)
