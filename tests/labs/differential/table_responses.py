"""Intended differences in what comes back: answers and redirects."""

from tests.labs.differential.difference import Difference


def _row(topic: str, zurl: str, ours: str, why: str, *exchanges: str) -> Difference:
    return Difference(topic, zurl, ours, why, exchanges)


_ANSWERS, _REDIRECTS = "Answers", "Redirects"

ROWS = [
    _row(
        _ANSWERS,
        "A status line that ends after the code is `undefined-condition`; so is a header without a "
        "blank after its colon, with a tab, without a value, or on two lines.",
        "All of them are understood.",
        "RFC 9112 sections 4 and 5.",
        "status-no-reason",
        "response-header-no-blank",
        "response-header-tab",
        "response-header-empty",
        "response-header-folded",
    ),
    _row(
        _ANSWERS,
        "A head that breaks off is an answer with code 0.",
        "It is `undefined-condition`.",
        "It is no answer.",
        "answer-head-breaks-off",
    ),
    _row(
        _ANSWERS,
        "103 well before the answer is delivered as if it were the answer, in stream mode.",
        "Interim answers are passed over.",
        "RFC 9110 section 15.2.",
        "interim-early-103",
    ),
    _row(
        _ANSWERS,
        "101 to a request that asked for no upgrade is delivered, with what follows as its body.",
        "It is `undefined-condition`.",
        "RFC 9110 section 15.2.2: the peer speaks a protocol that nobody asked for.",
        "interim-101",
    ),
    _row(
        _ANSWERS,
        "A coding that was not offered, and bytes behind gzip data, are `undefined-condition`.",
        "The body comes as it is, with its header; bytes behind the data are passed over.",
        "As browsers do: some servers name a character set there, or pad.",
        "coding-unknown",
        "coding-gzip-surplus",
    ),
    _row(
        _ANSWERS,
        "Up to five codings are undone, one after the other.",
        "One is; several that we know are `undefined-condition`.",
        "A kilobyte that was packed four times stopped the daemon for half a minute.",
        "coding-twice",
    ),
    _row(
        _ANSWERS,
        "A blank behind a header's name is handed on as a part of it.",
        "It is taken away; a field that would then be framing is left out.",
        "RFC 9112 section 5.1; the body was not framed by it.",
        "response-header-blank-before-colon",
    ),
    _row(
        _ANSWERS,
        "Codings are offered with HEAD.",
        "They are not, nor with Range; a 206 is never undone.",
        "The answer to HEAD is to tell the length of what a GET would bring; a part of coded data "
        "cannot be undone.",
        "max-size-head-method",
        "redirect-302-HEAD",
        "redirect-303-HEAD",
    ),
    _row(
        _ANSWERS,
        "In JSON a body ends at its first NUL.",
        "It is whole.",
        "Bytes must not vanish.",
        "body-nul-json",
    ),
    _row(
        _ANSWERS,
        "In JSON each bad byte of a cut UTF-8 sequence becomes a U+FFFD.",
        "The sequence becomes one.",
        "As Unicode recommends and as most decoders do.",
        "body-cut-utf8-json",
    ),
    _row(
        _ANSWERS,
        "Of two Content-Lengths that differ the last is believed.",
        "`undefined-condition`.",
        "RFC 9112 section 6.3: such an answer may have been smuggled.",
        "body-lengths-differ",
    ),
    _row(
        _ANSWERS,
        "A Content-Length beyond 64 bits means: to the end of the connection.",
        "A buffered answer of that size is `max-size-exceeded`.",
        "It is beyond `max_response_size`.",
        "body-huge-length",
    ),
    _row(
        _REDIRECTS,
        "After 303 methods other than PUT keep their name but lose body and length.",
        "All but HEAD become GET.",
        "RFC 9110 section 15.4.4.",
        "redirect-303-POST",
        "redirect-303-POST-no-body",
        "redirect-303-POST-length",
        "redirect-303-DELETE",
        "redirect-303-PATCH",
    ),
    _row(
        _REDIRECTS,
        "A redirect that drops the body keeps Content-Type and the like.",
        "Without a body, nothing is said about it.",
        "RFC 9110 section 15.4.",
        "redirect-303-PUT",
    ),
    _row(
        _REDIRECTS,
        "On another port of the same host, Host stays that of the first URI.",
        "Host is that of the URI redirected to.",
        "The origin there may be another one.",
        "redirect-secrets-other-port",
        "redirect-userinfo-other-host",
    ),
    _row(
        _REDIRECTS,
        "Authorization and Cookie are sent again when a redirect leads back to the first origin.",
        "Once left behind they stay behind.",
        "Another site sent us there.",
        "redirect-secrets-back-again",
    ),
    _row(
        _REDIRECTS,
        "Escapes in a Location are followed as written.",
        "Their digits become capital letters.",
        "libcurl does it; the two are the same (RFC 3986 section 6.2.2.1).",
        "location-escapes",
        "location-not-ascii",
    ),
    _row(
        _REDIRECTS,
        "A Location without a host is tried: `remote-connection-failed`.",
        "`undefined-condition`, as for every Location that cannot be used.",
        "It is the origin's mistake, and nothing was connected to.",
        "location-no-host",
    ),
    _row(
        _REDIRECTS,
        "A redirect to ftp is connected to.",
        "Only http and https are followed.",
        "The policy is about web requests.",
        "redirect-to-ftp-connects",
        "location-ftp",
    ),
    _row(
        _REDIRECTS,
        "A body of more than about 1 MB cannot be sent again: `undefined-condition`.",
        "A whole body can.",
        "It is there.",
        "redirect-with-large-body",
    ),
    _row(
        _REDIRECTS,
        "An empty Location ends with the redirect as answer, without its headers.",
        "With its headers.",
        "It is the answer.",
        "location-empty",
    ),
    _row(
        _REDIRECTS,
        "Of two Locations the first is followed.",
        "`undefined-condition`.",
        "libcurl refuses them: proxies on the way may have read the other one.",
        "redirect-two-locations",
    ),
]
