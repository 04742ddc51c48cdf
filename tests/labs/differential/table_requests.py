"""Intended differences in requests: URIs, headers, connections, certificates, policy."""

from tests.labs.differential.difference import Difference, difference

_URI = "URIs"
_HEADERS = "Methods, headers and bodies"
_CONNECT = "Connecting"
_TLS = "TLS"
_POLICY = "Policy"

ROWS: list[Difference] = [
    difference(
        _URI,
        "A malformed URI with a supported scheme ends with `undefined-condition`, after a "
        "keep-alive.",
        "It ends with `bad-request`, at once.",
        "The mistake is the worker's, and the condition should say so.",
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
    difference(
        _URI,
        "`{`, `}`, `|`, `^` and a backtick in path or query end with `undefined-condition`.",
        "They are sent, escaped if the WHATWG URL standard escapes them.",
        "Browsers send them, and some services need them: `?streams=a|b`.",
        "target-bad-character-[2-6]",
    ),
    difference(
        _URI,
        "Unusual spellings of an IPv4 address (`127.1`, `0x7f.1`, `2130706433`, octal numbers) "
        "are accepted.",
        "They end with `bad-request`, in `connect-host` as well; so do percent-encoded hosts and "
        "several `@`.",
        "Parsers disagree about their meaning, and hardly anyone but attackers uses them.",
        "uri-number-host",
        "uri-hex-host",
        "policy-deny-number",
        "policy-deny-hex",
        "policy-deny-octal",
        "policy-deny-short-address",
        "policy-deny-connect-host-number",
    ),
    difference(
        _URI,
        "Port 0 and an empty host are tried, and end with `remote-connection-failed`.",
        "They end with `bad-request`.",
        "No connection to them is possible.",
        "uri-port-zero",
        "uri-no-host",
    ),
    difference(
        _URI,
        "`localhost.` with a trailing dot is looked up in the DNS, and the look-up fails.",
        "It means this machine, like `localhost`.",
        "libcurl resolves both without a look-up (RFC 6761); the policy checks the name without "
        "its dot.",
        "uri-trailing-dot",
    ),
    difference(
        _URI,
        "An IPv6 address is written into Host without its brackets.",
        "It is written with brackets.",
        "RFC 9110 section 7.2 requires them.",
        "ipv6",
    ),
    difference(
        _HEADERS,
        "CR, LF and NUL in a method or in a header's name or value are sent unchanged; so are "
        "names with blanks or colons, and methods that are no token.",
        "Such a request ends with `bad-request`.",
        "Whoever chose that text could add requests of their own.",
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
    difference(
        _HEADERS,
        "Headers with an empty value are left out.",
        "They are sent.",
        "An empty value is valid, and may have a meaning.",
        "headers-empty-value",
        "headers-blank-value",
    ),
    difference(
        _HEADERS,
        "A Content-Length that contradicts a whole body is sent: the surplus becomes a part of "
        "the next request, or the request hangs.",
        "The actual length is sent.",
        "The body of one worker must not become a part of another's request.",
        "length-too-small",
        "length-too-big",
        "length-no-number",
        "length-negative",
        "length-missing-body-post",
    ),
    difference(
        _HEADERS,
        "HEAD with a body ends with `content-not-allowed`, after a keep-alive.",
        "It ends with `content-not-allowed` at once, before the policy is asked.",
        "The error is certain before anything is started.",
        "method-HEAD-with-body",
        "policy-before-method",
    ),
    difference(
        _CONNECT,
        "`connect-host` without `connect-port` ends with `undefined-condition`; `connect-port` "
        "without `connect-host` is ignored.",
        "Each of them works alone.",
        "WebSockets of Zurl permit that, too.",
        "connect-host-alone",
        "connect-port-alone",
        "field-connect-port-text-J",
        "field-connect-port-no-number-J",
    ),
    difference(
        _CONNECT,
        "An invalid `connect-host` or `connect-port` ends with `undefined-condition` or "
        '`remote-connection-failed`; so does -1, which means "absent" in other fields.',
        'It ends with `bad-request`; -1 means "absent".',
        "The mistake is the worker's, and the condition should say so.",
        "connect-port-zero",
        "connect-port-minus-one",
        "connect-port-too-big",
        "connect-port-as-text",
        "connect-host-with-port",
        "connect-host-newline",
    ),
    difference(
        _CONNECT,
        "Proxies that environment variables name are used.",
        "They are not used.",
        "The policy would check the proxy's address only.",
        "proxy-of-environment",
    ),
    difference(
        _TLS,
        "For https only the name in a certificate is checked: not its issuer, and not its dates.",
        "Certificates are verified completely.",
        "Anybody can make a certificate with any name.",
        "tls-self-signed",
        "tls-expired",
    ),
    difference(
        _TLS,
        "A certificate with an IP address is not accepted for a URI with that address.",
        "It is accepted.",
        "RFC 9110 section 4.3.5 describes it.",
        "tls-good-address",
    ),
    difference(
        _TLS,
        "After a redirect from http to https the certificate is verified against the system's "
        "store, even if SSL_CERT_FILE is set.",
        "All requests use the same store: `ca_file`, else SSL_CERT_FILE and SSL_CERT_DIR, else "
        "the system's.",
        "Trust must not depend on how the request came to the origin.",
        "tls-redirect-from-http",
    ),
    difference(
        _TLS,
        "A TLS handshake that fails for a reason other than the certificate ends with "
        "`undefined-condition`.",
        "It ends with `tls-error`.",
        "That condition says more.",
        "tls-to-plain-port",
        "tls-peer-hangs-up",
    ),
    difference(
        _TLS,
        "A body without a length is complete when a TLS connection ends without an announcement "
        "(close_notify).",
        "It ends with `undefined-condition`.",
        "Somebody may have cut the body off; OpenSSL 3 refuses it.",
        "tls-end-without-close-notify",
    ),
    difference(
        _POLICY,
        "A trailing dot evades rules about names.",
        "Names are compared without a trailing dot.",
        "Both spellings lead to the same host.",
        "policy-deny-name-trailing-dot",
    ),
    difference(
        _POLICY,
        "Targets of redirects are checked by address only, and a refused one ends with "
        "`remote-connection-failed`.",
        "Names and addresses of every hop are checked; a refused one ends with `policy-violation`.",
        "A redirect must not evade the rules.",
        "policy-redirect-to-denied-*",
    ),
    difference(
        _POLICY,
        "A kept connection that was opened with `ignore-policies` is used by requests without "
        "that field.",
        "The policy is asked again when a connection is reused.",
        "A privilege is valid for its own request only.",
        "policy-not-ridden-on-kept-connection",
    ),
]
