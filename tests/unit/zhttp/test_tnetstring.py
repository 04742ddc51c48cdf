"""TNetStrings: ours in plain Python, held to the one in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zurl_py.zhttp import tnetstring
from zurl_py.zhttp.tnetstring import dumps_plain, loads_plain

_REFUSALS = (ValueError, TypeError, RecursionError, OverflowError)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"0:,", b""),
        (b"5:hello,", b"hello"),
        (b"5:hello,behind", b"hello"),
        (b"3:\0\xff:,", b"\0\xff:"),
        (b"4:true!", True),
        (b"5:false!", False),
        (b"2:-5#", -5),
        (b"2:+5#", 5),
        (b"3:007#", 7),
        (b"40:%b#" % (b"9" * 40), int("9" * 40)),
        (b"3:1.5^", 1.5),
        (b"2:.5^", 0.5),
        (b"5:1e999^", math.inf),
        (b"0:~", None),
        (b"0:]", []),
        (b"0:}", {}),
        (b"12:0:~0:}0:]0:,]", [None, {}, [], b""]),
        (b"16:1:a,1:b,1:a,1:c,}", {b"a": b"c"}),
        (b"7:1:1#0:~}", {1: None}),
    ],
)
def test_a_value_is_read(encoded: bytes, value: Any) -> None:
    found = loads_plain(encoded)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"5",
        b"5:",
        b"5:hell,",
        b"5:hello",
        b"5:hello?",
        b"5;hello,",
        b" 5:hello,",
        b"+5:hello,",
        b"05:hello,",
        b"-1:,",
        b"999999999:,",
        b"9999999999999999999999:,",
        b"4:1:a,}",
        b"4:1:aa]",
        b"4:TRUE!",
        b"1:x~",
        b"0:#",
        b"1:-#",
        b"2: 5#",
        b"3:1_0#",
        b"2:\xd9\xa1#",
        b"0:^",
        b"3: 1 ^",
        b"7:0:]1:1#}",
        b"4:0:~,]",
    ],
)
def test_invalid_tnetstrings_are_refused(encoded: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        loads_plain(encoded)


def test_nesting_is_bounded() -> None:
    encoded = b"0:]"
    for _ in range(100_000 // 10):
        encoded = b"%d:%b]" % (len(encoded), encoded)
    with pytest.raises(RecursionError):
        loads_plain(encoded)
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecursionError):
        dumps_plain(value)


def test_text_has_to_be_bytes() -> None:
    for value in ("x", {"a": b"x"}, bytearray(b"x"), (1,)):
        with pytest.raises(ValueError, match="serializable"):
            dumps_plain(value)
    for data in ("1:a,", bytearray(b"1:a,")):
        with pytest.raises(TypeError):
            loads_plain(data)  # type: ignore[arg-type]


# -- held to one another ---------------------------------------------------------------------------

in_c = pytest.importorskip("tnetstring", reason="pip install tnetstring3, where it can be built")

_scalars = (
    st.binary(max_size=20)
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.booleans()
    | st.none()
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_scalars, inner, max_size=5),
    max_leaves=30,
)


def canonical(value: Any) -> str:
    """A value as text that tells 1, 1.0 and true apart; the order of keys does not count."""
    if isinstance(value, dict):
        pairs = sorted(f"{canonical(key)}: {canonical(content)}" for key, content in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(canonical, value))}]"
    return repr(value)


def outcome(function: Callable[[Any], Any], argument: Any) -> str:
    """What comes of a call, so that it can be compared: NaN is no equal of itself."""
    try:
        return canonical(function(argument))
    except _REFUSALS:
        return "refused"


@given(_values)
def test_both_write_the_same_and_read_it_again(value: Any) -> None:
    encoded = in_c.dumps(value)
    assert len(dumps_plain(value)) == len(encoded)  # the order of keys is another one
    assert canonical(loads_plain(encoded)) == canonical(value)
    assert canonical(in_c.loads(dumps_plain(value))) == canonical(value)


_pieces = (
    st.binary(max_size=2)
    | st.sampled_from(
        [b"0", b"1", b"5", b"9", b":", b",", b"#", b"^", b"!", b"~", b"]", b"}", b"-"]
    )
    | st.sampled_from([b"true", b"nan", b"inf", b"0x1p", b"1e9", b".", b"1:a,", b"0:~", b"+", b"_"])
)


def _framed(payload: bytes, tag: bytes, off: int) -> bytes:
    return b"%d:%b%b" % (max(0, len(payload) + off), payload, tag)


_nearly = st.recursive(
    st.lists(_pieces, max_size=6).map(b"".join),
    lambda inner: st.builds(
        _framed,
        st.lists(inner, max_size=4).map(b"".join),
        st.sampled_from([b",", b"#", b"^", b"!", b"~", b"]", b"}", b"?"]),
        st.sampled_from([0, 0, 0, 0, -1, 1]),
    ),
    max_leaves=8,
)


@settings(max_examples=1000)
@given(_nearly)
@example(b"6:nan(1)^")
@example(b"6:0x1p-2^")
@example(b"8:-0x1p999^")
@example(b"10:-0x1p99999^")
@example(b"1:\xb2#")
def test_both_read_and_refuse_the_same(encoded: bytes) -> None:
    assert outcome(loads_plain, encoded) == outcome(in_c.loads, encoded)


@pytest.mark.parametrize("innermost", [b"0:]", b"0:}", b"1:a,", b"0:~"])
def test_both_have_the_same_limit_of_nesting(innermost: bytes) -> None:
    encoded = innermost
    for _ in range(520):
        assert outcome(loads_plain, encoded) == outcome(in_c.loads, encoded)
        encoded = b"%d:%b]" % (len(encoded), encoded)


def test_the_one_in_c_is_used_where_it_is_installed() -> None:
    assert tnetstring.loads is in_c.loads
    assert tnetstring.dumps is in_c.dumps
