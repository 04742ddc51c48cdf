"""International host names: what browsers look up, and what they refuse."""

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py.hostname import BadHostname, to_ascii


@pytest.mark.parametrize(
    ("name", "ascii"),
    [
        ("Example.COM", "example.com"),
        ("☃.example", "xn--n3h.example"),  # in no IDNA 2008 name
        ("💩.la", "xn--ls8h.la"),
        ("foo_bar.bücher.example", "foo_bar.xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # non-transitional
        ("ＬＯＣＡＬhost", "localhost"),
        ("example。com", "example.com"),
        ("a\u200bb.example", "ab.example"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example", "xn--mgba3gch31f060k.example"),
        ("-ü-.example.", "xn-----xka.example."),
    ],
)
def test_a_name_is_read_as_browsers_do(name: str, ascii: str) -> None:
    assert to_ascii(name) == ascii


@pytest.mark.parametrize(
    "name",
    [
        "xn--ü.example",
        "a\u200cb.example",  # a joiner where no script needs one
        "\u0301a.example",  # a combining mark in front
        "\u05d0a\u05d1.example",  # Hebrew around Latin
        "\u0378.example",  # not assigned
        "\ud800.example",
        "ü" * 5000,
    ],
)
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(BadHostname):
        to_ascii(name)


@given(st.text(max_size=20))
def test_any_text_gives_a_stable_name_or_a_bad_hostname(name: str) -> None:
    try:
        found = to_ascii(name)
    except BadHostname:
        return
    assert found.isascii()
    assert to_ascii(found) == found


@given(st.from_regex(r"[a-z]{1,6}[äöüéßñçœ]{1,6}\.[a-z]{2,5}", fullmatch=True))
def test_names_valid_in_idna_2008_have_the_same_form(name: str) -> None:
    assert to_ascii(name) == idna.encode(name, uts46=True).decode()
