"""Prefixes that receivers have subscribed to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py.messaging.subscriptions import Subscriptions


def subscribed(*prefixes: bytes) -> Subscriptions:
    made = Subscriptions()
    for prefix in prefixes:
        made.add(prefix)
    return made


_texts = st.lists(st.sampled_from([b"a", b"b", b" "]), max_size=4).map(b"".join)


@given(st.lists(_texts), st.lists(_texts), _texts)
def test_a_message_is_matched_as_zeromq_matches_it(
    added: list[bytes], removed: list[bytes], message: bytes
) -> None:
    subscriptions = subscribed(*added)
    for prefix in removed:
        subscriptions.discard(prefix)
    left = set(added) - set(removed)
    assert subscriptions.match(message) == any(message.startswith(prefix) for prefix in left)


@pytest.mark.parametrize(
    ("prefixes", "onlookers"),
    [
        ([], None),
        ([b""], None),  # it is the worker itself, who is not choosy
        ([b"worker-1 "], None),
        ([b"worker-1"], None),
        ([b"worker-1", b"worker-2 "], None),
        ([b"", b"worker-1 "], b""),
        ([b"", b"worker-1"], b""),
        ([b"", b"worker-1 T"], b""),
        ([b"", b"work", b"worker-1 "], b"work"),
        ([b"", b"worker-1 J"], None),
    ],
)
def test_onlookers_get_what_is_meant_for_somebody_else(
    prefixes: list[bytes], onlookers: bytes | None
) -> None:
    assert subscribed(*prefixes).onlookers(b"worker-1", b"worker-1 T0:}") == onlookers
