"""The URL parser: what it takes, what it refuses, and that libcurl sees the same as the policy."""

import base64
import socket
import string

import pycurl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py import url
from zurl_py.url import BadUrl, Target, parse, resolve


@pytest.mark.parametrize(
    ("uri", "scheme", "host", "port", "host_header", "text"),
    [
        ("http://h/", "http", "h", 80, "h", "http://h/"),
        ("http://h", "http", "h", 80, "h", "http://h/"),
        ("http://h?q", "http", "h", 80, "h", "http://h/?q"),
        ("http://h#f", "http", "h", 80, "h", "http://h/"),
        ("http://h/a#f?x", "http", "h", 80, "h", "http://h/a"),
        ("HTTP://EXAMPLE.Com:80/P", "http", "example.com", 80, "example.com", None),
        ("https://h:443/", "https", "h", 443, "h", "https://h/"),
        ("https://h:80/", "https", "h", 80, "h:80", "https://h:80/"),
        ("ws://h/", "ws", "h", 80, "h", "ws://h/"),
        ("wss://h:8443/x", "wss", "h", 8443, "h:8443", "wss://h:8443/x"),
        ("http://h:/x", "http", "h", 80, "h", "http://h/x"),
        ("http://h:65535/", "http", "h", 65535, "h:65535", None),
        ("http://a_b.-x-.example/", "http", "a_b.-x-.example", 80, None, None),
        ("http://example.com./", "http", "example.com", 80, "example.com", "http://example.com./"),
        ("http://127.0.0.1:81/", "http", "127.0.0.1", 81, "127.0.0.1:81", None),
        ("http://[::1]/", "http", "::1", 80, "[::1]", "http://[::1]/"),
        ("http://[0:0::0:1]:81/", "http", "::1", 81, "[::1]:81", "http://[::1]:81/"),
        ("http://[::FFFF:7f00:1]/", "http", "::ffff:127.0.0.1", 80, None, None),
        ("http://[2001:DB8::A]/", "http", "2001:db8::a", 80, "[2001:db8::a]", None),
        ("http://bücher.example/", "http", "xn--bcher-kva.example", 80, None, None),
        ("http://BÜCHER。example/", "http", "xn--bcher-kva.example", 80, None, None),
        ("http://faß.example/", "http", "xn--fa-hia.example", 80, None, None),
        ("http://ⓛocalhost/", "http", "localhost", 80, None, "http://localhost/"),
        ("http://XN--BCHER-KVA.example/", "http", "xn--bcher-kva.example", 80, None, None),
        ("http://☃.example/", "http", "xn--n3h.example", 80, "xn--n3h.example", None),
        ("http://foo_bar.bücher.example/", "http", "foo_bar.xn--bcher-kva.example", 80, None, None),
        ("http://a\u2044b/", "http", "xn--ab-c6t", 80, None, None),
        ("http://\u05d0\u05d1.example/", "http", "xn--4dbc.example", 80, None, None),
    ],
)
def test_valid_urls(
    uri: str, scheme: str, host: str, port: int, host_header: str | None, text: str | None
) -> None:
    target = parse(uri.encode())
    assert (target.scheme, target.host, target.port) == (scheme, host, port)
    assert target.origin == (scheme, host, port)
    assert target.authorization is None
    if host_header is not None:
        assert target.host_header.decode() == host_header
    if text is not None:
        assert target.text == text
    _assert_libcurl_agrees(target)


def _assert_libcurl_agrees(target: Target) -> None:
    url = target.curl_url
    assert url.scheme == target.scheme
    assert url.host.strip("[]").removesuffix(".") == target.host
    port = url.getpart(pycurl.UPART_PORT, pycurl.U_DEFAULT_PORT)
    assert int(port) == target.port
    assert url.user is None
    assert url.password is None
    assert url.fragment is None
    assert url.zoneid is None
    # Again from its text, as whoever gets only that would read it.
    again = pycurl.CurlUrl(target.text, pycurl.U_PATH_AS_IS)
    assert (again.host, again.path, again.query) == (url.host, url.path, url.query)


@pytest.mark.parametrize(
    ("uri", "rest"),
    [
        ("http://h/a/../b//./c", "/a/../b//./c"),
        ("http://h/%41%7e%2f%zz".replace("%zz", "%5a"), "/A~%2fZ"),
        ("http://h/?%41=%42", "/?A=B"),
        ("http://h/?", "/?"),
        ("http://h/ü?é", "/%C3%BC?%C3%A9"),
        ("http://h/a;b=c,d!$&'()*+:@?x/y?z", "/a;b=c,d!$&'()*+:@?x/y?z"),
        ("http://h/[x]", "/[x]"),
        ("http://h/s?streams=a|b", "/s?streams=a|b"),
        ("http://h/s|t?data={x:1}^`", "/s|t?data={x:1}^`"),
        ("http://h/{x}^`", "/%7Bx%7D%5E%60"),
        ("http://h/%00%0d%0a%20", "/%00%0d%0a%20"),
        ("http://h//evil.example/", "//evil.example/"),
        ("http://h/http://x/@y", "/http://x/@y"),
        ("http://h?@x/", "/?@x/"),
    ],
)
def test_path_and_query(uri: str, rest: str) -> None:
    target = parse(uri.encode())
    assert target.text == "http://h" + rest
    path, _, query = rest.partition("?")
    assert target.curl_url.path == path
    assert (target.curl_url.query or "") == query


NOT_TAKEN = [
    # No URL, or none of ours
    "",
    "h",
    "/path",
    "//h/",
    "http:h",
    "http:/h/",
    "http:///h/",
    "http:////h/",
    "http://",
    "http://?x",
    "http://#x",
    "http://:80/",
    "ftp://h/",
    "file:///etc/passwd",
    "file://h/etc/passwd",
    "gopher://h:70/_x",
    "dict://h:11211/stat",
    "unix:///run/x",
    "javascript:alert(1)",
    "data:,x",
    "httpx://h/",
    "http+unix://%2frun%2fx/",
    # Blanks, control characters and what has to be escaped
    " http://h/",
    "http://h/ ",
    "http://h /",
    "http://h/a b",
    "http://h/\t",
    "http://h/\r\nHost: x",
    "http://h\r\n/",
    "http://h/\0",
    "http://h\0.example/",
    "http://h/\x7f",
    'http://h/"',
    "http://h/<>",
    "http://h/%zz",
    "http://h/%",
    "http://h/?%4",
    # Backslashes, users
    "http://127.0.0.1\\@example.com/",
    "http:\\\\h/",
    "http://h\\x/",
    "http://h/\\",
    "http://a@b@c/",
    "http://a:b@c:d@e/",
    "http://us%0aer@h/",
    "http://us%00er@h/",
    "http://us[er@h/",
    "http://ü@h/",
    "http://a@/",
    # Percent-encoded hosts
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%2e/",
    "http://h%2eexample/",
    "http://h%00/",
    "http://h%2f/",
    "http://h%40x/",
    "http://h%23/",
    "http://h%0d%0a/",
    "http://b%C3%BCcher.example/",
    "http://%E2%80%8Blocalhost/",
    # Numbers
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://127.0.0.1./",
    "http://0/",
    "http://00000/",
    "http://0x/",
    "http://010.0.0.1/",
    "http://127.000.000.001/",
    "http://256.256.256.256/",
    "http://4294967296/",
    "http://1.2.3.4.5/",
    "http://127.0.0.08/",
    "http://example.1/",
    "http://example.0x1f/",
    "http://１２７.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://127。0。0。1/",
    # Host names
    "http://./",
    "http://../",
    "http://.example.com/",
    "http://example..com/",
    "http://example.com../",
    "http://exa$mple.com/",
    "http://a,b/",
    "http://*.example.com/",
    "http://a!b/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "ab/",
    "http://\u200blocalhost.\u200d/",
    "http://a\u200cb.example/",
    "http://\u0301a.example/",
    "http://\u05d0a\u05d1.example/",
    "http://xn--\u00fc/",
    "http://h\uff0fx/",
    "http://h\uff1a80/",
    "http://h\uff20x/",
    "http://h\uff03x/",
    "http://\ud7ff\u0378.example/",
    # Ports
    "http://h:0/",
    "http://h:00/",
    "http://h:080/",
    "http://h:65536/",
    "http://h:99999999999999999999/",
    "http://h:-1/",
    "http://h:+80/",
    "http://h:80:80/",
    "http://h:x/",
    "http://h:8 0/",
    "http://h:８０/",
    # IPv6
    "http://[::1/",
    "http://::1/",
    "http://[]/",
    "http://[::1]x/",
    "http://[::1]]/",
    "http://[127.0.0.1]/",
    "http://[h]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::ffff:7f00:1%25lo]/",
    "http://[::127.1]/",
    "http://[::ffff:0177.0.0.1]/",
    "http://[1:2:3:4:5:6:7:8:9]/",
    "http://[v1.x]/",
    "http://[::%31]/",
    "http://[::１]/",
]


@pytest.mark.parametrize("uri", NOT_TAKEN)
def test_invalid_urls_are_refused(uri: str) -> None:
    with pytest.raises(BadUrl) as caught:
        parse(uri.encode())
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    for uri in (b"http://h/\xff", b"http://\xff/", b"http://h/\xed\xa0\x80", b"\xff"):
        with pytest.raises(BadUrl):
            parse(uri)


@pytest.mark.parametrize(
    ("user", "plain"),
    [
        ("user", "user:"),
        ("user:", "user:"),
        ("user:pass", "user:pass"),
        (":pass", ":pass"),
        ("us%40er:pa%3Ass", "us@er:pa:ss"),
        ("a:b:c", "a:b:c"),
        ("john%2Edoe:12345", "john.doe:12345"),
        ("john.doe:secret", "john.doe:secret"),
        ("gr%C3%BCn:%ff", "grün:\udcff"),
        ("a|b:{c}^`", "a|b:{c}^`"),
    ],
)
def test_user_and_password_become_a_header(user: str, plain: str) -> None:
    target = parse(f"http://{user}@h/x".encode())
    expected = base64.b64encode(plain.encode("utf-8", "surrogateescape"))
    assert target.authorization == b"Basic " + expected
    assert target.text == "http://h/x"
    assert "@" not in target.curl_url.url


@pytest.mark.parametrize(
    ("user", "host"),
    [
        ("john.doe:1234", "h"),
        ("SG.abc.def:", "h"),
        ("example.com", "127.0.0.1"),
        ("127.0.0.1:80", "example.com"),
        ("localhost:8080", "example.com"),
    ],
)
def test_a_user_may_look_like_a_host(user: str, host: str) -> None:
    """What stands behind the @ is the host, for the policy and for libcurl."""
    target = parse(f"http://{user}@{host}/".encode())
    assert target.host == host
    assert target.authorization is not None
    credentials = base64.b64decode(target.authorization.removeprefix(b"Basic "))
    assert credentials.decode() == (user if ":" in user else user + ":")
    _assert_libcurl_agrees(target)


def test_an_empty_user_is_ignored() -> None:
    assert parse(b"http://@h/").authorization is None


BASE = b"http://h:81/a/b/c?q"


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        # RFC 3986 section 5.4, against this base
        ("g", "/a/b/g"),
        ("./g", "/a/b/g"),
        ("g/", "/a/b/g/"),
        ("/g", "/g"),
        ("?y", "/a/b/c?y"),
        ("g?y", "/a/b/g?y"),
        ("#s", "/a/b/c?q"),
        ("g#s", "/a/b/g"),
        (";x", "/a/b/;x"),
        ("", "/a/b/c?q"),
        (".", "/a/b/"),
        ("./", "/a/b/"),
        ("..", "/a/"),
        ("../", "/a/"),
        ("../g", "/a/g"),
        ("../..", "/"),
        ("../../../g", "/g"),
        ("g.", "/a/b/g."),
        ("..g", "/a/b/..g"),
        ("./g/.", "/a/b/g/"),
        ("g/../h", "/a/b/h"),
        ("g?y/../x", "/a/b/g?y/../x"),
        # Paths that stand by themselves stay as they are
        ("/x/../y/./z", "/x/../y/./z"),
        ("/%41%7e%2f", "/%41%7e%2f"),
        ("/%zz", "/%zz"),
        ("/x y", "/x%20y"),
        (" /x ", "/x"),
        ("/ü", "/%C3%BC"),
        ('/"<>^`{|}', '/"<>%5E%60%7B|%7D'),
        ("?a^`{|}", "/a/b/c?a^`{|}"),
    ],
)
def test_relative_references(reference: str, text: str) -> None:
    target = resolve(parse(BASE), reference.encode())
    assert target.text == "http://h:81" + text
    assert target.origin == ("http", "h", 81)
    _assert_libcurl_agrees(target)


@pytest.mark.parametrize(
    ("reference", "origin"),
    [
        ("https://k/x", ("https", "k", 443)),
        ("//k/x", ("http", "k", 80)),
        ("//k:82", ("http", "k", 82)),
        ("HTTP://K", ("http", "k", 80)),
        ("//bücher.example/ü", ("http", "xn--bcher-kva.example", 80)),
        ("ws://k", ("ws", "k", 80)),
        ("http://k/#@evil", ("http", "k", 80)),
    ],
)
def test_references_to_elsewhere(reference: str, origin: tuple[str, str, int]) -> None:
    target = resolve(parse(BASE), reference.encode())
    assert target.origin == origin
    _assert_libcurl_agrees(target)


def test_bytes_that_are_no_text_in_a_location_are_escaped() -> None:
    assert resolve(parse(BASE), b"/caf\xe9").text == "http://h:81/caf%E9"
    with pytest.raises(BadUrl):
        resolve(parse(BASE), b"//caf\xe9/")


@pytest.mark.parametrize(
    "reference",
    [
        "http:/k/",
        "http:///k/",
        "http:k",
        "https:",
        "///k",
        "//",
        "ftp://k/",
        "file:///etc/passwd",
        "mailto:x@y",
        "\\\\k\\x",
        "/\\k/",
        "//127.1/",
        "//k%2e/",
        "//a@b@c/",
        "//[fe80::1%25lo]/",
        "/x\r\nSet-Cookie: y",
        "/x\0",
        "\t/x",
    ],
)
def test_locations_that_are_refused(reference: str) -> None:
    with pytest.raises(BadUrl):
        resolve(parse(BASE), reference.encode())


def test_a_location_may_bring_a_user() -> None:
    target = resolve(parse(BASE), b"http://u:p@k/")
    assert target.authorization == b"Basic " + base64.b64encode(b"u:p")
    assert resolve(parse(b"http://u:p@h/"), b"/x").authorization is None


def test_the_dot_at_the_end_of_a_host_stays_on_a_relative_redirect() -> None:
    assert resolve(parse(b"http://h.example./a"), b"b").text == "http://h.example./b"


# -- properties --------------------------------------------------------------------------------

_URLISH = st.text(alphabet="htps:/@?#[]%.\\0123456789abfxé①\t\r\n _-:", max_size=40)


@given(_URLISH)
def test_anything_is_parsed_or_refused(text: str) -> None:
    for uri in (text, "http://" + text, "http://h" + text):
        try:
            target = parse(uri.encode())
        except BadUrl:
            continue
        _assert_libcurl_agrees(target)
        assert target.text.isascii()


@given(_URLISH)
def test_any_location_is_resolved_or_refused(text: str) -> None:
    try:
        target = resolve(parse(BASE), text.encode())
    except BadUrl:
        return
    _assert_libcurl_agrees(target)


@given(st.binary(max_size=40))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    for uri in (data, b"http://" + data, b"http://h/" + data):
        try:
            target = parse(uri)
        except BadUrl:
            continue
        _assert_libcurl_agrees(target)


@given(st.integers(0, 2**128 - 1))
def test_every_ipv6_address_has_one_spelling(number: int) -> None:
    packed = number.to_bytes(16, "big")
    long = ":".join(f"{int.from_bytes(packed[i : i + 2], 'big'):04X}" for i in range(0, 16, 2))
    target = parse(f"http://[{long}]:81/".encode())
    assert target.host == socket.inet_ntop(socket.AF_INET6, packed)
    _assert_libcurl_agrees(target)


_LABEL = st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)


@given(st.lists(_LABEL, min_size=1, max_size=4), st.integers(1, 65535), st.sampled_from(["", "."]))
def test_host_names_are_parsed_unchanged(labels: list[str], port: int, dot: str) -> None:
    name = ".".join([*labels, "example"])
    # Twice: the second time the host is known already.
    for _ in range(2):
        target = parse(f"http://{name.lower()}{dot}:{port}/x?y".encode())
        assert (target.host, target.port) == (name.lower(), port)
        _assert_libcurl_agrees(target)
    assert parse(f"http://{name}{dot}:{port}/x?y".encode()).host == name.lower()


def test_targets_that_are_remembered_are_the_same_and_bounded() -> None:
    uri = b"http://remembered.test:81/a?b"
    url.parse(b"http://remembered.test:81/")  # the origin is known then
    first = url.parse(uri)
    assert url.parse(uri) is first
    assert (first.scheme, first.host, first.port, first.text) == (
        "http",
        "remembered.test",
        81,
        uri.decode(),
    )
    for number in range(2 * url._MAX_TARGETS):
        url.parse(b"http://remembered.test:81/%d" % number)
    assert 0 < len(url._targets) <= url._MAX_TARGETS
    long = b"http://remembered.test:81/" + b"x" * 1000
    assert url.parse(long).text == long.decode()
    assert long not in url._targets
