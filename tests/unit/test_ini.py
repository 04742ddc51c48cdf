"""Qt's INI dialect: what each form means, and that Debian's zurl reads it in the same way."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import require_peer
from zurl_py.ini import Entry, IniError, parse_ini


def parse(text: str) -> list[Entry]:
    return list(parse_ini(text, lambda line, text: None))


def value(raw: str) -> str:
    """What ``key=<raw>`` means as one text."""
    (entry,) = parse(f"key={raw}")
    return entry.text


# Raw values and what they mean. Debian's zurl is asked for each in the last test.
VALUES = [
    ("plain", "plain"),
    ("  blanks around  ", "blanks around"),
    ("a;comment", "a"),
    ("a ; comment", "a"),
    ("a#no comment", "a#no comment"),
    ('"a,b"', "a,b"),
    ('"a;b"', "a;b"),
    ('" a "', " a "),
    ('"a" b', "a b"),
    ('a"b c"d', "ab cd"),
    ('"a" "b"', "a b"),
    ("'a'", "'a'"),
    ("a%41b", "a%41b"),
    (r"\x41g", "Ag"),
    (r"a\101", "aA"),
    (r"a\x263a", "a☺"),
    (r"say \"hi\"", 'say "hi"'),
    (r"back\\slash", "back\\slash"),
    ("a = b", "a = b"),
    ("a\\\nb", "ab"),
    ("@private", "@private"),
    ("a\\", "a"),
]
# Qt drops blanks next to a quote. That cannot be meant.
QT_DIFFERS = {'"a" b': "ab", '"a" "b"': "ab"}


@pytest.mark.parametrize(("raw", "meaning"), VALUES)
def test_a_value(raw: str, meaning: str) -> None:
    assert value(raw) == meaning


@pytest.mark.parametrize(
    ("raw", "items"),
    [
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        (",a,,b, ", ("a", "b")),
        ('"a,b",c', ("a,b", "c")),
        ('" a",b', (" a", "b")),
        ("127.*,10.*;,192.168.*", ("127.*", "10.*")),
        ("a\\,b", ("a,b",)),
        ("", ()),
        ('""', ()),
        ("10.*,\\\n  192.168.*,\\\n*.local", ("10.*", "192.168.*", "*.local")),
    ],
)
def test_a_list(raw: str, items: tuple[str, ...]) -> None:
    (entry,) = parse(f"key={raw}")
    assert entry.items == items


@pytest.mark.parametrize(
    ("text", "section", "key"),
    [
        ("key=v", "General", "key"),
        ("[General]\nkey=v", "General", "key"),
        ("[GENERAL]\nkey=v", "General", "key"),
        ("[ general ]\nkey=v", "General", "key"),
        ("[General\nkey=v", "General", "key"),
        ("[General] ; comment\nkey=v", "General", "key"),
        ("[Other]\nkey=v", "Other", "key"),
        ("[%General]\nkey=v", "%General", "key"),
        ("  [General]\n  key = v", "General", "key"),
        ("k%65y=v", "General", "key"),
        ("KEY=v", "General", "KEY"),
        ("\ufeff[General]\r\nkey=v\r\n", "General", "key"),
        ("[General]\rkey=v", "General", "key"),
        ("# [Other]\n; [Other]\n\nkey=v", "General", "key"),
    ],
)
def test_a_key_and_its_section(text: str, section: str, key: str) -> None:
    (entry,) = parse(text)
    assert (entry.section, entry.key, entry.text) == (section, key, "v")


def test_lines_are_numbered_by_where_they_begin() -> None:
    entries = parse("# one\na=1\n\nb=2\\\n3\nc=4\n")
    assert [(e.key, e.text, e.line) for e in entries] == [
        ("a", "1", 2),
        ("b", "23", 4),
        ("c", "4", 6),
    ]


def test_lines_without_meaning_are_reported() -> None:
    told: list[tuple[int, str]] = []
    entries = list(parse_ini("a=1\ngarbage\n=x\n", lambda line, text: told.append((line, text))))
    assert [e.key for e in entries] == ["a"]
    assert told == [(2, "garbage"), (3, "=x")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [('"open', "not closed"), (r"\0", "no character"), (r"\xd800", "no character")],
)
def test_ambiguous_lines_are_refused(raw: str, reason: str) -> None:
    with pytest.raises(IniError, match=reason) as caught:
        parse(f"a=1\nkey={raw}")
    assert caught.value.line == 2


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    entries: list[Entry] = []
    line = 1
    try:
        entries = parse(text)
    except IniError as error:
        line = error.line
    assert line >= 1
    assert all(entry.key and entry.line >= 1 for entry in entries)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)))
def test_quoted_items_come_back_as_they_were(items: list[str]) -> None:
    raw = ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    (entry,) = parse(f"key={raw}")
    assert entry.items == tuple(items)


def test_zurl_reads_the_values_in_the_same_way(tmp_path: Path) -> None:
    # An endpoint that cannot be bound comes back in zurl's error message.
    zurl = require_peer("zurl")
    for number, (raw, meaning) in enumerate(VALUES):
        path = tmp_path / f"{number}.conf"
        path.write_text(f"[General]\nin_req_spec={raw}\n")
        out = subprocess.run([zurl, f"--config={path}"], capture_output=True, timeout=60).stdout
        found = re.search(rb"unable to bind to in_req_spec: (.*)\n", out)
        assert found, (raw, out)
        assert found.group(1).decode() == QT_DIFFERS.get(raw, meaning), raw
