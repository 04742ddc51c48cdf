"""Intended differences in what goes out: requests, connections, certificates, policy."""

from tests.labs.differential.difference import Difference


def _row(topic: str, zurl: str, ours: str, why: str, *exchanges: str) -> Difference:
    return Difference(topic, zurl, ours, why, exchanges)


_URI, _HEADERS, _CONNECT, _TLS, _POLICY = (
    "URIs",
    "Methods, headers and bodies",
    "Connecting",
    "TLS",
    "Policy",
)

ROWS = [
    _row(
        _URI,
        "A malformed URI with a good scheme is `undefined-condition`, after a keep-alive.",
        "It is `bad-request`, at once.",
        "It is the worker's mistake, and the condition says so.",
        "target-bad-character-[78]",
        "uri-inner-blank",
        "uri-bad-escape",
        "uri-bad-character",
        "uri-newline",
        "uri-port-too-big",
        "uri-port-not-a-number",
        "uri-backslash",
        "name-empty-label",
        "name-too-long",
    ),
    _row(
        _URI,
        "`{`, `}`, `|`, `^` and a backtick in path or query are `undefined-condition`.",
        "They are sent, escaped where the WHATWG URL standard escapes them.",
        "Browsers send them, and services ask for them: `?streams=a|b`.",
        "target-bad-character-[2-6]",
    ),
    _row(
        _URI,
        "Other spellings of an IPv4 address (`127.1`, `0x7f.1`, `2130706433`, octal) are read as "
        "that address.",
        "They are `bad-request`, in `connect-host` too; so are percent-encoded hosts and "
        "several `@`.",
        "Nobody but an attacker writes them: parsers disagree about what they mean.",
        "uri-number-host",
        "uri-hex-host",
        "policy-deny-number",
        "policy-deny-hex",
        "policy-deny-octal",
        "policy-deny-short-address",
        "policy-deny-connect-host-number",
    ),
    _row(
        _URI,
        "Port 0 and an empty host are tried: `remote-connection-failed`.",
        "They are `bad-request`.",
        "There is nothing to connect to.",
        "uri-port-zero",
        "uri-no-host",
    ),
    _row(
        _URI,
        "`localhost.` with a trailing dot is looked up in the DNS, and fails.",
        "It is this machine, as `localhost` is.",
        "libcurl resolves both (RFC 6761); policy sees the name without its dot.",
        "uri-trailing-dot",
    ),
    _row(
        _URI,
        "An IPv6 address goes into Host without its brackets.",
        "With brackets.",
        "RFC 9110 section 7.2.",
        "ipv6",
    ),
    _row(
        _HEADERS,
        "CR, LF and NUL in a method, a header's name or value go out as they are; so do names with "
        "blanks or colons and methods that are no token.",
        "Such a request is `bad-request`.",
        "They would let whoever chose the text write requests of its own.",
        "method-with-*",
        "method-not-ascii",
        "headers-newline-in-*",
        "headers-lf-in-value",
        "headers-nul-in-value",
        "headers-colon-in-name",
        "headers-blank-in-name",
        "headers-empty-name",
        "headers-semicolon-name",
    ),
    _row(
        _HEADERS,
        "Headers with an empty value are left out.",
        "They are sent.",
        "An empty value is a value.",
        "headers-empty-value",
        "headers-blank-value",
    ),
    _row(
        _HEADERS,
        "A Content-Length that contradicts a whole body is believed: the rest runs into the next "
        "request, or the request hangs.",
        "The true length is sent.",
        "A request of one worker must not become part of another's.",
        "length-too-small",
        "length-too-big",
        "length-no-number",
        "length-negative",
        "length-missing-body-post",
    ),
    _row(
        _HEADERS,
        "HEAD with a body: keep-alive, then `content-not-allowed`.",
        "`content-not-allowed` at once, before policy is asked.",
        "It is known before anything is started.",
        "method-HEAD-with-body",
        "policy-before-method",
    ),
    _row(
        _CONNECT,
        "`connect-host` alone is `undefined-condition`, `connect-port` alone is ignored.",
        "Each works alone.",
        "As for WebSockets.",
        "connect-host-alone",
        "connect-port-alone",
        "field-connect-port-text-J",
        "field-connect-port-no-number-J",
    ),
    _row(
        _CONNECT,
        "An unusable `connect-host` or `connect-port` is `undefined-condition` or "
        "`remote-connection-failed`; -1, which means absent elsewhere, as well.",
        "It is `bad-request`; -1 is absent.",
        "It is the worker's mistake, and the condition says so.",
        "connect-port-zero",
        "connect-port-minus-one",
        "connect-port-too-big",
        "connect-port-as-text",
        "connect-host-with-port",
        "connect-host-newline",
    ),
    _row(
        _CONNECT,
        "Proxies named in the environment are used.",
        "They are not.",
        "The policy would see the proxy's address only.",
        "proxy-of-environment",
    ),
    _row(
        _TLS,
        "For https only the name in a certificate is checked, neither who signed it nor its dates.",
        "Certificates are verified in full.",
        "A name that anybody may write into a certificate proves nothing.",
        "tls-self-signed",
        "tls-expired",
    ),
    _row(
        _TLS,
        "An address in a certificate is not accepted for an address in the URI.",
        "It is.",
        "RFC 9110 section 4.3.5.",
        "tls-good-address",
    ),
    _row(
        _TLS,
        "After a redirect from http to https the certificate is verified against the system's "
        "store, whatever SSL_CERT_FILE says.",
        "One store for all: `ca_file`, else SSL_CERT_FILE and SSL_CERT_DIR, else the system's.",
        "What is trusted does not depend on the way there.",
        "tls-redirect-from-http",
    ),
    _row(
        _TLS,
        "A TLS handshake that fails for another reason than the certificate is "
        "`undefined-condition`.",
        "It is `tls-error`.",
        "A better name for it.",
        "tls-to-plain-port",
        "tls-peer-hangs-up",
    ),
    _row(
        _TLS,
        "A body that lasts to the end of a TLS connection is whole even if the connection just "
        "stops.",
        "`undefined-condition`: the end must be announced (close_notify).",
        "It cannot be told from a body that somebody cut off; OpenSSL 3 refuses it.",
        "tls-end-without-close-notify",
    ),
    _row(
        _POLICY,
        "A trailing dot evades rules about names.",
        "Names are compared without it.",
        "Both reach the same host.",
        "policy-deny-name-trailing-dot",
    ),
    _row(
        _POLICY,
        "Targets of redirects are checked by address only, and a refused one is "
        "`remote-connection-failed`.",
        "Names and addresses of every hop are checked; a refusal is `policy-violation`.",
        "A redirect is no way around the rules.",
        "policy-redirect-to-denied-*",
    ),
    _row(
        _POLICY,
        "A kept connection that was opened with `ignore-policies` serves requests without it.",
        "Policy is asked again when a connection is used again.",
        "A privilege ends with its request.",
        "policy-not-ridden-on-kept-connection",
    ),
]
