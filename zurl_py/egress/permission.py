"""What the policy says of a request as a whole: its privileges, its names, the address in use.

Asked when a request comes in, at every hop, and of all requests under way when the rules change.
"""

from __future__ import annotations

from ..policy import Decision
from .request import HttpRequest

__all__ = ["check_names", "check_peer", "check_request"]


def check_request(request: HttpRequest) -> Decision:
    """May this request be made at all?"""
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
    """May it go to the host of its URL, and to the one it connects to instead?"""
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
    """May it stay on a connection to this address?"""
    target = request.target
    host = request.connect_host if request.connect_host is not None else target.host
    port = request.connect_port if request.connect_port is not None else target.port
    return request.policy.check_address(address, port, target.scheme, host)
