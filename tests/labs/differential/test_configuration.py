"""zurl.conf as written for Zurl: the same text has the same effect with both daemons.

The effect is seen through the policy: which of a few names are refused.
"""

from pathlib import Path

import pytest

from tests.conftest import require_peer
from tests.support import Daemon, Worker
from zurl_py.config import ConfigError, load

_NAMES = ("a.test", "b.test", "c.test", "ab.test", "xn--bcher-kva.test", "a.test.b.test")

# What stands in the file, with {req} for the endpoint's line where the section is not the usual.
_FILES = {
    "plain": "deny=a.test,b.test",
    "blanks-around-items": "deny=a.test , b.test",
    "blanks-around-equals": "deny = a.test",
    "leading-blanks": "   deny=a.test",
    "trailing-blanks": "deny=a.test   ",
    "tabs": "deny\t=\ta.test",
    "empty-items": "deny=,a.test,,b.test,",
    "empty": "deny=",
    "only-commas": "deny=,,",
    "quoted-items": 'deny="a.test","b.test"',
    "quoted-item-and-plain": 'deny="a.test",b.test',
    "quoted-list": 'deny="a.test,b.test"',
    "quoted-blanks": 'deny=" a.test "',
    "quote-inside": 'deny=a"."test',
    "quote-left-open": 'deny="a.test',
    "single-quotes": "deny='a.test'",
    "escape-hex": "deny=\\x61.test",
    "escape-newline": "deny=a.test\\n",
    "escape-backslash": "deny=\\\\a.test",
    "escape-unknown": "deny=\\a.test",
    "percent-in-value": "deny=%61.test",
    "percent-in-key": "%64eny=a.test",
    "comment-hash-line": "#deny=a.test",
    "comment-semicolon-line": ";deny=a.test",
    "comment-indented": "   # deny=a.test\n   ; deny=b.test",
    "comment-semicolon-after": "deny=a.test ; b.test",
    "comment-semicolon-after-close": "deny=a.test;b.test",
    "comment-hash-after": "deny=a.test # b.test",
    "comment-hash-after-comma": "deny=a.test,#b.test",
    "semicolon-in-quotes": 'deny="a.test;x",b.test',
    "continuation": "deny=a.test,\\\nb.test",
    "twice": "deny=a.test\ndeny=b.test",
    "key-upper-case": "DENY=a.test",
    "key-first-upper-case": "Deny=a.test",
    "value-upper-case": "deny=A.TEST",
    "carriage-returns": "deny=a.test\r\nallow=c.test\r",
    "line-without-equals": "nonsense\ndeny=a.test",
    "line-with-equals-only": "=a.test\ndeny=b.test",
    "two-equals": "deny=a.test=b.test",
    "other-section-after": "deny=a.test\n[Other]\ndeny=b.test",
    "section-again": "[Other]\ndeny=b.test\n[General]\ndeny=a.test",
    "section-lower-case": "[general]\ndeny=a.test",
    "subgroup": "[General/x]\ndeny=a.test",
    "prefixed-key": "x/deny=a.test",
    "star": "deny=*.test",
    "star-quoted": 'deny="*.test"',
    "at-sign": "deny=@Invalid()",
    "at-string": "deny=@String(a.test)",
    "at-escaped": "deny=@@a.test",
    "byte-order-mark": "\ufeffdeny=a.test",
    "utf-8": "deny=bücher.test,a.test",
    "allow-excepts": "deny=*.test\nallow=a.test,b.test",
    "defpolicy-quoted": 'defpolicy="deny"\nallow=a.test,127.0.0.1',
    "defpolicy-blank": "defpolicy= deny \nallow=a.test,127.0.0.1",
    "defpolicy-comment": "defpolicy=deny ; the rest\nallow=a.test,127.0.0.1",
    "unknown-key": "something=else\ndeny=a.test",
    "empty-lines": "\n\n  \ndeny=a.test\n\n",
}

# Rules that Zurl takes and that never match: ours do not start with them, and say why.
_STOPS = {
    "quoted-list",
    "quote-left-open",
    "single-quotes",
    "escape-backslash",
    "percent-in-value",
    "comment-hash-after",
    "comment-hash-after-comma",
    "semicolon-in-quotes",
    "two-equals",
    "at-sign",
    "at-string",
    "at-escaped",
}
# Rules that never match with Zurl, and with ours do what they say.
_HEARD = {
    "quoted-blanks": "a.test - - - - -",
    "escape-newline": "a.test - - - - -",
    "escape-unknown": "a.test - - - - -",
    "utf-8": "a.test - - - xn--bcher-kva.test -",
}


class _Raw(Daemon):
    """A zurl whose configuration is written by the test."""

    text = ""

    def write_config(self, **changes: object) -> None:
        _write(self.config_path, self.text, str(self.settings["in_req_spec"]))


def _write(path: Path, text: str, in_req_spec: str = "ipc:///tmp/unused") -> None:
    path.write_text(f"[General]\nin_req_spec={in_req_spec}\n{text}\n", newline="")


def _refused_by_zurl(text: str) -> str:
    require_peer("zurl")
    daemon = _Raw("zurl", interfaces=("req",))
    daemon.text = text
    with daemon, Worker(daemon) as worker:
        worker.ready()
        answers = [
            worker.request(
                method="GET", uri=f"http://{name}/", connect_host="127.0.0.1", connect_port=1
            )
            for name in _NAMES
        ]
    refused = [answer["condition"] == b"policy-violation" for answer in answers]
    return _shown(refused)


def _refused_by_us(directory: Path, text: str) -> str:
    _write(directory / "zurl.conf", text)
    policy = load(str(directory / "zurl.conf")).policy()
    return _shown([not policy.check_name(name, 80, "http").allowed for name in _NAMES])


def _shown(refused: list[bool]) -> str:
    return " ".join(name if no else "-" for name, no in zip(_NAMES, refused, strict=True))


@pytest.mark.parametrize("name", sorted(set(_FILES) - _STOPS - set(_HEARD)))
def test_file_means_the_same(name: str, tmp_path: Path) -> None:
    assert _refused_by_us(tmp_path, _FILES[name]) == _refused_by_zurl(_FILES[name])


@pytest.mark.parametrize("name", sorted(_STOPS))
def test_rule_that_cannot_match_stops_the_start(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zurl\.conf:3: "):
        _refused_by_us(tmp_path, _FILES[name])


@pytest.mark.parametrize("name", sorted(_HEARD))
def test_rule_does_what_it_says(name: str, tmp_path: Path) -> None:
    assert _refused_by_us(tmp_path, _FILES[name]) == _HEARD[name]
    assert _refused_by_zurl(_FILES[name]) != _HEARD[name]
