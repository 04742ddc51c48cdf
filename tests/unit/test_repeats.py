"""Floods are said once, and then in sums."""

from zurl_py.repeats import Repeats


def test_each_key_is_new_once_and_then_counted() -> None:
    repeats = Repeats("rest")
    assert [repeats.is_new(key) for key in ("a", "b", "a", "a")] == [True, True, False, False]
    assert repeats.sums() == [("a", 2)]


def test_a_key_that_repeats_is_not_new_again() -> None:
    repeats = Repeats("rest")
    for _ in range(3):
        repeats.is_new("a")
    repeats.sums()
    assert not repeats.is_new("a")
    assert repeats.sums() == [("a", 1)]


def test_a_key_without_repeats_between_two_sums_is_new_again() -> None:
    repeats = Repeats("rest")
    repeats.is_new("a")
    assert repeats.sums() == []
    assert repeats.is_new("a")


def test_keys_are_limited_and_the_others_counted_together() -> None:
    """Bound: 100 keys, whatever strangers choose."""
    repeats = Repeats("rest")
    news = sum(repeats.is_new(f"host{number}") for number in range(20_000))
    assert news == 100
    assert len(repeats) == 101
    assert repeats.sums() == [("rest", 19_900)]
