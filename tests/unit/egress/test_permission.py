"""Which questions about a request are put to the policy, and which answer counts."""

from __future__ import annotations

from typing import Any

import pytest

from zurl_py import url
from zurl_py.egress import HttpRequest, check_names
from zurl_py.egress.permission import check_peer, check_request
from zurl_py.host_addresses import is_local
from zurl_py.http.fields import RequestHeaders
from zurl_py.policy import Decision

Asked = tuple[object, ...]


class Policy:
    """A policy that refuses given subjects, and records what it was asked."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[Asked] = []

    def _decide(self, subject: str, *question: object) -> Decision:
        self.asked.append((subject, *question))
        return Decision(subject not in self.refused, "", subject, "")

    def check_name(self, host: str, port: int, scheme: str) -> Decision:
        return self._decide(host, port, scheme)

    def check_address(self, address: str, port: int, scheme: str, host: str = "") -> Decision:
        return self._decide(address, port, scheme, host)

    def check_privileges(self, **asked: bool) -> Decision:
        names = sorted(name for name, value in asked.items() if value)
        return self._decide("privileges", *names)


def request(policy: Policy, uri: bytes = b"https://name.test/", **fields: Any) -> HttpRequest:
    return HttpRequest(url.parse(uri), b"GET", RequestHeaders(()), policy, **fields)


def test_a_plain_request_is_checked_by_name_only() -> None:
    policy = Policy()
    assert check_request(request(policy))
    assert policy.asked == [("name.test", 443, "https")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"connect_host": "there.test"}, ("there.test", 443)),
        ({"connect_port": 8443}, ("name.test", 8443)),
        ({"connect_host": "there.test", "connect_port": 1}, ("there.test", 1)),
    ],
)
def test_a_connect_host_is_checked_as_well_as_the_uri_s_host(
    fields: dict[str, Any], expected: tuple[str, int]
) -> None:
    policy = Policy()
    assert check_names(request(policy, **fields))
    assert policy.asked == [("name.test", 443, "https"), (*expected, "https")]
    assert not check_names(request(Policy(expected[0]), **fields))
    assert check_names(request(Policy("name.test"), **fields)).subject == "name.test"


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"privileged": True}, ["ignore_policies"]),
        ({"ignore_tls_errors": True}, ["ignore_tls_errors"]),
        ({"connect_host": "there.test"}, ["connect_host"]),
        (
            {"connect_host": "there.test", "trust_connect_host": True},
            ["connect_host", "trust_connect_host"],
        ),
        ({"connect_port": 1}, ["connect_host"]),
    ],
)
def test_privileges_are_checked_first(fields: dict[str, Any], asked: list[str]) -> None:
    policy = Policy()
    assert check_request(request(policy, **fields))
    assert policy.asked[0] == ("privileges", *asked)
    refusing = Policy("privileges")
    assert check_request(request(refusing, **fields)).subject == "privileges"
    assert len(refusing.asked) == 1


@pytest.mark.parametrize(
    ("fields", "port", "host"),
    [
        ({}, 443, "name.test"),
        ({"connect_port": 0}, 0, "name.test"),
        ({"connect_host": "there.test", "connect_port": 81}, 81, "there.test"),
    ],
)
def test_a_peer_is_checked_with_the_name_of_its_connection(
    fields: dict[str, Any], port: int, host: str
) -> None:
    policy = Policy("192.0.2.66")
    assert check_peer(request(policy, **fields), "192.0.2.1")
    assert policy.asked == [("192.0.2.1", port, "https", host)]
    assert not check_peer(request(policy, **fields), "192.0.2.66")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7"])
def test_an_address_of_this_host_is_local(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "2001:db8::1", "fe80::1%nowhere0", "not an address", "::g"]
)
def test_an_address_of_another_host_is_not_local(address: str) -> None:
    assert not is_local(address)
