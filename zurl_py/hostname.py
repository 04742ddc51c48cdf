"""International host names, as browsers read them: UTS 46, and not the narrower IDNA 2008.

IDNA 2008 allows no symbol such as U+2603 (a snowman), but names with it are registered, and
browsers reach them. This is the WHATWG URL standard's "domain to ASCII" (UTS 46 section 4,
non-transitional, CheckBidi and CheckJoiners, no check of hyphens or STD3's characters). Callers
check which ASCII characters a name may have.
"""

from __future__ import annotations

import unicodedata

import idna

from .errors import Error

__all__ = ["BadHostname", "to_ascii"]

_PREFIX = "xn--"
_JOINERS = "\u200c\u200d"


class BadHostname(Error, ValueError):
    """A name that no browser would look up; the text says why, for a log line."""


def to_ascii(name: str) -> str:
    """A host name in lower case, with each label beyond ASCII in Punycode (``xn--…``).

    Raises:
        BadHostname: a character is not allowed in names, or a label is malformed.
    """
    if name.isascii():
        return name.lower()
    try:
        mapped = idna.uts46_remap(name, std3_rules=False)
        labels = mapped.split(".")
        rtl = any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in mapped)
        return ".".join(_label_to_ascii(label, rtl) for label in labels)
    except (idna.IDNAError, UnicodeError) as error:
        raise BadHostname(f"not an international host name: {error}") from None


def _label_to_ascii(label: str, rtl: bool) -> str:
    """One label, checked by UTS 46 section 4.1; ``rtl``: the name is bidirectional."""
    if rtl and label:
        idna.check_bidi(label, True)
    if label.isascii():
        return label
    if label.startswith(_PREFIX):
        raise BadHostname(f"not an international host name: {label!r} is no Punycode")
    idna.check_initial_combiner(label)
    for position, char in enumerate(label):
        if char in _JOINERS and not idna.valid_contextj(label, position):
            raise BadHostname(
                f"not an international host name: a joiner at the wrong place in {label!r}"
            )
    return _PREFIX + label.encode("punycode").decode("ascii")
