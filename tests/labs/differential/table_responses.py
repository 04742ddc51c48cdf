"""Intended differences in answers of origins, and in redirects."""

from tests.labs.differential.difference import Difference, difference

_ANSWERS = "Answers"
_REDIRECTS = "Redirects"

ROWS: list[Difference] = [
    difference(
        _ANSWERS,
        "A status line that ends after its code ends with `undefined-condition`; so does a header"
        " without a blank after its colon, with a tab there, without a value, or on two lines.",
        "All of them are accepted.",
        "RFC 9112 sections 4 and 5 permit them.",
        "status-no-reason",
        "response-header-no-blank",
        "response-header-tab",
        "response-header-empty",
        "response-header-folded",
    ),
    difference(
        _ANSWERS,
        "A head that is cut off is delivered as an answer with code 0.",
        "It ends with `undefined-condition`.",
        "An incomplete head is no answer.",
        "answer-head-breaks-off",
    ),
    difference(
        _ANSWERS,
        "In stream mode, a 103 that comes well before the final answer is delivered as the answer.",
        "Interim answers are skipped.",
        "The final answer follows them (RFC 9110 section 15.2).",
        "interim-early-103",
    ),
    difference(
        _ANSWERS,
        "101 is delivered to a worker that requested no upgrade, with the following bytes as its "
        "body.",
        "It ends with `undefined-condition`.",
        "These bytes belong to another protocol (RFC 9110 section 15.2.2).",
        "interim-101",
    ),
    difference(
        _ANSWERS,
        "A content coding that was not offered, and bytes after the end of gzip data, end with "
        "`undefined-condition`.",
        "The body is delivered without decoding, with its Content-Encoding; bytes after gzip data"
        " are ignored.",
        "Browsers do the same: some servers write a character set there, or pad the data.",
        "coding-unknown",
        "coding-gzip-surplus",
    ),
    difference(
        _ANSWERS,
        "Up to five content codings are decoded, one after the other.",
        "One is decoded; several known ones end with `undefined-condition`.",
        "A kilobyte that was compressed four times kept the daemon busy for half a minute.",
        "coding-twice",
    ),
    difference(
        _ANSWERS,
        "A blank between a header's name and its colon is delivered as a part of the name.",
        "The blank is removed. If the header would then describe the body's framing, it is left "
        "out.",
        "RFC 9112 section 5.1 requires it, and libcurl did not use that header for the framing.",
        "response-header-blank-before-colon",
    ),
    difference(
        _ANSWERS,
        "In JSON a body ends at its first NUL.",
        "The body is complete.",
        "No bytes may be lost.",
        "body-nul-json",
    ),
    difference(
        _ANSWERS,
        "In JSON each invalid byte of an incomplete UTF-8 sequence becomes a U+FFFD.",
        "The whole sequence becomes one U+FFFD.",
        "Unicode recommends it, and most decoders do it.",
        "body-cut-utf8-json",
    ),
    difference(
        _ANSWERS,
        "If an answer has two different Content-Lengths, the last one is used.",
        "It ends with `undefined-condition`.",
        "Such an answer may be an attempt at smuggling (RFC 9112 section 6.3).",
        "body-lengths-differ",
    ),
    difference(
        _ANSWERS,
        "A Content-Length beyond 64 bits is ignored: the body lasts until the connection ends.",
        "A buffered answer with such a length ends with `max-size-exceeded`.",
        "The length is beyond `max_response_size`.",
        "body-huge-length",
    ),
    difference(
        _ANSWERS,
        "Content codings are offered for HEAD and for requests with Range.",
        "They are not offered for these, unless the worker asks for them, and a 206 is never "
        "decoded.",
        "HEAD would report the length of the coded body, and a part of coded data cannot be "
        "decoded.",
        "head",
        "headers-kept",
        "no-body-HEAD-*",
        "no-body-head-with-body",
        "upload-HEAD-empty",
        "max-size-head-method",
        "redirect-302-HEAD",
        "redirect-303-HEAD",
    ),
    difference(
        _ANSWERS,
        "An answer without a body (204 or 304) loses its Content-Length if it names a content "
        "coding.",
        "It keeps its Content-Length.",
        "Nothing was decoded, so the origin's length is correct.",
        "no-body-GET-204-gzip",
        "no-body-GET-304-gzip",
    ),
    difference(
        _ANSWERS,
        "If an answer has Transfer-Encoding and Content-Length, both are delivered.",
        "Content-Length is left out.",
        "Transfer-Encoding overrides it (RFC 9112 section 6.3), so it may be wrong.",
        "chunked-and-length",
    ),
    difference(
        _REDIRECTS,
        "After 303, methods other than PUT are kept, but lose body and length.",
        "All methods but HEAD become GET.",
        "RFC 9110 section 15.4.4 requires it.",
        "redirect-303-POST",
        "redirect-303-POST-no-body",
        "redirect-303-POST-length",
        "redirect-303-DELETE",
        "redirect-303-PATCH",
    ),
    difference(
        _REDIRECTS,
        "If a redirect drops the body, Content-Type and similar headers are kept.",
        "Headers that describe the body are dropped with it.",
        "RFC 9110 section 15.4 requires it.",
        "redirect-303-PUT",
    ),
    difference(
        _REDIRECTS,
        "After a redirect to another port of the same host, Host has the first URI's port.",
        "Host has the host and port of the redirect's target.",
        "A different origin may serve that port.",
        "redirect-secrets-other-port",
        "redirect-userinfo-other-host",
    ),
    difference(
        _REDIRECTS,
        "Authorization and Cookie are sent again if redirects lead back to the first origin.",
        "They are not sent again after a redirect to another origin.",
        "Another site chose that request.",
        "redirect-secrets-back-again",
    ),
    difference(
        _REDIRECTS,
        "Escapes in a Location are sent as they are written.",
        "Their hexadecimal digits become capital letters.",
        "libcurl changes them; the meaning is the same (RFC 3986 section 6.2.2.1).",
        "location-escapes",
        "location-not-ascii",
    ),
    difference(
        _REDIRECTS,
        "A Location without a host is tried, and ends with `remote-connection-failed`.",
        "It ends with `undefined-condition`, like every invalid Location.",
        "The mistake is the origin's, and no connection was tried.",
        "location-no-host",
    ),
    difference(
        _REDIRECTS,
        "A redirect to an ftp URL is followed.",
        "Only redirects to http and https are followed.",
        "The policy is made for HTTP requests.",
        "redirect-to-ftp-connects",
        "location-ftp",
    ),
    difference(
        _REDIRECTS,
        "A body of more than about 1 MB cannot be sent again after a redirect: "
        "`undefined-condition`.",
        "A body that came in one packet is sent again, whatever its size.",
        "The gateway still has it.",
        "redirect-with-large-body",
    ),
    difference(
        _REDIRECTS,
        "A redirect with an empty Location is delivered without its headers.",
        "It is delivered with its headers.",
        "It is an answer like any other.",
        "location-empty",
    ),
    difference(
        _REDIRECTS,
        "If a redirect has two Locations, the first is followed.",
        "It ends with `undefined-condition`.",
        "Proxies on the way may have used the other one; libcurl refuses such an answer.",
        "redirect-two-locations",
    ),
]
